"""Following a stream: one GET after another, each with the last frame's cursor, until an ending says that it is over.

The four endings: a terminal frame (the last one of a run), run.suspended (the stream stays open), stream.reconnect
(only this connection is over), stream.reset (a snapshot follows, and the caller replaces what it has). Everything
else that ends a connection is an accident, and the reader comes back.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from ...domain.errors import ReattachError
from ...domain.frames import TERMINAL_TYPES
from ...domain.ports import Ids
from .errors import StreamSpliced, UnexpectedAnswer, Unreachable, is_passing, refusal
from .frame import RECONNECT, Frame
from .patience import Patience
from .position import Position, Verdict
from .requests import SESSION_EPOCH
from .sse import EventTooLarge, Parser

RETRY_S: Final = 1.0
"""Seconds before a reconnect until a server says otherwise by `retry:`."""

_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "text/event-stream",
    "Accept-Encoding": "identity",  # a compressing proxy would hold frames back
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Interruption:
    """The stream broke and is about to be resumed: why, how many times in a row, and when (seconds from now)."""

    why: str
    count: int
    wait_s: float


Interrupted = Callable[[Interruption], None]


class _Broken(Exception):
    """This connection is over, the stream is not."""

    def __init__(self, why: str, asked_s: float | None = None) -> None:
        self.why = why
        self.asked_s = asked_s
        super().__init__(why)


class Follower:
    """One reader of one stream. `hides_frames` says whether a run's request_config makes gaps."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        path: str,
        position: Position,
        *,
        patience: Patience,
        ids: Ids,
        hides_frames: Callable[[str], Awaitable[bool]],
        interrupted: Interrupted | None = None,
        snapshot: bool = False,
        session_epoch: int | None = None,
    ) -> None:
        self._http = http
        self._path = path
        self._position = position
        self._patience = patience
        self._ids = ids
        self._hides_frames = hides_frames
        self._interrupted = interrupted
        self._snapshot = snapshot
        self._own_headers = _HEADERS if session_epoch is None else {**_HEADERS, SESSION_EPOCH: str(session_epoch)}
        self._retry_s = RETRY_S
        self._failures = 0
        self._answered = False
        self._lost_at: float | None = None

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """Every frame once, in order. Raises Unreachable, StreamSpliced, UnexpectedAnswer, or the server's refusal."""
        while True:
            try:
                async with self._http.stream(
                    "GET", self._path, params=self._params(), headers=self._headers(), timeout=self._timeout()
                ) as response:
                    if not await self._accept(response):
                        return
                    parser = Parser()
                    async for data in response.aiter_bytes():
                        self._lost_at = None
                        events = parser.feed(data)
                        self._heed(parser.retry_ms)
                        for event in events:
                            frame = Frame.of(event)
                            if await self._is_next(frame):
                                yield frame
                                if self._is_last(frame):
                                    return
                raise _Broken("the connection ended")
            except EventTooLarge as error:
                raise UnexpectedAnswer("A single event of the stream is too long.") from error
            except httpx.RequestError as error:
                await self._wait(_reason(error))
            except _Broken as broken:
                await self._wait(broken.why, broken.asked_s)

    def _params(self) -> dict[str, str]:
        params = {"snapshot": "true"} if self._snapshot else {}
        seq = self._position.bare_seq
        return params if seq is None or self._position.cursor is not None else {**params, "after": str(seq)}

    def _headers(self) -> dict[str, str]:
        cursor = self._position.cursor
        return {**self._own_headers, "Last-Event-ID": cursor} if cursor is not None else dict(self._own_headers)

    def _timeout(self) -> httpx.Timeout:
        """The watchdog: a stream without a byte for `silence_s` is dead, whatever the socket says."""
        return httpx.Timeout(self._patience.connect_s, read=self._patience.silence_s)

    async def _accept(self, response: httpx.Response) -> bool:
        """Whether there is anything to read. Raises what the answer amounts to if it is no stream."""
        if response.status_code == 204:
            return False
        if response.status_code == 200:
            media_type = response.headers.get("content-type", "").partition(";")[0].strip()
            if media_type == "text/event-stream":
                self._answered = True
                return True
            if self._answered:  # it was a stream before: something in between is in the way
                raise _Broken(f"the answer was {media_type or 'untyped'}, no event stream")
            raise UnexpectedAnswer(f"{response.request.url} is no event stream.", content_type=media_type)
        if is_passing(response.status_code):
            after = response.headers.get("retry-after", "")
            raise _Broken(f"the answer was {response.status_code}", float(after) if after.isdecimal() else None)
        await response.aread()
        raise refusal(response)

    async def _is_next(self, frame: Frame) -> bool:
        """Move to the frame if it is to be delivered."""
        if frame.type == RECONNECT:
            retry_ms = frame.data.get("retry_ms")
            asked_s = retry_ms / 1000 if isinstance(retry_ms, int | float) else None
            raise _Broken(f"the server asked to reconnect ({frame.data.get('reason', 'no reason given')})", asked_s)
        verdict = self._position.judge(frame)
        if verdict is Verdict.SEEN:
            return False
        if verdict is Verdict.GAP and not await self._is_filtered(frame):
            raise StreamSpliced("Frames are missing before this one.", cursor=frame.id)
        self._position.take(frame)
        self._failures = 0
        return True

    async def _is_filtered(self, frame: Frame) -> bool:
        run_id = (frame.id or "").partition(".")[0]
        try:
            return await self._hides_frames(run_id)
        except ReattachError as error:
            if not isinstance(error, Unreachable) and not is_passing(error.fields.get("status", 0)):
                raise
            # Not taken yet: it comes again after the reconnect.
            raise _Broken("the run's request_config could not be read") from error

    def _is_last(self, frame: Frame) -> bool:
        return self._position.run_id is not None and frame.type in TERMINAL_TYPES

    def _heed(self, retry_ms: int | None) -> None:
        if retry_ms is not None:
            self._retry_s = retry_ms / 1000

    async def _wait(self, why: str, asked_s: float | None = None) -> None:
        """Wait before the next connection, longer each time in a row that brought nothing. Raises Unreachable."""
        wait_s = self._patience.wait_s(self._failures, self._ids, self._retry_s if asked_s is None else asked_s)
        now = asyncio.get_running_loop().time()
        if self._lost_at is None:
            self._lost_at = now
        lost_s, give_up_s = now - self._lost_at, self._patience.give_up_s
        if give_up_s is not None and lost_s + wait_s > give_up_s:
            raise Unreachable(f"No sign of life for {lost_s:.0f} s: {why}.", cursor=self._position.cursor)
        self._failures += 1
        if self._interrupted is not None:
            self._interrupted(Interruption(why, self._failures, wait_s))
        await asyncio.sleep(wait_s)


def _reason(error: httpx.RequestError) -> str:
    match error:
        case httpx.ReadTimeout():
            return "the server fell silent"
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return "the server can't be reached"
        case _:
            return "the connection broke"
