"""The probe of sessions: once all is well, everything a session promises is kept, and promptly.

One session's life, step by step: turns that wait, a fight, a handoff that is completed and one that nobody comes to,
memories, and their summary. Nothing here is drawn, so that whatever breaks it is found in every world that has it.
"""

import asyncio
from typing import Any, Final

from ...domain.identifiers import RunId, SessionId
from ..oracle.delivery import Seen
from ..violation import Violation
from .board import Board
from .client import Client, Place, Reply
from .follower import Follower
from .resuming import Held, Resuming

TOLD_S: Final = 1.0
"""Seconds within which an owner hears what becomes of its ownership."""

DONE_S: Final = 4.0
"""Seconds within which an input is done whose turn may begin: a sweep, and what it does."""

DUE_S: Final = 2.5
"""Seconds within which what its owner has left becomes due: the grace, and some air."""

CLAIM_S: Final = 1.7
"""Seconds after which a claim that nobody came back with is over."""

LOOK_S: Final = 0.1
_SHORT: Final = [{"text": "Done."}]
_LONG: Final = [{"text": "One moment."}, {"wait_ms": 600}, {"text": "Done."}]
_CALL: Final = {"tool": "pay", "arguments": {"sum": 1}, "result": {"paid": 1}}


class SessionProbe:
    """Two clients, on whatever node answers, and one session."""

    def __init__(self, world: Place, board: Board, name: str) -> None:
        self._world = world
        self._one = Client(world, f"{name}1")
        self._two = Client(world, f"{name}2")
        self._board = board
        self._session_id = SessionId("")
        self._told: dict[str, asyncio.Event] = {}

    async def live(self) -> None:
        """Raises a Violation."""
        reply = await self._one.ask("POST", "/v1/sessions", {}, key=self._one.new_key())
        self._session_id = SessionId(reply.body["session_id"])
        held = await self._hand_over(await self._resume(self._one))
        held = await self._fight(held)
        held = await self._wait_in_vain(held)
        await self._be_asked(held)
        await self._post(self._two, held, "detach", {})
        await self._summarize()
        await self._summarize_too_late()
        self._world.mark("session-probed")

    # The steps.

    async def _hand_over(self, held: Held) -> Held:
        """Inputs before the handoff finish, one of them cancelled while it waits; later ones wait for its end."""
        one, two = self._one, self._two
        reading = self._read(one, held)
        first = await self._start(one, held, _LONG)
        dropped = await self._start(one, held, _SHORT)
        second = await self._start(one, held, _SHORT)
        await self._need(await one.ask("POST", f"/v1/runs/{dropped}/cancel", {}), 200)
        await Resuming(two, self._board).tail(self._session_id)
        path = f"/v1/sessions/{self._session_id}/handoffs"
        await self._need(await two.ask("POST", path, {"handoff_id": "probe"}), 201)
        await self._heard("HANDOFF_REQUESTED")
        third = await self._start(one, held, _SHORT)
        too_early = {"client_id": two.name, "handoff_id": "probe"}
        await self._need(await two.ask("POST", f"/v1/sessions/{self._session_id}/resume", too_early), 409)
        early = await self._post(one, held, "handoffs/probe", {"action": "ready"})
        if early.status == 200 and self._world.log.terminal(first) is None:
            raise Violation("handoff-not-drained", f"The probe's handoff is ready, and {first} is not done.")
        await self._done(first, second, dropped)
        if self._world.log.terminal(third) is not None:
            raise Violation("handoff-barrier", f"{third} came after the handoff, and has not waited for it.")
        await self._need(await self._post(one, held, "handoffs/probe", {"action": "ready"}), 200)
        after = await self._resume(two, handoff_id="probe")
        await self._heard("session.superseded")
        await self._done(third)
        reading.stop()
        return after

    async def _fight(self, held: Held) -> Held:
        """A takeover: the old owner is told, and can't write any more."""
        one, two = self._one, self._two
        await self._need(await self._post(two, held, "memories", {"content": 1}, key=two.new_key()), 201)
        busy = await one.ask("POST", f"/v1/sessions/{self._session_id}/resume", {"client_id": one.name})
        await self._need(busy, 409)
        reading = self._read(two, held)
        taken = await self._resume(one, takeover=True)
        await self._heard("session.superseded")
        await self._need(await self._post(two, held, "memories", {"content": "late"}), 412)
        await self._need(await two.ask("POST", f"/v1/sessions/{self._session_id}/memories", {"content": 0}), 428)
        reading.stop()
        await self._need(await self._post(one, taken, "memories", {"content": 2}, key=one.new_key()), 201)
        return taken

    async def _wait_in_vain(self, held: Held) -> Held:
        """Nobody comes to the handoff: its end is told, and what waited for it begins."""
        path = f"/v1/sessions/{self._session_id}/handoffs"
        reading = self._read(self._one, held)
        await self._need(await self._one.ask("POST", path, {"handoff_id": "vain", "timeout_s": 0.5}), 201)
        run_id = await self._start(self._one, held, _SHORT)
        await self._done(run_id)
        await self._heard("HANDOFF_ABANDONED")
        reading.stop()
        await self._post(self._one, held, "detach", {})
        return await self._resume(self._two)

    async def _be_asked(self, held: Held) -> None:
        """An approval that waits is in every tail, however short."""
        calls = [{"approvals": [{**_CALL, "arguments": {"sum": n}} for n in (1, 2)]}]
        run_id = await self._start(self._two, held, [{"text": "May I?"}, *calls])
        until = self._world.loop.time() + DONE_S
        while b"run.suspended" not in (self._world.log.frame(run_id, self._world.log.head(run_id)) or (0, b""))[1]:
            if self._world.loop.time() > until:
                raise Violation("probe-late", f"{run_id} does not ask within {DONE_S} s.")
            await asyncio.sleep(LOOK_S)
        tail = await Resuming(self._two, self._board).tail(self._session_id)
        asked = [one["approval_id"] for one in tail["pending_approvals"]] if tail is not None else []
        for approval_id in asked:
            decision = {"approval_id": approval_id, "outcome": "approve"}
            await self._two.ask("POST", f"/v1/runs/{run_id}/decisions", {"decisions": [decision]})
            await Resuming(self._one, self._board).tail(self._session_id)
        await self._done(run_id)

    async def _summarize(self) -> None:
        """Not within the grace; then one claim at a time, and what was staged is never lost."""
        path, who = f"/v1/sessions/{self._session_id}/summary", {"by": "probe"}
        await self._need(await self._one.ask("POST", f"{path}/claim", who), 409)
        await asyncio.sleep(DUE_S)
        first = await self._need(await self._one.ask("POST", f"{path}/claim", who), 200)
        await self._need(await self._two.ask("POST", f"{path}/claim", who), 409)
        token = {"token": first.body["token"]}
        await self._need(await self._one.ask("POST", f"{path}/stage", {**token, "result": "tea"}), 200)
        await asyncio.sleep(CLAIM_S)
        again = await self._need(await self._two.ask("POST", f"{path}/claim", who), 200)
        if (again.body["is_staged"], again.body["staged"]) != (True, "tea"):
            raise Violation(
                "staged-dropped", f"The probe's summary was staged; its next claimer is given {again.body}."
            )
        await self._need(await self._one.ask("POST", f"{path}/complete", token), 409)
        done = await self._two.ask("POST", f"{path}/complete", {"token": again.body["token"]})
        await self._need(done, 200)

    async def _summarize_too_late(self) -> None:
        """A memory that comes after the claim voids it, at whatever step."""
        path, one, two = f"/v1/sessions/{self._session_id}/summary", self._one, self._two
        held = await self._resume(one)
        await self._need(await self._post(one, held, "memories", {"content": 3}, key=one.new_key()), 201)
        await self._post(one, held, "detach", {})
        await asyncio.sleep(DUE_S)
        claim = await self._need(await two.ask("POST", f"{path}/claim", {"by": "probe"}), 200)
        token = {"token": claim.body["token"]}
        await self._need(await two.ask("POST", f"{path}/stage", {**token, "result": "milk"}), 200)
        held = await self._resume(one)
        await self._need(await self._post(one, held, "memories", {"content": 4}, key=one.new_key()), 201)
        await self._need(await two.ask("POST", f"{path}/complete", token), 409)
        await self._end(held)

    async def _end(self, held: Held) -> None:
        """Finalized it takes nothing any more, deleted it never was; whoever comes gets another and is told."""
        one = self._one
        await self._need(await self._post(one, held, "finalize", {}), 200)
        await self._need(await self._post(one, held, "memories", {"content": 5}), 409)
        await self._stands_in("SESSION_FINALIZED")
        await self._need(await one.ask("DELETE", f"/v1/sessions/{self._session_id}", headers=held.headers), 204)
        await self._stands_in("SESSION_NOT_FOUND")

    async def _stands_in(self, code: str) -> None:
        other = await Resuming(self._one, self._board).resume(self._session_id, key=self._one.new_key())
        if other is None or other.resumed or self._world.log.sessions[other.session_id].warning != code:
            raise Violation("stand-in-wrong", f"The probe's session is {code}, and was answered with {other}.")

    # What they are made of.

    def _read(self, client: Client, held: Held) -> Follower:
        """The owner's stream. What it is told from now on can be waited for."""
        self._told = {}

        def noticed(seen: Seen) -> None:
            for name in ("HANDOFF_REQUESTED", "HANDOFF_ABANDONED", "session.superseded"):
                if name == seen.kind or f'"{name}"'.encode() in seen.data:
                    self._told.setdefault(name, asyncio.Event()).set()

        reader = Client(self._world, f"{client.name}s")
        cursor, epoch = held.tail["cursor"], held.epoch
        reading = Follower(reader, session_id=self._session_id, after=cursor, epoch=epoch, noticed=noticed)
        self._world.spawn(reader.name, reading.follow())
        return reading

    async def _heard(self, name: str) -> None:
        """Raises superseded-untold or notice-missing."""
        event = self._told.setdefault(name, asyncio.Event())
        try:
            async with asyncio.timeout(TOLD_S):
                await event.wait()
        except TimeoutError:
            missing = "superseded-untold" if name == "session.superseded" else "notice-missing"
            raise Violation(missing, f"The owner's stream does not say {name} within {TOLD_S} s.") from None

    async def _resume(self, client: Client, *, takeover: bool = False, handoff_id: str | None = None) -> Held:
        resuming = Resuming(client, self._board)
        held = await resuming.resume(self._session_id, takeover=takeover, handoff_id=handoff_id, key=client.new_key())
        if held is None or not held.resumed:
            raise Violation("resume-refused", f"{client.name} may resume {self._session_id}, and is refused.")
        return held

    async def _start(self, client: Client, held: Held, steps: Any) -> RunId:
        body = {"agent": "script", "input": {"steps": steps}, "on_busy": "enqueue"}
        reply = await self._need(await self._post(client, held, "runs", body, client.new_key()), 202)
        return RunId(reply.body["run_id"])

    async def _done(self, *run_ids: RunId) -> None:
        """Raises probe-late."""
        log, until = self._world.log, self._world.loop.time() + DONE_S
        while any(log.terminal(run_id) is None for run_id in run_ids):
            if self._world.loop.time() > until:
                raise Violation("probe-late", f"Not done within {DONE_S} s although all is well: {', '.join(run_ids)}.")
            await asyncio.sleep(LOOK_S)

    async def _post(self, client: Client, held: Held, what: str, body: Any, key: str | None = None) -> Reply:
        path = f"/v1/sessions/{self._session_id}/{what}"
        await self._renewed(client, held)
        return await client.ask("POST", path, body, key=key, headers=held.headers)

    async def _renewed(self, client: Client, held: Held) -> None:
        """An owner that lives says so: all of this takes longer than a lease."""
        await client.ask("POST", f"/v1/sessions/{self._session_id}/renew", {}, headers=held.headers)

    async def _need(self, reply: Reply, status: int) -> Reply:
        """Raises session-answer-wrong."""
        if reply.status != status:
            detail = f"The probe was answered {reply.status} instead of {status}: {reply.body}"
            raise Violation("session-answer-wrong", f"{detail:.500}")
        return reply
