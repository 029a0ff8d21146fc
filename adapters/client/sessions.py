"""The part of the client that is about sessions: the tail, who owns them, memory, handoffs and summaries."""

from typing import Final

from pydantic import JsonValue
from pydantic_core import to_json

from ...domain.errors import NotFound, StaleEpoch
from .requests import Fields, Requests, segment
from .resources import Handoff, Memory, Message, Page, Resource, Resumption, Session, Summary, SummaryWork, Tail

ASKED_CHARS_MAX: Final = 80
"""Characters that are sent of a session id to resume; a real one has 30."""

_PATH_WORDS: Final = ("", ".", "..")


class SessionCalls:
    """The calls. What writes to a session that has an owner needs the epoch of the owner's `resume`."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def create_session(self, metadata: Fields | None = None, *, idempotency_key: str | None = None) -> Session:
        """A new session."""
        key = idempotency_key or self._requests.new_key()
        return await self._requests.ask(Session, "POST", "v1/sessions", {"metadata": dict(metadata or {})}, key=key)

    # Read.

    async def session(self, session_id: str) -> Session:
        """A session as it is now. Raises NotFound."""
        return await self._requests.ask(Session, "GET", session_path(session_id))

    async def sessions(
        self, *, status: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> Page[Session]:
        """A page of sessions, newest first."""
        query = {"status": status, "cursor": cursor, "limit": limit}
        return await self._requests.ask(Page[Session], "GET", "v1/sessions", query=query)

    async def tail(self, session_id: str, limit: int | None = None) -> Tail:
        """What was said last, what waits for a decision, what runs, and the cursor to `follow_session` from."""
        return await self._requests.ask(Tail, "GET", session_path(session_id, "tail"), query={"limit": limit})

    async def messages(
        self, session_id: str, *, before: str | None = None, after: str | None = None, limit: int | None = None
    ) -> Page[Message]:
        """A page of the history, oldest first: the newest, or what stands beside a message.

        Go on with `before=page.next_cursor`, or `after=` if that was the direction.
        """
        query = {"before": before, "after": after, "limit": limit}
        return await self._requests.ask(Page[Message], "GET", session_path(session_id, "messages"), query=query)

    # Own.

    async def resume(
        self,
        session_id: object,
        client_id: str,
        *,
        takeover: bool = False,
        handoff_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Resumption:
        """Own the session from now on, under a new epoch. `client_id` is yours and stays the same over restarts.

        An id that is none (also None or a number), unknown or finalized is answered with a new session: look at
        `resumed` and `warning`. Raises SessionOwned while another client holds its lease, unless `takeover`;
        HandoffConflict for a `handoff_id` that is not ready.
        """
        body: dict[str, object] = {"client_id": client_id, "takeover": takeover}
        if handoff_id is not None:
            body["handoff_id"] = handoff_id
        key = idempotency_key or self._requests.new_key()
        return await self._requests.ask(Resumption, "POST", session_path(_asked(session_id), "resume"), body, key=key)

    async def renew(self, session_id: str, epoch: int) -> Session:
        """Prolong the lease. Raises StaleEpoch if the session is not yours any more."""
        return await self._requests.ask(Session, "POST", session_path(session_id, "renew"), {}, epoch=epoch)

    async def detach(self, session_id: str, epoch: int) -> None:
        """Own it no more. Raises StaleEpoch if the session is not yours any more."""
        await self._requests.tell("POST", session_path(session_id, "detach"), {}, epoch, StaleEpoch)

    async def finalize(self, session_id: str, epoch: int | None = None) -> Session:
        """No more turns and memories; it stays readable. One that is finalized is answered as it is."""
        return await self._requests.ask(Session, "POST", session_path(session_id, "finalize"), {}, epoch=epoch)

    async def delete_session(self, session_id: str, epoch: int | None = None) -> None:
        """Gone for everybody. Raises NotFound, and SessionBusy while a run is active."""
        await self._requests.tell("DELETE", session_path(session_id), None, epoch, NotFound)

    # Remember.

    async def append_memory(
        self, session_id: str, content: JsonValue, epoch: int | None = None, *, idempotency_key: str | None = None
    ) -> Memory:
        """Append to the session's memory, any JSON: its place, and the hash that chains it to the one before.

        Raises SessionEpochRequired, StaleEpoch, SessionFinalized, TooLarge.
        """
        key = idempotency_key or self._requests.new_key()
        body = {"content": content}
        return await self._requests.ask(
            Memory, "POST", session_path(session_id, "memories"), body, key=key, epoch=epoch
        )

    async def memories(
        self, session_id: str, *, after: int | str | None = None, limit: int | None = None
    ) -> Page[Memory]:
        """A page of memories in order; go on with `after=page.next_cursor`, or after any `sequence`."""
        query = {"after": after, "limit": limit}
        return await self._requests.ask(Page[Memory], "GET", session_path(session_id, "memories"), query=query)

    # Hand over.

    async def request_handoff(
        self, session_id: str, handoff_id: str | None = None, *, timeout_s: float | None = None
    ) -> Handoff:
        """Ask the owner to hand over at its next turn boundary. The same `handoff_id` again is the same handoff."""
        handoff_id = handoff_id or self._requests.new_key()  # ours, so that a repeated request makes no second one
        body: dict[str, object] = {"handoff_id": handoff_id}
        if timeout_s is not None:
            body["timeout_s"] = timeout_s
        return await self._requests.ask(Handoff, "POST", session_path(session_id, "handoffs"), body)

    async def handoff(self, session_id: str, handoff_id: str) -> Handoff:
        """A handoff as it is now. Raises NotFound."""
        return await self._requests.ask(Handoff, "GET", _handoff_path(session_id, handoff_id))

    async def ready_handoff(self, session_id: str, handoff_id: str, epoch: int) -> Handoff:
        """The owner lets go: whoever resumes with the handoff's id goes on. Raises HandoffConflict until `drained`."""
        path = _handoff_path(session_id, handoff_id)
        return await self._requests.ask(Handoff, "POST", path, {"action": "ready"}, epoch=epoch)

    async def abandon_handoff(self, session_id: str, handoff_id: str) -> Handoff:
        """Call it off: the owner goes on. One that has ended is answered as it is."""
        path = _handoff_path(session_id, handoff_id)
        return await self._requests.ask(Handoff, "POST", path, {"action": "abandon"})

    # Summarize.

    async def claim_summary(self, session_id: str, by: str) -> SummaryWork:
        """The right to summarize what is new, if the session is quiet. Raises SummaryNotDue.

        If the answer is lost, nobody holds the token: the claim ends with its lease.
        """
        return await self._requests.ask(SummaryWork, "POST", session_path(session_id, "summary", "claim"), {"by": by})

    async def stage_summary(self, session_id: str, token: str, result: JsonValue) -> None:
        """Keep the result, so that no crash costs a second one. Raises StaleToken."""
        body = {"token": token, "result": result}
        await self._requests.ask(Resource, "POST", session_path(session_id, "summary", "stage"), body)

    async def complete_summary(self, session_id: str, token: str) -> Summary:
        """The staged result is the summary. Raises StaleToken, also if a memory came after the claim."""
        return await self._requests.ask(
            Summary, "POST", session_path(session_id, "summary", "complete"), {"token": token}
        )


def session_path(session_id: str, *rest: str) -> str:
    """The path of what belongs to a session. Raises NotFound for what is no segment of a path."""
    return "/".join(("v1/sessions", segment(session_id, "session"), *rest))


def _handoff_path(session_id: str, handoff_id: str) -> str:
    return session_path(session_id, "handoffs", segment(handoff_id, "handoff"))


def _asked(session_id: object) -> str:
    """An id as it may stand in a path, whatever it is: the server says what is wrong. No change makes it a good one."""
    text = session_id if isinstance(session_id, str) else to_json(session_id, fallback=str).decode()
    text = f'"{text}"' if text in _PATH_WORDS else text
    return text[:ASKED_CHARS_MAX].replace("/", "?")
