"""The deterministic simulator, its checkers and its planted bugs."""
