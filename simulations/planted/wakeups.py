"""Planted bugs of waking up: something was committed, and whoever waits for it is never told."""

from typing import Final

from .edit import Edit, Planted

_BROADCASTER: Final = "adapters.http.broadcaster:Broadcaster"
_STARVES: Final = ("not-served", "probe-late")

WAKEUPS: Final = (
    Planted(
        "wake-up-registered-after-reading",
        "A session's stream looks for the next turn first, and asks to be told of it afterwards.",
        ("not-served",),
        (
            Edit("adapters.http.walk:Walk._to_next", "begun != self._broadcaster.turns_begun", "begun < 0"),
            Edit(
                "adapters.http.walk:Walk._to_next",
                "run_id = await self._store.next_run(session_id, *after)",
                "run_id = await self._store.next_run(session_id, *after)\n        await asyncio.sleep(1)",
            ),
        ),
    ),
    Planted(
        "wake-up-cleared-after-reading",
        "A feed forgets that it is stale a moment after it was read anew, also if it became so meanwhile.",
        ("not-served", "probe-late"),
        (
            Edit(
                f"{_BROADCASTER}.changed",
                "feed.stale = True\n        self._mark(feed)",
                "known, feed.stale = feed.stale, True\n        if not known:\n            self._mark(feed)",
            ),
            Edit(f"{_BROADCASTER}._mark", "feed.stale = False", "pass"),
            Edit(f"{_BROADCASTER}.refresh", "feed.stale = False", "pass"),
            Edit(
                f"{_BROADCASTER}.refresh",
                "self._mark(feed)",
                "await asyncio.sleep(0.05)\n    feed.stale = False\n    self._mark(feed)",
            ),
        ),
    ),
    Planted(
        "wake-up-cleared-after-claiming",
        "A worker rests a moment after each claim, and forgets what came meanwhile.",
        ("claim-late",),
        (
            Edit(
                "adapters.worker:Worker._claim",
                "self._wake.clear()\n        if self._draining:",
                "if self._draining:",
            ),
            Edit(
                "adapters.worker:Worker._claim",
                "self._claim_if(due=overdue))",
                "self._claim_if(due=overdue))\n        await asyncio.sleep(0.02)\n        self._wake.clear()",
            ),
        ),
    ),
    Planted(
        "wake-up-of-others-ignored",
        "A feed is not read anew when another process has committed.",
        _STARVES,
        (Edit(f"{_BROADCASTER}.changed", "feed.stale = True", "pass"),),
    ),
    Planted(
        "wake-up-while-parked-lost",
        "A reader whose socket was full is not served when it is free again.",
        ("not-served",),
        (Edit(f"{_BROADCASTER}._resume", "self._advance(feed, reader)", "pass"),),
    ),
    Planted(
        "fan-out-sleeps-in",
        "The fan-out forgets to say that it has finished, and is never begun again.",
        _STARVES,
        (Edit("adapters.http.fanout:Fanout._pump", "self._pumping = False", "pass"),),
    ),
    Planted(
        "turn-not-announced",
        "A session's stream is not told when a turn begins.",
        ("not-served",),
        (Edit(f"{_BROADCASTER}._begin_turn", "wake()", "pass"),),
    ),
    Planted(
        "news-for-the-first-only",
        "Only the first listener of a process is told of commits.",
        ("claim-late", "cancel-ignored"),
        (
            Edit(
                "infrastructure.eventstore.store:LogStore._each",
                "tuple(self._listeners)",
                "tuple(self._listeners)[:1]",
            ),
        ),
    ),
    Planted(
        "work-after-a-wait-not-heard-of",
        "A worker does not wake up for a run that goes on after its approvals.",
        ("claim-late",),
        (Edit("adapters.worker:Worker.committed", "if kind in _WORK:", 'if kind == "run.created":'),),
    ),
)
