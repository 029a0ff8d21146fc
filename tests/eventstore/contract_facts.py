"""Facts land with everything that follows from them or not at all; what is waiting is found by its row."""

import asyncio
from datetime import timedelta

import pytest

from reattach.domain.agent import Checkpoint, Text
from reattach.domain.errors import AppendConflict, IllegalTransition, NotFound, SessionBusy
from reattach.domain.identifiers import JOB_PREFIX, RUN_PREFIX, SESSION_PREFIX, JobId, RunId, SessionId, identifier
from reattach.domain.job import Job, Retry
from reattach.domain.ports import Answer, Transaction
from reattach.domain.run import Run
from reattach.domain.run_facts import Claimed
from reattach.domain.session import Session
from reattach.domain.session_facts import Finalized, SessionCreated
from reattach.domain.transitions import Status
from reattach.domain.wire import type_of

from .contract import StoreContract
from .world import TENANT, WORKER, Listening, ManualClock, World


class FactContract(StoreContract):
    async def test_an_aggregate_is_read_as_it_was_recorded(self, world: World) -> None:
        """Also inside the transaction that records it."""
        session_id = SessionId(identifier(SESSION_PREFIX, world.ids.uuid()))

        def work(tx: Transaction) -> tuple[Session | None, Session]:
            fact = SessionCreated(at=tx.now, session_id=session_id, tenant=TENANT, metadata={"a": [1, "ü", None]})
            session = tx.record(tx.record(Session(), fact), Finalized(at=tx.now))
            return tx.session(session_id), session

        inside, made = await world.store.transact(work)
        assert inside == made == await world.store.session(made.session_id)
        assert made.version == 2
        assert made.created_at == world.clock.now()

    async def test_a_run_with_all_its_parts_is_read_as_it_was_recorded(self, world: World) -> None:
        segment = await world.waiting()
        await world.decide(segment.run_id)
        run, job = (await world.view(segment.run_id)).run, await world.store.job(segment.run.job_id)
        assert run.approvals[0].outcome == "approve"
        assert job == Job(
            version=5,
            job_id=run.job_id,
            tenant=TENANT,
            session_id=run.session_id,
            agent="echo",
            input="hello",
            retry=Retry(),
            status=Status.PENDING,
            runs=(run.run_id,),
            created_at=world.clock.now(),
        )

    async def test_what_raises_undoes_everything(self, world: World) -> None:
        run = await world.pending()
        listening = Listening()
        world.store.listen(listening)

        def work(tx: Transaction) -> None:
            tx.record(run, run.claim(WORKER, tx.now))
            tx.lease(run.run_id, tx.now)
            tx.remember(TENANT, "key", Answer("f", b"{}"))
            raise LookupError

        with pytest.raises(LookupError):
            await world.store.transact(work)
        assert (await world.view(run.run_id)).run == run
        assert len(await world.log(run.run_id)) == 1
        assert await world.store.transact(lambda tx: tx.answer(TENANT, "key")) is None
        assert listening.commits == []
        assert (await world.claim()).run_id == run.run_id

    async def test_a_refused_fact_leaves_the_log_unchanged(self, world: World) -> None:
        segment = await world.running()
        await segment.finish()
        log, view = await world.log(segment.run_id), await world.view(segment.run_id)
        with pytest.raises(IllegalTransition):
            await world.store.transact(lambda tx: tx.record(view.run, Claimed(at=tx.now, worker="w", epoch=2)))
        assert await world.log(segment.run_id) == log
        assert await world.view(segment.run_id) == view

    async def test_a_stale_aggregate_is_not_recorded(self, world: World) -> None:
        """The fact is legal for the state that the caller holds, but that is not the state any more."""
        pending = await world.pending()
        await world.claim()
        with pytest.raises(AppendConflict):
            await world.store.transact(lambda tx: tx.record(pending, pending.claim("w2", tx.now)))
        session = await world.store.session(pending.session_id)
        assert session is not None
        await world.store.transact(lambda tx: tx.record(session, Finalized(at=tx.now)))
        with pytest.raises(AppendConflict):
            await world.store.transact(lambda tx: tx.record(session, Finalized(at=tx.now)))

    async def test_facts_and_output_share_one_sequence(self, world: World) -> None:
        segment = await world.running()
        await segment.write(Text("a"))
        await world.suspend(segment, 2)
        await world.decide(segment.run_id)
        again = await world.claim()
        await again.write(Text("b"))
        await again.finish()
        kinds = [type_of(line) for line in await world.log(segment.run_id)]
        assert kinds[6:13] == [
            *["approval.requested"] * 2, "run.suspended", *["approval.decided"] * 2, "run.resumed", "run.claimed"
        ]  # fmt: skip
        view = await world.view(segment.run_id)
        assert (view.head_seq, view.run.version, view.run.epoch) == (len(kinds), len(kinds), 2)

    async def test_the_head_says_what_is_open(self, world: World) -> None:
        segment = await world.running()
        append = await segment.write(Text("a"))
        head = await world.store.transact(lambda tx: tx.head(segment.run_id))
        assert (head.seq, head.epoch, head.outline) == (6, 1, append.batch.outline)
        other = await world.take_over()
        head = await world.store.transact(lambda tx: tx.head(segment.run_id))
        assert (head.seq, head.epoch, head.outline) == (8, 2, append.batch.outline.closed())
        assert other.run.epoch == 2
        unknown = RunId(identifier(RUN_PREFIX, world.ids.uuid()))
        with pytest.raises(NotFound):
            await world.store.transact(lambda tx: tx.head(unknown))

    async def test_two_starts_at_once_have_one_winner(self, world: World) -> None:
        session = await world.session()
        starts = await asyncio.gather(*(world.pending(session) for _ in range(5)), return_exceptions=True)
        winners = [start for start in starts if isinstance(start, Run)]
        assert len(winners) == 1
        assert all(isinstance(start, SessionBusy) for start in starts if start is not winners[0])

    async def test_the_unknown_is_none(self, world: World) -> None:
        uuid = world.ids.uuid()
        assert await world.store.session(SessionId(identifier(SESSION_PREFIX, uuid))) is None
        assert await world.store.job(JobId(identifier(JOB_PREFIX, uuid))) is None
        assert await world.store.run_view(RunId(identifier(RUN_PREFIX, uuid))) is None

    # Leases and what waits.

    async def test_pending_runs_come_oldest_first_and_by_agent(self, world: World) -> None:
        runs = [(await world.pending()).run_id for _ in range(4)]
        assert await world.store.transact(lambda tx: tx.pending_runs(["echo", "other"], 3)) == runs[:3]
        assert await world.store.transact(lambda tx: tx.pending_runs(["other"], 3)) == []
        assert await world.store.transact(lambda tx: tx.pending_runs(["echo"], 0)) == []
        await world.claim()
        assert await world.store.transact(lambda tx: tx.pending_runs(["echo"], 9)) == runs[1:]

    async def test_a_lease_ends_at_the_very_instant(self, world: World) -> None:
        first, second = await world.running(), await world.running()
        world.clock.advance(world.limits.lease_s - 0.000_001)
        assert await self.expired(world) == []
        await world.application.renew(WORKER, [(second.run_id, 1)])
        world.clock.advance(0.000_001)
        assert await self.expired(world) == [first.run_id]
        world.clock.advance(world.limits.lease_s)
        assert await self.expired(world) == [first.run_id, second.run_id]
        await world.end(first, "cancel")
        assert await self.expired(world) == [second.run_id]

    async def test_what_is_due_at_the_same_instant_comes_by_its_id(self, world: World) -> None:
        """Not by when it was made: the clocks of two servers differ, and so do their ids."""
        ahead = ManualClock()
        ahead.advance(3_600)
        made = [await World(world.store, ahead).pending(), await world.pending()]
        by_id = [run.run_id for run in reversed(made)]
        assert by_id == sorted(by_id)
        claimed = await world.application.claim(WORKER, ["echo"], 2)
        world.clock.advance(world.limits.lease_s)
        assert await self.expired(world) == by_id
        for assignment in reversed(claimed):
            await world.suspend(world.segment(assignment), 1)
        world.clock.advance(world.limits.approval_timeout_s)
        assert await world.store.transact(lambda tx: tx.expired_approvals(9)) == by_id

    async def test_a_claim_without_a_lease_is_expired_at_once(self, world: World) -> None:
        run = await world.pending()
        await world.store.transact(lambda tx: tx.record(run, run.claim(WORKER, tx.now)))
        assert await self.expired(world) == [run.run_id]

    async def test_renewing_names_what_was_lost(self, world: World) -> None:
        kept, taken, ended = [await world.running() for _ in range(3)]
        await ended.finish()
        world.clock.advance(world.limits.lease_s - 1)
        held = [(segment.run_id, 1) for segment in (kept, taken, ended)]
        assert await world.application.renew(WORKER, held) == [ended.run_id]
        assert await world.application.renew("somebody else", held[:1]) == [kept.run_id]
        world.clock.advance(world.limits.lease_s)
        await world.application.claim("worker-2", ["echo"], 0)
        assert await world.application.renew(WORKER, held) == [run_id for run_id, _ in held]
        assert await world.application.renew("worker-2", [(taken.run_id, 1), (kept.run_id, 2)]) == [taken.run_id]

    async def test_approvals_are_due_at_the_very_instant(self, world: World) -> None:
        segment = await world.waiting()
        world.clock.advance(world.limits.approval_timeout_s - 0.000_001)
        assert await world.store.transact(lambda tx: tx.expired_approvals(9)) == []
        world.clock.advance(0.000_001)
        assert await world.store.transact(lambda tx: tx.expired_approvals(9)) == [segment.run_id]
        await world.application.sweep()
        assert await world.store.transact(lambda tx: tx.expired_approvals(9)) == []
        assert (await world.view(segment.run_id)).run.status is Status.PENDING

    async def test_a_run_without_any_worker_ends(self, world: World) -> None:
        """Nobody knows its agent any more: after the limit the sweep fails it, and the session is free."""
        segment = await world.running()
        await segment.write(Text("a"))
        world.clock.advance(world.limits.lease_s + world.limits.abandon_s - 0.001)
        await world.application.sweep()
        assert (await world.view(segment.run_id)).run.status is Status.RUNNING
        world.clock.advance(0.001)
        await world.application.sweep()
        run = (await world.view(segment.run_id)).run
        assert (run.status, run.error.type if run.error else None) == (Status.FAILED, "worker_lost")
        await world.pending(run.session_id)

    async def test_take_overs_do_not_count_against_the_limit(self, world: World) -> None:
        await world.running()
        waiting = await world.pending()
        world.clock.advance(world.limits.lease_s)
        assert [a.run.epoch for a in await world.application.claim("worker-2", ["echo"], 0)] == [2]
        assert [a.run.run_id for a in await world.application.claim("worker-2", ["echo"], 1)] == [waiting.run_id]

    # Rows that are no history.

    async def test_the_last_checkpoint_counts(self, world: World) -> None:
        segment = await world.running()
        await segment.write(Text("a"), Checkpoint({"at": 1}), Text("b"), Checkpoint({"at": 2}))
        kept = await world.store.transact(lambda tx: tx.checkpoint(segment.run_id))
        assert kept is not None
        assert (kept.step, kept.seq, kept.state) == (2, 16, b'{"at":2}')

    async def test_answers_are_remembered_for_each_tenant_and_forgotten(self, world: World) -> None:
        await world.store.transact(lambda tx: tx.remember("a", "key", Answer("f1", b"{}")))
        world.clock.advance(60)
        await world.store.transact(lambda tx: tx.remember("b", "key", Answer("f2", b"[]")))
        limit = world.clock.now() - timedelta(seconds=30)
        assert await world.store.transact(lambda tx: tx.answer("a", "key")) == Answer("f1", b"{}")
        assert await world.store.transact(lambda tx: tx.forget_answers(limit, 9)) == 1
        assert await world.store.transact(lambda tx: tx.answer("a", "key")) is None
        assert await world.store.transact(lambda tx: tx.answer("b", "key")) == Answer("f2", b"[]")

    @staticmethod
    async def expired(world: World) -> list[RunId]:
        return list(await world.store.transact(lambda tx: tx.expired_leases(9, tx.now)))
