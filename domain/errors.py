"""Every error Reattach raises on purpose: what happened, whose fault it is, what to do next.

The class carries the stable `code` clients match on, the fields carry the data; `adapters/http/problems.py` maps the
classes to HTTP in one table. An exception that is not a ReattachError is a bug of ours.
"""

from typing import Any, ClassVar


class ReattachError(Exception):
    """Base of all deliberate errors. `code` is stable for ever, `detail` is for people, `fields` are for programs."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    remedy: ClassVar[str] = "This is a bug in Reattach; please report it."

    def __init__(self, detail: str = "", **fields: Any) -> None:
        self.detail = f"{detail} {self.remedy}".strip() if detail else f"{self.title}. {self.remedy}"
        self.fields = fields
        super().__init__(self.detail)


class NotFound(ReattachError):
    """Unknown here, or another tenant's: the two are never told apart."""

    code = "not_found"
    title = "Not found"
    remedy = "Check the id; ids of other tenants look exactly like unknown ones."


class IllegalTransition(ReattachError):
    """The state machine does not allow this command in this state. Nothing was recorded."""

    code = "illegal_transition"
    title = "Not possible in this state"
    remedy = "Read the actual state and decide again."


class SessionBusy(ReattachError):
    """The session already has an active run. Nothing was recorded."""

    code = "session_busy"
    title = "The session is busy"
    remedy = "Wait for the run or the handoff to end; a run's approvals can be decided, and it can be cancelled."


class SessionFinalized(ReattachError):
    """The session takes no more turns."""

    code = "session_finalized"
    title = "The session is finalized"
    remedy = "Start a new session."


class SessionOwned(ReattachError):
    """A live client owns the session. Nothing was recorded."""

    code = "SESSION_BUSY"
    title = "Another client owns the session"
    remedy = "Wait until lease_expires_at, or resume with `takeover: true`; reading needs neither."


class SessionEpochRequired(ReattachError):
    """The session has an owner, and the request does not say that it is the owner's."""

    code = "session_epoch_required"
    title = "The session has an owner"
    remedy = "Resume the session, and send the epoch of that answer as `Session-Epoch`."


class HandoffConflict(ReattachError):
    """The handoff is not in a state for this. Nothing was recorded."""

    code = "handoff_conflict"
    title = "Not possible in this state of the handoff"
    remedy = "Wait for one that is under way; where there is none any more, resume without it or request another."


class StaleToken(ReattachError):
    """The claim of this summary is not the holder's any more, or its summary would leave out a memory."""

    code = "stale_token"
    title = "Stale summary claim"
    remedy = "Drop the result; claim again if the session is still due."


class SummaryNotDue(ReattachError):
    """Nothing new to summarize, or the session is in use or was until a moment ago, or somebody is at it."""

    code = "summary_not_due"
    title = "No summary is due"
    remedy = "Ask again at `due_at`, or after the next memory if there is none."


class StaleEpoch(ReattachError):
    """Somebody else owns the run by now; the writer holding the older epoch must stop."""

    code = "stale_epoch"
    title = "Stale epoch"
    remedy = "Stop working on this run: another worker has taken it over."


class StaleSession(StaleEpoch):
    """Somebody else owns the session by now, or nobody does; whoever holds the older epoch must resume first."""

    code = "stale_epoch"
    title = "Stale session epoch"
    remedy = "Resume the session; until then only read it."


class AppendConflict(ReattachError):
    """The log does not end where this append begins, or holds other bytes at that place."""

    code = "append_conflict"
    title = "The log has moved on"
    remedy = "Read the run; if it is still yours, append after its head."


class RunClosed(ReattachError):
    """The run is not running any more (it ended, waits for approval, or was released)."""

    code = "run_closed"
    title = "The run takes no output"
    remedy = "Stop producing: the run's log says why."


class DecisionConflict(ReattachError):
    """The approval was decided otherwise before. The earlier decision stands."""

    code = "decision_conflict"
    title = "Already decided otherwise"
    remedy = "The recorded decision stands; show it to the person who asked."


class UnknownApproval(ReattachError):
    """The decision names an approval this run never asked for."""

    code = "unknown_approval"
    title = "No such approval"
    remedy = "Take the approval ids from the run's pending_approvals."


class Malformed(ReattachError):
    """The request can't be understood at all: broken JSON, wrong header, wrong query."""

    code = "malformed"
    title = "Malformed request"
    remedy = "Correct the request; sending it again unchanged will fail again."


class InvalidCursor(Malformed):
    """Not a cursor in form (a cursor that is well-formed but can't be honoured is a reset, not an error)."""

    code = "invalid_cursor"
    title = "Malformed cursor"
    remedy = (
        "Send `run_id.generation.epoch.seq` as the stream's id lines carry it; "
        "on a run's stream ?after= also takes a bare sequence number."
    )


class Invalid(ReattachError):
    """The request is understood and its content is refused."""

    code = "invalid"
    title = "Invalid content"
    remedy = "Correct the named field."


class InvalidFrames(Invalid):
    """Output that breaks the grammar of frames (a delta without its start, an open part at the end, ...)."""

    code = "invalid_frames"
    title = "Invalid frames"
    remedy = "Every delta and end needs its start; close parts and messages before a step or a run ends."


class UnwritableOutput(InvalidFrames):
    """Output or a checkpoint that can't be stored: no JSON, over its limit, or nested too deep to be read again."""

    code = "invalid_frames"
    title = "Output that can't be stored"
    remedy = "Give plain JSON values within the limits; what is larger belongs behind a URL."


class UnknownAgent(Invalid):
    """No agent of that name is loaded here."""

    code = "unknown_agent"
    title = "Unknown agent"
    remedy = "GET /v1/agents lists the agents; load one with --agents module:name."


class TooLarge(ReattachError):
    """Something is over a stated limit."""

    code = "too_large"
    title = "Too large"
    remedy = "Send less; the limit is in the `limit` field."


class ConfigMismatch(ReattachError):
    """The reader asked for another request_config than the run was created with."""

    code = "config_mismatch"
    title = "Another request_config"
    remedy = "Leave ?config out, or send the digest that the run carries in `request_config_digest`."


class IdempotencyMismatch(ReattachError):
    """The Idempotency-Key was used before with another payload."""

    code = "idempotency_mismatch"
    title = "Idempotency-Key reused"
    remedy = "Use a new key for a new request."


class Unauthorized(ReattachError):
    """No token, or not one of ours."""

    code = "unauthorized"
    title = "Unauthorized"
    remedy = "Send `Authorization: Bearer <token>` with a token of REATTACH_TOKENS."


class Draining(ReattachError):
    """This process is shutting down and takes no new work."""

    code = "draining"
    title = "Shutting down"
    remedy = "Send the request again; another server, or this one after its restart, will take it."


class StoreUnavailable(ReattachError):
    """The database did not answer in time. The outcome of a write is unknown."""

    code = "store_unavailable"
    title = "The store is unavailable"
    remedy = "Try again; repeat a write with the same Idempotency-Key."


class RecordDamaged(ReattachError):
    """A stored record is torn or altered: its checksum or its shape is wrong."""

    code = "record_damaged"
    title = "A stored record is damaged"
    remedy = "Restore the database file from a backup; the fields name the stream and the seq."


class ConfigurationError(ReattachError):
    """The process was started with settings that can't work."""

    code = "configuration"
    title = "Configuration"
    remedy = "Correct the setting and start again."
