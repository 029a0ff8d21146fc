"""X1-X6: cancel against silence, repeats, races, approvals and the next turn."""

import concurrent.futures
from typing import Any

import pytest

from .server import TERMINAL, Server

APPROVALS = {"approvals": [{"tool": "a", "arguments": 1, "result": 1}, {"tool": "b", "arguments": 2, "result": 2}]}


def test_cancel_reaches_an_agent_that_is_silent_inside_a_tool(server: Server) -> None:
    """X1: no output is needed for it to take effect, and what the tool gives later is refused."""
    session = server.session()
    tool: Any = {"tool": {"name": "slow", "arguments": {}, "result": "late", "delay_ms": 400}}
    run_id = server.run(tool, session=session)["run_id"]
    with server.events(f"/v1/runs/{run_id}/events") as events:
        blocks = iter(events)
        while next(blocks).event != "tool.call.ready":
            pass
        assert server.post(f"/v1/runs/{run_id}/cancel", {"reason": "changed my mind"}).json()["status"] == "cancelled"
        rest = list(blocks)
    assert [block.event for block in rest] == ["run.cancelled"]
    assert rest[0].json["reason"] == "changed my mind"
    second = server.run({"wait_ms": 500}, session=session)["run_id"]  # long enough for the tool to have come back
    server.frames(second)
    assert server.frames(run_id)[-1] == rest[0]


def test_cancelling_twice_or_after_the_end_changes_nothing(server: Server) -> None:
    """X2: the answer is the actual state."""
    finished = server.run({"text": "done"})["run_id"]
    whole = server.frames(finished)
    assert server.post(f"/v1/runs/{finished}/cancel").json()["status"] == "completed"
    waiting = server.run({"wait_ms": 600_000})["run_id"]
    first = server.post(f"/v1/runs/{waiting}/cancel", {"reason": "one"}).json()
    again = server.post(f"/v1/runs/{waiting}/cancel", {"reason": "two"}).json()
    assert first == again
    assert server.frames(finished) == whole
    assert sum(block.event == "run.cancelled" for block in server.frames(waiting)) == 1


def test_cancel_and_complete_race_to_one_winner(server: Server) -> None:
    """X3: whichever comes first in the log, for every reader and every replay."""
    outcomes: dict[str, int] = {}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for delay_ms in range(0, 40, 2):
            run_id = server.run({"wait_ms": delay_ms})["run_id"]
            reader = pool.submit(server.frames, run_id)
            answer = server.post(f"/v1/runs/{run_id}/cancel").json()
            blocks = reader.result()
            ends = [block.event for block in blocks if block.event in TERMINAL]
            assert ends == [f"run.{answer['status']}"]
            assert server.frames(run_id) == blocks
            outcomes[ends[0]] = outcomes.get(ends[0], 0) + 1
    assert sum(outcomes.values()) == 20


def test_cancel_closes_the_approvals_it_waits_for_and_no_others(server: Server) -> None:
    """X4: denied with reason cancelled; the next turn is accepted; another session's approvals are untouched."""
    session = server.session()
    mine, other = server.run(APPROVALS, session=session)["run_id"], server.run(APPROVALS)["run_id"]
    wait_for(server, mine, "run.suspended")
    wait_for(server, other, "run.suspended")
    answer = server.post(f"/v1/runs/{mine}/cancel").json()
    assert (answer["status"], answer["pending_approvals"]) == ("cancelled", [])
    decided = [block.json for block in server.frames(mine) if block.event == "approval.decided"]
    assert [(d["outcome"], d["reason"]) for d in decided] == [("deny", "cancelled")] * 2
    assert len(server.get(f"/v1/runs/{other}").json()["pending_approvals"]) == 2
    assert server.frames(server.run({"text": "next"}, session=session)["run_id"])[-1].event == "run.completed"


def test_cancel_before_the_first_step(start: Any) -> None:
    """X5: the next turn works; history has the user's message and the outcome."""
    server: Server = start("--no-worker")
    session = server.session()
    run_id = server.run({"text": "never"}, session=session)["run_id"]
    assert server.post(f"/v1/runs/{run_id}/cancel", {"reason": "too late"}).json()["status"] == "cancelled"
    items = server.get(f"/v1/sessions/{session}/messages").json()["items"]
    assert [item["role"] for item in items] == ["user", "event"]
    assert items[0]["parts"][0]["text"] == "go"
    assert items[1]["parts"][0] | {"by": None} == {
        "kind": "event",
        "event": "run.cancelled",
        "reason": "too late",
        "by": None,
    }
    assert server.run({"text": "next"}, session=session)["turn"] == 2


def test_losing_the_connection_is_not_stopping(server: Server) -> None:
    """X6: a client that goes away leaves the run alone; only a cancel stops it."""
    run_id = server.run({"text": "still here", "chunk": 1, "delay_ms": 10})["run_id"]
    with server.events(f"/v1/runs/{run_id}/events") as events:
        next(iter(events))
    assert server.frames(run_id)[-1].event == "run.completed"


def wait_for(server: Server, run_id: str, kind: str) -> dict[str, Any]:
    with server.events(f"/v1/runs/{run_id}/events") as events:
        for block in events:
            if block.event == kind:
                return block.json
    pytest.fail(f"the stream ended without {kind}")
