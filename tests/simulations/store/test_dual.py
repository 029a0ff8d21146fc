"""Whatever is done, the model and SQLite answer the same and keep the same; where they do not, it is seen."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from reattach.domain.agent import Checkpoint, EndPart, Output, Reasoning, Text, ToolCall, ToolResult
from reattach.domain.errors import ReattachError
from reattach.domain.frames import RunError
from reattach.domain.ports import Append, Span, Transaction
from reattach.domain.requests import Idempotency, StartRun
from reattach.domain.run import Run
from reattach.domain.run_facts import Decision
from reattach.domain.scribe import Checkpointed
from reattach.domain.session import Session
from reattach.domain.session_facts import Deleted, Finalized
from reattach.domain.transitions import Status
from reattach.simulations.store import DualCore, InlineCommitter, ModelCore, SqliteCore, open_over

from ...eventstore.world import TENANT, ManualClock, Segment, World

WORDS: Final[tuple[Output, ...]] = (
    Text("word"),
    Reasoning("thought"),
    EndPart(),
    ToolCall("c", "pay", {"sum": 1}),
    ToolResult("c", 2),
    Checkpoint({"at": 1}),
)
SECONDS: Final = (0.001, 5.0, 10.0, 15.0, 15.0, 15.0, 150.0, 86_400.0)
Pick = Callable[[int], int]
"""One of so many."""


@dataclass
class Played:
    """A world, what its workers hold (also what they lost), and the appends they sent."""

    world: World
    core: DualCore
    pick: Pick
    segments: list[Segment]
    sent: list[Append]

    def of(self, items: Sequence[str]) -> str:
        return items[self.pick(len(items))]

    def segment(self) -> Segment | None:
        return self.segments[self.pick(len(self.segments))] if self.segments else None

    async def sessions(self) -> list[str]:
        page = await self.world.store.sessions(TENANT, {}, None, 99)
        return [item.session_id for item in page.items if isinstance(item, Session)]

    async def create(self) -> None:
        await self.world.application.create_session(TENANT, {"n": self.pick(3)}, self.key("session"))
        if self.pick(4) == 3:  # the very instant to which a key is remembered
            self.world.clock.advance(self.world.limits.idempotency_retention_s)
            await self.world.application.sweep()
            self.core.digest()

    def key(self, route: str) -> Idempotency | None:
        return Idempotency(f"key{self.pick(3)}", f"{route}{self.pick(2)}") if self.pick(2) else None

    async def start(self) -> None:
        sessions = await self.sessions()
        if sessions:
            request = StartRun(agent="echo", input="hello")
            await self.world.application.start_run(TENANT, self.of(sessions), request, self.key("run"))

    async def claim(self) -> None:
        for assignment in await self.world.application.claim(f"w{self.pick(2)}", ["echo"], self.pick(3)):
            self.segments.append(self.world.segment(assignment))

    async def append(self) -> None:
        segment = self.segment()
        if segment is None:
            return
        for _ in range(1 + self.pick(4)):
            with suppress(ReattachError):
                segment.scribe.write(WORDS[self.pick(len(WORDS))])
        if self.pick(16) == 15:  # history is brought on without the end of a part
            segment.scribe.write(Text("long"))
            await self.world.store.append(segment.next())
            for _ in range(1_000):
                segment.scribe.write(Text("x"))
        batch = segment.scribe.take()
        epoch = segment.run.epoch + (self.pick(8) == 7)
        append = Append(segment.run_id, epoch, replace(batch, first_seq=batch.first_seq + (self.pick(8) == 7)))
        self.sent.append(append)
        await self.world.store.append(append)

    async def repeat(self) -> None:
        if self.sent:
            await self.world.store.append(self.sent[self.pick(len(self.sent))])

    async def together(self) -> None:
        """One group: an append, a work that fails after it has done everything, and an append sent twice."""
        segment = self.segment()
        if segment is None:
            return
        segment.scribe.write(Text("together"))
        append = segment.next()
        self.sent.append(append)

        def fails(tx: Transaction) -> None:
            run = tx.run(segment.run_id)
            assert run is not None
            tx.save_checkpoint(run.run_id, Checkpointed(9, 9, b"{}"))
            tx.lease(run.run_id, tx.now)
            tx.forget_answers(tx.now, 9)
            tx.record(run, run.cancel("stop", "ada", tx.now, ()))
            raise LookupError

        self.core.write([append, fails, append])

    async def suspend(self) -> None:
        segment = self.segment()
        if segment is not None:
            await self.world.suspend(segment, 1 + self.pick(2))

    async def decide(self) -> None:
        segment = self.segment()
        if segment is None:
            return
        run = (await self.world.view(segment.run_id)).run
        outcome = ("approve", "deny")[self.pick(2)]
        chosen = [a.approval_id for a in run.approvals if self.pick(2)]
        decisions = [Decision.model_validate({"approval_id": a, "outcome": outcome, "by": "ada"}) for a in chosen]
        await self.world.application.decide(TENANT, segment.run_id, decisions)

    async def end(self) -> None:
        segment, application = self.segment(), self.world.application
        if segment is None:
            return
        match self.pick(4):
            case 0:
                await application.complete(segment.run_id, segment.run.epoch)
            case 1:
                error = RunError(type="llm_error", message="no", retryable=False)
                await application.fail(segment.run_id, segment.run.epoch, error)
            case 2:
                await application.cancel(TENANT, segment.run_id, "stop", "ada")
            case _:
                await application.release(segment.run_id, segment.run.epoch)

    async def renew(self) -> None:
        held = [(segment.run_id, segment.run.epoch + (self.pick(4) == 3)) for segment in self.segments]
        await self.world.application.renew(f"w{self.pick(2)}", held)

    async def passes(self) -> None:
        """Time passes, also up to the very instant at which something is due."""
        self.world.clock.advance(SECONDS[self.pick(len(SECONDS))])
        match self.pick(4):
            case 0:
                await self.claim()
            case 1:
                await self.world.application.sweep()
            case _:
                pass

    async def stale(self) -> None:
        """What a segment remembers of its run is recorded on; so is what becomes of a session."""
        segment = self.segment()
        if segment is None:
            return
        run = segment.run
        session = await self.world.store.session(run.session_id)
        assert session is not None
        fact = (Finalized, Deleted)[self.pick(2)](at=self.world.clock.now())

        def late(tx: Transaction) -> Run:
            return tx.record(run, run.cancel("late", "ada", tx.now, ()))

        def over(tx: Transaction) -> Session:
            return tx.record(session, fact)

        self.core.write([late, over] if self.pick(8) == 7 else [late])

    async def look(self) -> None:
        """Every read, and all that is kept; the core compares."""
        self.core.digest()
        store = self.world.store
        status = tuple(Status)[self.pick(len(Status))]
        page = await store.runs(TENANT, {"status": status} if self.pick(2) else {}, None, 1 + self.pick(3))
        await store.runs(TENANT, {"agent": "echo"}, page.next_cursor, 2)
        for session_id in await self.sessions():
            before = (1 + self.pick(3), 1, self.pick(4)) if self.pick(2) else None
            await store.messages(
                (await self.world.application.session(TENANT, session_id)).session_id, Span(before=before), 3
            )
        segment = self.segment()
        if segment is not None:
            view = await self.world.view(segment.run_id)
            await store.snapshot(segment.run_id)
            await store.read(segment.run_id, self.pick(view.head_seq + 2), 1 + self.pick(9))
            await store.epoch_at(segment.run_id, self.pick(view.head_seq + 2))
            await store.next_run(segment.run.session_id, self.pick(3), self.pick(2))
            await store.job(segment.run.job_id)


COMMANDS: Final[tuple[Callable[[Played], Awaitable[None]], ...]] = (
    Played.create,
    Played.start,
    Played.start,
    Played.claim,
    Played.claim,
    Played.append,
    Played.append,
    Played.append,
    Played.repeat,
    Played.together,
    Played.suspend,
    Played.decide,
    Played.end,
    Played.renew,
    Played.passes,
    Played.passes,
    Played.passes,
    Played.passes,
    Played.stale,
    Played.look,
)


async def play(core: DualCore, clock: ManualClock, commands: Sequence[int], pick: Pick) -> None:
    async with open_over(core, InlineCommitter(core)) as store:
        world = World(store, clock)
        played = Played(world, core, pick, [], [])
        await world.pending()
        await played.claim()
        for command in commands:
            with suppress(ReattachError):
                await COMMANDS[command](played)
        assert len(core.digest()) == 32


@given(st.lists(st.integers(0, len(COMMANDS) - 1), min_size=30, max_size=60), st.randoms(use_true_random=False))
def test_the_model_and_sqlite_are_one_store(commands: list[int], chance: object) -> None:
    clock = ManualClock()
    sqlite = SqliteCore(clock)
    pick: Pick = getattr(chance, "randrange")  # noqa: B009  - hypothesis does not type what it gives
    with asyncio.Runner() as runner:
        runner.run(play(DualCore(ModelCore(clock), sqlite), clock, commands, pick))
    sqlite.end()
