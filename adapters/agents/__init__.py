"""Agents that a worker can run, the demo first."""
