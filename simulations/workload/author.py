"""Authors: they start runs, follow them to the end, and hold the service to what it has said."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from pydantic_core import from_json

from ...domain.identifiers import RunId, SessionId
from ..exchange import ConnectionLost
from ..oracle.delivery import Seen
from ..oracle.state import FINAL
from ..oracle.views import folded
from ..violation import Violation
from .board import Board, Known
from .client import RETRY_S, Client, asking
from .deciding import THINK_S, Deciding
from .library import BUSY_S, start_by_library
from .place import Exchanging, Place
from .readers import reader
from .scripts import draw_config
from .transport import TapeIds

TURNS_MAX: Final = 3
"""Turns of one author."""

LIBRARY_P: Final = 0.25
"""Part of the turns that are asked for by the Python client."""


class Author:
    """Has a session, takes its turns one after the other, decides what it is asked, and sees every run to its end."""

    def __init__(
        self, world: Place, board: Board, name: str, inputs: Callable[[str], tuple[str, Any]], turns: int = TURNS_MAX
    ) -> None:
        """`inputs` draws what to ask: an agent's name and its input. `turns` is how many at most."""
        self._turns = turns
        self._world = world
        self._board = board
        self._client = Client(world, name)
        self._ids = TapeIds(world.tape, f"{name}l")
        self._name = name
        self._inputs = inputs
        self._people = Deciding(self._client, board)

    async def live(self) -> None:
        """From the first request to the last frame. Raises a Violation."""
        session_id = await self._create_session()
        onlooker = self._onlooker(session_id) if self._world.tape.chance(f"author.session:{self._name}", 0.4) else None
        for turn in range(1 + self._world.tape.draw(f"author.turns:{self._name}", self._turns)):
            if turn:
                await asyncio.sleep(self._world.tape.pick(f"author.pause:{self._name}", THINK_S))
            if turn and self._world.healed:
                break
            await self._turn(session_id)
        self._board.authors_left -= 1
        if onlooker is not None:
            await onlooker.caught_up()

    def _onlooker(self, session_id: SessionId) -> "Onlooker":
        """Another tab of the same person: the session's stream, open all the time."""
        onlooker = Onlooker(Client(self._world, f"{self._name}s"), session_id, restless=0.1)
        self._world.spawn(f"{self._name}s", onlooker.follow())
        return onlooker

    async def _create_session(self) -> SessionId:
        key = self._client.new_key()
        reply = await self._client.ask("POST", "/v1/sessions", {"metadata": {"of": self._name}}, key=key)
        if reply.status not in (200, 201):
            raise Violation("answer-wrong", f"{self._name}: creating a session was answered {reply.status}.")
        session_id = SessionId(reply.body["session_id"])
        again = await self._client.ask("POST", "/v1/sessions", {"metadata": {"of": self._name}}, key=key)
        if again.body["session_id"] != session_id:
            raise Violation(
                "not-idempotent", f"{self._name}: {key} gave {session_id}, then {again.body['session_id']}."
            )
        return session_id

    async def _turn(self, session_id: SessionId) -> None:
        tape, name = self._world.tape, self._name
        agent, given = self._inputs(name)
        key = self._client.new_key()
        config = draw_config(tape, name)
        body = {"agent": agent, "input": given} | ({} if config is None else {"request_config": config})
        streamed = tape.chance(f"author.streamed:{name}", 0.3)
        if not streamed and tape.chance(f"author.library:{name}", LIBRARY_P):
            run_id = await start_by_library(self._client, self._ids, self._board, session_id, body)
            self._check_created(run_id, key)
        else:
            run_id = await (self._start_streamed if streamed else self._start)(session_id, body, key)
        self._board.runs.append(Known(run_id, session_id, key))
        restless = 0.0 if not tape.chance(f"author.restless:{name}", 0.6) else 0.15
        follower = reader(self._client, run_id, restless=restless, took=self._people.took)
        if tape.chance(f"author.cancels:{name}", 0.15):
            self._world.spawn(f"{name}/cancel", self._people.cancel_later(run_id))
        await follower.follow()
        await self._agree(run_id, session_id, config)

    async def _start(self, session_id: SessionId, body: Any, key: str) -> RunId:
        path = f"/v1/sessions/{session_id}/runs"
        self._client.act("start", key=key, agent=body["agent"])
        reply = await self._client.ask("POST", path, body, key=key)
        while reply.code == "session_busy" and session_id in self._board.intruded:
            await asyncio.sleep(BUSY_S)
            reply = await self._client.ask("POST", path, body, key=key)
        if reply.status == 409 and reply.code == "session_busy":
            raise Violation("turn-refused", f"{self._name}: {reply.body['detail']} Its last run had ended.")
        if reply.status not in (200, 202):
            raise Violation("answer-wrong", f"{self._name}: starting a run was answered {reply.status}: {reply.body}")
        run_id = RunId(reply.body["run_id"])
        self._check_created(run_id, key)
        if self._world.tape.chance(f"author.reuses-key:{self._name}", 0.1):
            other = await self._client.ask("POST", path, {**body, "agent": "talk", "input": "Other"}, key=key)
            if other.code != "idempotency_mismatch":
                raise Violation("key-reused", f"{self._name}: {key} was taken for two requests ({other.status}).")
        return run_id

    async def _start_streamed(self, session_id: SessionId, body: Any, key: str) -> RunId:
        """Start with Accept: text/event-stream: the first frame says which run it is, however often it takes."""
        path = f"/v1/sessions/{session_id}/runs"
        request = asking("POST", path, body, key, (("Accept", "text/event-stream"),))
        self._client.act("start", key=key, agent=body["agent"], streamed=True)
        while True:
            with suppress(ConnectionLost):
                async with self._client.exchange(request) as exchange:
                    run_id = await self._first_run(exchange, session_id)
                if run_id is not None:
                    self._check_created(run_id, key)
                    return run_id
            await asyncio.sleep(RETRY_S)

    async def _first_run(self, exchange: Exchanging, session_id: SessionId) -> RunId | None:
        head = await exchange.head()
        if head.status == 200 and head.headers["content-type"].startswith("text/event-stream"):
            return self._first_frame(await exchange.read())
        if head.status != 503 and not (head.status == 409 and session_id in self._board.intruded):
            raise Violation("answer-wrong", f"{self._name}: a streamed start got {head.status}.")
        return None

    def _first_frame(self, data: bytes) -> RunId | None:
        at = data.find(b'\ndata: {"type":"run.created"')
        if at < 0:
            return None
        frame = from_json(data[at + 7 : data.index(b"\n\n", at)])
        return RunId(frame["run_id"])

    def _check_created(self, run_id: RunId, key: str) -> None:
        """Acknowledged means durable; one key, one run."""
        if self._world.log.head(run_id) == 0:
            raise Violation("not-durable", f"{self._name} was told of {run_id}, which the store does not have.")
        if any(known.key == key and known.run_id != run_id for known in self._board.runs):
            raise Violation("not-idempotent", f"{self._name}: {key} gave a second run, {run_id}.")

    async def _agree(self, run_id: RunId, session_id: SessionId, config: Mapping[str, Any] | None) -> None:
        """Read your writes: the terminal frame was seen, so every answer from now on agrees with it."""
        run = await self._client.ask("GET", f"/v1/runs/{run_id}")
        asked = {"kinds": None, "tool_output": "full", **(config or {})}
        if run.body["request_config"] != asked:
            detail = f"{self._name} started {run_id} with {asked}; now it has {run.body['request_config']}."
            raise Violation("config-changed", detail, run_id=run_id)
        if run.body["status"] not in FINAL:
            raise Violation("status-late", f"{self._name} saw the end of {run_id}; its status is {run.body['status']}.")
        session = await self._client.ask("GET", f"/v1/sessions/{session_id}")
        if session.body["active_run_id"] == run_id:
            raise Violation("status-late", f"{self._name} saw the end of {run_id}; its session says it is active.")
        messages = await self._client.ask("GET", f"/v1/sessions/{session_id}/messages")
        if any(item["status"] == "open" and f":{run_id}:" in item["message_id"] for item in messages.body["items"]):
            raise Violation("history-late", f"{self._name} saw the end of {run_id}; a message of it is still open.")
        self._check_history(run_id, messages.body["items"])

    def _check_history(self, run_id: RunId, messages: Sequence[Mapping[str, Any]]) -> None:
        """A run that has ended stands in its session's history as its own readers were shown it."""
        run = self._world.log.run(run_id)
        expected = {message["message_id"]: message for message in folded(run)["messages"]} if run is not None else {}
        for message in messages:
            message_id: str = message["message_id"]
            if f":{run_id}:" in message_id and message != expected.get(message_id):
                detail = f"{message_id} is shown as {message!r:.300}, not {expected.get(message_id)!r:.300}"
                raise Violation("history-differs", detail, run_id=run_id)


class Onlooker:
    """Follows a session's stream over all its turns."""

    def __init__(self, client: Client, session_id: SessionId, restless: float) -> None:
        self._log = client.world.log
        self._session_id = session_id
        self._last: tuple[RunId, int] | None = None
        self._moved = asyncio.Event()
        self._follower = reader(client, session_id=session_id, restless=restless, took=self._took)

    async def follow(self) -> None:
        """Until `caught_up` has returned."""
        await self._follower.follow()

    def _took(self, seen: Seen) -> None:
        if seen.run_id is not None:
            self._last = (seen.run_id, seen.seq)
            self._moved.set()

    async def caught_up(self) -> None:
        """Wait for the last frame of the session's last run: it has to come on the stream that is open."""
        while True:
            last = self._log.runs(self._session_id)[-1]
            if self._last == (last, self._log.terminal(last)):
                break
            self._moved.clear()
            await self._moved.wait()
        self._follower.stop()
