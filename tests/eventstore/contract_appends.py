"""Output lands only at the log's end, under the run's epoch, while the run is running; a refusal says why."""

import asyncio
from dataclasses import replace

import pytest

from reattach.domain.agent import Checkpoint, Text
from reattach.domain.errors import AppendConflict, InvalidFrames, NotFound, RunClosed, StaleEpoch
from reattach.domain.identifiers import RUN_PREFIX, RunId, identifier
from reattach.domain.ports import Append, Record, Transaction
from reattach.domain.scribe import Checkpointed

from .contract import StoreContract
from .world import TENANT, Listening, Segment, World


class AppendContract(StoreContract):
    async def test_output_is_read_as_it_was_written(self, world: World) -> None:
        segment = await world.running()
        first = await segment.write(Text("a"), Text("b"))
        second = await segment.write(Text("c"))
        records = await world.store.read(segment.run_id, 2, 100)
        assert [r.data for r in records if isinstance(r, Record)] == [first.batch.data, second.batch.data]
        assert [r.epoch for r in records] == [1, 1]

    async def test_the_same_append_again_changes_nothing(self, world: World) -> None:
        """Also when others followed it, and when the run has ended or changed hands since."""
        segment = await world.running()
        listening = Listening()
        append = await segment.write(Text("a"))
        await segment.write(Text("b"))
        world.store.listen(listening)
        before = await world.log(segment.run_id)
        await world.store.append(append)
        other = await world.take_over()
        await world.store.append(append)
        await other.finish()
        await world.store.append(append)
        assert (await world.log(segment.run_id))[: len(before)] == before
        assert not [c for c in listening.commits if c.record.first_seq == append.batch.first_seq]

    async def test_other_bytes_at_the_same_place_are_refused(self, world: World) -> None:
        segment = await world.running()
        twin = Segment.begin(world, segment.run, 3)
        await segment.write(Text("a"))
        with pytest.raises(AppendConflict) as refused:
            await world.store.append(twin.next(Text("b")))
        assert refused.value.fields["head_seq"] == 6

    @pytest.mark.parametrize("distance", [-1, 1, 100])
    async def test_no_gap_and_no_overlap(self, world: World, distance: int) -> None:
        segment = await world.running()
        await segment.write(Text("a"), Text("b"))
        before = await world.log(segment.run_id)
        append = displaced(segment.next(Text("c")), len(before) + 1 + distance)
        with pytest.raises(AppendConflict):
            await world.store.append(append)
        assert await world.log(segment.run_id) == before

    async def test_an_older_epoch_is_stale(self, world: World) -> None:
        """The paused worker wakes up: at the old place, and at the very head, its append is refused."""
        paused = await world.running()
        await paused.write(Text("a"))
        await world.take_over()
        head = (await world.view(paused.run_id)).head_seq
        late = paused.next(Text("late"))
        for append in (late, displaced(late, head + 1)):
            with pytest.raises(StaleEpoch) as refused:
                await world.store.append(append)
            assert refused.value.fields["epoch"] == 2
        assert all(b"late" not in line for line in await world.log(paused.run_id))

    async def test_an_epoch_that_is_not_reached_yet_is_refused(self, world: World) -> None:
        append = (await world.running()).next(Text("a"))
        with pytest.raises(StaleEpoch):
            await world.store.append(Append(append.run_id, 2, append.batch))

    @pytest.mark.parametrize("how", ["suspend", "resume", "release", "complete", "fail", "cancel"])
    async def test_only_a_running_run_takes_output(self, world: World, how: str) -> None:
        """At exactly head + 1, with the right epoch."""
        segment = await world.running()
        await world.end(segment, how)
        before = await world.log(segment.run_id)
        append = Segment.begin(world, segment.run, len(before) + 1).next(Text("late"))
        with pytest.raises(RunClosed) as refused:
            await world.store.append(append)
        assert refused.value.fields["status"] == (await world.view(segment.run_id)).run.status
        assert await world.log(segment.run_id) == before

    async def test_a_run_nobody_claimed_takes_no_output(self, world: World) -> None:
        run = await world.pending()
        with pytest.raises(RunClosed):
            await world.store.append(Segment.begin(world, run, 2).next(Text("a")))

    async def test_an_unknown_run_is_not_found(self, world: World) -> None:
        append = (await world.running()).next(Text("a"))
        unknown = RunId(identifier(RUN_PREFIX, world.ids.uuid()))
        with pytest.raises(NotFound):
            await world.store.append(Append(unknown, 1, append.batch))

    async def test_an_append_without_frames_is_refused(self, world: World) -> None:
        """Also where it would fold or save a checkpoint."""
        segment = await world.running()
        empty = replace(segment.next(Text("a"), Checkpoint(1)), batch=replace(segment.batch(), first_seq=3))
        for first_seq in (3, 1_000):
            with pytest.raises(InvalidFrames):
                await world.store.append(displaced(empty, first_seq))
        assert len(await world.log(segment.run_id)) == 2

    async def test_a_checkpoint_lands_with_the_frames_that_name_it(self, world: World) -> None:
        segment = await world.running()
        append = await segment.write(Text("a"), Checkpoint({"at": 1}))
        kept = Checkpointed(1, append.batch.first_seq + len(append.batch.data) - 1, b'{"at":1}')
        assert await self.checkpoint(world, segment) == kept
        with pytest.raises(AppendConflict):
            await world.store.append(displaced(segment.next(Text("b"), Checkpoint({"at": 2})), 3))
        assert await self.checkpoint(world, segment) == kept

    async def test_of_two_at_one_place_one_lands(self, world: World) -> None:
        segment = await world.running()
        appends = segment.next(Text("a")), Segment.begin(world, segment.run, 3).next(Text("b"))
        results = await asyncio.gather(*map(world.store.append, appends), return_exceptions=True)
        assert [type(result) for result in results] == [type(None), AppendConflict]

    async def test_a_failure_hurts_only_itself(self, world: World) -> None:
        """Good and stale appends and a raising transaction at once: each author learns of his own."""
        segments = [await world.running() for _ in range(6)]
        appends = [segment.next(Text("x"), Checkpoint(n)) for n, segment in enumerate(segments)]
        for stale in (1, 4):
            appends[stale] = Append(appends[stale].run_id, 9, appends[stale].batch)

        def fails(tx: Transaction) -> None:
            tx.save_checkpoint(segments[5].run_id, Checkpointed(9, 9, b"{}"))
            raise Boom

        works = [
            *map(world.store.append, appends[:3]),
            world.store.transact(fails),
            *map(world.store.append, appends[3:5]),
        ]
        results = await asyncio.gather(*works, return_exceptions=True)
        assert [type(result).__name__ for result in results] == [
            "NoneType", "StaleEpoch", "NoneType", "Boom", "NoneType", "StaleEpoch"
        ]  # fmt: skip
        assert [len(await world.log(segment.run_id)) for segment in segments] == [9, 2, 9, 9, 2, 2]
        assert [(await self.checkpoint(world, segment)) is None for segment in segments] == [
            False,
            True,
            False,
            False,
            True,
            True,
        ]

    async def test_cancel_against_output_has_one_winner(self, world: World) -> None:
        segment = await world.running()
        output = asyncio.ensure_future(segment.write(Text("a")))
        cancel = asyncio.ensure_future(world.application.cancel(TENANT, segment.run_id, "stop", "ada"))
        await asyncio.wait([output, cancel])
        log = await world.log(segment.run_id)
        assert b'"run.cancelled"' in log[-1]
        assert len(log) == (3 if output.exception() else 7)

    @staticmethod
    async def checkpoint(world: World, segment: Segment) -> Checkpointed | None:
        return await world.store.transact(lambda tx: tx.checkpoint(segment.run_id))


class Boom(Exception):
    """What a work may raise."""


def displaced(append: Append, first_seq: int) -> Append:
    """The same append at another place."""
    return replace(append, batch=replace(append.batch, first_seq=first_seq))
