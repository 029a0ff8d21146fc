"""How a reader comes back: mostly honestly, now and then with an older, forged or foreign cursor, or with none."""

from collections.abc import Sequence
from typing import Final

from ...domain.identifiers import RunId, SessionId
from ..oracle.delivery import Asked
from .client import Client

HONEST: Final = 6
"""Of the ways to come back, so many are the honest one."""

OTHERS: Final = ("older", "start", "snapshot", "ahead", "foreign", "epoch", "generation", "seq")
"""And these are not, or not quite."""


class Returning:
    """One reader's ways to ask for its stream. `cursors` are the ids of all frames it was given, which it adds to."""

    def __init__(self, client: Client, run_id: RunId | None, session_id: SessionId | None, *, restless: bool) -> None:
        self.cursors: list[str] = []
        self._client = client
        self._world = client.world
        self._run_id = run_id
        self._session_id = session_id
        self._restless = restless
        self._first = True

    def ask(self) -> Asked:
        """What to ask for now. Only a restless reader is dishonest, and none once the faults are over."""
        first, self._first = self._first, False
        way = "honest"
        if self._restless and not self._world.healed:
            drawn = self._world.tape.draw(f"client.resume:{self._client.name}", HONEST + len(OTHERS))
            way = "honest" if drawn < HONEST else OTHERS[drawn - HONEST]
        cursor, seq, snapshot = self._cursor(way), 0, way == "snapshot"
        if way == "seq" and self._run_id is not None and self.cursors:
            cursor, seq = None, int(self.cursors[-1].rpartition(".")[2])
        if not first:
            self._world.mark(f"resumed-{way}")
        self._client.act("follow" if first else "resume", run=self._run_id, cursor=cursor, way=way)
        return Asked(self._run_id, self._session_id, cursor, seq, snapshot=snapshot and cursor is None)

    def _cursor(self, way: str) -> str | None:
        if way in ("start", "snapshot") or (not self.cursors and way != "foreign"):
            return None
        if way == "foreign":
            return self._foreign()
        last = self.cursors[-1]
        run_id, generation, epoch, seq = last.split(".")
        tape, site = self._world.tape, f"client.cursor:{self._client.name}"
        match way:
            case "older":
                return self.cursors[-1 - tape.draw(site, min(len(self.cursors), 16))]
            case "ahead":
                return f"{run_id}.{generation}.{epoch}.{int(seq) + 1000 + tape.draw(site, 5)}"
            case "epoch":
                return f"{run_id}.{generation}.{int(epoch) + 1 + tape.draw(site, 3)}.{seq}"
            case "generation":
                return f"{run_id}.{int(generation) + 1}.{epoch}.{seq}"
            case _:
                return last

    def _foreign(self) -> str | None:
        others: Sequence[RunId] = [run_id for run_id in self._world.log.all() if run_id != self._run_id]
        if not others or self._run_id is None:
            return self.cursors[-1] if self.cursors else None
        other = others[self._world.tape.draw(f"client.cursor:{self._client.name}", len(others))]
        frame = self._world.log.frame(other, 1)
        return f"{other}.1.{frame[0]}.1" if frame else None
