"""One session's life among real processes: people start runs, follow them, decide, cancel, leave and come back."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from ...domain.identifiers import RunId, SessionId
from ..oracle.delivery import Asked, Seen
from ..oracle.log import TERMINAL, Log
from ..oracle.state import FINAL
from ..tape import Tape
from ..violation import Violation
from ..workload.board import Board
from ..workload.client import Client
from ..workload.deciding import THINK_S, Deciding
from ..workload.follower import Follower
from ..workload.program import Program
from ..workload.readers import reader
from ..workload.scripts import AGENTS, draw_config, draw_script
from .recorder import RecordedDelivery, RecordedFollowing

if TYPE_CHECKING:
    from ..workload.place import Emits, Timed, Ways
    from .world import World

TURNS_MAX: Final = 3
"""Turns of one session."""

RESTLESS: Final = 0.1
"""How probable it is that a restless reader drops after a piece."""

CANCELS_P: Final = 0.15
"""Part of the runs that somebody cancels; half of these are cancelled by two."""

INTRUDES_P: Final = 0.25
"""Part of the turns in which somebody else starts a run at the same time."""

BUSY_S: Final = 0.5
"""Seconds before another try where a run is in the way."""

LONG_P: Final = 0.4
"""Part of the scripts that say something long besides."""

LONG: Final = {"text": "All work and no play makes a long answer. " * 6, "chunk": 3, "delay_ms": 12}


class Story:
    """A place (`workload.Place`) of its own, in which what everybody sees is recorded and not judged yet."""

    watchdog = True

    def __init__(self, world: "World", number: int, readers: int) -> None:
        """`readers` follow at any time: one the session, the others the run of the turn."""
        self.world = world
        self.name = f"s{number}"
        self.tape = Tape(world.seed * 1_000_003 + number)
        self.log = Log()  # empty: nobody knows it yet
        self.board = Board()
        self.deliveries: list[RecordedDelivery] = []
        self.followings: list[RecordedFollowing] = []
        self.told: list[RunId] = []
        self.session_id: SessionId | None = None
        self._readers = readers
        self._ended: dict[RunId, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    # The place.

    @property
    def loop(self) -> "Timed":
        return self.world.loop

    @property
    def trace(self) -> "Emits":
        return self.world.film

    @property
    def network(self) -> "Ways":
        return self.world.network

    @property
    def healed(self) -> bool:
        return self.world.healed

    def mark(self, name: str) -> None:
        """Something interesting was reached."""
        self.world.mark(name)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of this story's."""
        task = self.world.spawn(name, work)
        self._tasks.append(task)
        return task

    def delivery(self, asked: Asked, who: str) -> RecordedDelivery:
        """Another connection of a reader."""
        self.deliveries.append(RecordedDelivery(asked, who))
        return self.deliveries[-1]

    def following(self, asked: Asked, who: str) -> RecordedFollowing:
        """Another call of `Client.follow`."""
        self.followings.append(RecordedFollowing(asked, who))
        return self.followings[-1]

    # The story.

    async def live(self) -> None:
        """From the session's beginning to the last frame that anybody waits for. Raises a Violation."""
        self._author, self._intruder = Client(self, f"{self.name}a"), Client(self, f"{self.name}i")
        self._people = [Deciding(self._author, self.board), Deciding(Client(self, f"{self.name}b"), self.board)]
        self.session_id = session_id = await self._begin()
        onlooker = reader(Client(self, f"{self.name}s"), session_id=session_id, took=self._saw)
        # This one may jump over an end: whoever comes back for a snapshot is told how things are, not how they came.
        restless = reader(Client(self, f"{self.name}z"), session_id=session_id, restless=RESTLESS)
        for name, one in (("s", onlooker), ("z", restless)):
            self.spawn(f"{self.name}{name}", one.follow())
        for turn in range(1 + self.tape.draw("turns", TURNS_MAX)):
            if turn and self.healed:
                break
            await self._turn(session_id, turn)
        for run_id in self.told:
            await self._ended.setdefault(run_id, asyncio.Event()).wait()  # the onlooker has seen every end
        onlooker.stop()
        restless.stop()
        await asyncio.gather(*self._tasks)

    def waiting(self) -> list[asyncio.Task[None]]:
        """Whose work has not ended."""
        return [task for task in self._tasks if not task.done()]

    async def _begin(self) -> SessionId:
        key = self._author.new_key()
        replies = [await self._author.ask("POST", "/v1/sessions", {}, key=key) for _ in range(2)]
        names = {str(reply.body["session_id"]) for reply in replies}
        if len(names) > 1:
            raise Violation("not-idempotent", f"{self._author.name}: {key} gave the sessions {sorted(names)}.")
        return SessionId(names.pop())

    async def _turn(self, session_id: SessionId, turn: int) -> None:
        """Start a run, perhaps two at once; whoever follows one sees it to its end."""
        starts = [self._run(session_id, self._author, f"{self.name}, turn {turn}")]
        if self.tape.chance("intrudes", INTRUDES_P):
            starts.append(self._run(session_id, self._intruder, f"{self.name}, turn {turn}, too"))
        if not any(await asyncio.gather(*starts)):
            detail = f"{self.name}: nobody may start a run in {session_id}, in which none is active."
            raise Violation("turn-refused", detail, session_id=session_id)

    async def _run(self, session_id: SessionId, client: Client, prompt: str) -> bool:
        """A run from its start to its end; whether there was one."""
        run_id = await self._start(session_id, client, prompt)
        if run_id is None:
            return False
        await self._follow(run_id)
        await self._agree(run_id, session_id)
        return True

    async def _start(self, session_id: SessionId, client: Client, prompt: str) -> RunId | None:
        """The run, or None if another one is in the way: then the answer says which.

        Who has asked before and was not answered asks again until there is a run: that request may be done yet.
        """
        agent = self.tape.pick("agent", AGENTS)
        given: Any = prompt
        if agent == "script":
            given = {"prompt": prompt, **draw_script(self.tape, "script")}
            given["steps"] += [LONG] if self.tape.chance("long", LONG_P) else []
        config = draw_config(self.tape, client.name)
        body = {"agent": agent, "input": given} | ({} if config is None else {"request_config": config})
        key, path = client.new_key(), f"/v1/sessions/{session_id}/runs"
        client.act("start", key=key, agent=agent)
        unknown: list[bool] = []
        reply = await client.ask("POST", path, body, key=key, unknown=lambda: unknown.append(True))
        while reply.code == "session_busy" and unknown:
            await asyncio.sleep(BUSY_S)
            reply = await client.ask("POST", path, body, key=key)
        if reply.code == "session_busy" and reply.body.get("run_id"):
            self.mark("start-refused")
            return None
        if reply.status not in (200, 202):
            detail = f"{client.name}: starting a run was answered {reply.status}: {reply.body}"
            raise Violation("answer-wrong", detail)
        run_id = RunId(reply.body["run_id"])
        again = await client.ask("POST", path, body, key=key)
        if again.body.get("run_id") != run_id:
            raise Violation("not-idempotent", f"{client.name}: {key} gave {run_id}, then {again.body}.", run_id=run_id)
        self.told.append(run_id)
        return run_id

    async def _follow(self, run_id: RunId) -> None:
        """Several readers, honest and restless, from the start and late; and people who decide and cancel."""
        following: list[asyncio.Task[None]] = []
        for n in range(max(1, self._readers - 1)):
            name = f"{self.name}r{n}"
            took = self._people[n].took if n < len(self._people) else _only_looks
            one = reader(Client(self, name), run_id, restless=RESTLESS * (n % 2), took=took)
            late_s = self.tape.pick(f"late:{name}", (0.0, 0.0, 0.5, 2.0))
            following.append(self.spawn(name, _later(late_s, one)))
        if self.tape.chance("cancels", CANCELS_P):
            for people in self._people[: 1 + self.tape.draw("cancels.both", 2)]:
                self.spawn(f"{self.name}/cancel", people.cancel_later(run_id))
        await asyncio.gather(*following)
        await asyncio.sleep(self.tape.pick("pause", THINK_S[:2]))

    async def _agree(self, run_id: RunId, session_id: SessionId) -> None:
        """Read your writes (C16): the terminal frame was seen, so that every server says so."""
        run = await self._author.ask("GET", f"/v1/runs/{run_id}")
        session = await self._author.ask("GET", f"/v1/sessions/{session_id}")
        if run.body["status"] not in FINAL or session.body["active_run_id"] == run_id:
            said = f"{run.body['status']}, and {session.body['active_run_id']} active"
            detail = f"{self.name} saw the end of {run_id}; then it was said to be {said}."
            raise Violation("status-late", detail, run_id=run_id)

    def _saw(self, seen: Seen) -> None:
        if seen.kind in TERMINAL and seen.run_id is not None:
            self._ended.setdefault(seen.run_id, asyncio.Event()).set()


def _only_looks(_: Seen) -> None:
    """Most readers decide nothing."""


async def _later(seconds: float, one: Follower | Program) -> None:
    await asyncio.sleep(seconds)
    await one.follow()
