"""Safety at each commit: what a record may be, given everything that was committed before it.

Which frames make one record, from which state and to which, stands in `shapes.py`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from ...domain.identifiers import RunId, SessionId
from ...domain.ports import Committed
from ...domain.wire import decode_fields
from ..violation import Violation
from .approvals import Approvals
from .grammar import OUTPUT, Grammar
from .log import Log, RunLog
from .shapes import SHAPES, Shape, squeezed
from .state import PENDING, RUNNING, WAITING, Moment, RunState, SessionState

Fields = Mapping[str, Any]

TAKEOVERS_MAX: Final = 3
"""Times a run may change hands because its lease expired (the design's number, not the code's)."""


class Safety:
    """Judges each record, in log order. `runs` and `sessions` are what it has learned.

    `now` is the store's clock; `intent_of` may tell from a run.created frame which wish of a client it fulfils, so
    that no wish is fulfilled twice.
    """

    def __init__(
        self,
        log: Log,
        now: Callable[[], datetime],
        mark: Callable[[str], None],
        intent_of: Callable[[Fields], str | None] | None = None,
    ) -> None:
        self.log = log
        self.runs: dict[RunId, RunState] = {}
        self.sessions: dict[SessionId, SessionState] = {}
        self._now = now
        self._mark = mark
        self._intent_of = intent_of
        self._intents: dict[str, RunId] = {}
        self.queued: dict[RunId, None] = {}
        """Runs that were accepted while their session was busy, by its facts."""

    def record(self, news: Committed) -> RunState:
        """Take one record in; the run it belongs to. Raises a Violation."""
        log, kinds = self.log.extend(news, self._now())
        run = self.runs.get(news.run_id)
        if run is not None and kinds[0] in OUTPUT:
            self._output(run, news, kinds)
            return run
        frames: list[dict[str, Any]] = decode_fields(news.record.data)
        shape = self._shape(log, run, kinds, news.record.epoch)
        self._common(log, frames, news)
        if run is None:
            return self._created(log, frames[0])
        self._fact(run, kinds, frames, news.record.epoch, shape)
        return run

    # Output.

    def _output(self, run: RunState, news: Committed, kinds: list[str]) -> None:
        _, status, epoch, _ = run.now
        seq = news.record.first_seq
        if news.record.epoch != epoch:
            detail = f"Output of epoch {news.record.epoch} landed in {run.run_id} at {seq}; the epoch is {epoch}."
            raise Violation("zombie-write", detail, run_id=run.run_id, seq=seq, epoch=epoch)
        if status != RUNNING:
            detail = f"Output landed in {run.run_id} at {seq} while it was {status}."
            raise Violation("output-while-not-running", detail, run_id=run.run_id, seq=seq, status=status)
        before = run.grammar.checkpoint
        run.grammar.output(kinds, news.record.data, seq)
        if run.grammar.checkpoint != before:
            self._mark("checkpoint")

    # Facts.

    def _shape(self, log: RunLog, run: RunState | None, kinds: list[str], epoch: int) -> Shape:
        """What this record is. Raises record-shape, illegal-transition, epoch-fell or epoch-step."""
        seq = log.head - len(kinds) + 1
        shape = SHAPES.get(squeezed(kinds))
        if shape is None:
            detail = f"No record of {log.run_id} may consist of {', '.join(kinds)} (seq {seq})."
            raise Violation("record-shape", detail, run_id=log.run_id, seq=seq)
        status = run.now.status if run is not None else None
        if (status not in shape.sources) if shape.sources else (status is not None):
            detail = f"{log.run_id} is {status or 'unknown'}; {', '.join(kinds)} can't follow (seq {seq})."
            raise Violation("illegal-transition", detail, run_id=log.run_id, seq=seq, status=status)
        was = run.now.epoch if run is not None else 0
        if epoch != was + shape.claims:
            name = "epoch-fell" if epoch < was else "epoch-step"
            detail = f"{kinds[0]} stands under epoch {epoch}; after {was} it is {was + shape.claims} (seq {seq})."
            raise Violation(name, f"{log.run_id}: {detail}", run_id=log.run_id, seq=seq, epoch=epoch)
        return shape

    def _common(self, log: RunLog, frames: list[dict[str, Any]], news: Committed) -> None:
        """Raises fact-foreign, fact-epoch or fact-time."""
        for frame in frames:
            seq = frame["seq"]
            if frame["run_id"] != log.run_id or frame.get("session_id", log.session_id) != log.session_id:
                detail = f"The {frame['type']} frame at {seq} of {log.run_id} says that it is {frame['run_id']}'s."
                raise Violation("fact-foreign", detail, run_id=log.run_id, seq=seq)
            if frame.get("epoch", news.record.epoch) != news.record.epoch:
                detail = f"A {frame['type']} frame of epoch {frame['epoch']} stands under {news.record.epoch}."
                raise Violation("fact-epoch", f"{log.run_id}, seq {seq}: {detail}", run_id=log.run_id, seq=seq)
            if datetime.fromisoformat(frame["at"]) > self._now():
                detail = f"A {frame['type']} frame of {frame['at']} was committed at {self._now().isoformat()}."
                raise Violation("fact-time", f"{log.run_id}, seq {seq}: {detail}", run_id=log.run_id, seq=seq)

    def _created(self, log: RunLog, frame: Fields) -> RunState:
        """A turn begins. Raises session-busy-twice, turn-order, message-id or intent-doubled."""
        session = self.sessions.setdefault(log.session_id, SessionState(log.session_id))
        turn, attempt, run_id = frame["turn"], frame["attempt"], log.run_id
        queued = run_id in self.queued
        if session.active is not None and not queued:
            detail = f"{run_id} begins in {log.session_id} while {session.active} is active."
            raise Violation("session-busy-twice", detail, run_id=run_id, active=session.active)
        expected = (session.created + 1, 1) if attempt == 1 else (session.created, session.attempt + 1)
        if (turn, attempt) != expected:
            detail = f"{run_id} is turn {turn}, attempt {attempt}; the next one is {expected}."
            raise Violation("turn-order", detail, run_id=run_id, turn=turn, attempt=attempt)
        if frame["message_id"] != f"{log.session_id}:{run_id}:0":
            raise Violation("message-id", f"The prompt of {run_id} is called {frame['message_id']}.", run_id=run_id)
        intent = self._intent_of(frame) if self._intent_of is not None else None
        if intent is not None and self._intents.setdefault(intent, run_id) != run_id:
            detail = f"{self._intents[intent]} and {run_id} fulfil one and the same wish ({intent})."
            raise Violation("intent-doubled", detail, run_id=run_id, intent=intent)
        session.created, session.attempt = turn, attempt
        if not queued:
            session.active, session.turns = run_id, turn
        if turn > 1:
            self._mark("second-turn")
        run = self.runs[run_id] = RunState(
            log=log,
            session=session,
            job_id=frame["job_id"],
            turn=turn,
            attempt=attempt,
            grammar=Grammar(log, session.parts),
            approvals=Approvals(run_id),
            moments=[Moment(1, PENDING, 0, None)],
        )
        return run

    def _fact(self, run: RunState, kinds: list[str], frames: list[dict[str, Any]], epoch: int, shape: Shape) -> None:
        last = frames[-1]
        worker: str | None = frames[0]["worker"] if shape.claims else None
        match last["type"] if kinds[0] != "run.released" else "run.released":
            case "run.claimed":
                self._claimed(run)
            case "step.reset":
                self._taken_over(run, frames[0]["worker"], last)
            case "run.released":
                self._released(run, frames)
            case "run.suspended":
                self._suspended(run, frames)
            case "approval.decided" | "run.resumed":
                self._decided(run, frames, resumes=last["type"] == "run.resumed")
            case _:
                self._ended(run, frames, shape.target)
        run.moments.append(Moment(run.log.head, shape.target, epoch, worker))

    def begin(self, session_id: SessionId, run_id: RunId, turn: int) -> None:
        """The turn of a run that waited has come: told after the group's records, as one of them may have ended it."""
        session = self.sessions[session_id]
        session.turns = turn
        if self.log.terminal(run_id) is None:
            session.active = run_id

    def _claimed(self, run: RunState) -> None:
        run.grammar.require_closed("run.claimed", run.log.head)
        run.grammar.rewind()
        if run.now.epoch > 0:
            self._mark("claim-again")

    def _taken_over(self, run: RunState, worker: str, reset: Fields) -> None:
        """Raises lease-stolen, takeovers-exceeded, reset-target or closes-wrong."""
        self._require_expired(run, f"{worker} takes over from {run.now.worker}")
        run.takeovers += 1
        if run.takeovers > TAKEOVERS_MAX:
            detail = f"{run.run_id} changes hands for the {run.takeovers}th time; it should have failed."
            raise Violation("takeovers-exceeded", detail, run_id=run.run_id, takeovers=run.takeovers)
        self._reset(run, reset)
        self._mark("take-over")
        self._mark("take-over-from-checkpoint" if run.grammar.checkpoint else "take-over-from-start")
        if worker == run.now.worker:
            self._mark("take-over-from-itself")

    def _released(self, run: RunState, frames: list[dict[str, Any]]) -> None:
        """Raises release-foreign, reset-target, closes-wrong, or left-open where nothing is voided."""
        seq = frames[0]["seq"]
        if frames[0]["worker"] != run.now.worker:
            detail = f"{frames[0]['worker']} hands {run.run_id} back, which {run.now.worker} holds (seq {seq})."
            raise Violation("release-foreign", detail, run_id=run.run_id, seq=seq)
        self._mark("release")
        if len(frames) > 1:
            self._reset(run, frames[1])
            return
        checkpoint = run.grammar.checkpoint
        if checkpoint is None or checkpoint[1] != seq - 1:
            detail = f"{run.run_id} is handed back at {seq} without a reset; its checkpoint is {checkpoint}."
            raise Violation("reset-missing", detail, run_id=run.run_id, seq=seq)
        run.grammar.require_closed("run.released", seq)
        self._mark("release-at-checkpoint")

    def _reset(self, run: RunState, reset: Fields) -> None:
        checkpoint = run.grammar.checkpoint
        if reset["to_seq"] != (checkpoint[1] if checkpoint else 0):
            detail = f"{run.run_id} goes back to {reset['to_seq']} at {reset['seq']}; its checkpoint is {checkpoint}."
            raise Violation("reset-target", detail, run_id=run.run_id, seq=reset["seq"], to_seq=reset["to_seq"])
        if run.grammar.message is not None or run.grammar.step_open:
            self._mark("reset-voids-output")
        self._cut(run, reset)
        run.grammar.rewind()

    def _suspended(self, run: RunState, frames: list[dict[str, Any]]) -> None:
        run.approvals.request(frames[:-1], frames[-1])
        run.grammar.step += run.grammar.step_open  # a step it leaves open is over
        self._cut(run, frames[-1])
        run.grammar.checkpoint = (run.grammar.step, frames[-1]["seq"])
        run.waits += 1
        self._mark("suspension" if run.waits == 1 else "suspension-again")
        if len(frames) > 2:
            self._mark("several-approvals")

    def _decided(self, run: RunState, frames: list[dict[str, Any]], *, resumes: bool) -> None:
        decided = frames[:-1] if resumes else frames
        run.approvals.decide(decided, self._now(), resumes=resumes)
        if not resumes:
            self._mark("decision-partial")
        for frame in decided:
            if frame["outcome"] == "approve":
                self._mark("approval" if frame["arguments"] is None else "edit")
            else:
                self._mark("expiry" if frame["reason"] == "expired" else "denial")

    def _ended(self, run: RunState, frames: list[dict[str, Any]], target: str) -> None:
        """Raises left-open, closes-wrong, approval-left-open or lease-stolen."""
        last = frames[-1]
        if target == "completed":
            run.grammar.require_closed("run.completed", last["seq"])
        else:
            self._cut(run, last)
        if target == "failed" and last["error"]["type"] == "worker_lost":
            self._require_expired(run, "it fails with worker_lost")
            self._mark("worker-lost")
        run.approvals.close(frames[:-1], target, self._now())
        if run.session.active == run.run_id:
            run.session.active = None
        was = {PENDING: "pending", RUNNING: "running", WAITING: "waiting"}[run.now.status]
        self._mark(f"cancel-{was}" if target == "cancelled" else target)

    def _cut(self, run: RunState, frame: Fields) -> None:
        if run.grammar.cut(frame["type"], frame["closes"], frame["seq"]):
            self._mark("parts-cut")

    def _require_expired(self, run: RunState, what: str) -> None:
        """Raises lease-stolen unless the lease, as it was granted before this commit, is over by the store's clock."""
        if run.now.status == RUNNING and run.lease is not None and run.lease > self._now():
            detail = f"{run.run_id}: {what}, and its lease lasts until {run.lease} (it is {self._now()})."
            raise Violation("lease-stolen", detail, run_id=run.run_id, lease=run.lease.isoformat())
