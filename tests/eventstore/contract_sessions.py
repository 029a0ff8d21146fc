"""Sessions that resume: what history and tail show and hide, whose turn it is, leases, memories and handoffs."""

import random
from collections.abc import Sequence

import pytest

from reattach.domain.agent import Checkpoint, Output, Text, ToolCall, ToolResult
from reattach.domain.identifiers import Cursor, RunId, SessionId
from reattach.domain.memory import Memory, first_break
from reattach.domain.messages import Fields
from reattach.domain.ports import Span
from reattach.domain.requests import StartRun

from ..domain.test_tail import specified
from .contract import StoreContract
from .world import TENANT, Segment, World


class SessionContract(StoreContract):
    async def test_history_ends_with_the_prompt_of_a_run_that_has_not_settled(self, world: World) -> None:
        session = await world.session()
        await said(world, session, "a")
        segment = await world.running(session)
        await segment.write(Text("not yet"))
        queued = await enqueue(world, session)
        shown = [(2, 1, 0)]
        assert await ends(world, session) == [(1, 1, 0), (1, 1, 1), *shown]
        await world.suspend(segment, 1)
        assert await ends(world, session) == [(1, 1, 0), (1, 1, 1), *shown]
        await world.application.cancel(TENANT, segment.run_id, "stop", "ada")
        assert await ends(world, session) == [(1, 1, 0), (1, 1, 1), (2, 1, 0), (2, 1, 1), (2, 1, 2), (3, 1, 0)]
        await world.application.cancel(TENANT, queued, "stop", "ada")
        assert (await ends(world, session))[-2:] == [(3, 1, 0), (3, 1, 1)]

    async def test_places_stay_while_turns_land(self, world: World) -> None:
        """Both ways from any message: the same messages before and after more have come."""
        session = await world.session()
        for n in range(3):
            await said(world, session, f"{n}")
        everything = await world.store.messages(session, Span(), 99)
        await said(world, session, "new")
        for at, (place, _, _) in enumerate(everything):
            for limit in (1, 2, 9):
                older = await world.store.messages(session, Span(before=place), limit)
                assert older == everything[max(0, at - limit) : at]
                newer = await world.store.messages(session, Span(after=place, oldest=True), limit)
                assert newer[: len(everything) - at - 1] == everything[at + 1 : at + 1 + limit]
                inside = await world.store.messages(session, Span(after=place), limit)
                assert [found for found, _, _ in inside] == [
                    found for found, _, _ in await world.store.messages(session, Span(after=place, oldest=True), 99)
                ][-limit:]

    @pytest.mark.parametrize("seed", range(4))
    async def test_the_tail_is_the_cut_of_the_whole_history(self, world: World, seed: int) -> None:
        """T2, T4: against everything that was ever said, folded from the logs; after every commit of a run."""
        dice = random.Random(seed)
        session = await world.session()
        for _ in range(6):
            segment = await world.running(session)
            answers: list[Output] = []
            for _ in range(dice.randint(0, 4)):
                calls = dice.randint(1, 2)
                text = [Text("x")] if dice.random() < 0.5 else []
                await segment.write(*answers, *text, *(ToolCall(f"call{n}", "pay", {"sum": n}) for n in range(calls)))
                answers = [ToolResult(f"call{n}", n) for n in range(calls)]
                await world.suspend(segment, calls)
                await check_tail(world, session, dice.randint(1, 3))
                await world.decide(segment.run_id)
                segment = await world.claim()
                if dice.random() < 0.5:  # the results stand alone in their message, or begin the next one
                    await segment.write(*answers, Checkpoint({}))
                    answers = []
            if answers:
                await segment.write(*answers)
            await world.end(segment, dice.choice(["complete", "fail", "cancel"]))
            for limit in (1, 2, 3, 5, 50):
                await check_tail(world, session, limit)

    async def test_the_tail_says_what_runs_and_what_waits(self, world: World) -> None:
        session = await world.session()
        empty = await world.store.tail(session, 9)
        assert empty is not None
        assert (empty.messages, empty.active, empty.cursor) == ([], None, Cursor(RunId(session), 1, 0, 0))
        segment = await world.running(session)
        await world.suspend(segment, 2)
        waiting = await world.store.tail(session, 9)
        assert waiting is not None
        assert waiting.active is not None
        assert waiting.active == await world.view(segment.run_id)
        assert [a.tool_call_id for a in waiting.active.run.pending_approvals] == ["call0", "call1"]
        assert waiting.cursor == Cursor(segment.run_id, 1, 0, 0)
        await world.application.cancel(TENANT, segment.run_id, "stop", "ada")
        idle = await world.store.tail(session, 9)
        assert idle is not None
        head = (await world.view(segment.run_id)).head_seq
        assert (idle.active, idle.cursor) == (None, Cursor(segment.run_id, 1, segment.run.epoch, head))
        assert await world.store.epoch_at(segment.run_id, head) == idle.cursor.epoch
        assert await world.store.tail(SessionId("ses_" + "0" * 26), 9) is None

    async def test_a_queued_run_is_nobodys_work_before_its_turn(self, world: World) -> None:
        session = await world.session()
        first = await world.running(session)
        second, third = await enqueue(world, session), await enqueue(world, session)
        assert await world.application.claim("w2", ["echo"], 9) == []
        assert await world.store.next_run(session, 1, 1) is None
        await world.application.cancel(TENANT, third, "no", "ada")
        assert await world.store.next_run(session, 1, 1) is None
        await first.finish()
        assert await world.store.next_run(session, 1, 1) == second
        (assignment,) = await world.application.claim("w2", ["echo"], 9)
        assert assignment.run.run_id == second
        await world.segment(assignment).finish()
        assert await world.store.next_run(session, 2, 1) == third

    async def test_what_a_handoff_holds_back_is_not_shown(self, world: World) -> None:
        """Nothing runs and something waits: it is in no history, no tail and no stream."""
        session = await world.session()
        await world.application.sessions.resume(TENANT, session, "ada")
        await world.application.handoffs.request(TENANT, session, "h", 10)
        request = StartRun(agent="echo", input="held", on_busy="enqueue")
        held = await world.application.start_run(TENANT, session, request, session_epoch=1)
        assert await ends(world, session) == []
        assert await world.store.next_run(session, 0, 0) is None
        tail = await world.store.tail(session, 9)
        assert tail is not None
        assert tail.cursor == Cursor(RunId(session), 1, 0, 0)
        world.clock.advance(10)
        await world.application.sweep()
        assert await ends(world, session) == [(1, 1, 0)]
        assert await world.store.next_run(session, 0, 0) == held.run_id

    async def test_a_lease_outlives_every_other_fact(self, world: World) -> None:
        session = await world.session()
        use = world.application
        until = (await use.sessions.resume(TENANT, session, "ada")).lease_expires_at
        await use.sessions.append_memory(TENANT, session, 1, 1)
        await use.start_run(TENANT, session, StartRun(agent="echo"), session_epoch=1)
        await (await world.claim()).finish()
        await use.handoffs.request(TENANT, session, "h", 5)
        view = await world.store.session_view(session)
        assert view is not None
        assert view.lease_until == until
        world.clock.advance(5)
        await use.sweep()
        (listed,) = (await world.store.sessions(TENANT, {}, None, 9)).items
        assert listed == await world.store.session_view(session)
        await use.sessions.detach(TENANT, session, 1)
        left = await world.store.session_view(session)
        assert left is not None
        assert (left.lease_until, left.session.owner) == (None, None)

    async def test_handoffs_come_due_once_and_are_kept(self, world: World) -> None:
        use = world.application
        sessions = [await world.session() for _ in range(3)]
        for n, session in enumerate(sessions):
            await use.sessions.resume(TENANT, session, "ada")
            await use.handoffs.request(TENANT, session, "h", 10 + n)
        due: list[Sequence[SessionId]] = []
        for _ in range(2):
            world.clock.advance(5.5)
            due.append(await world.store.transact(lambda tx: tx.expired_handoffs(9)))
        assert due == [[], sessions[:2]]
        assert await world.store.transact(lambda tx: tx.expired_handoffs(1)) == sessions[:1]
        await use.sweep()
        assert await world.store.transact(lambda tx: tx.expired_handoffs(9)) == []
        kept = [await world.store.handoff(session, "h") for session in sessions]
        assert [handoff and handoff.status for handoff in kept] == ["abandoned", "abandoned", "requested"]
        assert await world.store.handoff(sessions[0], "other") is None

    async def test_memories_come_in_pages_and_in_order(self, world: World) -> None:
        session, other = await world.session(), await world.session()
        use = world.application.sessions
        made: list[Memory] = []
        for n in range(7):
            made.append(await use.append_memory(TENANT, session, {"n": n}, None))
            await use.append_memory(TENANT, other, {"other": n}, None)
        for after in range(9):
            for limit in (1, 3, 99):
                assert await world.store.memories(session, after, limit) == made[after : after + limit]
        assert first_break(session, made) is None

    async def test_a_deleted_session_is_in_no_list(self, world: World) -> None:
        kept, gone = await world.session(), await world.session()
        await world.application.sessions.delete(TENANT, gone, None)
        for filters in ({}, {"status": "deleted"}):
            found = await world.store.sessions(TENANT, filters, None, 9)
            assert [self.named(item) for item in found.items] == ([kept] if not filters else [])

    @staticmethod
    def named(item: object) -> object:
        return getattr(getattr(item, "session", None), "session_id", None)


