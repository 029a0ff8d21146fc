"""Owners: clients that come back to one session again and again, and fight for it, hand it over, and crash."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from ...domain.identifiers import SESSION_PREFIX, SessionId
from ..exchange import ConnectionLost
from ..oracle.delivery import Seen
from ..process import EPOCH
from ..violation import Violation
from .board import Board
from .client import Client, Place, Reply, asking
from .deciding import Deciding
from .follower import Follower
from .handing import Handing
from .resuming import Held, Resuming

VISITS_MAX: Final = 4
ACTS_MAX: Final = 5
"""Times an owner comes, and what it does each time."""

PAUSE_S: Final = (0.1, 0.6, 2.0, 4.5)
"""Seconds between two visits, and of doing nothing: the last is longer than a lease and the grace after it."""

JUST_BEFORE_S: Final = 0.15
"""Seconds before the end of another's lease at which somebody tries to be the next owner."""

WARNED_S: Final = 30.0
"""Seconds within which a stream says that its session stands in for another: longer than any trouble."""

ON_BUSY: Final = ("enqueue", "reject", "interrupt")
SCRIPTS: Final[tuple[list[dict[str, Any]], ...]] = (
    [{"text": "Done."}],
    [{"text": "One moment."}, {"wait_ms": 700}, {"text": "Done."}],
    [{"approvals": [{"tool": "pay", "arguments": {"sum": 1}, "result": {"paid": 1}}], "timeout_s": 1.5}],
    [{"tool": {"name": "look", "arguments": {}, "delay_ms": 50, "result": {"ok": True}}}, {"text": "Seen."}],
    [{"wait_ms": 3000}],
)
"""What its inputs make the agent do."""

WRONG_IDS: Final = ("nonsense", f"{SESSION_PREFIX}_00000000000000000000000000", "ses_", "..")
_REFUSED: Final = ("stale_epoch", "session_epoch_required", "session_busy", "session_finalized", "not_found")
_CREATED: Final = (200, 201, 202)


