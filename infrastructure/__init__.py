"""The outside world behind the domain's ports: the event store, clocks, ids and settings."""