async def said(world: World, session: SessionId, text: str) -> Segment:
    """A turn with one answer."""
    segment = await world.running(session)
    await segment.write(Text(text))
    await segment.finish()
    return segment


async def enqueue(world: World, session: SessionId) -> RunId:
    """A turn that waits."""
    request = StartRun(agent="echo", input="later", on_busy="enqueue")
    return (await world.application.start_run(TENANT, session, request)).run_id


async def ends(world: World, session: SessionId) -> list[tuple[int, int, int]]:
    """The places that history shows; the tail has to show the same."""
    history = [tuple(place) for place, _, _ in await world.store.messages(session, Span(), 99)]
    tail = await world.store.tail(session, 99)
    assert tail is not None
    assert [tuple(place) for place, _, _ in tail.messages] == history
    return [(turn, attempt, ordinal) for turn, attempt, ordinal in history]


async def check_tail(world: World, session: SessionId, limit: int) -> None:
    """The tail is what the specification makes of all messages there are."""
    whole: list[Fields] = []
    place = 0, 0
    while (run_id := await world.store.next_run(session, *place)) is not None:
        run = (await world.view(run_id)).run
        place = run.turn, run.attempt
        messages = (await world.folded(run_id)).messages.as_json()
        whole += messages if run.final else messages[:1]
    tail = await world.store.tail(session, limit)
    assert tail is not None
    assert [fields for _, fields, _ in tail.messages] == specified(whole, limit)
