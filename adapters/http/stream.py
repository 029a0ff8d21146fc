"""The event streams: plain ASGI endpoints that place a reader in a log and hand it to the broadcaster.

Follow `RunEvents.__call__`: who is it, which run, which cursor, what to send first, then wait for the end. Resume is
the same GET with a cursor; there is no second read path. What begins a stream has returned before the wait begins:
a waiting reader costs what it holds, and most readers wait.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from starlette.types import Receive, Scope, Send

from ...domain.application import Application
from ...domain.errors import InvalidCursor, Malformed, ReattachError, StoreUnavailable
from ...domain.identifiers import RUN_PREFIX, RunId, SessionId, is_identifier
from ...domain.run import Run
from ...domain.session import Session
from . import sse
from .broadcaster import Broadcaster
from .feed import Feed
from .owner import WARNING, Watch
from .place import Place, Wish, check_config, place_in
from .reader import Reader
from .walk import Walk

Headers = Iterable[tuple[bytes, bytes]]

_NO_CONTENT: Final = [(b"cache-control", b"no-store")]


class Streams:
    """What the streams of runs and sessions share."""

    def __init__(self, application: Application, broadcaster: Broadcaster) -> None:
        self._application = application
        self._broadcaster = broadcaster
        self._store = application.store

    async def stream(self, scope: Scope, receive: Receive, send: Send, run: Run, *extra: tuple[bytes, bytes]) -> None:
        """Stream a run that was just created by this request, as its events URL would; `extra` are headers."""
        begin = partial(self._begin_run, run.tenant, run.run_id, Wish.of(scope), send, extra)
        await self._serve(receive, send, begin)

    async def _serve(self, receive: Receive, send: Send, begin: Callable[[], Awaitable[Walk | None]]) -> None:
        """Trouble that passes is never a 4xx or 5xx here: a browser would give up for good."""
        if self._broadcaster.draining:
            await self._later(send, "draining")
            return
        try:
            walk = await begin()
        except StoreUnavailable:
            await self._later(send, "unavailable")
            return
        del begin  # an idle reader keeps nothing of its request but its walk
        if walk is not None:
            await walk.until_left(receive)

    async def _later(self, send: Send, reason: str) -> None:
        await _start(send, 200, sse.HEADERS)
        await send({"type": "http.response.body", "body": self._broadcaster.reconnect_block(reason)})

    async def _begin_run(self, tenant: str, run_id: str, wish: Wish, send: Send, extra: Headers = ()) -> Walk | None:
        feed = await self._open(tenant, run_id)
        try:
            check_config(feed.view.run.request_config, wish)
            place = await self._place(feed, wish)
            await _start(send, 204 if place.done else 200, [*(_NO_CONTENT if place.done else sse.HEADERS), *extra])
        except BaseException:
            self._broadcaster.release(feed)
            raise
        if place.done:
            self._broadcaster.release(feed)
            await send({"type": "http.response.body", "body": b""})
            return None
        walk = Walk(self._broadcaster, self._reader(send), feed, wish.follow)
        await self._begin(walk, place, wish)
        return walk

    def _reader(self, send: Send) -> Reader:
        return Reader(send, sse.retry(self._broadcaster.times.retry_ms))

    async def _begin(self, walk: Walk, place: Place, wish: Wish) -> None:
        """The answer has begun: from here on, trouble is a reconnect."""
        self._broadcaster.enter(walk.reader)
        if self._broadcaster.draining:  # since the request came: whoever was there then has been told
            self._broadcaster.reconnect(walk.reader, "draining")
            return
        try:
            await walk.begin(place, wish)
        except ReattachError as error:
            walk.give_up(error)
        except BaseException:
            walk.stop()
            raise

    async def _open(self, tenant: str, run_id: str) -> Feed:
        feed = await self._broadcaster.watch(RunId(run_id)) if is_identifier(RUN_PREFIX, run_id) else None
        if feed is None or feed.view.run.tenant != tenant:
            if feed is not None:
                self._broadcaster.release(feed)
            await self._application.run(tenant, run_id)  # says NotFound in the one way there is
            raise StoreUnavailable
        return feed

    async def _place(self, feed: Feed, wish: Wish) -> Place:
        run_id = feed.view.run.run_id
        if wish.cursor is not None and wish.cursor.run_id != run_id:
            return Place(0, "foreign")
        return await place_in(self._broadcaster, feed, wish)


class RunEvents(Streams):
    """GET /v1/runs/{run_id}/events"""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        run_id: str = scope["path_params"]["run_id"]
        await self._serve(receive, send, partial(self._begin_run, scope["tenant"], run_id, Wish.of(scope), send))


class SessionEvents(Streams):
    """GET /v1/sessions/{session_id}/events: all runs of a session in the order of (turn, seq), open between turns."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wish = Wish.of(scope)
        if wish.seq is not None and wish.seq > 0:
            raise InvalidCursor(cursor=str(wish.seq))
        if wish.config is not None:
            raise Malformed("?config is a run's; a session's runs each have their own.", field="config")
        session_id: str = scope["path_params"]["session_id"]
        await self._serve(receive, send, partial(self._begin_session, scope["tenant"], session_id, wish, send))

    async def _begin_session(self, tenant: str, session_id: str, wish: Wish, send: Send) -> Walk:
        session = await self._application.session(tenant, session_id)
        feed = await self._session_feed(session, wish)
        try:
            place = await self._session_place(feed, wish, session.session_id)
            await _start(send, 200, sse.HEADERS)
        except BaseException:
            if feed is not None:
                self._broadcaster.release(feed)
            raise
        walk = Walk(self._broadcaster, self._reader(send), feed, wish.follow, session.session_id)
        if wish.session_epoch is not None:
            walk.watch = Watch(self._broadcaster, walk.reader, session, wish.session_epoch)
        if wish.fresh and session.warning is not None:
            walk.preface = sse.event(WARNING, {"session_id": session.session_id, **session.warning.model_dump()})
        if walk.watch is not None:
            walk.preface += walk.watch.news(session)
            walk.watch.wake()  # it may have moved since it was read
        await self._begin(walk, place, wish)
        return walk

    async def _session_feed(self, session: Session, wish: Wish) -> Feed | None:
        """The run to begin with: the cursor's if it is of this session, for a snapshot the latest, else the first."""
        session_id, cursor = session.session_id, wish.cursor
        if cursor is not None and cursor.run_id != str(session_id):
            view = await self._store.run_view(cursor.run_id)
            feed = await self._broadcaster.watch(cursor.run_id) if view and view.run.session_id == session_id else None
            return feed or await self._latest(session)
        if wish.snapshot:
            return await self._latest(session)
        first = await self._store.next_run(session_id, 0, 0)
        return await self._broadcaster.watch(first) if first else None

    async def _session_place(self, feed: Feed | None, wish: Wish, session_id: SessionId) -> Place:
        if wish.cursor is None:
            return Place(0)
        if wish.cursor.run_id == str(session_id):
            kept = wish.cursor.generation == self._store.generation
            return Place(0) if kept else Place(0, "generation")
        if feed is None or feed.view.run.run_id != wish.cursor.run_id:
            return Place(0, "foreign")
        place = await place_in(self._broadcaster, feed, wish)
        return Place(place.seq, place.reset)

    async def _latest(self, session: Session) -> Feed | None:
        run_id = await self._store.next_run(session.session_id, session.turns - 1, 2**31)
        return await self._broadcaster.watch(run_id) if run_id else None


async def _start(send: Send, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
