"""Readers see whole records in order, page by page; lists come newest first; news comes after the commit."""

import asyncio

import pytest

from reattach.domain.agent import Text, ToolCall, ToolResult
from reattach.domain.identifiers import SessionId
from reattach.domain.ports import RunView, SessionView, Span
from reattach.domain.run import Run
from reattach.domain.transitions import Status

from .contract import StoreContract
from .world import TENANT, Listening, Segment, World, places


class ReadContract(StoreContract):
    async def test_any_cursor_finds_the_record_that_holds_the_next_frame(self, world: World) -> None:
        segment = await world.running()
        await segment.write(Text("a"), Text("b"))
        await segment.write(Text("c"))
        whole = [(1, 1), (2, 2), (3, 7), (8, 8)]
        for after in range(12):
            page = await world.store.read(segment.run_id, after, 100)
            assert places(page) == [place for place in whole if place[1] > after]

    async def test_a_page_stops_after_its_frames_but_never_empty_handed(self, world: World) -> None:
        segment = await world.running()
        await segment.write(*(Text("x") for _ in range(50)))
        await segment.write(Text("y"))
        assert places(await world.store.read(segment.run_id, 0, 1)) == [(1, 1)]
        assert places(await world.store.read(segment.run_id, 0, 2)) == [(1, 1), (2, 2)]
        assert places(await world.store.read(segment.run_id, 2, 1)) == [(3, 55)]
        assert places(await world.store.read(segment.run_id, 54, 1)) == [(3, 55)]
        assert places(await world.store.read(segment.run_id, 54, 2)) == [(3, 55), (56, 56)]

    async def test_what_is_read_at_once_is_what_is_read_alone(self, world: World) -> None:
        """Several places of several runs: none of them is taken for another's."""
        runs = [await world.running() for _ in range(2)]
        for segment in runs:
            for text in "abcd":
                await segment.write(Text(text))
        wanted = [(segment.run_id, after, limit) for segment in runs for after in range(8) for limit in (1, 100)]
        alone = [await world.store.read(*page) for page in wanted]
        assert await asyncio.gather(*(world.store.read(*page) for page in wanted)) == alone
        assert [first for first, _ in places(alone[1])] == [1, 2, 3, 7, 8, 9]

    async def test_every_seq_knows_its_epoch(self, world: World) -> None:
        segment = await world.running()
        await segment.write(Text("a"))
        await world.take_over()
        epochs = [await world.store.epoch_at(segment.run_id, seq) for seq in range(10)]
        assert epochs == [None, 0, 1, 1, 1, 1, 1, 2, 2, None]

    async def test_the_session_goes_through_its_runs_in_order(self, world: World) -> None:
        session = await world.session()
        runs: list[Run] = []
        for _ in range(3):
            segment = await world.running(session)
            await segment.finish()
            runs.append(segment.run)
        place, seen = (0, 0), list[str]()
        while (run_id := await world.store.next_run(session, *place)) is not None:
            seen.append(run_id)
            view = await world.view(run_id)
            place = (view.run.turn, view.run.attempt)
        assert seen == [run.run_id for run in runs]

    async def test_runs_are_listed_newest_first_by_tenant_and_filter(self, world: World) -> None:
        session = await world.session()
        ended = await world.running(session)
        await ended.finish()
        others = [await world.pending() for _ in range(3)]
        newest = [run.run_id for run in reversed(others)]
        pages, after = list[str](), None
        while True:
            page = await world.store.runs(TENANT, {}, after, 2)
            pages += [self.run_id(item) for item in page.items]
            after = page.next_cursor
            if after is None:
                break
        assert pages == [*newest, ended.run_id]
        assert await self.listed(world, status=Status.COMPLETED) == [ended.run_id]
        assert await self.listed(world, session_id=session, agent="echo") == [ended.run_id]
        assert await self.listed(world, agent="none") == []
        assert (await world.store.runs("nobody", {}, None, 9)).items == []
        views = await world.store.runs(TENANT, {"status": "completed"}, None, 1)
        assert list(views.items) == [await world.view(ended.run_id)]

    async def test_sessions_are_listed_newest_first(self, world: World) -> None:
        made = [await world.session() for _ in range(3)]
        page = await world.store.sessions(TENANT, {"status": "open"}, None, 2)
        assert [self.session_id(item) for item in page.items] == made[:0:-1]
        rest = await world.store.sessions(TENANT, {}, page.next_cursor, 2)
        assert [self.session_id(item) for item in rest.items] == made[:1]
        assert rest.next_cursor is None

    async def test_the_newest_messages_come_oldest_first(self, world: World) -> None:
        session = await world.session()
        segments = [await self.answered(world, session, turn) for turn in range(3)]
        everything = await world.store.messages(session, Span(), 99)
        assert [place for place, _, _ in everything] == [(t, 1, o) for t in (1, 2, 3) for o in (0, 1)]
        newest = await world.store.messages(session, Span(), 2)
        assert newest == everything[-2:]
        assert await world.store.messages(session, Span(before=newest[0][0]), 3) == everything[1:4]
        assert await world.store.messages(session, Span(before=(1, 1, 0)), 3) == []
        folded = (await world.folded(segments[-1].run_id)).messages.as_json()
        assert [fields for _, fields, _ in newest] == folded

    # News.

    async def test_listeners_hear_what_is_committed_in_log_order(self, world: World) -> None:
        listening, late = Listening(), Listening()
        stop = world.store.listen(listening)
        world.store.listen(late)
        segment = await world.running()
        await segment.write(Text("a"))
        stop()
        stop()
        await segment.write(Text("b"))
        assert [c.record for c in late.commits] == await world.store.read(segment.run_id, 0, 100)
        assert all(c.run_id == segment.run_id and c.session_id == segment.run.session_id for c in late.commits)
        assert listening.commits == late.commits[:-1]

    async def test_news_is_heard_before_its_author_goes_on(self, world: World) -> None:
        """Whoever is told of an append finds it in the store; its author finds that everybody was told."""
        segment = await world.running()
        seen = Listening()
        found: list[bool] = []
        checks: list[asyncio.Task[None]] = []

        class Checking(Listening):
            def committed(self, commits: object) -> None:
                checks.append(asyncio.create_task(check()))

        async def check() -> None:
            found.append(len(await world.log(segment.run_id)) == 6)

        world.store.listen(Checking())
        world.store.listen(seen)
        await segment.write(Text("a"))
        assert len(seen.commits) == 1
        await asyncio.gather(*checks)
        assert found == [True]

    async def test_a_listener_that_fails_takes_nothing_from_the_others(self, world: World) -> None:
        class Failing(Listening):
            def committed(self, commits: object) -> None:
                raise ZeroDivisionError

        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        listening = Listening()
        world.store.listen(Failing())
        world.store.listen(listening)
        await world.running()
        assert len(listening.commits) == 2
        assert [type(error) for error in reported] == [ZeroDivisionError] * 3  # the session, its run, the claim

    async def test_what_is_asked_for_together_is_committed_together(self, world: World) -> None:
        segments = [await world.running() for _ in range(20)]
        listening = Listening()
        world.store.listen(listening)
        await asyncio.gather(*(segment.write(Text("a")) for segment in segments))
        assert listening.groups == [20]

    @pytest.mark.parametrize("count", [0, 3])
    async def test_the_generation_is_one(self, world: World, count: int) -> None:
        for _ in range(count):
            await world.session()
        await world.store.check()
        assert world.store.generation == 1

    @staticmethod
    async def answered(world: World, session: SessionId, turn: int) -> Segment:
        segment = await world.running(session)
        await segment.write(Text(f"answer {turn}"), ToolCall("c", "add", {"a": 1}), ToolResult("c", 2))
        await segment.finish()
        return segment

    async def listed(self, world: World, **filters: str) -> list[str]:
        return [self.run_id(item) for item in (await world.store.runs(TENANT, filters, None, 9)).items]

    @staticmethod
    def run_id(item: RunView | SessionView) -> str:
        assert isinstance(item, RunView)
        return item.run.run_id

    @staticmethod
    def session_id(item: RunView | SessionView) -> str:
        assert isinstance(item, SessionView)
        return item.session.session_id
