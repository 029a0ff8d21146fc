"""S3-S6, S8, S10, S11, C12-C16, I3: agents that raise, workers and servers that die, drains, slow readers, damage."""

import concurrent.futures
import contextlib
import json
import signal
import socket
import sqlite3
from typing import Any

import httpx
import pytest

from .server import TERMINAL, Block, Server

STEPS = [{"text": f"step {n} of the work", "chunk": 1, "delay_ms": 8} for n in range(4)]


def until(server: Server, run_id: str, seq: int) -> list[Block]:
    """Follow a run up to this seq, then drop."""
    blocks: list[Block] = []
    with server.events(f"/v1/runs/{run_id}/events") as events:
        for block in events:
            blocks.append(block)
            if block.json["seq"] >= seq:
                break
    return blocks


@pytest.mark.parametrize(
    ("steps", "kind", "retryable"),
    [
        ([{"fail": {"type": "llm_timeout", "message": "m", "retryable": True}}], "llm_timeout", True),
        ([{"fail": {"type": "llm_rate_limit", "message": "m", "retryable": True}}], "llm_rate_limit", True),
        ([{"text": "x"}, {"crash": True}], "internal_error", False),
    ],
)
def test_a_failure_reads_the_same_everywhere(server: Server, steps: list[Any], kind: str, retryable: bool) -> None:
    """S3: live, on replay, in the status and in history."""
    session = server.session()
    run_id = server.run(*steps, session=session)["run_id"]
    error = server.frames(run_id)[-1].json["error"]
    assert (error["type"], error["retryable"]) == (kind, retryable)
    assert server.frames(run_id)[-1].json["error"] == error
    assert server.get(f"/v1/runs/{run_id}").json()["error"] == error
    items = server.get(f"/v1/sessions/{session}/messages").json()["items"]
    assert items[-1]["parts"][0]["error"] == error


def test_a_killed_server_loses_nothing_and_the_agent_goes_on_from_its_checkpoint(start: Any) -> None:
    """S4, S6, S11: the reader resumes after the last frame it saw; the cut step is shown once."""
    server: Server = start()
    run_id = server.run(*STEPS)["run_id"]
    seen = until(server, run_id, 40)
    server.kill()
    server.start()
    rest = server.frames(run_id, cursor=seen[-1].id)
    whole = server.frames(run_id)
    assert seen + rest == whole
    assert [block.json["seq"] for block in whole] == list(range(1, len(whole) + 1))
    reset = next(block.json for block in whole if block.event == "step.reset")
    checkpoints = [b.json["seq"] for b in whole if b.event == "step.end" and b.json["seq"] < reset["seq"]]
    assert reset["to_seq"] == (checkpoints[-1] if checkpoints else 0)
    kept = [b for b in whole if b.event == "text.delta" and not reset["to_seq"] < b.json["seq"] < reset["seq"]]
    assert "".join(b.json["text"] for b in kept) == "".join(str(step["text"]) for step in STEPS)
    claims = [b.json["epoch"] for b in whole if b.event == "run.claimed"]
    assert claims == [1, 2]
    view = server.get(f"/v1/runs/{run_id}").json()
    messages = server.get(f"/v1/sessions/{view['session_id']}/messages").json()["items"]
    shown = [m for m in messages if m["role"] == "assistant" and m["status"] != "abandoned"]
    text = "".join(part["text"] for message in shown for part in message["parts"])
    assert text == "".join(str(step["text"]) for step in STEPS)


def test_a_run_that_kills_its_workers_ends_as_worker_lost(start: Any) -> None:
    """S4, S6: taken over at most three times, then failed; the session can start again."""
    server: Server = start()
    run_id = server.run({"wait_ms": 600_000})["run_id"]
    for epoch in range(1, 5):
        with server.events(f"/v1/runs/{run_id}/events") as events:
            next(b for b in events if b.event == "run.claimed" and b.json["epoch"] == epoch)
        server.kill()
        server.start()
    last = server.frames(run_id)[-1]
    assert (last.event, last.json["error"]["type"]) == ("run.failed", "worker_lost")
    session = server.get(f"/v1/runs/{run_id}").json()["session_id"]
    assert server.run({"text": "x"}, session=session)["turn"] == 2


