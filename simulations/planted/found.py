"""Planted bugs that were real: the simulator found each in production code, and must find it again."""

from typing import Final

from .edit import Edit, Planted

_BROADCASTER: Final = "adapters.http.broadcaster:Broadcaster"
_WORKER: Final = "adapters.worker:Worker"
_STARVES: Final = ("not-served", "probe-late")
_SLOWLY: Final = "await asyncio.sleep(0.4)\n    "
"""Makes the moment longer in which it can happen. By itself it breaks no promise."""

STREAMS_FOUND: Final = (
    Planted(
        "live-on-a-stale-feed",
        "A reader goes live on a feed that became stale while nobody followed it, and waits for ever.",
        _STARVES,
        (
            Edit(f"{_BROADCASTER}.follow", "if feed.stale:", "if feed.stale and not feed.readers:"),
            Edit(
                "adapters.http.walk:Walk.begin",
                "if caught_up and self._follow:",
                _SLOWLY + "if caught_up and self._follow:",
            ),
        ),
    ),
    Planted(
        "news-lost-while-a-run-is-read",
        "What is committed while a feed's run is being read for the first time is never heard of.",
        _STARVES,
        (
            Edit(f"{_BROADCASTER}.watch", "feed.stale = news != self._news", "feed.stale = False"),
            Edit(f"{_BROADCASTER}.watch", "if view is None:", _SLOWLY + "if view is None:"),
        ),
    ),
    Planted(
        "stream-dies-of-trouble",
        "A stream whose store is away while it moves on says nothing more, and does not end either.",
        _STARVES,
        (Edit("adapters.http.walk:Walk._moved", "self.give_up(error)", "del error"),),
    ),
    Planted(
        "feed-held-after-a-failed-start",
        "A stream that is refused, or whose store is away, leaves its feed behind.",
        ("leak",),
        (
            Edit(
                "adapters.http.stream:Streams._begin_run",
                "self._broadcaster.release(feed)\n        raise",
                "raise",
            ),
            Edit(
                "adapters.http.stream:SessionEvents._begin_session",
                "if feed is not None:\n            self._broadcaster.release(feed)\n        raise",
                "raise",
            ),
        ),
    ),
    Planted(
        "page-after-goodbye",
        "A page that was being read is sent although the reader was told goodbye meanwhile.",
        ("sent-after-the-end",),
        (
            Edit("adapters.http.reader:Reader.write", "if self.closed:", "if False:"),
            Edit("adapters.http.walk:Walk._page", "pieces: list[bytes] = []", _SLOWLY + "pieces: list[bytes] = []"),
        ),
    ),
    Planted(
        "keepalive-after-the-end",
        "A keepalive that waits for a full socket does not hold up the next page, and comes after the last one.",
        ("sent-after-the-end",),
        (
            Edit("adapters.http.broadcaster:Broadcaster._keep_alive", "keepalive_s / 2", "keepalive_s / 6"),
            Edit("adapters.http.reader:Reader.write", "self.parked = True", "pass"),
            Edit("adapters.http.reader:Reader.write", "if self.parked and self.task is not None:", "if False:"),
        ),
    ),
    Planted(
        "snapshot-after-goodbye",
        "A snapshot that was being read is sent although the reader was told goodbye meanwhile.",
        ("sent-after-the-end",),
        (
            Edit("adapters.http.reader:Reader.write", "if self.closed:", "if False:"),
            Edit(
                "adapters.http.walk:Walk._snapshot",
                "if snapshot is None:",
                f"{_SLOWLY}if snapshot is None:",
            ),
        ),
    ),
    Planted(
        "drain-unheard-by-latecomers",
        "A reader whose stream was being placed when the server began to stop is never told to reconnect.",
        ("drain-unheard",),
        (
            Edit("adapters.http.stream:Streams._begin", "if self._broadcaster.draining:", "if False:"),
            Edit(
                "adapters.http.stream:Streams._place",
                "return await place_in(",
                "import asyncio\n    await asyncio.sleep(0.4)\n    return await place_in(",
            ),
        ),
    ),
    Planted(
        "raising-send-ends-the-round",
        "A client that has gone, where the server raises for it, ends the round in which all readers are served.",
        (*_STARVES, "run-stuck"),
        (
            Edit(
                "adapters.http.reader:Reader.push",
                "except OSError:\n        self.close()\n        return",
                "except ZeroDivisionError:\n        return",
            ),
        ),
    ),
    Planted(
        "replay-ends-at-a-lagging-feed",
        "?follow=false ends where this process has heard the log ends, not where it does.",
        ("delivery-gap",),
        (Edit("adapters.http.walk:Walk._replay", "await self._broadcaster.refresh(feed)", "pass"),),
    ),
    Planted(
        "drain-unheard-behind-a-full-socket",
        "A reader whose socket is full when the server begins to stop is never told to reconnect.",
        ("drain-unheard",),
        (Edit("adapters.http.reader:Reader.finish", "self._farewell = block", "self._farewell = None"),),
    ),
)

WORKERS_FOUND: Final = (
    Planted(
        "worker-check-dies-of-trouble",
        "A worker that looks whether its runs are still its own says nothing if the store is away.",
        ("trouble-unheard",),
        (Edit(f"{_WORKER}.changed", "self._quietly(self._check_segments())", "self._check_segments()"),),
    ),
    Planted(
        "sweep-starved-by-wake-ups",
        "A worker sweeps only after a while without any news, and something wakes it again and again.",
        ("run-stuck", "expiry-late"),
        (
            Edit(f"{_WORKER}._sweep", "sleep(self._times.sweep_s)", "sleep(self._times.sweep_s / 2)"),
            Edit(f"{_WORKER}._sweep", "await self._quietly(self._application.sweep())", "self._wake.set()"),
            Edit(
                f"{_WORKER}._claim",
                "with suppress(TimeoutError):\n"
                "            async with asyncio.timeout_at(due):\n"
                "                await self._wake.wait()",
                "try:\n"
                "            async with asyncio.timeout(self._times.sweep_s):\n"
                "                await self._wake.wait()\n"
                "        except TimeoutError:\n"
                "            await self._quietly(self._application.sweep())",
            ),
        ),
    ),
    Planted(
        "appender-waits-after-its-end",
        "An agent that goes on writing after an append has failed for good waits for room that nobody makes.",
        ("run-stuck", "leak", "not-served", "probe-late"),
        (
            Edit(
                "adapters.appender:Appender.write",
                "if self._error is not None:  # nobody makes room any more\n        raise self._error\n    ",
                "",
            ),
            Edit(
                "adapters.appender:Appender._append",
                "await patiently(lambda: self._application.append(append))",
                "await self._application.append(append)",
            ),
        ),
    ),
)

FOUND: Final = (*STREAMS_FOUND, *WORKERS_FOUND)
