"""Which kind of reader somebody is: one that speaks plain HTTP, or a program that uses the Python client."""

from collections.abc import Callable
from typing import Final

from ...domain.identifiers import RunId, SessionId
from ..oracle.delivery import Seen
from .client import Client
from .follower import Follower
from .program import Program

PROGRAM_P: Final = 0.3
"""Part of the readers that use the Python client."""


def reader(
    client: Client,
    run_id: RunId | None = None,
    session_id: SessionId | None = None,
    *,
    restless: float = 0.0,
    took: Callable[[Seen], None] = lambda _: None,
) -> Follower | Program:
    """A reader of a run or of a session, of a kind that the tape says."""
    kind = Program if client.world.tape.chance(f"client.program:{client.name}", PROGRAM_P) else Follower
    return kind(client, run_id, session_id, restless=restless, took=took)
