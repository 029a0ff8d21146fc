"""Planted bugs of who may work on a run: epochs, leases, take-overs, claims."""

from typing import Final

from .edit import Edit, Planted

_APPLICATION: Final = "domain.application:Application"
_LOCAL_NOW: Final = "datetime.fromtimestamp((self._ids.uuid().int >> 80) / 1000, tx.now.tzinfo)"
"""The clock of the process, which its ids are made from."""
_HELD: Final = "run = held_by(tx, run_id, epoch)"
_ANYBODYS: Final = "run = held_by(tx, run_id, held.epoch if (held := tx.run(run_id)) else epoch)"
_ZOMBIE: Final = ("zombie-command",)

EPOCHS: Final = (
    Planted(
        "complete-epoch-unchecked",
        "A worker that has lost a run completes it, whatever is open by then.",
        (*_ZOMBIE, "left-open"),
        (
            Edit(
                f"{_APPLICATION}.complete",
                "if outline != outline.closed():",
                "if run.epoch == epoch and outline != outline.closed():",
            ),
            Edit(f"{_APPLICATION}.complete", _HELD, _ANYBODYS),
            Edit(f"{_APPLICATION}.complete", "epoch=epoch, stop_reason", "epoch=run.epoch, stop_reason"),
        ),
    ),
    Planted(
        "fail-epoch-unchecked",
        "A worker that has lost a run fails it.",
        _ZOMBIE,
        (Edit(f"{_APPLICATION}.fail", _HELD, _ANYBODYS),),
    ),
    Planted(
        "suspend-epoch-unchecked",
        "A worker that has lost a run suspends it.",
        _ZOMBIE,
        (
            Edit(f"{_APPLICATION}.suspend", _HELD, _ANYBODYS),
            Edit(f"{_APPLICATION}.suspend", "epoch=epoch, approvals", "epoch=run.epoch, approvals"),
        ),
    ),
    Planted(
        "release-epoch-unchecked",
        "A worker hands back a run that it has lost.",
        (*_ZOMBIE, "release-foreign"),
        (
            Edit(f"{_APPLICATION}.release", _HELD, _ANYBODYS),
            Edit(f"{_APPLICATION}.release", "epoch=epoch,", "epoch=run.epoch,"),
        ),
    ),
    Planted(
        "take-over-without-epoch",
        "A run changes hands, and its epoch stays.",
        ("epoch-step",),
        (
            Edit("domain.run:Run.take_over", "epoch=self.epoch + 1", "epoch=self.epoch"),
            Edit("domain.run:Run.allow", "isinstance(fact, Claimed) and", "type(fact) is Claimed and"),
        ),
    ),
    Planted(
        "claim-again-without-epoch",
        "A run that was handed back is claimed under the epoch it had.",
        ("epoch-step",),
        (
            Edit("domain.run:Run.claim", "epoch=self.epoch + 1", "epoch=max(1, self.epoch)"),
            Edit("domain.run:Run.allow", "fact.epoch != self.epoch + 1", "fact.epoch < self.epoch"),
        ),
    ),
)

