"""Coming back to a session: every answer to a resume and every tail is held against what the session was meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ...domain.identifiers import SESSION_PREFIX, SessionId, is_identifier
from ..oracle.sessionlog import DELETED, FINALIZED, SessionLog
from ..oracle.tails import SLACK_S, Interval, check_tail
from ..process import EPOCH
from ..violation import Violation
from .board import Board
from .client import Client, Reply

LIMITS: Final = (20, 1, 2, 5)
"""Messages that are asked of a tail; the first is what a resume answers."""

_CODES: Final = {FINALIZED: "SESSION_FINALIZED", DELETED: "SESSION_NOT_FOUND"}

REFUSED: Final = ("SESSION_BUSY", "handoff_conflict", "not_found")
"""Codes of a resume that gives nothing. The last is an unknown handoff."""


@dataclass(frozen=True, slots=True)
class Held:
    """A session that somebody was told to own, under which epoch, and what it was shown of it."""

    session_id: SessionId
    epoch: int
    tail: Mapping[str, Any]
    resumed: bool

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What its owner's writes carry."""
        return (("Session-Epoch", str(self.epoch)),)


class Resuming:
    """One client's ways into sessions."""

    def __init__(self, client: Client, board: Board) -> None:
        self._client = client
        self._log = client.world.log
        self._mark = client.world.mark
        self._board = board

    async def resume(
        self, asked: str, *, takeover: bool = False, handoff_id: str | None = None, key: str | None = None
    ) -> Held | None:
        """Own it, or what stands in for it; None if it is refused. Raises a Violation."""
        client = self._client
        client.act("resume", session=asked, takeover=takeover or None, handoff=handoff_id)
        began = client.world.loop.time()
        body = {"client_id": client.name, "takeover": takeover, "handoff_id": handoff_id}
        reply = await client.ask("POST", f"/v1/sessions/{asked}/resume", body, key=key)
        if reply.status == 200:
            return self._owned(asked, reply)
        if reply.status == 201:
            return self._stand_in(asked, reply, began)
        if reply.code == "SESSION_BUSY":
            self._busy(reply)
        if reply.status != 409 and reply.code not in REFUSED:
            raise Violation(
                "answer-wrong", f"{client.name}: resuming {asked} was answered {reply.status}: {reply.body}"
            )
        return None

    def _owned(self, asked: str, reply: Reply) -> Held:
        """Raises epoch-acknowledged-twice, continuity-wrong and what a tail can break."""
        session_id, epoch, name = SessionId(reply.body["session_id"]), reply.body["epoch"], self._client.name
        session = self._log.sessions[session_id]
        told = self._board.acknowledged.setdefault((session_id, epoch), name)
        if session_id != asked or told != name or session.owners.get(epoch) != name:
            detail = (
                f"{name} is told that it owns {session_id} under {epoch}; that was given to {session.owners.get(epoch)}"
            )
            raise Violation("epoch-acknowledged-twice", f"{detail}, and told to {told}.", session_id=session_id)
        evidence: dict[str, Any] = reply.body["continuity"]
        count: int = evidence["count"]
        hashes = session.hashes
        head = hashes[count - 1] if 0 < count <= len(hashes) else None
        if evidence["head_hash"] != head or (evidence["first"], evidence["last"]) != (
            (1, count) if count else (None, None)
        ):
            detail = f"{name}: the memory of {session_id} is said to be {evidence}; it is {hashes}."
            raise Violation("continuity-wrong", detail, session_id=session_id)
        self.judge_tail(session, reply.body["tail"], LIMITS[0], reply)
        return Held(session_id, epoch, reply.body["tail"], resumed=True)

    def _stand_in(self, asked: str, reply: Reply, began: float) -> Held:
        """`began`: the first try, of which this may be the answer. Raises stand-in-wrong."""
        session_id, code = SessionId(reply.body["session_id"]), reply.body["code"]
        warning, wanted = reply.body["warning"], self._log.sessions.get(SessionId(asked))
        called, returned = began - SLACK_S, reply.returned + SLACK_S
        statuses = [one.status for one in wanted.during(called, returned)] if wanted is not None else []
        codes = [_CODES.get(status) for status in statuses] or [_unknown(asked)]
        if code not in codes or warning is None or (warning["code"], warning["asked"]) != (code, asked[:80]):
            detail = f"{self._client.name}: {asked} was answered with {session_id}, {code} and {warning}."
            raise Violation("stand-in-wrong", detail, session_id=session_id)
        if self._log.sessions[session_id].warning != code or reply.body["resumed"]:
            detail = f"{session_id} stands in for {asked} ({code}), and is not warned of it."
            raise Violation("stand-in-wrong", detail, session_id=session_id)
        return Held(session_id, reply.body["epoch"], reply.body["tail"], resumed=False)

    def _busy(self, reply: Reply) -> None:
        """Raises busy-wrong."""
        body = reply.body
        session = self._log.sessions[SessionId(body["session_id"])]
        moments = session.during(reply.called - SLACK_S, reply.returned + SLACK_S)
        until = (datetime.fromisoformat(body["lease_expires_at"]) - EPOCH).total_seconds()
        if (body["owner"], body["epoch"]) not in [(one.owner, one.epoch) for one in moments] or until <= reply.called:
            detail = f"{self._client.name} is told that {body['owner']} owns it ({body['epoch']}) until {until:.6f}."
            raise Violation("busy-wrong", detail, session_id=session.session_id)
        self._mark("told-busy")

    # Tails.

    async def tail(self, session_id: SessionId) -> Mapping[str, Any] | None:
        """The session's tail; None if it is gone. Raises a Violation."""
        limit = self._client.world.tape.pick(f"tail.limit:{self._client.name}", LIMITS)
        session = self._log.sessions[session_id]
        reply = await self._client.ask("GET", f"/v1/sessions/{session_id}/tail?limit={limit}")
        if reply.status == 404 and session.status == "deleted":
            return None
        if reply.status != 200:
            detail = f"{self._client.name}: the tail of {session_id} was answered {reply.status}: {reply.body}"
            raise Violation("answer-wrong", detail, session_id=session_id)
        self.judge_tail(session, reply.body, limit, reply)
        tail: Mapping[str, Any] = reply.body
        return tail

    def judge_tail(self, session: SessionLog, tail: Mapping[str, Any], limit: int, reply: Reply) -> None:
        """Whether it was right while it was asked for. Raises what `check_tail` does."""
        check_tail(self._log, session, tail, limit, Interval(reply.called, reply.returned), mark=self._mark)


def _unknown(asked: str) -> str:
    """The code for an id that nobody has heard of."""
    return "SESSION_NOT_FOUND" if is_identifier(SESSION_PREFIX, asked) else "INVALID_SESSION_ID"
