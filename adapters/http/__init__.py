"""The HTTP surface: JSON routes and the event streams."""
