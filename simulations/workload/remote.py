"""A remote worker: claims by HTTP, appends frames, and repeats what was not acknowledged."""

import asyncio
from typing import Any, Final

from ..exchange import ConnectionLost
from ..violation import Violation
from .client import Client, Place

AGENT: Final = "remote"
"""The agent that remote workers run; without any, the service's own workers do."""

CONTRADICTS_P: Final = 0.05
"""How often other output is said where its own stands already."""

PIECES: Final = 3
"""Pieces of text of one answer."""

POLL_S: Final = 0.5
"""Seconds between two claims."""

FAST_S: Final = (0.01, 0.2)
PACES_S: Final = (*FAST_S, 1.2, 3.5)
"""Seconds between two pieces. It never renews its lease: the last is longer than that."""

ENDS: Final = ("complete", "fail", "release", "suspend")
"""How it ends its work on a run."""

FINAL_ENDS: Final = ENDS[:2]
"""How it does once all is well."""

BODIES: Final[dict[str, Any]] = {
    "complete": {"usage": {"output_tokens": 7}},
    "fail": {"error": {"type": "gave_up", "message": "It is too hard."}},
    "release": {},
    "suspend": {
        "approvals": [
            {"tool_call_id": f"c{timeout_s}", "tool": "pay", "arguments": {}, "timeout_s": timeout_s}
            for timeout_s in (1.0, 8.0)
        ],
        "step": 0,
        "state": {},
    },
}

_LOST: Final = ("stale_epoch", "run_closed", "append_conflict", "illegal_transition")


class RemoteWorker:
    """One worker on the other side of the network."""

    def __init__(self, world: Place, name: str) -> None:
        self._world = world
        self._client = Client(world, name)
        self._name = name

    async def live(self) -> None:
        """Claim and work for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            body = {"worker": self._name, "agents": [AGENT], "limit": 1}
            try:
                reply = await self._client.ask("POST", "/v1/work/claim", body)
            except ConnectionLost:
                continue
            for assignment in reply.body["items"]:
                await self._work(assignment)

    async def _work(self, assignment: dict[str, Any]) -> None:
        run, seq = assignment["run"], assignment["next_seq"]
        run_id, epoch = run["run_id"], run["epoch"]
        outline = assignment["outline"]
        message = f"{run['session_id']}:{run_id}:{outline['messages'] + 1}"
        self._client.act("work", run=run_id, epoch=epoch)
        part = f"{run['turn']}.{run['attempt']}.{outline['part_count'] + 1}"
        pieces: list[list[dict[str, Any]]] = [
            [
                {"type": "message.start", "message_id": message, "role": "assistant"},
                {"type": "text.start", "part": part, "message_id": message},
            ]
        ]
        pieces += [[{"type": "text.delta", "part": part, "text": f"piece {n} "}] for n in range(PIECES)]
        ends = [{"type": "text.end", "part": part}, {"type": "message.end", "message_id": message, "role": "assistant"}]
        pieces.append(ends)
        for frames in pieces:
            if not await self._post(run_id, epoch, "output", {"first_seq": seq, "frames": frames}):
                return
            if "text" in frames[0] and self._world.tape.chance(f"remote.contradicts:{self._name}", CONTRADICTS_P):
                await self._contradict(run_id, epoch, {"first_seq": seq, "frames": [{**frames[0], "text": "no"}]})
            seq += len(frames)
            paces = FAST_S if self._world.healed else PACES_S
            await asyncio.sleep(self._world.tape.pick(f"remote.pace:{self._name}", paces))
        ways = FINAL_ENDS if self._world.healed else ENDS  # else a run might be handed on for ever
        end = self._world.tape.pick(f"remote.end:{self._name}", ways)
        await self._post(run_id, epoch, end, BODIES[end])

    async def _contradict(self, run_id: str, epoch: int, other: dict[str, Any]) -> None:
        """Say something else where its own output stands: refused, and never an answer that sounds like a yes."""
        headers = (("Run-Epoch", str(epoch)),)
        reply = await self._client.ask("POST", f"/v1/runs/{run_id}/output", other, headers=headers)
        if reply.status == 200:
            raise Violation("answer-wrong", f"{self._name}: other output was taken where {run_id} has some: {other}.")

    async def _post(self, run_id: str, epoch: int, what: str, body: Any) -> bool:
        """Whether the run is still ours."""
        headers = (("Run-Epoch", str(epoch)),)
        reply = await self._client.ask("POST", f"/v1/runs/{run_id}/{what}", body, headers=headers)
        if reply.status == 200:
            return True
        if reply.code in _LOST:
            self._world.mark("remote-fenced")
            return False
        raise Violation("answer-wrong", f"{self._name}: {what} was answered {reply.status}: {reply.body}")
