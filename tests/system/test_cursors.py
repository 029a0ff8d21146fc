"""C5, C6, C9, C10, C11, C17, C19: cursors that can't be honoured, snapshots, precedence, silence, configuration."""

import itertools
import sqlite3
import urllib.parse
from typing import Any

import pytest

from reattach.domain.snapshot import Snapshot

from .server import CLIENT, Block, Server

MALFORMED = ["", "words", "-1", "9" * 10_000, "\u0663", "1\x012", "run_x.1.1.1", "..", "1.2.3.4"]
LONG = [
    {"text": "some text", "chunk": 1},
    {"tool": {"name": "t", "arguments": {"x": 1}, "result": "secret"}},
    {"text": "end"},
]


@pytest.fixture(scope="module")
def finished(server: Server) -> tuple[str, list[Block]]:
    run_id = server.run(*LONG)["run_id"]
    return run_id, server.frames(run_id)


@pytest.mark.parametrize("cursor", MALFORMED, ids=lambda cursor: repr(cursor)[:12])
def test_a_malformed_cursor_is_a_400(server: Server, finished: tuple[str, list[Block]], cursor: str) -> None:
    path = f"/v1/runs/{finished[0]}/events"
    answers = [server.get(f"{path}?after={urllib.parse.quote(cursor)}")]
    if cursor.isprintable() and cursor.isascii():
        answers.append(server.get(path, **{"Last-Event-ID": cursor}))
    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert "run_id.generation.epoch.seq" in answer.json()["detail"]


def test_a_cursor_that_stands_twice_is_a_400(server: Server, finished: tuple[str, list[Block]]) -> None:
    cursors = [("Last-Event-ID", str(block.id)) for block in finished[1][:2]]
    answer = CLIENT.get(f"{server.url}/v1/runs/{finished[0]}/events", headers=cursors)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert "Last-Event-ID stands more than once" in answer.json()["detail"]


def resets(server: Server, run_id: str, head: int) -> dict[str, str]:
    other = server.run({"text": "other"})["run_id"]
    return {
        "ahead": f"{run_id}.1.1.{head + 1}",
        "foreign": f"{other}.1.1.2",
        "generation": f"{run_id}.7.1.2",
        "epoch": f"{run_id}.1.9.3",
    }


def folded(blocks: list[Block]) -> dict[str, Any]:
    snapshot = Snapshot.empty()
    for block in blocks:
        if block.event == "stream.snapshot":
            snapshot = Snapshot.load(block.json["state"], block.json["seq"])
        elif not block.event.startswith("stream."):
            snapshot.apply(block.json)
    return snapshot.state()


@pytest.mark.parametrize("reason", ["ahead", "foreign", "generation", "epoch"])
def test_a_cursor_that_cannot_be_honoured_is_a_typed_reset(
    server: Server, finished: tuple[str, list[Block]], reason: str
) -> None:
    run_id, whole = finished
    cursor = resets(server, run_id, len(whole))[reason]
    blocks = server.frames(run_id, cursor)
    assert [block.event for block in blocks[:2]] == ["stream.reset", "stream.snapshot"]
    assert blocks[0].json == {"type": "stream.reset", "reason": reason, "cursor": cursor}
    assert blocks[0].id is None
    assert blocks[1].id is None
    assert blocks[2:] == whole[-1:], "the snapshot stops one short, so that a real frame with an id follows"
    assert folded(blocks) == folded(whole)


def test_a_late_joiner_may_begin_with_a_snapshot(server: Server, finished: tuple[str, list[Block]]) -> None:
    run_id, whole = finished
    with server.events(f"/v1/runs/{run_id}/events?snapshot=true") as events:
        blocks = list(events)
    assert [block.event for block in blocks] == ["stream.snapshot", whole[-1].event]
    assert folded(blocks) == folded(whole)


def test_a_snapshot_of_a_live_run_and_its_tail_are_the_whole(server: Server) -> None:
    run_id = server.run({"text": "x" * 60, "chunk": 1, "delay_ms": 5}, {"reasoning": "yes"})["run_id"]
    with server.events(f"/v1/runs/{run_id}/events") as events:
        for block in events:
            if block.json["seq"] == 20:
                break
    with server.events(f"/v1/runs/{run_id}/events?snapshot=true") as events:
        blocks = list(events)
    assert blocks[0].event == "stream.snapshot"
    assert folded(blocks) == folded(server.frames(run_id))


def test_the_size_of_a_snapshot_is_that_of_the_state(server: Server) -> None:
    sizes: list[int] = []
    for chunk in (1, 500):
        run_id = server.run({"text": "y" * 1000, "chunk": chunk})["run_id"]
        server.frames(run_id)
        with server.events(f"/v1/runs/{run_id}/events?snapshot=true") as events:
            sizes.append(len(next(iter(events)).data))
    assert abs(sizes[0] - sizes[1]) < 20


