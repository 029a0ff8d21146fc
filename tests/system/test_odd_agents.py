"""S3 for agents that raise what nobody expects: one attempt, one error, and the server lives on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .odd_agents import RAISED
from .server import Server, free_port

AGENTS = ("--agents", "tests.system.odd_agents:agents,reattach.adapters.agents.demo:agents")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("odd") / "reattach.db", free_port(), arguments=AGENTS).start()
    yield running
    running.kill()


@pytest.mark.parametrize("what", [*RAISED, "number"])
def test_whatever_an_agent_raises_fails_its_run_once(server: Server, what: str) -> None:
    session = server.session()
    run_id = server.post(f"/v1/sessions/{session}/runs", {"agent": "odd", "input": what}).json()["run_id"]
    blocks = server.frames(run_id)
    assert blocks[-1].event == "run.failed"
    assert blocks[-1].json["error"]["type"] in ("internal_error", "t?")
    assert sum(block.event == "run.claimed" for block in blocks) == 1
    assert server.get("/healthz").status_code == 200


@pytest.mark.parametrize("end", ["finish", "approvals"])
def test_an_agent_is_closed_where_it_ends(server: Server, tmp_path: Path, end: str) -> None:
    """What docs/agents.md says of the end, and of outputs that are out of the ordinary."""
    path, notes = f"/v1/sessions/{server.session()}/runs", tmp_path / end
    run_id = server.post(path, {"agent": "leaving", "input": str(notes)}).json()["run_id"]
    if end == "approvals":
        with server.events(f"/v1/runs/{run_id}/events") as events:
            next(block for block in events if block.event == "run.suspended")
        decision = {"approval_id": "1.1.a1", "outcome": "deny"}
        assert server.post(f"/v1/runs/{run_id}/decisions", {"decisions": [decision]}).status_code == 200
    blocks = {block.event: block.json for block in server.frames(run_id)}
    assert notes.read_text() == "finally"
    assert blocks["run.completed"]["stop_reason"] == ("early" if end == "finish" else "end_turn")
    assert blocks["text.delta"]["text"] == "a ? surrogate"
    assert blocks["tool.result"]["output"] == [None, None]
    assert blocks.get("data", {"value": "nan"})["value"] == "nan", "a checkpoint keeps what JSON lacks"


def test_an_agent_that_will_not_stop_does_not_stop_the_drain(tmp_path: Path) -> None:
    server = Server(tmp_path / "reattach.db", free_port(), arguments=AGENTS).start()
    session = server.session()
    run_id = server.post(f"/v1/sessions/{session}/runs", {"agent": "stubborn"}).json()["run_id"]
    with server.events(f"/v1/runs/{run_id}/events") as events:
        next(block for block in events if block.event == "text.delta")
    assert server.post(f"/v1/runs/{run_id}/cancel").json()["status"] == "cancelled"
    server.terminate()  # waits for the process, and fails if it does not end
