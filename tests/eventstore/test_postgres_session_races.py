"""As `test_postgres_races.py`, for works of one session: turns, keys, owners, memories, summaries."""

import asyncio
from datetime import datetime

import pytest

from reattach.domain.application import Application
from reattach.domain.errors import (
    SessionBusy,
    SessionFinalized,
    SessionOwned,
    StaleSession,
    SummaryNotDue,
)
from reattach.domain.identifiers import RunId, SessionId
from reattach.domain.memory import first_break
from reattach.domain.ports import Transaction
from reattach.domain.requests import Idempotency, StartRun
from reattach.domain.transitions import Status

from .beside import Gate, Process, race, url_on_postgres, world_on_postgres
from .world import TENANT, World

__all__ = ["url_on_postgres", "world_on_postgres"]  # fixtures

pytestmark = pytest.mark.anyio
GO = StartRun(agent="echo", input="go")


async def test_owners_at_once_get_different_epochs(world: World, url: str, a: Process, b: Process) -> None:
    session = await world.session()

    async def resume(use: Application, client: str, *, takeover: bool) -> int:
        return (await use.sessions.resume(TENANT, session, client, takeover=takeover)).epoch

    first, second = await race(
        url, a, lambda use: resume(use, "ada", takeover=False), b, lambda use: resume(use, "bob", takeover=False)
    )
    assert first == 1
    assert isinstance(second, SessionOwned)
    assert await resume(b.application, "bob", takeover=True) == 2


async def test_memories_at_once_are_one_chain(world: World, url: str, a: Process, b: Process) -> None:
    session = await world.session()

    async def remember(use: Application, content: str) -> int:
        return (await use.sessions.append_memory(TENANT, session, content, None)).sequence

    assert await race(url, a, lambda use: remember(use, "x"), b, lambda use: remember(use, "y")) == (1, 2)
    assert first_break(session, await world.store.memories(session, 0, 9)) is None


async def test_a_takeover_voids_the_memory_that_was_on_its_way(world: World, url: str, a: Process, b: Process) -> None:
    session = await world.session()
    epoch = (await world.application.sessions.resume(TENANT, session, "ada")).epoch
    _, refused = await race(
        url,
        a,
        lambda use: use.sessions.resume(TENANT, session, "bob", takeover=True),
        b,
        lambda use: use.sessions.append_memory(TENANT, session, "late", epoch),
    )
    assert isinstance(refused, StaleSession)


async def test_a_summary_is_claimed_once(world: World, url: str, a: Process, b: Process) -> None:
    session = await world.session()
    await world.application.sessions.append_memory(TENANT, session, "m", None)
    world.clock.advance(world.limits.session_grace_s)
    won, lost = await race(
        url,
        a,
        lambda use: use.summaries.claim(TENANT, session, "s1"),
        b,
        lambda use: use.summaries.claim(TENANT, session, "s2"),
    )
    assert won.through == 1
    assert isinstance(lost, SummaryNotDue)


async def test_a_finalized_session_takes_no_turn(world: World, url: str, a: Process, b: Process) -> None:
    session = await world.session()
    _, refused = await race(
        url,
        a,
        lambda use: use.sessions.finalize(TENANT, session, None),
        b,
        lambda use: use.start_run(TENANT, session, GO),
    )
    assert isinstance(refused, SessionFinalized)


async def test_two_starts_have_one_winner(world: World, url: str, a: Process, b: Process) -> None:
    session = await world.session()
    won, lost = await race(
        url,
        a,
        lambda use: use.start_run(TENANT, session, GO),
        b,
        lambda use: use.start_run(TENANT, session, GO),
    )
    assert won.status is Status.PENDING
    assert isinstance(lost, SessionBusy)
    assert lost.fields["run_id"] == won.run_id


async def test_queued_turns_are_numbered_in_the_order_of_their_commits(
    world: World, url: str, a: Process, b: Process
) -> None:
    session = await world.session()
    later = StartRun(agent="echo", input="later", on_busy="enqueue")
    first, second = await race(
        url,
        a,
        lambda use: use.start_run(TENANT, session, later),
        b,
        lambda use: use.start_run(TENANT, session, later),
    )
    assert (first.turn, second.turn) == (1, 2)
    stored = await world.application.session(TENANT, session)
    assert (stored.active_run_id, stored.queue) == (first.run_id, (second.run_id,))


async def test_the_same_key_at_once_starts_one_run(world: World, url: str, a: Process, b: Process) -> None:
    """The second looks for an answer before the first has given it; then the session is busy, with the first's run."""
    session = await world.session()

    async def start(use: Application) -> RunId:
        return (await use.start_run(TENANT, session, GO, Idempotency("key", "same"))).run_id

    first, second = await race(url, a, start, b, start)
    assert first == second
    with pytest.raises(SessionBusy):
        await b.application.start_run(TENANT, session, GO, Idempotency("another", "same"))


async def test_the_same_key_at_once_creates_once(world: World, url: str, a: Process, b: Process) -> None:
    """Neither sees the other's answer when it begins; the one that comes second does it again, and finds it."""

    async def create(use: Application) -> SessionId:
        return (await use.create_session(TENANT, {}, Idempotency("key", "same"))).session_id

    first, second = await race(url, a, create, b, create)
    assert first == second
    assert len((await world.store.sessions(TENANT, {}, None, 9)).items) == 1


async def test_a_turn_never_begins_before_the_last_one_has_ended(world: World, url: str) -> None:
    """Also not by the clock, if who starts it has stood still between its transaction's begin and the session's row."""
    segment = await world.running()
    session = segment.run.session_id
    stands, ends = (Process(url, world, by_server=True) for _ in range(2))
    gate = Gate()

    def start(tx: Transaction) -> tuple[datetime, datetime]:
        began = tx.now
        gate.stand()
        assert tx.session(session) is not None
        return began, tx.now

    waiting = asyncio.ensure_future(asyncio.to_thread(stands.writer.write, [start]))
    await gate.is_reached()
    ended = (await ends.application.cancel(TENANT, segment.run_id, "stop", "ada")).run.ended_at
    gate.opened.set()
    ((began, locked),) = [result.value for result in (await waiting).results]
    assert ended is not None
    assert began < ended < locked
    stands.close()
    ends.close()