def test_the_header_wins_over_the_query(server: Server, finished: tuple[str, list[Block]]) -> None:
    """C10: an EventSource repeats its first URL; what it has seen since is in the header."""
    run_id, whole = finished
    with server.events(f"/v1/runs/{run_id}/events?after=0&snapshot=true", cursor=whole[4].id) as events:
        assert list(events) == whole[5:]
    with server.events(f"/v1/runs/{run_id}/events?after={whole[2].id}") as events:
        assert list(events) == whole[3:]


def test_silence_is_kept_alive_by_comments(start: Any) -> None:
    """C11: within the promised interval, without an id, and the cursor does not move."""
    server: Server = start(REATTACH_KEEPALIVE_S="0.2")
    run_id = server.run({"text": "a"}, {"wait_ms": 1200}, {"text": "b"})["run_id"]
    with server.events(f"/v1/runs/{run_id}/events") as events:
        blocks = list(events)
    assert events.comments >= 3
    assert events.retry == 100
    assert blocks == server.frames(run_id)


def test_reading_writes_nothing(start: Any) -> None:
    """C17: no GET changes the store, under any of its routes."""
    server: Server = start()
    run_id = server.run(*LONG)["run_id"]
    whole = server.frames(run_id)
    session_id = server.get(f"/v1/runs/{run_id}").json()["session_id"]
    before = dump(server)
    for path in (
        f"/v1/runs/{run_id}",
        "/v1/runs",
        f"/v1/sessions/{session_id}",
        "/v1/sessions",
        f"/v1/sessions/{session_id}/messages",
        f"/v1/runs/{run_id}/events?snapshot=true",
        f"/v1/runs/{run_id}/events?after={len(whole) + 5}",
        f"/v1/sessions/{session_id}/events?follow=false",
        "/v1/agents",
        "/healthz",
        "/readyz",
        "/",
    ):
        assert server.get(path).status_code == 200, path
    assert dump(server) == before


def dump(server: Server) -> list[str]:
    connection = sqlite3.connect(server.database)
    try:
        return [line for line in connection.iterdump() if "leases" not in line]
    finally:
        connection.close()


def test_a_run_is_shown_as_its_request_config_says(server: Server) -> None:
    """C19: live, on replay, on resume and in the snapshot alike; no seq and no id changes."""
    config = {"kinds": ["text", "tool"], "tool_output": "omit"}
    steps = [{"reasoning": "hidden", "delay_ms": 5}, *LONG]
    run = server.run(*steps, request_config=config)
    live = server.frames(run["run_id"])
    assert server.frames(run["run_id"]) == live
    full = server.frames(server.run(*steps)["run_id"])
    hidden = ("reasoning", "step", "data")
    shown = [b for b in full if not b.event.startswith(hidden) or b.event == "step.reset"]
    assert [(b.event, b.json["seq"]) for b in live] == [(b.event, b.json["seq"]) for b in shown]
    assert "secret" not in "".join(b.data for b in live)
    assert next(b for b in live if b.event == "tool.result").json["omitted"] is True
    for cut, block in enumerate(live[:-1], 1):
        assert server.frames(run["run_id"], block.id) == live[cut:]
    with server.events(f"/v1/runs/{run['run_id']}/events?snapshot=true") as events:
        snapshot = next(iter(events)).data
    assert "secret" not in snapshot
    assert "hidden" not in snapshot
    digest = run["request_config_digest"]
    path = f"/v1/runs/{run['run_id']}/events"
    assert server.get(f"{path}?config={digest}").status_code == 200
    refused = server.get(f"{path}?config=0000000000000000")
    assert (refused.status_code, refused.json()["code"]) == (409, "config_mismatch")


def test_what_a_stream_would_refuse_starts_nothing(server: Server) -> None:
    """S7, S10: a refusal comes before any side effect."""
    session = server.session()
    body = {"agent": "script", "input": {"steps": [{"wait_ms": 600_000}]}}
    for query in ("follow=maybe", "after=words", "config=0000", "unknown=1", "after=1&after=2"):
        answer = server.post(f"/v1/sessions/{session}/runs?{query}", body, Accept="text/event-stream")
        assert 400 <= answer.status_code < 500, query
    assert server.get(f"/v1/sessions/{session}").json()["active_run_id"] is None


def test_unknown_parameters_are_refused(server: Server, finished: tuple[str, list[Block]]) -> None:
    for query in ("foo=1", "After=3", "after=1&after=2"):
        assert server.get(f"/v1/runs/{finished[0]}/events?{query}").status_code == 400


def test_a_replay_is_whole_while_somebody_watches(server: Server) -> None:
    """What does not fit into one piece comes in several."""
    step = {"text": "z" * 900_000, "chunk": 20_000}
    run_id = server.run(step, {"wait_ms": 600_000})["run_id"]
    with server.events(f"/v1/runs/{run_id}/events") as watched:
        live = list(itertools.takewhile(lambda block: block.event != "step.end", watched))
        for after in (0, 10, 30):
            with server.events(f"/v1/runs/{run_id}/events?follow=false&after={after}") as events:
                assert list(events)[: len(live) - after] == live[after:]
    server.post(f"/v1/runs/{run_id}/cancel")
