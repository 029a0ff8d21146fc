"""Whole runs of every kind, told once and the same at each call: what the golden streams were recorded from."""

from collections.abc import Callable, Mapping
from typing import Final

from reattach.domain import agent as a
from reattach.domain.run import TAKEOVERS_MAX
from reattach.domain.run_facts import Decision

from .log import RunLog


def started(prompt: str | None = "What is the weather in Malmö? 🌧️") -> RunLog:
    """A run that a worker has just claimed."""
    log = RunLog()
    log.create(prompt)
    log.wait(0.25)
    log.claim()
    return log


def text() -> RunLog:
    log = started()
    log.finish(log.write(a.Text("It rains"), a.Text(' "cats & dogs"\n'), a.EndPart(), a.Text("\u2028\x00 and 🐕.")))
    log.complete()
    return log


def reasoning() -> RunLog:
    log = started(None)
    log.write(a.Reasoning("Let me"), a.Reasoning(" think."), a.Checkpoint({"thought": True}))
    log.finish(log.write(a.Text("Done."), a.Data("mood", {"good": 0.5}), a.Source("https://example.org", "Example")))
    log.complete()
    return log


def tool() -> RunLog:
    log = started()
    scribe = log.write(a.ToolCallStart("call1", "weather"), a.ToolCallDelta("call1", '{"city":"Mal'))
    log.write(a.ToolCallDelta("call1", 'mö"}'), a.ToolCall("call1", "weather", {"city": "Malmö"}), scribe=scribe)
    log.write(a.ToolCallStart("call2", "a"), a.ToolCallStart("call3", "b"), a.ToolCall("call2", "a", []), scribe=scribe)
    log.write(a.ToolCall("call3", "b", None), a.ToolResult("call1", {"mm": 12.5, "days": [1, 2**60]}), scribe=scribe)
    log.write(
        a.ToolResult("call2", error="No such city."), a.File("map.png", "image/png", "https://x.org/m"), scribe=scribe
    )
    log.finish(scribe)
    log.complete()
    return log


def approval() -> RunLog:
    log = started()
    log.finish(log.write(a.Text("I would pay.")))
    log.suspend(("pay", {"sum": 3, "to": "bob"}), ("mail", {"to": "eve"}), timeout_s=3600)
    log.wait(60)
    log.decide(Decision(approval_id="1.1.a2", outcome="deny", reason="not her", by="ada"))
    log.wait(3000)
    log.decide(Decision(approval_id="1.1.a1", outcome="approve", by="ada"))
    log.claim("w2")
    log.finish(log.write(a.ToolResult("call1", {"paid": 3}), a.ToolResult("call2", error="Denied: not her")))
    log.complete()
    return log


def edit() -> RunLog:
    log = started()
    log.suspend(("pay", {"sum": 300}))
    log.decide(Decision(approval_id="1.1.a1", outcome="approve", arguments={"sum": 3}, reason="less", by="ada"))
    log.claim()
    log.finish(log.write(a.ToolResult("call1", {"paid": 3})))
    log.complete()
    return log


def expiry() -> RunLog:
    log = started()
    log.suspend(("pay", {"sum": 3}), timeout_s=5)
    log.wait(5)
    log.expire()
    log.claim()
    log.finish(log.write(a.Text("Then not.")))
    log.complete()
    return log


def cancel() -> RunLog:
    log = started()
    log.write(a.Text("It r"), a.ToolCallStart("call1", "weather"), a.ToolCallDelta("call1", "{"))
    log.wait(1.5)
    log.cancel("enough", "ada")
    return log


def cancel_waiting() -> RunLog:
    log = started()
    log.suspend(("pay", {"sum": 3}), ("pay", {"sum": 4}), ("pay", {"sum": 5}))
    log.decide(Decision(approval_id="1.1.a2", outcome="approve", by="ada"))
    log.cancel()
    return log


def cancel_pending() -> RunLog:
    log = RunLog()
    log.create("Never mind.")
    log.cancel("changed my mind")
    return log


def fail() -> RunLog:
    log = started()
    log.write(a.Text("It"))
    log.fail("llm_rate_limit")
    return log


def take_over() -> RunLog:
    log = started()
    log.write(a.Text("Step one."), a.Checkpoint([1]), a.Text("Lost words"), a.Data("lost", True))
    log.wait(15)
    log.take_over()
    log.finish(log.write(a.Text("Step two.")))
    log.complete()
    return log


def worker_lost() -> RunLog:
    log = started()
    for _ in range(TAKEOVERS_MAX + 1):
        log.write(a.Reasoning("again"))
        log.wait(15)
        log.take_over()
    return log


def release() -> RunLog:
    log = started()
    log.write(a.Text("Half a st"))
    log.release()
    log.wait(2)
    log.claim("w2")
    log.finish(log.write(a.Text("A whole step.")))
    log.complete()
    return log


STREAMS: Final[Mapping[str, Callable[[], RunLog]]] = {
    story.__name__: story
    for story in (
        text,
        reasoning,
        tool,
        approval,
        edit,
        expiry,
        cancel,
        cancel_waiting,
        cancel_pending,
        fail,
        take_over,
        worker_lost,
        release,
    )
}
