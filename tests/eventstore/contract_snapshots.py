"""The snapshot's law: folded on with the rest of the log it is the fold of everything, for every run."""

import asyncio
from contextlib import suppress
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reattach.domain import agent as a
from reattach.domain.errors import InvalidFrames, ReattachError
from reattach.domain.ports import Span
from reattach.domain.snapshot import Snapshot
from reattach.domain.transitions import Status

from .contract import StoreContract
from .world import TENANT, ManualClock, Segment, World, resumed

OUTPUTS: Final[st.SearchStrategy[a.Output]] = st.one_of(
    st.builds(a.Text, st.text(max_size=5)),
    st.builds(a.Reasoning, st.text(max_size=5)),
    st.just(a.EndPart()),
    st.builds(a.ToolCallStart, st.sampled_from("cd"), st.just("pay")),
    st.builds(a.ToolCallDelta, st.sampled_from("cd"), st.text(max_size=5)),
    st.builds(a.ToolCall, st.sampled_from("cd"), st.just("pay"), st.just({"sum": 1})),
    st.builds(a.ToolResult, st.sampled_from("cd"), st.integers()),
    st.builds(a.Data, st.just("d"), st.none() | st.text(max_size=5)),
    st.builds(a.Checkpoint, st.just({"at": 1})),
)
BATCHES: Final = st.tuples(st.lists(OUTPUTS, min_size=1, max_size=6), st.just(1))
LONG: Final[tuple[list[a.Output], int]] = ([a.Text("x")], 700)
"""Outputs, and how often they are written: two long ones, and the run passes a fold without ending a part."""

TURNS: Final = st.sampled_from([LONG, "end step", "take_over", "release", "suspend"])
DEEDS: Final = st.one_of(BATCHES, BATCHES, BATCHES, TURNS)
ENDS: Final = st.sampled_from(["", "complete", "fail", "cancel"])
Run = tuple[list[tuple[list[a.Output], int] | str], str]
RUNS: Final[st.SearchStrategy[Run]] = st.tuples(st.lists(DEEDS, max_size=10), ENDS)


class SnapshotContract(StoreContract):
    def test_the_law_holds_after_every_step_of_every_run(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """The store's own messages are the same fold, too, once the run has been cut or has ended."""
        directory = tmp_path_factory.mktemp("law")
        with asyncio.Runner() as runner:
            clock = ManualClock()
            store = self.open(directory, clock)
            runner.run(store.start())

            @given(RUNS)
            def law(run: Run) -> None:
                runner.run(lived(World(store, clock), run))

            try:
                law()
            finally:
                runner.run(store.close())

    @pytest.mark.anyio
    async def test_a_snapshot_stops_before_the_head(self, world: World) -> None:
        run = await world.pending()
        first = await world.store.snapshot(run.run_id)
        assert first is not None
        assert (first.seq, first.messages.as_json()) == (0, [])
        segment = await world.claim()
        for n in range(3):
            await segment.write(a.Text(str(n)), a.EndPart())
            snapshot = await world.store.snapshot(run.run_id)
            assert snapshot is not None
            assert snapshot.seq == (await world.view(run.run_id)).head_seq - 1

    @pytest.mark.anyio
    async def test_voided_messages_are_abandoned_in_history(self, world: World) -> None:
        """What the checkpoint covers stays; what came after it, stored or not, is marked and empty."""
        segment = await world.running()
        await segment.write(a.Text("kept"), a.Checkpoint({"at": 1}))
        await segment.write(a.Text("whole"))
        await ended_step(segment)
        await segment.write(a.Text("stored"), a.EndPart(), a.Text("more"), a.EndPart())
        await segment.write(a.Text("not stored yet"))
        again = await world.take_over()
        await again.write(a.Text("anew"))
        await again.finish()
        messages = [fields for _, fields, _ in await world.store.messages(segment.run.session_id, Span(), 9)]
        statuses = [message["status"] for message in messages]
        assert statuses == ["complete", "complete", "abandoned", "abandoned", "complete"]
        texts = [[part["text"] for part in message["parts"]] for message in messages]
        assert texts == [["hello"], ["kept"], [], [], ["anew"]]

    @pytest.mark.anyio
    async def test_an_ended_run_is_whole_in_history_at_once(self, world: World) -> None:
        segment = await world.running()
        await segment.write(a.Text("half a sent"))
        await world.application.cancel(TENANT, segment.run_id, "stop", "ada")
        messages = [fields for _, fields, _ in await world.store.messages(segment.run.session_id, Span(), 9)]
        assert [(m["role"], m["status"]) for m in messages] == [
            ("user", "complete"), ("assistant", "interrupted"), ("event", "complete")
        ]  # fmt: skip
        assert messages == (await world.folded(segment.run_id)).messages.as_json()


async def lived(world: World, run: Run) -> None:
    """Live through the run; check the law after each step."""
    deeds, ending = run
    segment = await world.running()
    for deed in deeds:
        segment = await done(world, segment, deed)
        await check(world, segment)
    if ending == "complete":
        await complete(segment)
    elif ending:
        await world.end(segment, ending)
    await check(world, segment, ended=ending != "")
    if not ending:
        await world.application.cancel(TENANT, segment.run_id, "end of the test", "ada")


async def done(world: World, segment: Segment, deed: tuple[list[a.Output], int] | str) -> Segment:
    if not isinstance(deed, str):
        outputs, times = deed
        for output in outputs * times:
            try:
                segment.scribe.write(output)
            except InvalidFrames:  # a call that was not started, or not completed: the scribe has its own tests
                continue
        if segment.scribe.pending:
            await segment.write()
        return segment
    if deed == "end step":
        return await ended_step(segment)
    if deed == "take_over":
        if segment.run.takeovers == 3:
            return segment
        return await world.take_over()
    await world.end(segment, "resume" if deed == "suspend" else deed)
    return await world.claim()


async def ended_step(segment: Segment) -> Segment:
    """A message that ends without a checkpoint: a take-over voids it although it is whole."""
    with suppress(InvalidFrames):  # a tool call is still arriving
        segment.scribe.finish()
    if segment.scribe.pending:
        await segment.write()
    return segment


async def complete(segment: Segment) -> None:
    try:
        await segment.finish()
    except ReattachError:  # a tool call is still arriving
        await segment.world.end(segment, "cancel")


async def check(world: World, segment: Segment, *, ended: bool = False) -> None:
    log = await world.log(segment.run_id)
    snapshot = await world.store.snapshot(segment.run_id)
    assert snapshot is not None
    assert snapshot.seq == len(log) - 1
    whole = resumed(Snapshot.empty(), log)
    assert resumed(Snapshot.load(snapshot.state(), snapshot.seq), log).state() == whole.state()
    stored = [fields for _, fields, _ in await world.store.messages(segment.run.session_id, Span(), 999)]
    if ended:
        assert stored == whole.messages.as_json()
        view = await world.view(segment.run_id)
        assert view.run.status is Status(whole.run["status"])
