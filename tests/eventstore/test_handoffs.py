"""H5, H6: a planned handoff while inputs are queued: none lost, none twice, whatever ends it and whoever restarts."""

from datetime import timedelta

import pytest

from reattach.domain.errors import HandoffConflict, SessionOwned
from reattach.domain.identifiers import RunId, SessionId
from reattach.domain.requests import StartRun
from reattach.domain.run import Run
from reattach.infrastructure.eventstore import open_store

from .world import TENANT, ManualClock, World

pytestmark = pytest.mark.anyio


class Restarting:
    """A world whose store is opened anew for each step: what is not in the file is forgotten."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.clock = ManualClock()

    async def __aenter__(self) -> World:
        self._store = open_store(self._url, self.clock, durability="relaxed")
        await self._store.start()
        return World(self._store, self.clock)

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()


async def enqueue(world: World, session_id: SessionId, text: str) -> RunId:
    request = StartRun(agent="echo", input=text, on_busy="enqueue")
    return (await world.application.start_run(TENANT, session_id, request, session_epoch=1)).run_id


async def work_off(world: World) -> list[RunId]:
    """Run all that can be claimed, one after the other."""
    done: list[RunId] = []
    while found := await world.application.claim("w", ["echo"], 1):
        segment = world.segment(found[0])
        await segment.finish()
        done.append(segment.run_id)
    return done


async def runs_of(world: World, session_id: SessionId) -> list[Run]:
    """The session's runs, as its stream orders them."""
    found: list[Run] = []
    place = 0, 0
    while (run_id := await world.store.next_run(session_id, *place)) is not None:
        found.append((await world.view(run_id)).run)
        place = found[-1].turn, found[-1].attempt
    return found


@pytest.mark.parametrize("ends", ["completed", "abandoned", "expired", "superseded", "source_left"])
async def test_inputs_before_the_barrier_finish_and_later_ones_wait_for_its_end(url: str, ends: str) -> None:
    """Both sides restart between any two steps."""
    whole = Restarting(url)
    async with whole as world:
        session_id = await world.session()
        await world.application.sessions.resume(TENANT, session_id, "ada")
        before = [await enqueue(world, session_id, f"{n}") for n in range(3)]
    async with whole as world:
        handoff, new = await world.application.handoffs.request(TENANT, session_id, "h", 10)
        assert (new, handoff.status, handoff.barrier, handoff.source) == (True, "requested", 3, "ada")
    async with whole as world:
        after = [await enqueue(world, session_id, f"{n}") for n in range(3, 5)]
        assert await world.application.handoffs.request(TENANT, session_id, "h", 99) == (handoff, False)
        with pytest.raises(HandoffConflict) as refused:
            await world.application.handoffs.ready(TENANT, session_id, "h", 1)
        assert refused.value.fields["run_id"] == before[0]
        assert await work_off(world) == before
    async with whole as world:
        assert await work_off(world) == []
        assert [run.run_id for run in await runs_of(world, session_id)] == before
        await finish(world, session_id, ends)
    async with whole as world:
        assert await work_off(world) == after
        runs = await runs_of(world, session_id)
        assert [run.run_id for run in runs] == before + after
        assert [run.status for run in runs] == ["completed"] * 5
        known = await world.application.handoffs.get(TENANT, session_id, "h")
        status = "completed" if ends == "completed" else "abandoned"
        assert (known.status, known.reason) == (status, None if ends == "completed" else ends)
        assert await world.application.handoffs.request(TENANT, session_id, "h", 10) == (known, False)


async def finish(world: World, session_id: SessionId, ends: str) -> None:
    """End the handoff in one of the ways there are."""
    use = world.application
    match ends:
        case "completed":
            ready = await use.handoffs.ready(TENANT, session_id, "h", 1)
            assert await use.handoffs.ready(TENANT, session_id, "h", 1) == ready
            taken = await use.sessions.resume(TENANT, session_id, "bob", handoff_id="h")
            assert (taken.epoch, taken.code) == (2, "RESUMED")
            # its answer was lost: it asks again, and nothing changes hands a second time
            assert await use.sessions.resume(TENANT, session_id, "bob", handoff_id="h") == taken
        case "abandoned":
            await use.handoffs.abandon(TENANT, session_id, "h")
        case "expired":
            world.clock.advance(10)
            await use.sweep()
        case "superseded":
            await use.sessions.resume(TENANT, session_id, "eve", takeover=True)
        case _:
            await use.sessions.detach(TENANT, session_id, 1)


