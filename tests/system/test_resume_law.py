"""C1, C2, C4: for every recorded run and every cut, prefix + resume is the whole, byte for byte, over real sockets."""

from collections.abc import Iterator
from typing import Any

import pytest

from .server import CLIENT, TERMINAL, Block, Events, Server

APPROVAL = {"approvals": [{"tool": "send", "arguments": {"to": "ann"}, "result": "sent"}]}
KINDS: dict[str, list[Any]] = {
    "text": [{"text": "Hello, wörld 🌍\n\u2028 in small pieces", "chunk": 3}],
    "reasoning": [{"reasoning": "let me think about it", "chunk": 4}, {"text": "done"}],
    "tool": [{"tool": {"name": "add", "arguments": {"a": 1}, "result": {"sum": None}}}, {"text": "so"}],
    "tool_error": [
        {"tool": {"name": "add", "arguments": {}, "error": "no such thing"}},
        {"data": {"name": "n", "value": [1]}},
    ],
    "approve": [{"text": "may I?"}, APPROVAL, {"text": "thanks"}],
    "deny": [APPROVAL, {"text": "a pity"}],
    "cancel": [{"text": "waiting", "chunk": 2}, {"wait_ms": 600_000}],
    "fail": [{"text": "oh"}, {"fail": {"type": "llm_timeout", "message": "no answer", "retryable": True}}],
    "crash": [{"text": "oh"}, {"crash": True}],
    "repeat": [{"repeat": {"times": 5, "steps": [{"text": "again"}]}}],
}


def record(server: Server, kind: str) -> tuple[str, list[Block]]:
    """Run one of the kinds to its end, as a live reader sees it."""
    run_id = server.run(*KINDS[kind])["run_id"]
    blocks: list[Block] = []
    with server.events(f"/v1/runs/{run_id}/events") as events:
        for block in events:
            blocks.append(block)
            if block.event == "run.suspended":
                approvals = [{"approval_id": i, "outcome": kind} for i in block.json["approvals"]]
                assert server.post(f"/v1/runs/{run_id}/decisions", {"decisions": approvals}).status_code == 200
            if kind == "cancel" and block.event == "text.delta" and block.json["text"] == "g":
                assert server.post(f"/v1/runs/{run_id}/cancel").status_code == 200
    return run_id, blocks


@pytest.fixture(scope="module", params=list(KINDS))
def recorded(server: Server, request: pytest.FixtureRequest) -> tuple[str, list[Block]]:
    return record(server, request.param)


def test_a_replay_is_what_the_live_reader_saw(server: Server, recorded: tuple[str, list[Block]]) -> None:
    run_id, blocks = recorded
    assert [block.json["seq"] for block in blocks] == list(range(1, len(blocks) + 1))
    assert blocks[-1].event in TERMINAL
    assert all(block.event == block.json["type"] for block in blocks)
    assert server.frames(run_id) == blocks


def test_every_cut_resumes_exactly(server: Server, recorded: tuple[str, list[Block]]) -> None:
    run_id, blocks = recorded
    for cut, block in enumerate(blocks[:-1], 1):
        assert server.frames(run_id, cursor=block.id) == blocks[cut:]


def test_at_the_terminal_frame_nothing_will_come(server: Server, recorded: tuple[str, list[Block]]) -> None:
    run_id, blocks = recorded
    answer = server.get(f"/v1/runs/{run_id}/events", **{"Last-Event-ID": str(blocks[-1].id)})
    assert (answer.status_code, answer.content) == (204, b"")
    assert server.get(f"/v1/runs/{run_id}/events?after={len(blocks)}").status_code == 204


def test_a_live_reader_that_drops_after_every_frame_misses_nothing(server: Server) -> None:
    run_id = server.run({"text": "abcdefghijkl", "chunk": 1, "delay_ms": 3}, {"text": "mn", "chunk": 1})["run_id"]
    blocks: list[Block] = []
    while not blocks or blocks[-1].event not in TERMINAL:
        blocks.append(_first(server, run_id, blocks[-1].id if blocks else None))
    assert blocks == server.frames(run_id)


def _first(server: Server, run_id: str, cursor: str | None) -> Block:
    with server.events(f"/v1/runs/{run_id}/events", cursor) as events:
        return next(iter(events))


def test_the_post_itself_can_be_the_stream(server: Server) -> None:
    """S9: even a run that is over before the answer is built carries its id and its first frame."""
    body: Any = {"agent": "script", "input": {"steps": []}}
    with _post_stream(server, body) as answer:
        blocks = list(Events(answer))
    assert answer.status_code == 200
    assert blocks[0].event == "run.created"
    assert blocks == server.frames(answer.headers["Reattach-Run-Id"])


def _post_stream(server: Server, body: Any) -> Any:
    headers = {"Accept": "text/event-stream"}
    return CLIENT.stream("POST", f"{server.url}/v1/sessions/{server.session()}/runs", json=body, headers=headers)


def test_every_reader_gets_its_own_suffix(server: Server) -> None:
    """C8: readers at different cursors, one run; none of them affects another."""
    run_id = server.run({"text": "0123456789" * 4, "chunk": 1, "delay_ms": 5})["run_id"]
    with server.events(f"/v1/runs/{run_id}/events") as events:
        next(block for block in events if block.json["seq"] == 6)
    answers = [CLIENT.stream("GET", f"{server.url}/v1/runs/{run_id}/events?after={n}") for n in (0, 0, 3, 5, 1)]
    opened: list[Iterator[Block]] = [iter(Events(answer.__enter__())) for answer in answers]
    next(opened[0])
    answers[0].__exit__(None, None, None)
    seen = [list(blocks) for blocks in opened[1:]]
    whole = server.frames(run_id)
    assert seen == [whole, whole[3:], whole[5:], whole[1:]]