LEASES: Final = (
    Planted(
        "lease-judged-by-local-clock",
        "Whether a lease is over is judged by the clock of the process that wants the run.",
        ("lease-stolen", "run-stuck"),
        (
            Edit(
                f"{_APPLICATION}.claim",
                "tx.expired_leases(SWEEP_LIMIT, tx.now)",
                f"tx.expired_leases(SWEEP_LIMIT, {_LOCAL_NOW})",
            ),
        ),
    ),
    Planted(
        "lease-granted-by-local-clock",
        "A lease is granted until a time of the worker's own clock.",
        ("lease-missing", "lease-shortened", "run-stuck"),
        (
            Edit(
                f"{_APPLICATION}._assign",
                "tx.lease(run.run_id, tx.now +",
                f"tx.lease(run.run_id, {_LOCAL_NOW} +",
            ),
        ),
    ),
    Planted(
        "lease-renewed-by-local-clock",
        "A lease is renewed until a time of the worker's own clock.",
        ("lease-shortened", "run-stuck"),
        (
            Edit(
                f"{_APPLICATION}.renew",
                "tx.renew(worker, held, tx.now + lease)",
                f"tx.renew(worker, held, {_LOCAL_NOW} + lease)",
            ),
        ),
    ),
    Planted(
        "lease-taken-too-early",
        "A run is taken over a second before its lease ends.",
        ("lease-stolen",),
        (
            Edit(
                f"{_APPLICATION}.claim",
                "tx.expired_leases(SWEEP_LIMIT, tx.now)",
                "tx.expired_leases(SWEEP_LIMIT, tx.now + timedelta(seconds=1))",
            ),
        ),
    ),
    Planted(
        "lease-not-renewed",
        "A worker never renews its leases, so that every long run changes hands.",
        ("lease-lost-at-rest",),
        (
            Edit(
                "adapters.worker:Worker._renew_leases",
                "held = [(run_id, epoch) for run_id, (_, epoch) in self._segments.items()]",
                "held = []",
            ),
        ),
    ),
    Planted(
        "lease-renewed-for-a-stranger",
        "A worker prolongs the lease of a run that it has lost.",
        ("renewed-by-stranger",),
        (
            Edit(
                "infrastructure.eventstore.transaction:StoreTransaction.renew",
                "sql.RENEW_LEASE",
                "sql.RENEW_LEASE.replace('runs.worker = :holder AND runs.epoch = :held AND ', '')",
            ),
        ),
        "sqlite",
    ),
    Planted(
        "claim-checked-then-acted",
        "A claim looks for work in one transaction and takes it in another, whatever became of it meanwhile; what it "
        "found stands in for the run's state, and so the job's table is not asked either.",
        ("illegal-transition",),
        (
            Edit(
                f"{_APPLICATION}.claim",
                "def work(tx: Transaction)",
                "found = await self.store.transact(lambda tx: tx.pending_runs(agents, limit))\n\n"
                "    def work(tx: Transaction)",
            ),
            Edit(
                f"{_APPLICATION}._assign",
                "if before is Status.PENDING:",
                "if tx.job(run.job_id).status is Status.PENDING:",
            ),
            Edit(
                f"{_APPLICATION}.claim",
                "in tx.pending_runs(agents, max(0, limit - len(assignments))):\n            run = tx.run(run_id)",
                "in found:\n            run = tx.run(run_id).model_copy(update={'status': Status.PENDING})",
            ),
        ),
    ),
    Planted(
        "takeovers-unlimited",
        "A run changes hands as often as its workers die.",
        ("takeovers-exceeded",),
        (
            Edit("domain.run:Run.take_over", "self.takeovers >= TAKEOVERS_MAX", "self.takeovers >= 10 * TAKEOVERS_MAX"),
            Edit("domain.run:Run.allow", "self.takeovers >= TAKEOVERS_MAX", "self.takeovers >= 10 * TAKEOVERS_MAX"),
        ),
    ),
    Planted(
        "take-over-forgets-the-checkpoint",
        "A take-over goes back to the start of the run, for its readers.",
        ("reset-target",),
        (
            Edit(
                f"{_APPLICATION}._take_over",
                "checkpoint.seq if checkpoint else 0",
                "0",
            ),
        ),
    ),
    Planted(
        "take-over-leaves-parts-open",
        "A take-over does not say which parts it closes.",
        ("closes-wrong",),
        (Edit(f"{_APPLICATION}._take_over", "tuple(tx.head(run_id).outline.parts)", "()"),),
    ),
    Planted(
        "checkpoint-not-assigned",
        "A worker that goes on with a run is not given its checkpoint, and begins again.",
        ("output-wrong", "step-order", "failed-without-cause"),
        (Edit(f"{_APPLICATION}._assign", "tx.checkpoint(run.run_id))", "None)"),),
    ),
    Planted(
        "cancel-ignored-by-the-worker",
        "A worker does not stop the agent of a run that was cancelled.",
        ("cancel-ignored",),
        (Edit("adapters.worker:Worker.committed", "segment[0].cancel()", "pass"),),
    ),
)

OWNERSHIP: Final = (*EPOCHS, *LEASES)
