"""What SQLite gets from having one writer, PostgreSQL gets from row locks: every pair of works that could meet, meets.

The first work has done everything and stands before its COMMIT; the second comes from another connection.
"""

import asyncio
from collections.abc import Callable

import pytest

from reattach.domain.agent import Checkpoint, EndPart, Text
from reattach.domain.application import Application
from reattach.domain.errors import (
    AppendConflict,
    DecisionConflict,
    IllegalTransition,
    RunClosed,
    StaleEpoch,
)
from reattach.domain.identifiers import SessionId
from reattach.domain.ports import Append, Transaction
from reattach.domain.requests import StartRun
from reattach.domain.run_facts import Decision
from reattach.domain.transitions import Status

from .beside import Gate, Process, race, url_on_postgres, waits_for_a_lock, world_on_postgres
from .world import TENANT, Segment, World

__all__ = ["url_on_postgres", "world_on_postgres"]  # fixtures

pytestmark = pytest.mark.anyio
GO = StartRun(agent="echo", input="go")


async def test_a_cancel_never_loses_to_the_output_beside_it(world: World, url: str, a: Process, b: Process) -> None:
    """The append comes while the cancel has decided where the log ends: it waits, and is refused by name."""
    segment = await world.running()
    append = segment.next(Text("late"))
    cancelled, refused = await race(
        url,
        a,
        lambda use: use.cancel(TENANT, segment.run_id, "stop", "ada"),
        b,
        lambda use: use.append(append),
    )
    assert cancelled.run.status is Status.CANCELLED
    assert isinstance(refused, RunClosed)


async def test_a_cancel_comes_after_the_output_that_is_on_its_way(
    world: World, url: str, a: Process, b: Process
) -> None:
    """Appended and not committed, in a group with something slow: the cancel waits, and ends the longer log."""
    segment = await world.running()
    append, gate = segment.next(Text("first")), Gate()
    writing = asyncio.ensure_future(asyncio.to_thread(a.writer.write, [append, lambda _: gate.stand()]))
    await gate.is_reached()
    cancelling = asyncio.ensure_future(b.application.cancel(TENANT, segment.run_id, "stop", "ada"))
    await waits_for_a_lock(url)
    gate.opened.set()
    assert [result.error for result in (await writing).results] == [None, None]
    assert (await cancelling).head_seq == 6 + 1
    assert b"cancelled" in (await world.log(segment.run_id))[-1]


@pytest.mark.parametrize("ending", ["complete", "cancel"])
async def test_an_end_and_a_cancel_have_one_winner(world: World, url: str, a: Process, b: Process, ending: str) -> None:
    segment = await world.running()

    async def complete(use: Application) -> None:
        await use.complete(segment.run_id, 1)

    async def cancel(use: Application) -> None:
        await use.cancel(TENANT, segment.run_id, "stop", "ada")

    order = [complete, cancel] if ending == "complete" else [cancel, complete]
    first, second = await race(url, a, order[0], b, order[1])
    assert first is None
    assert second is None or isinstance(second, IllegalTransition)
    assert (await world.view(segment.run_id)).run.status == {"complete": "completed", "cancel": "cancelled"}[ending]
    assert (await world.application.session(TENANT, segment.run.session_id)).active_run_id is None


async def test_opposite_decisions_have_one_winner(world: World, url: str, a: Process, b: Process) -> None:
    segment = await world.waiting()
    (asked,) = (await world.view(segment.run_id)).run.pending_approvals

    async def approve(use: Application) -> None:
        decision = Decision(approval_id=asked.approval_id, outcome="approve", by="ada")
        await use.decide(TENANT, segment.run_id, [decision])

    async def deny(use: Application) -> None:
        await use.decide(TENANT, segment.run_id, [Decision(approval_id=asked.approval_id, outcome="deny", by="bob")])

    _, refused = await race(url, a, approve, b, deny, passes=1)  # a decision looks for what is overdue first
    assert isinstance(refused, DecisionConflict)
    assert (await world.view(segment.run_id)).run.status is Status.PENDING


async def test_claims_at_once_take_different_runs(world: World, url: str, a: Process, b: Process) -> None:
    """And nobody waits: what the other has in hand is passed over."""
    runs = [(await world.pending()).run_id for _ in range(4)]
    first, second = await race(
        url, a, lambda use: use.claim("w1", ["echo"], 2), b, lambda use: use.claim("w2", ["echo"], 9), waits=False
    )
    assert [assignment.run.run_id for assignment in first] == runs[:2]
    assert [assignment.run.run_id for assignment in second] == runs[2:]


