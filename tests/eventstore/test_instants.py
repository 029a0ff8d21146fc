"""H4: a moment before the instant everybody gives the one answer, and exactly at it everybody gives the other."""

from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta

import pytest

from reattach.domain.errors import (
    HandoffConflict,
    ReattachError,
    SessionBusy,
    SessionEpochRequired,
    SessionOwned,
    SummaryNotDue,
)
from reattach.domain.identifiers import SessionId
from reattach.domain.requests import StartRun
from reattach.domain.steps import owned_at
from reattach.infrastructure.eventstore import open_store

from .world import TENANT, ManualClock, World

pytestmark = pytest.mark.anyio

MOMENT = timedelta(microseconds=1)


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_store(url, clock, durability="relaxed") as store:
        yield World(store, clock)


async def owned(world: World, client: str = "ada") -> SessionId:
    session_id = await world.session()
    await world.application.sessions.resume(TENANT, session_id, client)
    return session_id


async def refusal(work: Awaitable[object]) -> type[ReattachError] | None:
    """What it was refused with; None: it was done."""
    try:
        await work
    except ReattachError as error:
        return type(error)
    return None


@pytest.mark.parametrize("asks", ["resume", "memory", "start", "finalize", "delete"])
async def test_a_lease_ends_at_its_instant_for_everybody(world: World, asks: str) -> None:
    """The instant is the one that GET and the refusals name."""
    for before in (True, False):
        session_id = await owned(world)
        until = (await world.application.session_view(TENANT, session_id)).lease_until
        assert until is not None
        world.clock.instant = until - MOMENT if before else until
        assert owned_at(until, world.clock.now()) is before
        use = world.application.sessions
        start = StartRun(agent="echo", input="x")
        work: Awaitable[object]
        match asks:
            case "resume":
                work = use.resume(TENANT, session_id, "bob")
            case "memory":
                work = use.append_memory(TENANT, session_id, 1, None)
            case "start":
                work = world.application.start_run(TENANT, session_id, start)
            case "finalize":
                work = use.finalize(TENANT, session_id, None)
            case _:
                work = use.delete(TENANT, session_id, None)
        error = SessionOwned if asks == "resume" else SessionEpochRequired
        assert await refusal(work) is (error if before else None)


async def test_a_lapsed_owner_may_go_on_until_somebody_else_has_come(world: World) -> None:
    """The lease decides liveness only; the epoch is what fences."""
    session_id = await owned(world)
    world.clock.advance(world.limits.session_lease_s)
    use = world.application.sessions
    assert (await use.append_memory(TENANT, session_id, 1, 1)).epoch == 1
    await use.renew(TENANT, session_id, 1)
    assert await refusal(use.resume(TENANT, session_id, "bob")) is SessionOwned
    world.clock.advance(world.limits.session_lease_s)
    assert (await use.append_memory(TENANT, session_id, 2, None)).by is None
    late = use.append_memory(TENANT, session_id, 3, 1), use.renew(TENANT, session_id, 1)
    errors = [await refusal(work) for work in late]
    assert [error and error.code for error in errors] == ["stale_epoch"] * 2


@pytest.mark.parametrize("left", ["lapsed", "detached", "never owned"])
async def test_a_summary_is_due_at_its_instant(world: World, left: str) -> None:
    """H8: a client that comes back within grace finds that nobody summarized."""
    session_id = await world.session()
    use = world.application
    epoch = None
    if left != "never owned":
        epoch = (await use.sessions.resume(TENANT, session_id, "ada")).epoch
    await use.sessions.append_memory(TENANT, session_id, "m", epoch)
    if left == "detached" and epoch is not None:
        await use.sessions.detach(TENANT, session_id, epoch)
    due_at = world.clock.now() + timedelta(seconds=world.limits.session_grace_s)
    if left == "lapsed":
        due_at += timedelta(seconds=world.limits.session_lease_s)
    with pytest.raises(SummaryNotDue) as refused:
        await use.summaries.claim(TENANT, session_id, "s")
    assert refused.value.fields["due_at"] == due_at
    world.clock.instant = due_at - MOMENT
    assert await refusal(use.summaries.claim(TENANT, session_id, "s")) is SummaryNotDue
    world.clock.instant = due_at
    work = await use.summaries.claim(TENANT, session_id, "s")
    world.clock.instant = work.expires_at - MOMENT
    assert await refusal(use.summaries.claim(TENANT, session_id, "t")) is SummaryNotDue
    world.clock.instant = work.expires_at
    assert (await use.summaries.claim(TENANT, session_id, "t")).token != work.token


@pytest.mark.parametrize("asks", ["resume", "ready", "start", "finalize", "request", "abandon", "memory", "sweep"])
async def test_a_handoff_is_over_at_its_instant_for_everybody(world: World, asks: str) -> None:
    """Whoever comes first at that instant ends it; a moment before, nobody does."""
    for before in (True, False):
        session_id = await owned(world)
        use = world.application
        handoff, _ = await use.handoffs.request(TENANT, session_id, "h", 10)
        world.clock.instant = handoff.expires_at - (MOMENT if before else timedelta(0))
        error: type[ReattachError] | None
        work: Awaitable[object]
        match asks:
            case "resume":
                work, error = use.sessions.resume(TENANT, session_id, "bob", handoff_id="h"), HandoffConflict
            case "ready":
                work, error = use.handoffs.ready(TENANT, session_id, "h", 1), HandoffConflict
            case "start":
                work, error = use.start_run(TENANT, session_id, StartRun(agent="echo"), session_epoch=1), SessionBusy
            case "finalize":
                work, error = use.sessions.finalize(TENANT, session_id, 1), HandoffConflict
            case "request":
                work, error = use.handoffs.request(TENANT, session_id, "h2", 10), HandoffConflict
            case "abandon":
                work, error = use.handoffs.abandon(TENANT, session_id, "h"), None
            case "memory":
                work, error = use.sessions.append_memory(TENANT, session_id, 1, 1), None
            case _:
                work, error = use.sweep(), None
        refused = await refusal(work)
        known = await use.handoffs.get(TENANT, session_id, "h")
        if asks in ("resume", "ready"):  # what is refused changes nothing; the sweep ends it
            expected = HandoffConflict if asks == "resume" or not before else None  # at first nobody was ready
            assert refused is expected
            continue
        assert refused is (error if before else None)
        outcome = ("requested", None) if asks != "abandon" else ("abandoned", "abandoned")
        assert (known.status, known.reason) == (outcome if before else ("abandoned", "expired"))
