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

SESSION_MARKS: Final[Mapping[str, str]] = {
    # Owners.
    "attach-resumed": "a client resumed a session",
    "attach-taken-over": "a client took a session over from a live owner",
    "attach-handed-over": "the target of a handoff went on with a session",
    "owner-came-back": "the same client came back under a new epoch",
    "resume-refused": "a resume was refused because somebody else owns the session",
    "lease-lapsed-resume": "another client resumed after the owner's lease had ended",
    "lease-lapsed-write": "a write without an epoch ended the ownership of an owner whose lease was over",
    "resumed-on-the-instant": "a client resumed at the very instant at which another's lease ended",
    "session-lease-renewed": "an owner prolonged its lease",
    "detached": "an owner left",
    "stranger-refused": "a write without an epoch was refused",
    "stale-session-refused": "a write under an old epoch was refused",
    "told-superseded": "an owner was told on its stream that it is not the owner any more",
    "told-detached": "an owner was told on its stream that nobody owns the session",
    "told-busy": "a client was told who owns the session and until when",
    "stand-in-invalid-session-id": "a session stood in for an id that is none",
    "stand-in-session-not-found": "a session stood in for an unknown one",
    "stand-in-session-finalized": "a session stood in for a finalized one",
    "session-finalized": "a session was finalized",
    "session-deleted": "a session was deleted",
    # Memory and summaries.
    "memory": "an owner's memory was appended",
    "memory-of-nobodys-session": "a memory was appended to a session that nobody owns",
    "summary-not-due": "a claim was refused",
    "summary-claimed": "a summary was claimed",
    "summary-claimed-again": "a summary was claimed after another claim had ended without a result",
    "summary-claimed-staged": "a claim brought what another had staged",
    "staged-used": "a summarizer completed what another had staged",
    "summary-staged": "a result was staged",
    "summary-completed": "a summary was completed",
    "stale-token-refused": "a claim that was void or over was refused",
    # Turns and handoffs.
    "input-queued": "an input waits for its turn",
    "input-withdrawn": "an input that waited was cancelled",
    "input-held": "an input waits for the end of a handoff",
    "queued-turn": "the turn of an input that had waited began",
    "handoff-requested": "a handoff was asked for",
    "handoff-behind-a-queue": "a handoff was asked for while inputs waited",
    "handoff-ready": "an owner let go",
    "handoff-completed": "the target came",
    "handoff-expired": "the target did not come in time",
    "handoff-abandoned": "a handoff was called off",
    "handoff-source-left": "a handoff ended because its owner left",
    "handoff-superseded": "a handoff ended because another took over",
    "held-inputs-released": "inputs that a handoff had held back began",
    "told-handoff-requested": "an owner was told on its stream of a handoff",
    "told-handoff-ready": "an owner's stream said that the handoff is ready",
    "told-handoff-abandoned": "an owner's stream said that the handoff is over",
    # Tails.
    "tail-active": "a tail of a session with an active run",
    "tail-idle": "a tail between two turns",
    "tail-empty": "a tail of a session that had no turn",
    "tail-cut": "a tail that did not show everything",
    "tail-with-approval": "a tail with a pending approval",
    "tail-and-stream": "a tail was read, and the rest of the session from its cursor",
    "session-probed": "a session's life was gone through when all was well",
}
"""What must have been reached of sessions."""
