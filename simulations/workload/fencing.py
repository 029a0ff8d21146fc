"""A trial of the fence: a worker that has lost its run says everything that a worker can say, and none of it lands."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from ...domain.identifiers import RunId
from ..node import SETTINGS
from ..violation import Violation
from .client import Reply
from .trials import Trial

AGENT: Final = "hands"
"""An agent that nobody but this trial runs."""

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
        first = await self._claim("hands1")
        await self._output(run_id, first, 200)
        await asyncio.sleep(SETTINGS.lease_s)
        second = await self._claim("hands2")
        late = {**first, "next_seq": second["next_seq"]}
        await self._output(run_id, late, 412, "stale_epoch")
        for what, body in _SAID.items():
            self._need(await self._say(run_id, first, what, body), 412, "stale_epoch")
        await self._be_late(run_id, second)
        third = await self._claim("hands2")
        self._need(await self._say(run_id, third, "complete", {}), 200)
        await self._output(run_id, {**third, "next_seq": third["next_seq"] + 1}, 409, "run_closed")
        self._world.mark("fence-tried")

    async def _be_late(self, run_id: RunId, held: Mapping[str, Any]) -> None:
        """Of two approvals one is too late at once: that is so for everybody, and the other one is the last."""
        asked = (await self._suspended(run_id, held)).body["pending_approvals"]
        too_late, in_time = (one["approval_id"] for one in asked)
        self._need(await self._decide(run_id, too_late), 409, "decision_conflict")
        view = await self._client.ask("GET", f"/v1/runs/{run_id}")
        if [one["approval_id"] for one in view.body["pending_approvals"]] != [in_time]:
            detail = f"{too_late} was refused as too late; now {run_id} waits for {view.body['pending_approvals']}."
            raise Violation("expiry-undone", f"{detail:.300}", run_id=run_id)
        done = self._need(await self._decide(run_id, in_time), 200)
        if done.body["status"] != "pending":
            raise Violation("resume-wrong", f"All is decided, and {run_id} is {done.body['status']}.", run_id=run_id)

    async def _suspended(self, run_id: RunId, held: Mapping[str, Any]) -> Reply:
        return self._need(await self._say(run_id, held, "suspend", _SAID["suspend"]), 200)

    async def _decide(self, run_id: RunId, approval_id: str) -> Reply:
        decision = {"approval_id": approval_id, "outcome": "approve"}
        return await self._client.ask("POST", f"/v1/runs/{run_id}/decisions", {"decisions": [decision]})

    async def _claim(self, worker: str) -> dict[str, Any]:
        reply = await self._client.ask("POST", "/v1/work/claim", {"worker": worker, "agents": [AGENT], "limit": 1})
        if len(reply.body["items"]) != 1:
            raise Violation("claim-late", f"{worker} asks for work, and is given {reply.body['items']}.")
        item: dict[str, Any] = reply.body["items"][0]
        return item

    async def _output(self, run_id: RunId, held: Mapping[str, Any], status: int, code: str | None = None) -> None:
        run, outline = held["run"], held["outline"]
        message = f"{run['session_id']}:{run_id}:{outline['messages'] + 1}"
        frames = [{"type": "message.start", "message_id": message, "role": "assistant"}]
        body = {"first_seq": held["next_seq"], "frames": frames}
        self._need(await self._say(run_id, held, "output", body), status, code)

    async def _say(self, run_id: RunId, held: Mapping[str, Any], what: str, body: Any) -> Reply:
        headers = (("Run-Epoch", str(held["run"]["epoch"])),)
        return await self._client.ask("POST", f"/v1/runs/{run_id}/{what}", body, headers=headers)
