"""What servers offer and workers run in a chaos: the agents of the simulated worlds."""

from ..workload.agents import world_agents

agents = world_agents({}, elsewhere=True)