class Owner:
    """One client with an id of its own. It comes back with it, whatever it had forgotten meanwhile."""

    def __init__(self, world: Place, board: Board, name: str) -> None:
        self._world = world
        self._board = board
        self._name = name
        self._client = Client(world, name)
        self._resuming = Resuming(self._client, board)
        self._handing = Handing(self._client, board, self._resuming)
        self._deciding = Deciding(self._client, board)
        self._unheard: list[tuple[SessionId, str, dict[str, str]]] = []
        self._wishes = 0
        self._lost = False

    async def live(self) -> None:
        """Until the faults are over, or it has come often enough. Raises a Violation."""
        tape, name = self._world.tape, self._name
        if not self._board.shared or tape.chance(f"owner.own:{name}", 0.2):
            await self._create()
        for visit in range(1 + tape.draw(f"owner.visits:{name}", VISITS_MAX)):
            if self._world.healed:
                break
            if visit:
                await asyncio.sleep(tape.pick(f"owner.pause:{name}", PAUSE_S))
            await self._visit(self._board.shared[tape.draw(f"owner.session:{name}", len(self._board.shared))])
        if tape.chance(f"owner.ends:{name}", 0.25):
            await self._end(self._board.shared[-1])
        self._board.owners_left -= 1

    async def _create(self) -> None:
        reply = await self._client.ask("POST", "/v1/sessions", {}, key=self._client.new_key())
        self._board.shared.append(SessionId(reply.body["session_id"]))

    async def _visit(self, session_id: SessionId) -> None:
        tape, name = self._world.tape, self._name
        if tape.chance(f"owner.wrong-id:{name}", 0.1):
            await self._ask_wrongly(tape.pick(f"owner.which-id:{name}", WRONG_IDS))
        held = await self._come(session_id)
        if held is None or not held.resumed:
            return
        self._lost = False
        reading = Follower(
            Client(self._world, f"{name}s"),
            session_id=session_id,
            restless=0.1,
            took=self._deciding.took,
            after=held.tail["cursor"],
            epoch=held.epoch,
            noticed=self._noticed,
        )
        task = self._world.spawn(f"{name}s", reading.follow())
        try:
            await self._work(held)
        finally:
            reading.stop()
        await task

    async def _come(self, session_id: SessionId) -> Held | None:
        tape, name = self._world.tape, self._name
        if tape.chance(f"owner.is-target:{name}", 0.6):
            held = await self._handing.arrive(session_id)
            if held is not None:
                return held
        key = self._client.new_key() if tape.chance(f"owner.keyed:{name}", 0.7) else None
        held = await self._resuming.resume(session_id, takeover=tape.chance(f"owner.takes:{name}", 0.3), key=key)
        if held is None and tape.chance(f"owner.waits:{name}", 0.5):  # until just before the other's lease is over
            until = self._world.log.sessions[session_id].lease
            rest_s = (until - EPOCH).total_seconds() - self._world.loop.time() if until is not None else 0.0
            await asyncio.sleep(max(0.0, rest_s - JUST_BEFORE_S))
            held = await self._resuming.resume(session_id, key=self._client.new_key())
        if held is None and tape.chance(f"owner.insists:{name}", 0.5):
            held = await self._resuming.resume(session_id, takeover=True, key=self._client.new_key())
        return held

    async def _ask_wrongly(self, wrong: str) -> None:
        """An id that is none gets a session that stands in for it, once for all repeats; its stream says so."""
        key = self._client.new_key()
        held = await self._resuming.resume(wrong, key=key)
        again = await self._resuming.resume(wrong, key=key)
        if held is not None and again is not None:
            if again.session_id != held.session_id:
                detail = f"{self._name}: {key} gave {held.session_id}, then {again.session_id}."
                raise Violation("not-idempotent", detail)
            await self._read_warning(held.session_id)

    async def _read_warning(self, session_id: SessionId) -> None:
        warned = asyncio.Event()

        def noticed(seen: Seen) -> None:
            if seen.kind == "session.warning":
                warned.set()

        reading = Follower(Client(self._world, f"{self._name}w"), session_id=session_id, noticed=noticed)
        task = self._world.spawn(f"{self._name}w", reading.follow())
        try:
            async with asyncio.timeout(WARNED_S):
                await warned.wait()
        except TimeoutError:
            raise Violation(
                "warning-missing", f"{session_id} stands in for another, and its stream does not say so."
            ) from None
        reading.stop()
        await task

    def _noticed(self, seen: Seen) -> None:
        if seen.kind == "session.superseded" or b'"DETACHED"' in seen.data:
            self._lost = True

    # What an owner does.

    async def _work(self, held: Held) -> None:
        tape, name = self._world.tape, self._name
        acts: tuple[Callable[[Held], Any], ...] = (
            *(self._remember, self._start, self._renew, self._idle, self._look, self._start, self._remember),
            *(self._hand_over, self._intrude, self._remember_stale),
        )
        for session_id, key, content in tuple(self._unheard):
            if session_id == held.session_id:
                await self._append(held, key, content)
        for _ in range(1 + tape.draw(f"owner.acts:{name}", ACTS_MAX)):
            if self._lost or self._world.healed:
                break
            await tape.pick(f"owner.act:{name}", acts)(held)
        if not self._lost and tape.chance(f"owner.detaches:{name}", 0.5):
            await self._said(await self._post(held, "detach", {}))

    async def _remember(self, held: Held) -> None:
        self._wishes += 1
        key = f"{self._name}-m{self._wishes}"
        await self._append(held, key, {"wish": key})

    async def _append(self, held: Held, key: str, content: dict[str, str]) -> None:
        """One try, or as many as it takes. What nobody heard is said again at the next visit, under another epoch."""
        path = f"/v1/sessions/{held.session_id}/memories"
        forgetful = self._world.tape.chance(f"owner.forgets:{self._name}", 0.3)
        known = (held.session_id, key, content)
        if known not in self._unheard:
            self._unheard.append(known)
        try:
            if forgetful:
                reply = await self._client.once(asking("POST", path, {"content": content}, key, held.headers))
            else:
                reply = await self._client.ask("POST", path, {"content": content}, key=key, headers=held.headers)
        except ConnectionLost:
            return
        if reply.status == 503 or not await self._said(reply):
            return
        self._unheard.remove(known)
        hashes = self._world.log.sessions[held.session_id].hashes
        if hashes[reply.body["sequence"] - 1 : reply.body["sequence"]] != [reply.body["hash"]]:
            detail = f"{self._name}: {reply.body} was acknowledged, and is not there."
            raise Violation("memory-lost", detail, session_id=held.session_id)

    async def _remember_stale(self, held: Held) -> None:
        """What it held before is worth nothing."""
        old = Held(held.session_id, max(0, held.epoch - 1), held.tail, resumed=True)
        reply = await self._client.ask(
            "POST", f"/v1/sessions/{held.session_id}/memories", {"content": "stale"}, headers=old.headers
        )
        if reply.status == 201:
            raise Violation("session-zombie", f"{self._name}: a memory under the old epoch {old.epoch} was taken.")

    async def _intrude(self, held: Held) -> None:
        """A write without any epoch: refused as long as somebody owns the session."""
        path = f"/v1/sessions/{held.session_id}/memories"
        with suppress(ConnectionLost):
            await self._said(await self._client.once(asking("POST", path, {"content": "and me?"})))

    async def _start(self, held: Held) -> None:
        tape, name = self._world.tape, self._name
        steps = tape.pick(f"owner.script:{name}", SCRIPTS)
        busy = tape.pick(f"owner.on-busy:{name}", ON_BUSY)
        body = {"agent": "script", "input": {"steps": steps}, "on_busy": busy}
        await self._said(await self._post(held, "runs", body, self._client.new_key()))

    async def _renew(self, held: Held) -> None:
        await self._said(await self._post(held, "renew", {}))

    async def _idle(self, _: Held) -> None:
        await asyncio.sleep(self._world.tape.pick(f"owner.idle:{self._name}", PAUSE_S))

    async def _look(self, held: Held) -> None:
        await self._resuming.tail(held.session_id)

    async def _hand_over(self, held: Held) -> None:
        await self._handing.let_go(held, lambda: self._start(held))

    async def _post(self, held: Held, what: str, body: Any, key: str | None = None) -> Reply:
        path = f"/v1/sessions/{held.session_id}/{what}"
        self._client.act(what, session=held.session_id, epoch=held.epoch)
        return await self._client.ask("POST", path, body, key=key, headers=held.headers)

    async def _said(self, reply: Reply) -> bool:
        """Whether it was done. Raises answer-wrong for an answer that nothing explains."""
        if reply.status in _CREATED:
            return True
        if reply.code not in _REFUSED and reply.code != "handoff_conflict" and reply.status != 503:
            raise Violation("answer-wrong", f"{self._name} was answered {reply.status}: {reply.body}")
        self._lost = self._lost or reply.status == 412
        return False

    # The end.

    async def _end(self, session_id: SessionId) -> None:
        """Finalized: nothing is taken any more, and whoever comes gets another session. Deleted: as if it never was."""
        held = await self._resuming.resume(session_id, takeover=True, key=self._client.new_key())
        if held is None or not held.resumed or not await self._said(await self._post(held, "finalize", {})):
            return
        reply = await self._post(held, "memories", {"content": "one more"})
        if reply.status == 201:
            raise Violation("ended-session-written", f"{self._name}: {session_id} is finalized, and took a memory.")
        held = await self._resuming.resume(session_id, key=self._client.new_key())
        if held is not None and self._world.tape.chance(f"owner.reads-warning:{self._name}", 0.5):
            await self._read_warning(held.session_id)
        if self._world.tape.chance(f"owner.deletes:{self._name}", 0.5):
            await self._client.ask("DELETE", f"/v1/sessions/{session_id}")
            await self._resuming.resume(session_id, key=self._client.new_key())