async def test_a_target_that_never_comes_is_given_up_once(url: str) -> None:
    """H6: two sweepers, several sweeps, one fact; the source goes on under its epoch, and a late target is told."""
    async with Restarting(url) as world:
        use = world.application
        session_id = await world.session()
        await use.sessions.resume(TENANT, session_id, "ada")
        await use.handoffs.request(TENANT, session_id, "h", 10)
        await use.handoffs.ready(TENANT, session_id, "h", 1)
        waits = await enqueue(world, session_id, "waits")
        world.clock.advance(9.999)
        await use.sweep()
        assert (await use.handoffs.get(TENANT, session_id, "h")).status == "ready"
        world.clock.advance(0.001)
        await use.sweep()
        once = await use.session(TENANT, session_id)
        await use.sweep()
        assert await use.session(TENANT, session_id) == once
        assert (once.owner, once.epoch, once.active_run_id) == ("ada", 1, waits)
        with pytest.raises(HandoffConflict):
            await use.sessions.resume(TENANT, session_id, "bob", handoff_id="h")
        assert (await use.sessions.append_memory(TENANT, session_id, "on we go", 1)).by == "ada"
        await use.handoffs.abandon(TENANT, session_id, "h")
        assert (await use.handoffs.get(TENANT, session_id, "h")).reason == "expired"


async def test_only_one_handoff_is_under_way(url: str) -> None:
    async with Restarting(url) as world:
        use = world.application
        session_id = await world.session()
        with pytest.raises(HandoffConflict):
            await use.handoffs.request(TENANT, session_id, "h", 10)  # nobody owns it
        await use.sessions.resume(TENANT, session_id, "ada")
        await use.handoffs.request(TENANT, session_id, "h", 10)
        with pytest.raises(HandoffConflict):
            await use.handoffs.request(TENANT, session_id, "other", 10)
        with pytest.raises(HandoffConflict):
            await use.sessions.resume(TENANT, session_id, "bob", handoff_id="h")  # the source has not let go
        await use.handoffs.ready(TENANT, session_id, "h", 1)
        await use.sessions.resume(TENANT, session_id, "bob", handoff_id="h")
        with pytest.raises(HandoffConflict):
            await use.sessions.resume(TENANT, session_id, "eve", handoff_id="h")  # it has come already
        await use.handoffs.request(TENANT, session_id, "other", 10)
        assert (await use.handoffs.get(TENANT, session_id, "h")).target == "bob"


async def test_a_source_that_reconnects_still_hands_over(url: str) -> None:
    async with Restarting(url) as world:
        use = world.application
        session_id = await world.session()
        await use.sessions.resume(TENANT, session_id, "ada")
        await use.handoffs.request(TENANT, session_id, "h", 10)
        again = await use.sessions.resume(TENANT, session_id, "ada")
        await use.handoffs.ready(TENANT, session_id, "h", again.epoch)
        assert (await use.sessions.resume(TENANT, session_id, "bob", handoff_id="h")).epoch == again.epoch + 1


async def test_a_target_that_asks_again_owns_it_for_a_whole_lease(url: str) -> None:
    """It did not hear the first answer: what it hears now is no ownership that has lapsed."""
    async with Restarting(url) as world:
        use = world.application
        session_id = await world.session()
        await use.sessions.resume(TENANT, session_id, "ada")
        await use.handoffs.request(TENANT, session_id, "h", 10)
        await use.handoffs.ready(TENANT, session_id, "h", 1)
        first = await use.sessions.resume(TENANT, session_id, "bob", handoff_id="h")
        world.clock.advance(61)
        again = await use.sessions.resume(TENANT, session_id, "bob", handoff_id="h")
        assert (again.epoch, again.lease_expires_at) == (first.epoch, first.lease_expires_at + timedelta(seconds=61))
        with pytest.raises(SessionOwned):
            await use.sessions.resume(TENANT, session_id, "eve")


async def test_a_handoff_ends_with_the_owner_that_could_have_said_ready(url: str) -> None:
    """Its lease ends, and somebody writes: nothing waits for a source that is gone."""
    clock = ManualClock()
    async with open_store(url, clock, durability="relaxed") as store:
        world = World(store, clock)
        session_id = await world.session()
        use = world.application
        await use.sessions.resume(TENANT, session_id, "ada")
        await use.handoffs.request(TENANT, session_id, "h", 80_000.0)
        clock.advance(world.limits.session_lease_s)
        await use.sessions.append_memory(TENANT, session_id, "m", None)
        handoff = await use.handoffs.get(TENANT, session_id, "h")
        assert (handoff.status, handoff.reason) == ("abandoned", "source_left")
        await world.pending(session_id)
