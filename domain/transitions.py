"""The state machines as tables. The guard, the diagrams in docs/ and the property tests all read these rows.

A row says: this command, from these states, may lead to these states. Every pair that stands in no row is refused.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from .errors import IllegalTransition


class Status(StrEnum):
    """The six states of runs and jobs."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting_for_approval"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self in FINAL


FINAL: Final = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
ACTIVE: Final = (Status.PENDING, Status.RUNNING, Status.WAITING)


class SessionStatus(StrEnum):
    """Open takes turns; finalized is readable; deleted is gone for readers too."""

    OPEN = "open"
    FINALIZED = "finalized"
    DELETED = "deleted"


class Transition(NamedTuple):
    """One row of a table. An empty `sources` means: only as the first fact of a stream."""

    command: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]


P, R, W = Status.PENDING, Status.RUNNING, Status.WAITING

RUN_TABLE: Final = (
    Transition("create", (), (P,)),
    Transition("claim", (P,), (R,)),
    Transition("take_over", (R,), (R,)),
    Transition("release", (R,), (P,)),
    Transition("record", (R,), (R,)),
    Transition("suspend", (R,), (W,)),
    Transition("decide", (W,), (W, P)),
    Transition("complete", (R,), (Status.COMPLETED,)),
    Transition("fail", (P, R, W), (Status.FAILED,)),
    Transition("cancel", (P, R, W), (Status.CANCELLED,)),
)

JOB_TABLE: Final = (
    Transition("create", (), (P,)),
    Transition("attempt", (P,), (P,)),
    Transition("start", (P,), (R,)),
    Transition("release", (R,), (P,)),
    Transition("suspend", (R,), (W,)),
    Transition("resume", (W,), (P,)),
    Transition("complete", (R,), (Status.COMPLETED,)),
    Transition("retry", (P, R, W), (P,)),
    Transition("fail", (P, R, W), (Status.FAILED,)),
    Transition("cancel", (P, R, W), (Status.CANCELLED,)),
)

OPEN, FINALIZED = SessionStatus.OPEN, SessionStatus.FINALIZED

SESSION_TABLE: Final = (
    Transition("create", (), (OPEN,)),
    Transition("warn", (OPEN,), (OPEN,)),
    Transition("queue_turn", (OPEN,), (OPEN,)),
    Transition("withdraw_turn", (OPEN,), (OPEN,)),
    Transition("start_turn", (OPEN,), (OPEN,)),
    Transition("end_turn", (OPEN,), (OPEN,)),
    Transition("end_turn", (FINALIZED,), (FINALIZED,)),
    Transition("attach", (OPEN,), (OPEN,)),
    Transition("detach", (OPEN,), (OPEN,)),
    Transition("detach", (FINALIZED,), (FINALIZED,)),
    Transition("append_memory", (OPEN,), (OPEN,)),
    Transition("request_handoff", (OPEN,), (OPEN,)),
    Transition("ready_handoff", (OPEN,), (OPEN,)),
    Transition("end_handoff", (OPEN,), (OPEN,)),
    *(
        Transition(command, (state,), (state,))
        for command in ("claim_summary", "stage_summary", "complete_summary")
        for state in (OPEN, FINALIZED)
    ),
    Transition("finalize", (OPEN,), (FINALIZED,)),
    Transition("delete", (OPEN, FINALIZED), (SessionStatus.DELETED,)),
)

TABLES: Final[Mapping[str, tuple[Transition, ...]]] = {"run": RUN_TABLE, "job": JOB_TABLE, "session": SESSION_TABLE}


def targets(table: Iterable[Transition], status: str | None, command: str) -> tuple[str, ...]:
    """The states `command` may lead to from `status` (None: there is no history yet). Empty: refused."""
    for row in table:
        if row.command == command and (status in row.sources if row.sources else status is None):
            return row.targets
    return ()


def check(machine: str, status: str | None, command: str, target: str) -> None:
    """Raise IllegalTransition unless the machine's table allows `command` from `status` to `target`."""
    if target not in targets(TABLES[machine], status, command):
        detail = f"A {machine} in state {status or 'none'} can't {command.replace('_', ' ')}."
        raise IllegalTransition(detail, status=status, command=command)