async def test_a_lost_run_is_taken_over_once(world: World, url: str, a: Process, b: Process) -> None:
    segment = await world.running()
    world.clock.advance(world.limits.lease_s)
    first, second = await race(
        url, a, lambda use: use.claim("w1", ["echo"], 1), b, lambda use: use.claim("w2", ["echo"], 1), waits=False
    )
    assert [assignment.run.epoch for assignment in first] == [2]
    assert second == []
    assert await b.application.claim("w2", ["echo"], 1) == []
    assert (await world.view(segment.run_id)).run.worker == "w1"


async def test_a_take_over_refuses_what_the_old_worker_has_ready(
    world: World, url: str, a: Process, b: Process
) -> None:
    segment = await world.running()
    append = segment.next(Text("stale"))
    world.clock.advance(world.limits.lease_s)
    taken, refused = await race(url, a, lambda use: use.claim("w2", ["echo"], 1), b, lambda use: use.append(append))
    assert taken[0].run.epoch == 2
    assert isinstance(refused, StaleEpoch)


async def test_a_renewal_that_comes_too_late_is_told_so(world: World, url: str, a: Process, b: Process) -> None:
    lost, held = await world.running(), await world.running()
    world.clock.advance(world.limits.lease_s)
    await world.application.renew(held.run.worker or "", [(held.run_id, 1)])
    taken, told = await race(
        url,
        a,
        lambda use: use.claim("w2", ["echo"], 1),
        b,
        lambda use: use.renew(lost.run.worker or "", [(lost.run_id, 1), (held.run_id, 1)]),
    )
    assert [assignment.run.run_id for assignment in taken] == [lost.run_id]
    assert told == [lost.run_id]


async def test_a_run_of_another_session_waits_for_nobody(world: World, url: str, a: Process, b: Process) -> None:
    """The lock is the session's, and no table's."""
    busy, free = await world.running(), await world.running()
    append = free.next(Text("a"), EndPart(), Checkpoint({}))
    _, done = await race(
        url,
        a,
        lambda use: use.cancel(TENANT, busy.run_id, "stop", "ada"),
        b,
        lambda use: use.append(append),
        waits=False,
    )
    assert done is None


async def test_groups_that_cross_do_not_wait_for_each_other(world: World, url: str, a: Process, b: Process) -> None:
    """Each has locked what the other needs next. Neither fails, and nothing is done twice."""
    one, two = [await world.session() for _ in range(2)]
    gates = Gate(), Gate()

    def adds(session: SessionId, gate: Gate | None = None) -> Callable[[Transaction], object]:
        def work(tx: Transaction) -> object:
            stored = tx.session(session)
            assert stored is not None
            if gate is not None and not gate.reached.is_set():
                gate.stand()
            return tx.answer("t", "none")

        return work

    groups = [[adds(one, gates[0]), adds(two)], [adds(two, gates[1]), adds(one)]]
    writing = [
        asyncio.ensure_future(asyncio.to_thread(process.writer.write, group))
        for process, group in zip((a, b), groups, strict=True)
    ]
    for gate in gates:
        await gate.is_reached()
    for gate in gates:
        gate.opened.set()
    written = await asyncio.gather(*writing)
    left = 0
    for process, group, done in zip((a, b), groups, written, strict=True):
        assert not done.results[0].again
        for work, result in zip(group, done.results, strict=True):
            if result.again:
                left += 1
                await process.write(work)
            else:
                assert result.error is None
    assert left >= 1


async def test_the_same_append_from_two_servers_lands_once(world: World, url: str, a: Process, b: Process) -> None:
    """Its author heard nothing from the first, and sent it again to the second."""
    segment = await world.running()
    append, gate = segment.next(Text("once")), Gate()
    writing = asyncio.ensure_future(asyncio.to_thread(a.writer.write, [append, lambda _: gate.stand()]))
    await gate.is_reached()
    again = asyncio.ensure_future(b.append(append))
    await waits_for_a_lock(url)
    gate.opened.set()
    await asyncio.gather(writing, again)
    assert len(await world.log(segment.run_id)) == 6
    with pytest.raises(AppendConflict):
        await b.append(other_bytes(segment, append))


def other_bytes(segment: Segment, append: Append) -> Append:
    """Something else at the same place."""
    return Segment.begin(segment.world, segment.run, append.batch.first_seq).next(Text("other"))
