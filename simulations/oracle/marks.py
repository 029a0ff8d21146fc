"""Marks: the interesting things a campaign must have reached, or it has proved nothing about them.

`sometimes` properties: none is wanted in every run, all of them in every campaign.
"""

from collections.abc import Mapping
from typing import Final

MARKS: Final[Mapping[str, str]] = {
    # Groups and what is refused.
    "group-of-many": "one commit carried several works",
    "loser-in-group": "a work was refused while its neighbours in the group landed",
    "append-fenced": "output of a stale epoch was refused",
    "append-conflict": "output for a place that is taken was refused",
    "append-closed": "output for a run that is not running was refused",
    "append-repeated": "an append whose outcome was unknown came again and was one copy",
    "zombie-refused": "a worker's command with a stale epoch was refused",
    "command-refused": "a command was refused by the state machine",
    "session-busy": "a turn was refused because the session has an active run",
    "key-replayed": "an Idempotency-Key was answered with what it was answered before",
    "key-mismatch": "an Idempotency-Key with another payload was refused",
    # Hands.
    "second-turn": "a session went on to another turn",
    "take-over": "a run was taken over after its lease expired",
    "take-over-from-checkpoint": "the one who took over went on from a checkpoint",
    "take-over-from-start": "the one who took over began again",
    "take-over-from-itself": "a worker took over from itself",
    "worker-lost": "a run was lost for good with its worker",
    "release": "a worker handed a run back",
    "release-at-checkpoint": "a run was handed back with nothing to void",
    "claim-again": "a run was claimed again after a release or a wait",
    "lease-renewed": "a lease was prolonged",
    "lease-lost": "a worker learned from its renewal that a run is not its own any more",
    # Output.
    "checkpoint": "a checkpoint was committed with its step",
    "parts-cut": "a frame cut open parts short",
    "reset-voids-output": "a step.reset voided output",
    # Approvals.
    "suspension": "a run began to wait for approvals",
    "suspension-again": "a run waited a second time",
    "several-approvals": "a run waits for more than one approval",
    "decision-partial": "some approvals were decided, others still wait",
    "decision-repeated": "a decision came again and changed nothing",
    "decision-conflict": "an opposite decision was refused",
    "approval": "an approval was given",
    "denial": "a person denied an approval",
    "edit": "an approval was given with other arguments",
    "expiry": "an approval was denied because its deadline passed",
    # Ends.
    "completed": "a run completed",
    "failed": "a run failed",
    "cancel-pending": "a run was cancelled before any worker had it",
    "cancel-running": "a run was cancelled while it was running",
    "cancel-waiting": "a run was cancelled while it was waiting",
    "cancel-ended": "a run that had ended was cancelled, and answered as it is",
}
"""The commit-level marks and what each one means."""
