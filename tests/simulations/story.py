"""A story to try traces and timelines on: a worker is frozen, another takes over, and the first one still writes."""

from typing import Any

from reattach.simulations.trace import Trace

Event = tuple[float, str, str | None, dict[str, Any]]

DETAIL = (
    "n0.1 wrote frames 9-10 of r1 under epoch 1, although n1.1 had taken the run over under epoch 2 "
    "1.4 s earlier: two workers wrote one run."
)
DECISIONS = {
    "config.nodes": [1],
    "config.fault.pause": [1],
    "fault.pause:n0": [0, 0, 3],
    "net.reset:c0-n0": [0, 0, 0, 0, 0, 0, 1],
    "wake.drop:n1": [0, 1],
}


def commit(t: float, proc: str, seqs: tuple[int, int], epoch: int, frame: str) -> Event:
    news = [{"run": "r1", "first": seqs[0], "last": seqs[1], "epoch": epoch, "type": frame}]
    return (t, "commit", proc, {"works": ["append r1"], "news": news})


def beginning() -> list[Event]:
    return [
        (0.0, "phase", "world", {"name": "faults"}),
        (0.0, "up", "n0.1", {}),
        (0.00002, "up", "n1.1", {}),
        (0.2, "act", "c0", {"does": "start"}),
        (0.2, "request", "c0", {"x": 1, "to": "n0", "method": "POST", "path": "/v1/sessions/s1/runs", "key": "k1"}),
        (0.2011, "arrive", "n0.1", {"x": 1}),
        commit(0.2012, "n0.1", (1, 1), 0, "run.created"),
        (0.20121, "wake", "world", {"to": "n0", "how": "ok"}),
        (0.20122, "wake", "world", {"to": "n1", "how": "dropped"}),
        (0.2013, "answer", "n0.1", {"x": 1, "status": 201}),
        (0.2014, "send", "n0.1", {"x": 1, "bytes": 310}),
        (0.20141, "end", "n0.1", {"x": 1}),
        (0.2024, "deliver", "c0", {"x": 1, "bytes": 310}),
        commit(0.2031, "n0.1", (2, 2), 1, "run.claimed"),
        (0.25, "act", "c0", {"does": "follow", "run": "r1"}),
        (0.25, "request", "c0", {"x": 2, "to": "n0", "method": "GET", "path": "/v1/runs/r1/events?after=1"}),
        (0.2513, "answer", "n0.1", {"x": 2, "status": 200}),
        (0.2514, "send", "n0.1", {"x": 2, "bytes": 120, "first": 2, "last": 2, "run": "r1"}),
        (0.2525, "deliver", "c0", {"x": 2, "bytes": 120}),
        (0.25252, "saw", "c0", {"run": "r1", "first": 2, "last": 2}),
        commit(0.31, "n0.1", (3, 5), 1, "text.delta"),
        (0.3102, "send", "n0.1", {"x": 2, "bytes": 300, "first": 3, "last": 5, "run": "r1"}),
        (0.3115, "deliver", "c0", {"x": 2, "bytes": 300}),
        (0.31152, "saw", "c0", {"run": "r1", "first": 3, "last": 5}),
    ]


def trouble() -> list[Event]:
    return [
        (0.6, "cut", "world", {"a": "c0", "b": "n1", "s": 0.8, "how": "hold"}),
        (0.9, "pause", "n0.1", {"s": 4.0}),
        (1.4, "mark", "world", {"name": "reset-mid-stream"}),
        (2.9, "reset", "c0", {"x": 2, "why": "reset on the way"}),
        (3.1, "act", "c0", {"does": "resume", "run": "r1", "seq": 5}),
        (3.1, "request", "c0", {"x": 3, "to": "n1", "method": "GET", "path": "/v1/runs/r1/events", "cursor": "r1:5"}),
        (3.1016, "answer", "n1.1", {"x": 3, "status": 200}),
        commit(3.5, "n1.1", (6, 7), 2, "step.reset"),
        (3.501, "send", "n1.1", {"x": 3, "bytes": 200, "first": 6, "last": 7, "run": "r1"}),
        (3.5021, "deliver", "c0", {"x": 3, "bytes": 200}),
        (3.50212, "saw", "c0", {"run": "r1", "first": 6, "last": 7}),
        commit(3.8, "n1.1", (8, 8), 2, "message.start"),
        (3.801, "send", "n1.1", {"x": 3, "bytes": 90, "first": 8, "last": 8, "run": "r1"}),
        (3.8021, "deliver", "c0", {"x": 3, "bytes": 90}),
        (3.80212, "saw", "c0", {"run": "r1", "first": 8, "last": 8}),
        (4.9, "resume", "n0.1", {}),
        commit(4.90004, "n0.1", (9, 10), 1, "text.delta"),
        (4.90004, "violation", "n0.1", {"name": "zombie-write", "detail": DETAIL, "run": "r1"}),
    ]


def told(events: list[Event], *, on: bool = True) -> Trace:
    """The trace of these events."""
    now = [0.0]
    trace = Trace(lambda: now[0], on=on, seed=2026, planted="epoch-not-checked", knobs={"nodes": 2})
    for t, kind, proc, fields in events:
        now[0] = t
        trace.emit(kind, proc=proc, **fields)
    trace.finish(schedule="c0ffee", marks={"reset-mid-stream": 1})
    return trace


def zombie() -> Trace:
    return told([*beginning(), *trouble()])