def test_a_paused_worker_writes_nothing_after_a_take_over(start: Any) -> None:
    """S5: stopped beyond its lease while another process took over; what it writes then is refused."""
    first: Server = start()
    run_id = first.run({"text": "z" * 200, "chunk": 1, "delay_ms": 10})["run_id"]
    until(first, run_id, 20)
    first.send_signal(signal.SIGSTOP)
    second: Server = start(database=first.database)
    blocks = second.frames(run_id)
    first.send_signal(signal.SIGCONT)
    assert blocks[-1].event == "run.completed"
    assert first.frames(run_id) == blocks
    assert second.frames(run_id) == blocks
    epochs = [str(block.id).split(".")[2] for block in blocks]
    assert epochs == sorted(epochs)
    assert next(b.json["worker"] for b in blocks if b.event == "run.claimed") != next(
        b.json["worker"] for b in blocks if b.event == "run.claimed" and b.json["epoch"] == 2
    )


def test_two_starts_at_once_have_one_winner(server: Server) -> None:
    """S8: and the loser is told before anything was recorded."""
    body = {"agent": "script", "input": {"steps": [{"wait_ms": 600_000}]}}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            session = server.session()
            starts = [pool.submit(server.post, f"/v1/sessions/{session}/runs", body) for _ in range(8)]
            answers = [start.result() for start in starts]
            assert sorted(answer.status_code for answer in answers) == [202] + [409] * 7
            assert len(server.get(f"/v1/runs?session_id={session}").json()["items"]) == 1


def test_a_start_that_fails_leaves_the_session_free(server: Server) -> None:
    """S10: the log has the failure, the next turn can start at once."""
    session = server.session()
    run_id = server.run({"crash": True}, session=session)["run_id"]
    assert server.frames(run_id)[-1].event == "run.failed"
    assert server.run({"text": "again"}, session=session)["turn"] == 2
    refused = server.post(f"/v1/sessions/{server.session()}/runs", {"agent": "script", "input": {"steps": [{"x": 1}]}})
    assert refused.status_code == 422


def test_a_drain_is_not_an_end(start: Any) -> None:
    """C12: SIGTERM while a run is live; the reader is told to reconnect, and the run goes on after the restart."""
    server: Server = start(REATTACH_DRAIN_GRACE_S="0.2")
    run_id = server.run(*STEPS, *STEPS)["run_id"]
    blocks: list[Block] = []
    with server.events(f"/v1/runs/{run_id}/events") as events:
        for block in events:
            blocks.append(block)
            if block.event == "text.delta" and block.json["seq"] == 30:
                server.send_signal(signal.SIGTERM)
    reconnect = blocks.pop()
    assert (reconnect.event, reconnect.id) == ("stream.reconnect", None)
    assert (reconnect.json["reason"], reconnect.json["retry_ms"]) == ("draining", 100)
    assert not any(block.event in TERMINAL for block in blocks)
    server.terminate()
    server.start()
    rest = server.frames(run_id, cursor=blocks[-1].id)
    assert blocks + rest == server.frames(run_id)
    assert rest[-1].event == "run.completed"
    assert any(block.event == "run.released" for block in rest)


