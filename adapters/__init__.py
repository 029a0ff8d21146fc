"""The ways in and out: HTTP, the command line, workers, agents and foreign protocols."""
