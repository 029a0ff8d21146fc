"""Group commit on the simulator's terms: in steps that take time, with fates, and without the dead."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from reattach.domain.agent import Text
from reattach.domain.errors import StoreUnavailable
from reattach.domain.ports import Append
from reattach.infrastructure.eventstore.committer import GROUP_MAX
from reattach.infrastructure.eventstore.writer import Work, Written
from reattach.simulations.store import Fate, InlineCommitter, ModelCore, open_over

from ...eventstore.world import Listening, ManualClock, Segment, World

pytestmark = pytest.mark.anyio


@dataclass
class Way:
    """One process's way into a core, whose times and fates are in our hand."""

    core: ModelCore
    clock: ManualClock
    delays: list[float] = field(default_factory=list[float])
    replies: list[float] = field(default_factory=list[float])
    fate: Fate = "commit"
    alive: bool = True
    groups: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        self.committer = InlineCommitter(
            self.core,
            delay=lambda: self.delays.pop(0) if self.delays else 0.0,
            reply_delay=lambda: self.replies.pop(0) if self.replies else 0.0,
            fate=lambda _: self.fate,
            alive=lambda: self.alive,
        )
        self.store = open_over(self.core, self.committer)
        self.world = World(self.store, self.clock)


@pytest.fixture
def way() -> Way:
    clock = ManualClock()
    way = Way(ModelCore(clock), clock)

    def committed(group: Sequence[Work], written: Written) -> None:
        way.groups.append(len(group))
        assert len(written.results) == len(group)

    way.core.on_commit = committed
    return way


async def sent(segment: Segment, text: str) -> asyncio.Future[None]:
    """An append that is handed over."""
    append = asyncio.ensure_future(segment.world.store.append(segment.next(Text(text))))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return append


async def test_what_comes_while_a_group_is_written_is_the_next_group(way: Way) -> None:
    async with way.store:
        segments = [await way.world.running() for _ in range(3)]
        way.groups.clear()
        way.delays = [0.02]
        writes = [await sent(segment, "a") for segment in segments]
        await asyncio.gather(*writes)
    assert way.groups == [3]


async def test_a_group_is_bounded(way: Way) -> None:
    async with way.store:
        await asyncio.gather(*(way.store.transact(lambda tx: tx.now) for _ in range(GROUP_MAX + 1)))
    assert way.groups == [GROUP_MAX, 1]


async def test_replies_come_in_the_order_of_the_groups(way: Way) -> None:
    """Although the first was to be told later than the second; and news comes in log order."""
    async with way.store:
        segment = await way.world.running()
        listening = Listening()
        way.store.listen(listening)
        way.replies = [0.05, 0.0]
        first = await sent(segment, "a")
        while len(way.groups) < 4:
            await asyncio.sleep(0)
        second = await sent(segment, "b")
        await second
        assert first.done()
    assert [commit.record.first_seq for commit in listening.commits] == [3, 6 + 1]


async def test_a_lost_group_was_never_written(way: Way) -> None:
    async with way.store:
        segment = await way.world.running()
        way.fate = "lost"
        with pytest.raises(StoreUnavailable):
            await segment.write(Text("a"))
        with pytest.raises(StoreUnavailable):
            await way.store.check()
        assert len(await way.world.log(segment.run_id)) == 2


async def test_an_unknown_group_was_written_and_nobody_was_told(way: Way) -> None:
    """Sent again it is found to stand; and the process is as one that has to look again."""
    async with way.store:
        segment = await way.world.running()
        listening = Listening()
        way.store.listen(listening)
        await way.committer.foreign_commits()
        way.fate = "unknown"
        append: Append = segment.next(Text("a"))
        with pytest.raises(StoreUnavailable):
            await way.store.append(append)
        assert len(await way.world.log(segment.run_id)) == 6
        assert listening.commits == []
        way.fate = "commit"
        assert await way.committer.foreign_commits()
        await way.store.append(append)
        assert not await way.committer.foreign_commits()


async def test_the_dead_write_nothing(way: Way) -> None:
    other = Way(way.core, way.clock)
    async with other.store:
        await way.store.start()
        segment = await way.world.running()
        append = await sent(segment, "a")
        way.alive = False
        await asyncio.sleep(0.01)
        assert not append.done()
        append.cancel()
        assert len(await other.world.log(segment.run_id)) == 2


async def test_commits_of_others_are_foreign_and_own_ones_are_not(way: Way) -> None:
    other = Way(way.core, way.clock)
    own: list[bool] = []
    way.core.on_commit = lambda _group, _written: own.append(way.committer.writing)
    async with way.store, other.store:
        await way.world.session()
        await way.world.pending()
        assert not await way.committer.foreign_commits()
        assert await other.committer.foreign_commits()
        await other.world.pending()
        assert await way.committer.foreign_commits()
        assert not await way.committer.foreign_commits()
    assert own == [True, True, True, False, False]


async def test_a_checkers_error_reaches_whoever_waits(way: Way) -> None:
    """Nobody hangs in a world that is over."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def checks(group: Sequence[Work], written: Written) -> None:
        raise ZeroDivisionError(len(group), len(written.news))

    async with way.store:
        way.core.on_commit = checks
        with pytest.raises(ZeroDivisionError):
            await way.world.session()
    assert [type(error) for error in reported] == [ZeroDivisionError]


async def test_closing_finishes_what_is_queued(way: Way) -> None:
    await way.store.start()
    segment = await way.world.running()
    way.delays, way.replies = [0.01], [0.01]
    append = asyncio.ensure_future(segment.write(Text("a")))
    await asyncio.sleep(0)
    await way.store.close()
    await append
    with pytest.raises(StoreUnavailable):
        await segment.write(Text("too late"))
