"""What the recordings show: runs that go through everything that can happen to a run."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from tests.eventstore.world import TENANT, ManualClock, Segment, World

from reattach.domain.agent import ApprovalRequest, Checkpoint, Reasoning, Text, ToolCall, ToolCallDelta, ToolCallStart
from reattach.domain.application import Application
from reattach.domain.errors import ReattachError
from reattach.domain.frames import RunError
from reattach.domain.requests import Idempotency, Limits, StartRun
from reattach.domain.run import Run
from reattach.domain.run_facts import Decision, Outcome
from reattach.simulations.store import Core, DualCore, ModelCore, SqliteCore

from .recording import RETENTION_S, Recording, RecordingStore

ERROR = RunError(type="llm_error", message="no", retryable=False)


async def refused(what: Awaitable[Any]) -> None:
    """It must be."""
    try:
        await what
    except ReattachError:
        return
    raise AssertionError("nobody refused it")


class Stage(World):
    """The world, and its store as it is recorded."""

    def __init__(self, store: RecordingStore, clock: ManualClock) -> None:
        held: Any = store  # it has what the use cases need
        super().__init__(held, clock)
        self.recorded = store
        limits = Limits(idempotency_retention_s=RETENTION_S)
        self.application = Application(held, self.ids, self.application.agents, limits)

    async def ask(self, segment: Segment, approvals: int, timeout_s: float | None = None) -> Run:
        """End the segment as the worker does, and wait."""
        segment.scribe.finish()
        if segment.scribe.pending:
            await segment.write()
        requests = [ApprovalRequest(f"call{n}", "pay", {"sum": n}, timeout_s) for n in range(approvals)]
        await self.application.suspend(
            segment.run_id, segment.run.epoch, requests, {"asked": approvals}, segment.scribe.step
        )
        return (await self.view(segment.run_id)).run

    async def say(self, run: Run, *said: tuple[int, Outcome, Any]) -> None:
        """Decide: which approval, how, with what arguments."""
        decisions = [
            Decision(approval_id=run.asked[n], outcome=outcome, arguments=arguments, by="ada")
            for n, outcome, arguments in said
        ]
        await self.application.decide(TENANT, run.run_id, decisions)

    async def append_at_head(self, run: Run, beyond: int = 0) -> None:
        """Append under the epoch of this run as it was, at what is now the end of the log, or so many frames off."""
        head = (await self.view(run.run_id)).head_seq
        await self.store.append(Segment.begin(self, run, head + 1 + beyond).next(Text("elsewhere")))

    async def stop(self, run: Run) -> None:
        await self.application.cancel(TENANT, run.run_id, "enough", "ada")

    async def together(self, *calls: Callable[[], Awaitable[Any]]) -> None:
        """All in one group."""
        self.recorded.hold()
        tasks = [asyncio.ensure_future(call()) for call in calls]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.recorded.flush()
        await asyncio.gather(*tasks, return_exceptions=True)


async def hands(stage: Stage) -> None:
    """A run that changes hands in every way; then a second turn of its session."""

    def key(payload: str) -> Idempotency:
        return Idempotency.of("k1", "runs", payload)

    first = Idempotency.of("k0", "sessions", {})
    session = (await stage.application.create_session(TENANT, {}, first)).session_id
    await stage.application.create_session(TENANT, {}, first)
    request = StartRun(agent="echo", input="go")
    run = await stage.application.start_run(TENANT, session, request, key("go"))
    await stage.application.start_run(TENANT, session, request, key("go"))
    await refused(stage.application.start_run(TENANT, session, request, key("other")))
    await refused(stage.application.start_run(TENANT, session, request))
    one = await stage.claim("w1")
    await one.write(Reasoning("hm"), Text("One."), Checkpoint({"done": 1}))
    lost = one.next(Text("lo"), Text("st"))
    await stage.store.append(lost)
    await stage.store.append(lost)
    stage.clock.advance(5)
    await stage.application.renew("w1", [(run.run_id, 1)])
    stage.clock.advance(15)
    two = await stage.claim("w2")
    await refused(one.write(Text("zombie"), Checkpoint({"done": "nothing"})))
    await refused(stage.append_at_head(one.run))
    await refused(stage.application.complete(run.run_id, 1))
    await refused(stage.application.fail(run.run_id, 1, ERROR))
    await stage.application.renew("w1", [(run.run_id, 1)])
    await two.write(Text("Two."), ToolCallStart("c1", "pay"), ToolCallDelta("c1", '{"su'))
    await stage.application.release(run.run_id, 2)
    three = await stage.claim("w3")
    await three.write(Text("Two again."), ToolCall("c2", "pay", {"sum": 1}), Checkpoint({"done": 2}))
    await stage.application.release(run.run_id, 3)
    four = await stage.claim("w3")
    await four.write(Text("Three."))
    await refused(stage.append_at_head(four.run, -9))
    await refused(stage.append_at_head(four.run, 9))
    await four.finish()
    await refused(four.write(Text("late")))
    await stage.stop(run)
    await (await stage.running(session)).finish()


async def approvals(stage: Stage) -> None:
    """Waits and decisions."""
    segment = await stage.running()
    await segment.write(Text("May I?"), ToolCall("call0", "pay", {"sum": 0}))
    run = await stage.ask(segment, 2)
    await refused(stage.append_at_head(run))
    await stage.say(run, (1, "deny", None))
    await stage.say(run, (1, "deny", None))
    await refused(stage.say(run, (1, "approve", None)))
    await stage.say(run, (0, "approve", {"sum": 7}))
    segment = await stage.claim()
    await segment.write(Text("Paid."))
    run = await stage.ask(segment, 1, timeout_s=10)
    stage.clock.advance(9)
    await stage.say(run, (0, "approve", None))
    run = await stage.ask(await stage.claim(), 2, timeout_s=30)
    stage.clock.advance(30)
    await stage.application.sweep()
    await (await stage.claim()).finish()


async def ends(stage: Stage) -> None:
    """Every end but completion."""
    await stage.stop(await stage.pending())
    cut = await stage.running()
    await cut.write(Text("half"))
    await stage.stop(cut.run)
    waiting = await stage.ask(await stage.running(), 2)
    await stage.say(waiting, (0, "deny", None))
    await refused(stage.application.complete(waiting.run_id, waiting.epoch))
    await stage.stop(waiting)
    broken = await stage.running()
    await broken.write(Text("half"))
    await stage.application.fail(broken.run_id, broken.run.epoch, ERROR)
    await cut_short(stage)
    await stage.running()
    for _ in range(4):  # the fourth time it is lost for good
        stage.clock.advance(15)
        await stage.application.claim("worker-1", ["echo"], 1)


async def cut_short(stage: Stage) -> None:
    """Parts are open when a segment ends in a way that the worker would not choose."""
    released = await stage.running()
    await released.write(Text("half"))
    await stage.application.release(released.run_id, released.run.epoch)
    await stage.stop(released.run)
    suspended = await stage.running()
    await suspended.write(Text("half"))
    await stage.application.suspend(
        suspended.run_id, suspended.run.epoch, [ApprovalRequest("c", "pay", None)], {"at": 1}, suspended.scribe.step
    )
    await stage.decide(suspended.run_id)
    await (await stage.claim()).finish()


async def groups(stage: Stage) -> None:
    """Several works in one commit, losers among them; and a store that fails."""
    one, two = await stage.running(), await stage.running()
    first, second = one.next(Text("a")), two.next(Text("b"))
    stale = Segment.begin(stage, one.run, 3).next(Text("c"))
    append = stage.store.append
    await stage.together(lambda: append(first), lambda: append(stale), lambda: append(second))
    late = two.next(Text("d"))
    await stage.together(lambda: stage.stop(two.run), lambda: append(late), lambda: append(first))
    stage.recorded.unplug()
    with suppress(ReattachError):
        await one.write(Text("e"))
    stage.recorded.plug()


SCENES = (hands, approvals, ends, groups)
CORES: Mapping[str, Callable[[ManualClock], Core]] = {
    "model": ModelCore,
    "sqlite": SqliteCore,
    "dual": lambda clock: DualCore(ModelCore(clock), SqliteCore(clock)),
}


@lru_cache(None)
def recorded(core: str = "model") -> Recording:
    """All scenes, one after the other, in one store. Play a copy."""

    async def record() -> Recording:
        clock = ManualClock()
        store = RecordingStore(CORES[core](clock), clock)
        stage = Stage(store, clock)
        for scene in SCENES:
            await scene(stage)
        return Recording(store.steps)

    return asyncio.run(record())
