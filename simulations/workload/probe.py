"""The probe: once all is well, the service has to be prompt, with several runs at once, long ones, cancelled ones."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from pydantic_core import from_json

from ...domain.identifiers import RunId
from ..oracle.delivery import Seen
from ..oracle.log import type_at
from ..violation import Violation
from .client import Client, Place
from .follower import Follower

CLAIM_S: Final = 0.5
"""Seconds within which a worker takes up a run, once all is well: far below the time after which it looks by itself."""

LONG_S: Final = 4.0
"""Seconds the longest probe is silent: more than a lease, so that somebody has to renew it."""

STAGGER_S: Final = 0.005
"""Seconds between two probes: one comes while the other is being taken up."""

STOP_S: Final = 0.5
"""Seconds within which a cancelled agent has stopped."""

CALL: Final = {"tool": "pay", "arguments": {"sum": 1}, "result": {"paid": 1}}
SCRIPTS: Final[tuple[list[dict[str, Any]], ...]] = (
    [{"text": "Are you there?"}],
    [{"text": "May I?"}, {"approvals": [CALL]}, {"text": "Thank you."}],
    [{"text": "Let me think."}, {"wait_ms": int(LONG_S * 1000)}, {"text": "Yes."}],
)
"""What the probes ask, all at once."""

_WAITS: Final = ("run.created", "run.resumed", "run.released")


class Probe:
    """New runs are served from the first to the last frame, and nothing happens that only trouble excuses."""

    def __init__(self, world: Place, name: str, busy: Callable[[], int]) -> None:
        """`busy` tells how many runs all workers are busy with."""
        self._world = world
        self._name = name
        self._busy = busy

    async def live(self) -> None:
        """Ask and follow. Raises claim-late, lease-lost-at-rest, cancel-ignored and what any reader does."""
        asks = (self._ask(Client(self._world, f"{self._name}{n}"), steps) for n, steps in enumerate(SCRIPTS))
        await asyncio.gather(*asks)
        await self._cancel(Client(self._world, f"{self._name}-cancel"))

    async def _ask(self, client: Client, steps: list[dict[str, Any]]) -> None:
        await asyncio.sleep(SCRIPTS.index(steps) * STAGGER_S)
        run_id = await self._start(client, steps)

        def took(seen: Seen) -> None:
            if seen.kind == "approval.requested":
                self._world.spawn(f"{client.name}/decide", self._approve(client, run_id, from_json(seen.data)))
            if seen.kind == "step.reset":
                detail = f"{run_id} changed hands although all is well."
                raise Violation("lease-lost-at-rest", detail, run_id=run_id)

        await Follower(client, run_id, took=took).follow()
        self._judge(run_id)

    async def _start(self, client: Client, steps: list[dict[str, Any]]) -> RunId:
        session = await client.ask("POST", "/v1/sessions", {}, key=client.new_key())
        body = {"agent": "script", "input": {"steps": steps}}
        reply = await client.ask("POST", f"/v1/sessions/{session.body['session_id']}/runs", body, key=client.new_key())
        return RunId(reply.body["run_id"])

    async def _approve(self, client: Client, run_id: RunId, asked: dict[str, Any]) -> None:
        decision = {"approval_id": asked["approval_id"], "outcome": "approve"}
        await client.ask("POST", f"/v1/runs/{run_id}/decisions", {"decisions": [decision]})

    def _judge(self, run_id: RunId) -> None:
        """What the log tells of how long each step took."""
        run = self._world.log.run(run_id)
        assert run is not None
        kinds = [type_at(line, seq) for seq, line in enumerate(run.lines, 1)]
        for seq, kind in enumerate(kinds, 1):
            if kind == "run.claimed" and kinds[seq - 2] in _WAITS:
                waited_s = (run.times[seq - 1] - run.times[seq - 2]).total_seconds()
                if waited_s > CLAIM_S:
                    detail = f"{run_id} waited {waited_s:.2f} s for a worker after {kinds[seq - 2]}; all is well."
                    raise Violation("claim-late", detail, run_id=run_id, seq=seq)

    async def _cancel(self, client: Client) -> None:
        """An agent that is silent stops all the same."""
        run_id = await self._start(client, [{"wait_ms": 5000}])
        await asyncio.sleep(CLAIM_S)
        await client.ask("POST", f"/v1/runs/{run_id}/cancel", {})
        await asyncio.sleep(STOP_S)
        if self._busy():
            detail = f"{run_id} was cancelled {STOP_S} s ago, and a worker is still busy with it."
            raise Violation("cancel-ignored", detail, run_id=run_id)
