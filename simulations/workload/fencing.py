"""A trial of the fence: a worker that has lost its run says everything that a worker can say, and none of it lands."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from pydantic_core import from_json

from ...domain.identifiers import RunId
from ..node import SETTINGS
from ..oracle.expiries import DECIDED, LATE_S
from ..oracle.races import TENANT
from ..violation import Violation
from .client import Reply, asking
from .trials import Trial

AGENT: Final = "hands"
"""An agent that nobody but this trial runs."""

REASON: Final = "The trial says so."

DECISION_S: Final = 8.0
"""Seconds the second approval stays open; the first is too late at once."""

_APPROVALS: Final[list[dict[str, Any]]] = [
    {"tool_call_id": f"c{timeout_s}", "tool": "pay", "arguments": {}, "timeout_s": timeout_s}
    for timeout_s in (0.0, DECISION_S)
]
_SAID: Final[Mapping[str, Any]] = {
    "renew": {"worker": "hands1"},
    "complete": {},
    "fail": {"error": {"type": "gave_up", "message": "It is too hard."}},
    "suspend": {"approvals": _APPROVALS, "step": 0, "state": {}},
    "release": {},
}


class Fencing(Trial):
    """Two workers and one run, by HTTP. Raises a Violation."""

    async def live(self) -> None:
        """All steps."""
        run_id = await self._start("Hello", agent=AGENT)
        first = await self._claim(run_id, "hands1")
        await self._output(run_id, first, 200)
        await asyncio.sleep(SETTINGS.lease_s)
        second = await self._claim(run_id, "hands2")
        late = {**first, "next_seq": second["next_seq"]}
        await self._output(run_id, late, 412, "stale_epoch")
        for what, body in _SAID.items():
            self._need(await self._say(run_id, first, what, body), 412, "stale_epoch")
        await self._be_late(run_id, second)
        await self._claim(run_id, "hands2")
        await asyncio.sleep(SETTINGS.lease_s)
        fourth = await self._claim(run_id, "hands2")
        await self._wait_again(run_id, fourth)
        last = await self._claim(run_id, "hands2")
        self._need(await self._say(run_id, last, "complete", {}), 200)
        await self._output(run_id, {**last, "next_seq": last["next_seq"] + 1}, 409, "run_closed")
        await self._come_back(run_id)
        self._world.mark("fence-tried")

    async def _be_late(self, run_id: RunId, held: Mapping[str, Any]) -> None:
        """Of two approvals one is too late at once: that is so for everybody, and the other one is the last."""
        *late, in_time = await self._suspended(run_id, held)
        for too_late in late:  # or none: a sweep was there before us
            self._need(await self._decide(run_id, too_late), 409, "decision_conflict")
        view = await self._client.ask("GET", f"/v1/runs/{run_id}")
        if [one["approval_id"] for one in view.body["pending_approvals"]] != [in_time]:
            detail = f"{late} was refused as too late; now {run_id} waits for {view.body['pending_approvals']}."
            raise Violation("expiry-undone", f"{detail:.300}", run_id=run_id)
        done = self._need(await self._decide(run_id, in_time), 200)
        if done.body["status"] != "pending":
            raise Violation("resume-wrong", f"All is decided, and {run_id} is {done.body['status']}.", run_id=run_id)

    async def _wait_again(self, run_id: RunId, held: Mapping[str, Any]) -> None:
        """A second wait: its first deadline is kept, whenever the last one is; who says what is in the log."""
        *late, in_time = await self._suspended(run_id, held)
        for too_late in late:  # or none: a sweep was there before us
            told = f"{too_late} of {run_id} is not closed"
            await self._until(partial(self._is_decided, run_id, too_late), LATE_S, "expiry-late", told)
        self._need(await self._decide(run_id, in_time), 200)
        said = next(line for line in reversed(self._log(run_id).lines) if f'"{in_time}"'.encode() in line)
        frame = from_json(said)
        if (frame["by"], frame["reason"]) != (TENANT, REASON):
            detail = f"{in_time} of {run_id} is decided by {frame['by']!r} ({frame['reason']!r})."
            raise Violation("decision-misquoted", detail, run_id=run_id)

    async def _come_back(self, run_id: RunId) -> None:
        """To whoever comes with a cursor a snapshot is nothing, even if it is asked for."""
        cursor = f"{run_id}.1.{self._log(run_id).epochs[0]}.1"
        asked = asking("GET", f"/v1/runs/{run_id}/events?snapshot=true", headers=(("Last-Event-ID", cursor),))
        async with self._client.exchange(asked) as exchange:
            await exchange.head()
            data = await exchange.read()
        if b"event: stream.snapshot" in data:
            raise Violation("snapshot-unasked", f"Who comes with {cursor} is sent a snapshot.", run_id=run_id)

    async def _suspended(self, run_id: RunId, held: Mapping[str, Any]) -> list[str]:
        reply = self._need(await self._say(run_id, held, "suspend", _SAID["suspend"]), 200)
        return [one["approval_id"] for one in reply.body["pending_approvals"]]

    def _is_decided(self, run_id: RunId, approval_id: str) -> bool:
        return any(line.startswith(DECIDED) and approval_id.encode() in line for line in self._log(run_id).lines)

    async def _decide(self, run_id: RunId, approval_id: str) -> Reply:
        decision = {"approval_id": approval_id, "outcome": "approve", "reason": REASON}
        return await self._client.ask("POST", f"/v1/runs/{run_id}/decisions", {"decisions": [decision]})

    async def _claim(self, run_id: RunId, worker: str) -> dict[str, Any]:
        reply = await self._client.ask("POST", "/v1/work/claim", {"worker": worker, "agents": [AGENT], "limit": 1})
        if len(reply.body["items"]) != 1:
            name = "failed-without-cause" if self._failed(run_id) else "claim-late"
            raise Violation(name, f"{worker} asks for {run_id}, and is given {reply.body['items']}.", run_id=run_id)
        item: dict[str, Any] = reply.body["items"][0]
        return item

    def _failed(self, run_id: RunId) -> bool:
        return "run.failed" in self._kinds(run_id)

    async def _output(self, run_id: RunId, held: Mapping[str, Any], status: int, code: str | None = None) -> None:
        run, outline = held["run"], held["outline"]
        message = f"{run['session_id']}:{run_id}:{outline['messages'] + 1}"
        frames = [{"type": "message.start", "message_id": message, "role": "assistant"}]
        body = {"first_seq": held["next_seq"], "frames": frames}
        self._need(await self._say(run_id, held, "output", body), status, code)

    async def _say(self, run_id: RunId, held: Mapping[str, Any], what: str, body: Any) -> Reply:
        headers = (("Run-Epoch", str(held["run"]["epoch"])),)
        return await self._client.ask("POST", f"/v1/runs/{run_id}/{what}", body, headers=headers)
