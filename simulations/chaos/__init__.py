"""Chaos: real processes, real sockets and real kills, judged by the simulator's oracle."""
