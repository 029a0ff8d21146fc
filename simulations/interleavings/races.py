"""The races: transactions that meet where they could hurt each other."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from ...domain.agent import ApprovalRequest, Text
from ...domain.application import Application
from ...domain.identifiers import RunId, SessionId
from ...domain.ports import Append
from ...domain.requests import Assignment, Idempotency, StartRun
from ...domain.run import Run
from ...domain.run_facts import Decision
from ...domain.scribe import Scribe
from .cases import LIMITS, Case, Clock, Group, application, drive
from .serial import Prepare

TENANT: Final = "default"
GO: Final = StartRun(agent="echo", input="go")


class Scene:
    """A store before the race, and what leads there."""

    def __init__(self, clock: Clock, write: Callable[[Any], Any]) -> None:
        self.clock = clock
        self._write = write
        self._use = application(clock, 1)

    def do(self, case: Case) -> Any:
        """One use case, alone."""
        self.clock.advance(0.001)
        return drive(case, self._use, self._write)

    def session(self) -> SessionId:
        """A new one."""
        session_id: SessionId = self.do(lambda use: use.create_session(TENANT, {})).session_id
        return session_id

    def pending(self) -> Run:
        """A run in a session of its own, that waits for a worker."""
        session = self.session()
        run: Run = self.do(lambda use: use.start_run(TENANT, session, GO))
        return run

    def running(self, worker: str = "w0") -> Assignment:
        """Such a run, claimed."""
        self.pending()
        assignments: Sequence[Assignment] = self.do(lambda use: use.claim(worker, ["echo"], 1))
        return assignments[0]

    def waiting(self, timeout_s: float | None = None) -> Run:
        """Such a run, which waits for an approval."""
        run = self.running().run
        asked = [ApprovalRequest("call", "pay", {"sum": 1}, timeout_s=timeout_s)]
        self.do(lambda use: use.suspend(run.run_id, run.epoch, asked, {"at": 1}, 1))
        return run


def _output(assignment: Assignment) -> Append:
    scribe = Scribe(assignment.run, assignment.outline, assignment.next_seq, 0)
    scribe.write(Text("word"))
    return Append(assignment.run.run_id, assignment.run.epoch, scribe.take())


def _claim(worker: str, limit: int) -> Case:
    return lambda use: use.claim(worker, ["echo"], limit)


def _cancel(run_id: RunId) -> Case:
    return lambda use: use.cancel(TENANT, run_id, "stop", "ada")


def _decide(run: Run, outcome: str, by: str) -> Case:
    name = f"{run.turn}.{run.attempt}.a1"
    decision = Decision.model_validate({"approval_id": name, "outcome": outcome, "by": by})
    return lambda use: use.decide(TENANT, run.run_id, [decision])


def _append(append: Append) -> Case:
    return lambda use: use.append(append)


def _complete(run: Run) -> Case:
    return lambda use: use.complete(run.run_id, run.epoch)


def _start(session: SessionId, key: str | None = None, on_busy: str = "reject") -> Case:
    request = StartRun.model_validate({"agent": "echo", "input": "go", "on_busy": on_busy})

    def start(use: Application) -> Coroutine[Any, Any, Run]:
        return use.start_run(TENANT, session, request, Idempotency(key, "same") if key else None)

    return start


def _sweep(use: Application) -> Coroutine[Any, Any, None]:
    return use.sweep()


def _claims(scene: Scene) -> Sequence[Group]:
    for _ in range(3):
        scene.pending()
    return [_claim("w1", 2)], [_claim("w2", 2)]


def _take_overs(scene: Scene) -> Sequence[Group]:
    scene.running()
    scene.clock.advance(LIMITS.lease_s)
    return [_claim("w1", 1)], [_claim("w2", 1)]


def _decisions(scene: Scene) -> Sequence[Group]:
    run = scene.waiting()
    return [_decide(run, "approve", "ada")], [_decide(run, "deny", "bob")]


def _decision_and_sweep(scene: Scene) -> Sequence[Group]:
    run = scene.waiting(timeout_s=5)
    scene.clock.advance(5)
    return [_decide(run, "approve", "ada")], [_sweep]


def _append_and_take_over(scene: Scene) -> Sequence[Group]:
    assignment = scene.running()
    scene.clock.advance(LIMITS.lease_s)
    return [_append(_output(assignment))], [_claim("w1", 1)]


def _append_and_cancel(scene: Scene) -> Sequence[Group]:
    assignment = scene.running()
    return [_append(_output(assignment))], [_cancel(assignment.run.run_id)]


def _appends(scene: Scene) -> Sequence[Group]:
    append = _output(scene.running())
    return [_append(append)], [_append(append)]


def _complete_and_cancel(scene: Scene) -> Sequence[Group]:
    run = scene.running().run
    return [_complete(run)], [_cancel(run.run_id)]


def _renewal_and_take_over(scene: Scene) -> Sequence[Group]:
    run = scene.running().run
    scene.clock.advance(LIMITS.lease_s)
    return [lambda use: use.renew("w0", [(run.run_id, run.epoch)])], [_claim("w1", 1)]


def _starts(scene: Scene) -> Sequence[Group]:
    session = scene.session()
    return [_start(session)], [_start(session)]


def _starts_with_a_key(scene: Scene) -> Sequence[Group]:
    session = scene.session()
    return [_start(session, "key")], [_start(session, "key")]


def _sessions_with_a_key(scene: Scene) -> Sequence[Group]:
    del scene

    def create(use: Application) -> Coroutine[Any, Any, Any]:
        return use.create_session(TENANT, {}, Idempotency("key", "same"))

    return [create], [create]


def _end_and_next(scene: Scene) -> Sequence[Group]:
    run = scene.running().run
    return [_complete(run)], [_start(run.session_id, on_busy="enqueue")]


def _owners(scene: Scene) -> Sequence[Group]:
    session = scene.session()
    return [lambda use: use.sessions.resume(TENANT, session, "ada")], [
        lambda use: use.sessions.resume(TENANT, session, "bob", takeover=True)
    ]


def _handoff_and_its_end(scene: Scene) -> Sequence[Group]:
    session = scene.session()
    epoch: int = scene.do(lambda use: use.sessions.resume(TENANT, session, "ada")).epoch
    scene.do(lambda use: use.handoffs.request(TENANT, session, "h", None))
    return [lambda use: use.handoffs.ready(TENANT, session, "h", epoch)], [
        lambda use: use.handoffs.abandon(TENANT, session, "h")
    ]


def _handoff_and_expiry(scene: Scene) -> Sequence[Group]:
    session = scene.session()
    epoch: int = scene.do(lambda use: use.sessions.resume(TENANT, session, "ada")).epoch
    scene.do(lambda use: use.handoffs.request(TENANT, session, "h", 5.0))
    scene.do(lambda use: use.handoffs.ready(TENANT, session, "h", epoch))
    scene.clock.advance(5)
    return [lambda use: use.sessions.resume(TENANT, session, "bob", handoff_id="h")], [_sweep]


def _memory_and_take_over(scene: Scene) -> Sequence[Group]:
    session = scene.session()
    epoch: int = scene.do(lambda use: use.sessions.resume(TENANT, session, "ada")).epoch
    return [lambda use: use.sessions.append_memory(TENANT, session, "m", epoch, Idempotency("key", "same"))], [
        lambda use: use.sessions.resume(TENANT, session, "bob", takeover=True)
    ]


def _interrupt_and_end(scene: Scene) -> Sequence[Group]:
    run = scene.running().run
    return [_start(run.session_id, on_busy="interrupt")], [_complete(run)]


def _delete_and_start(scene: Scene) -> Sequence[Group]:
    session = scene.session()
    return [lambda use: use.sessions.delete(TENANT, session, None)], [_start(session, "key")]


def _summaries(scene: Scene) -> Sequence[Group]:
    session = scene.session()
    scene.do(lambda use: use.sessions.append_memory(TENANT, session, "m", None))
    scene.clock.advance(LIMITS.session_grace_s)
    return [lambda use: use.summaries.claim(TENANT, session, "s1")], [
        lambda use: use.summaries.claim(TENANT, session, "s2")
    ]


def _crossing_groups(scene: Scene) -> Sequence[Group]:
    """Each locks what the other needs next."""
    one, two = scene.pending(), scene.pending()
    return [_cancel(one.run_id), _cancel(two.run_id)], [_cancel(two.run_id), _cancel(one.run_id)]


def _groups_of_output(scene: Scene) -> Sequence[Group]:
    one, two = scene.running(), scene.running("w1")
    outputs = [_append(_output(one)), _append(_output(two))]
    return outputs, [_cancel(two.run.run_id), _append(_output(one))]


def _three(scene: Scene) -> Sequence[Group]:
    assignment = scene.running()
    scene.clock.advance(LIMITS.lease_s)
    return [_append(_output(assignment))], [_claim("w1", 1)], [_cancel(assignment.run.run_id)]


_SCENES: Final[Mapping[str, Callable[[Scene], Sequence[Group]]]] = {
    "claim, claim": _claims,
    "take-over, take-over": _take_overs,
    "decide, decide": _decisions,
    "decide, sweep": _decision_and_sweep,
    "append, take-over": _append_and_take_over,
    "append, cancel": _append_and_cancel,
    "append, the same append": _appends,
    "complete, cancel": _complete_and_cancel,
    "renew, take-over": _renewal_and_take_over,
    "start, start": _starts,
    "start, start with the same key": _starts_with_a_key,
    "create, create with the same key": _sessions_with_a_key,
    "complete, enqueue": _end_and_next,
    "resume, take over a session": _owners,
    "handoff ready, abandoned": _handoff_and_its_end,
    "handoff taken, expired": _handoff_and_expiry,
    "memory, take over its session": _memory_and_take_over,
    "interrupt, complete": _interrupt_and_end,
    "delete, start with a key": _delete_and_start,
    "summary, summary": _summaries,
    "two groups that cross": _crossing_groups,
    "two groups with output": _groups_of_output,
    "append, take-over, cancel": _three,
}


def _prepared(scene: Callable[[Scene], Sequence[Group]]) -> Prepare:
    return lambda clock, write: scene(Scene(clock, write))


RACES: Final[Mapping[str, Prepare]] = {name: _prepared(scene) for name, scene in _SCENES.items()}
"""All of them, by name."""
