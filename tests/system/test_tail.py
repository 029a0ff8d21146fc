"""T1: a tail taken at any instant of live runs, and the stream from its cursor on, are the whole."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from reattach.domain.snapshot import Snapshot

from .server import Server


def folded(frames: list[dict[str, Any]]) -> dict[str, Any]:
    """The messages of these frames by id, run after run."""
    found: dict[str, Any] = {}
    run = Snapshot.empty()
    for frame in frames:
        if frame["type"] == "run.created":
            run = Snapshot.empty()
        run.apply(frame)
        found |= {message["message_id"]: message for message in run.messages.as_json()}
    return found


def live(server: Server, session: str) -> None:
    """Turns of every kind, one upon the other."""
    tool = {"tool": {"name": "look", "arguments": {"q": 1}, "result": "found"}}
    approvals = {"approvals": [{"tool": "pay", "arguments": {"sum": 1}, "result": "paid"}]}
    slow = {"chunk": 1, "delay_ms": 2}
    asked = server.run({"text": "same " * 5, **slow}, tool, approvals, {"text": "x" * 9, **slow}, session=session)
    for step in ({"reasoning": "hm " * 9, **slow}, tool, {"fail": {"type": "llm_error", "message": "no"}}):
        server.run(step, session=session, on_busy="enqueue")
    for block in read(server, asked):
        if block.event == "approval.requested":
            decision = {"approval_id": block.json["approval_id"], "outcome": "approve"}
            answer = server.post(f"/v1/runs/{asked['run_id']}/decisions", {"decisions": [decision]})
            assert answer.status_code == 200, answer.text
    last = server.run({"text": "never ends", "chunk": 1, "delay_ms": 50}, session=session, on_busy="enqueue")
    for block in read(server, last):
        if block.event == "text.delta":
            server.run({"text": "the last word", **slow}, session=session, on_busy="interrupt")
            break


def read(server: Server, run: dict[str, Any]) -> Any:
    with server.events(f"/v1/runs/{run['run_id']}/events") as events:
        yield from events


def test_tail_and_stream_are_the_whole_at_any_instant(start: Any) -> None:
    server: Server = start()
    session = server.session()
    path = f"/v1/sessions/{session}"
    tails: list[dict[str, Any]] = []
    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(live, server, session)
        while not playing.done() or tails[-1]["status"] != "idle":
            tails += [server.get(f"{path}/tail?limit={limit}").json() for limit in (1, 3, 100)]
        playing.result()
    with server.events(f"{path}/events?follow=false") as events:
        blocks = list(events)
    places = {str(block.id): n for n, block in enumerate(blocks, 1)}
    runs = {block.json["run_id"]: n for n, block in enumerate(blocks) if block.event == "run.created"}
    whole = folded([block.json for block in blocks])
    prompts = [name for name, message in whole.items() if message["role"] == "user"]
    assert len(prompts) == len(runs) == 6
    seen: dict[str, int] = {}
    for tail in tails:
        run, _, _, seq = tail["cursor"].split(".")
        begin = places[tail["cursor"]] if seq != "0" else runs.get(run, 0)
        rest = folded([block.json for block in blocks[begin:]])
        names = [message["message_id"] for message in tail["messages"]]
        joined = {message["message_id"]: message for message in tail["messages"]} | rest
        assert list(joined) == list(whole)[-len(joined) :], tail["cursor"]
        assert joined == {name: whole[name] for name in joined}
        assert len(names) == len(set(names))
        active = tail["active_run"]
        if active is not None:
            assert names[-1] == active["message_id"]  # its prompt is there, and the answer is left to the stream
            assert whole[names[-1]]["parts"][0]["text"] == active["prompt"]
        assert bool(tail["pending_approvals"]) == (tail["status"] == "waiting_for_approval")
        seen[tail["status"]] = seen.get(tail["status"], 0) + 1
    assert {"idle", "running"} <= set(seen)
    ends = [block.event for block in blocks if block.event in ("run.completed", "run.failed", "run.cancelled")]
    assert ends == ["run.completed"] * 3 + ["run.failed", "run.cancelled", "run.completed"]
