"""H8, H9: one claim wins, what is staged is used, and no finished summary leaves out an accepted memory."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from itertools import permutations
from typing import Final

import pytest

from reattach.domain.errors import ReattachError, StaleToken, SummaryNotDue
from reattach.domain.identifiers import SessionId
from reattach.domain.requests import Idempotency
from reattach.domain.session_facts import SummaryCompleted
from reattach.infrastructure.clock import SystemClock
from reattach.infrastructure.eventstore import open_store

from .raw import facts
from .world import ENVIRONMENT, ROOT, TENANT, ManualClock, World

pytestmark = pytest.mark.anyio

PROCESSES: Final = 10


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_store(url, clock, durability="relaxed") as store:
        yield World(store, clock)


async def idle(world: World, memories: int = 2) -> SessionId:
    """A session with memories that nobody has used for long enough."""
    session_id = await world.session()
    for n in range(memories):
        await world.application.sessions.append_memory(TENANT, session_id, f"m{n}", None)
    world.clock.advance(world.limits.session_grace_s)
    return session_id


async def test_a_lost_answer_does_not_lock_the_session_up(world: World) -> None:
    session_id = await idle(world)
    summaries = world.application.summaries
    claims = [await summaries.claim(TENANT, session_id, "s", Idempotency("k", "same")) for _ in range(2)]
    assert claims[0] == claims[1]
    with pytest.raises(SummaryNotDue):
        await summaries.claim(TENANT, session_id, "s", Idempotency("another", "same"))
    await summaries.stage(TENANT, session_id, claims[1].token, "short")
    assert (await summaries.complete(TENANT, session_id, claims[1].token)).watermark == 2


async def test_ten_processes_claim_and_one_wins(url: str) -> None:
    """They are all there before the first one may begin."""
    async with open_store(url, SystemClock()) as store:
        world = World(store, ManualClock())
        session_id = await world.session()
        await world.application.sessions.append_memory(TENANT, session_id, "m", None)
        command = (sys.executable, "-m", "tests.eventstore.summarizes", url, session_id)
        processes = [
            await asyncio.create_subprocess_exec(*command, f"p{n}", stdin=PIPE, stdout=PIPE, cwd=ROOT, env=ENVIRONMENT)
            for n in range(PROCESSES)
        ]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        said = [line for line, _ in await asyncio.gather(*(process.communicate(b"go\n") for process in processes))]
        won = [line.split()[1].decode() for line in said if line.startswith(b"won")]
        assert len(won) == 1
        assert said.count(b"refused summary_not_due\n") == PROCESSES - 1
        session = await world.application.session(TENANT, session_id)
        assert session.claim is not None
        assert session.claim.token == won[0]


async def test_within_grace_nobody_summarizes(world: World) -> None:
    """A client that disconnects and comes back, again and again, for an hour."""
    session_id = await idle(world)
    use = world.application
    for _ in range(40):
        epoch = (await use.sessions.resume(TENANT, session_id, "ada")).epoch
        await use.sessions.append_memory(TENANT, session_id, "more", epoch)
        world.clock.advance(world.limits.session_lease_s / 2)
        with pytest.raises(SummaryNotDue):
            await use.summaries.claim(TENANT, session_id, "s")
        await use.sessions.detach(TENANT, session_id, epoch)
        world.clock.advance(world.limits.session_grace_s - 0.001)
        with pytest.raises(SummaryNotDue):
            await use.summaries.claim(TENANT, session_id, "s")
    assert (await use.session(TENANT, session_id)).claim is None


async def test_a_session_in_use_is_not_summarized(world: World) -> None:
    use = world.application
    session_id = await idle(world)
    segment = await world.running(session_id)
    world.clock.advance(1e4)
    with pytest.raises(SummaryNotDue) as refused:
        await use.summaries.claim(TENANT, session_id, "s")
    assert refused.value.fields["run_id"] == segment.run_id
    await segment.finish()
    world.clock.advance(1e4)
    await use.summaries.claim(TENANT, session_id, "s")
    nothing = await world.session()
    world.clock.advance(1e4)
    with pytest.raises(SummaryNotDue):
        await use.summaries.claim(TENANT, nothing, "s")


async def test_what_was_staged_before_a_crash_is_used(world: World) -> None:
    session_id = await idle(world)
    use = world.application.summaries
    first = await use.claim(TENANT, session_id, "s1")
    assert (first.after, first.through, first.is_staged, first.previous) == (0, 2, False, None)
    with pytest.raises(ReattachError):
        await use.complete(TENANT, session_id, first.token)  # nothing is staged
    await use.stage(TENANT, session_id, first.token, None)  # also a result that is null
    world.clock.advance(world.limits.summary_lease_s)
    second = await use.claim(TENANT, session_id, "s2")
    assert (second.is_staged, second.staged, second.through) == (True, None, 2)
    for stale in (use.stage(TENANT, session_id, first.token, "late"), use.complete(TENANT, session_id, first.token)):
        with pytest.raises(StaleToken):
            await stale
    done = await use.complete(TENANT, session_id, second.token)
    assert (done.watermark, done.summary, done.claim) == (2, None, None)
    assert await use.complete(TENANT, session_id, second.token) == done
    with pytest.raises(SummaryNotDue):
        await use.claim(TENANT, session_id, "s3")  # no redundant one
    with pytest.raises(StaleToken):
        await use.stage(TENANT, session_id, second.token, "again")


async def test_a_staged_result_that_has_become_too_old_is_made_anew(world: World) -> None:
    session_id = await idle(world)
    use = world.application
    first = await use.summaries.claim(TENANT, session_id, "s1")
    await use.summaries.stage(TENANT, session_id, first.token, "of two")
    await use.sessions.append_memory(TENANT, session_id, "third", None)
    with pytest.raises(StaleToken):
        await use.summaries.stage(TENANT, session_id, first.token, "x")
    with pytest.raises(StaleToken):
        await use.summaries.complete(TENANT, session_id, first.token)
    world.clock.advance(world.limits.summary_lease_s)
    second = await use.summaries.claim(TENANT, session_id, "s2")
    assert (second.through, second.is_staged) == (3, False)
    await use.summaries.stage(TENANT, session_id, second.token, "of three")
    assert (await use.summaries.complete(TENANT, session_id, second.token)).summary == "of three"


STEPS: Final = ("claim", "stage", "complete", "resume", "append")


def orders() -> list[tuple[str, ...]]:
    """Every interleaving of a summary and of a client that comes back: each goes through its own steps in order."""
    found = permutations(STEPS)
    ordered = [o for o in found if list(filter(STEPS[:3].__contains__, o)) == list(STEPS[:3])]
    return [o for o in ordered if o.index("resume") < o.index("append")] + [
        tuple("append anyone" if step == "append" else step for step in o) for o in ordered
    ]


async def played(world: World, order: Sequence[str]) -> tuple[SessionId, list[str]]:
    """Play it; the steps that were done."""
    session_id = await idle(world)
    use, done = world.application, list[str]()
    token, epoch = "none", None
    for step in order:
        try:
            match step:
                case "claim":
                    token = (await use.summaries.claim(TENANT, session_id, "s")).token
                case "stage":
                    await use.summaries.stage(TENANT, session_id, token, "summary of all")
                case "complete":
                    await use.summaries.complete(TENANT, session_id, token)
                case "resume":
                    epoch = (await use.sessions.resume(TENANT, session_id, "ada")).epoch
                case _:
                    await use.sessions.append_memory(TENANT, session_id, "new", epoch)
        except ReattachError:
            continue
        done.append(step)
    return session_id, done


async def test_no_interleaving_finishes_a_summary_that_omits_a_memory(world: World, url: str) -> None:
    """H9: at the commit of every completion its `through` is the number of memories; the log is the witness."""
    outcomes: dict[bool, int] = {True: 0, False: 0}
    assert len(orders()) == 30
    for order in orders():
        session_id, done = await played(world, order)
        count = 0
        for topic, state in facts(url, session_id):
            row = f"{topic} {state.decode()}"
            if row.startswith("session.memory_appended"):
                count += 1
            elif row.startswith(SummaryCompleted.topic):
                assert f'"through":{count}' in row, order
        assert count == 3, order  # whoever appends is never refused
        outcomes["complete" in done] += 1
        session = await world.application.session(TENANT, session_id)
        after = next((n for n, step in enumerate(order) if step.startswith("append")), 0)
        expected = "complete" in order[:after]
        assert ("complete" in done) == (expected and "resume" not in order[: order.index("claim")]), order
        assert session.watermark == (2 if "complete" in done else 0)
    assert all(outcomes.values())