def test_a_reader_that_does_not_read_is_asked_to_reconnect(start: Any) -> None:
    """C13: others and the worker do not feel it, and it resumes where it was."""
    server: Server = start()
    step = {"repeat": {"times": 300, "steps": [{"text": "w" * 40_000, "chunk": 2000}]}}  # 12 MB
    run_id = server.run({"wait_ms": 300}, step)["run_id"]
    with socket.create_connection(("127.0.0.1", server.port)) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        stalled.sendall(f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        whole = server.frames(run_id)
        assert whole[-1].event == "run.completed"
        stalled.settimeout(30)
        received = b""
        while piece := stalled.recv(1 << 16):
            received += piece
            if received.endswith(b"0\r\n\r\n"):
                break
    last = received[received.rindex(b"event: ") :]
    assert last.startswith(b"event: stream.reconnect")
    ids = [line for line in received.split(b"\n") if line.startswith(b"id: ")]
    cursor = ids[-1].decode()[4:]
    assert server.frames(run_id, cursor) == whole[int(cursor.rsplit(".")[-1]) :]


def test_a_damaged_record_is_one_typed_error(start: Any) -> None:
    """C14: the reader goes on, later frames are delivered, nothing loops."""
    server: Server = start()
    run_id = server.run({"text": "a"}, {"wait_ms": 30}, {"text": "b"}, {"wait_ms": 30}, {"text": "c"})["run_id"]
    whole = server.frames(run_id)
    server.terminate()
    connection = sqlite3.connect(server.database)
    rows = connection.execute(
        "select version, frames from events where topic = 'run.output' order by version"
    ).fetchall()
    first_seq, frames = rows[1]
    with connection:
        connection.execute(
            "update events set state = substr(state, 1, 5) where version = ? and topic = 'run.output'", (first_seq,)
        )
    connection.close()
    server.start()
    blocks = server.frames(run_id)
    lost = range(first_seq, first_seq + frames)
    error = next(block for block in blocks if block.event == "stream.error")
    assert error.json == {
        "type": "stream.error",
        "first_seq": lost[0],
        "last_seq": lost[-1],
        "code": "record_damaged",
    }
    assert str(error.id).endswith(f".{lost[-1]}")
    assert [b for b in blocks if b is not error] == [b for b in whole if b.json["seq"] not in lost]
    assert server.frames(run_id, cursor=error.id) == whole[lost[-1] :]


def test_no_reader_holds_a_frame_the_log_does_not_have(start: Any) -> None:
    """C15: whatever a reader saw before kill -9 is in the log after it."""
    server: Server = start()
    for _ in range(3):
        run_id = server.run({"repeat": {"times": 2000, "steps": [{"text": "v" * 50, "chunk": 1}]}})["run_id"]
        seen: list[Block] = []
        broken = (httpx.HTTPError, AssertionError)  # the connection, or the block it broke in
        with contextlib.suppress(*broken), server.events(f"/v1/runs/{run_id}/events") as events:
            for block in events:
                seen.append(block)
                if len(seen) == 3000:
                    server.kill()
        assert len(seen) >= 3000
        server.start()
        assert server.frames(run_id)[: len(seen)] == seen


def test_whoever_sees_the_terminal_frame_reads_its_own_writes(server: Server) -> None:
    """C16: run, session and history say so in the same instant."""
    for _ in range(20):
        session = server.session()
        run_id = server.run({"text": "t"}, session=session)["run_id"]
        with server.events(f"/v1/runs/{run_id}/events") as events:
            for block in events:
                if block.event in TERMINAL:
                    break
            assert server.get(f"/v1/runs/{run_id}").json()["status"] == "completed"
            assert server.get(f"/v1/sessions/{session}").json()["active_run_id"] is None
            items = server.get(f"/v1/sessions/{session}/messages").json()["items"]
            assert [(i["role"], i["status"]) for i in items] == [("user", "complete"), ("assistant", "complete")]


def test_message_ids_are_stable(start: Any) -> None:
    """T8: live, in history, on replay, after a restart."""
    server: Server = start()
    session = server.session()
    ids: list[str] = []
    for turn in range(2):
        run_id = server.run({"text": f"{turn}"}, {"text": "more"}, session=session)["run_id"]
        frames = [block.json for block in server.frames(run_id)]
        ids += [f["message_id"] for f in frames if f["type"] in ("run.created", "message.start")]
        assert all(i.startswith(f"{session}:{run_id}:") for i in ids[turn * 3 :])
    history = [item["message_id"] for item in server.get(f"/v1/sessions/{session}/messages").json()["items"]]
    assert history == ids
    server.kill()
    server.start()
    assert [i["message_id"] for i in server.get(f"/v1/sessions/{session}/messages").json()["items"]] == ids
    json.dumps(ids)
