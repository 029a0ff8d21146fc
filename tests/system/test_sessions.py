"""Sessions among real processes: a memory that survives kills, and two clients on two servers that fight for one."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from reattach.domain.identifiers import SessionId
from reattach.domain.memory import Memory, first_break

from .server import Server

ROUNDS = 8
"""Times each of two clients takes the session over."""


def resume(server: Server, session: str, client: str, **fields: Any) -> dict[str, Any]:
    answer = server.post(f"/v1/sessions/{session}/resume", {"client_id": client, **fields})
    assert answer.status_code == 200, answer.text
    resumed: dict[str, Any] = answer.json()
    return resumed


def remember(server: Server, session: str, content: Any, epoch: int) -> httpx.Response:
    headers = {"Session-Epoch": str(epoch)}
    return server.post(f"/v1/sessions/{session}/memories", {"content": content}, **headers)


def memories(server: Server, session: str) -> list[Memory]:
    """All of them, and that they are one chain."""
    found = [
        Memory.model_validate(item)
        for after in range(0, 1000, 100)
        for item in server.get(f"/v1/sessions/{session}/memories?limit=100&after={after}").json()["items"]
    ]
    assert first_break(SessionId(session), found) is None
    return found


def test_one_memory_over_disconnects_and_kills(start: Any) -> None:
    """H1: what was acknowledged is there, in order, once; each resume shows the evidence of what came before."""
    server: Server = start()
    session = server.session()
    acknowledged: list[dict[str, Any]] = []
    for visit in range(4):
        resumed = resume(server, session, "ada")
        count = len(acknowledged)
        assert resumed["epoch"] == visit + 1
        assert resumed["continuity"] == {
            "count": count,
            "first": 1 if count else None,
            "last": count or None,
            "head_hash": acknowledged[-1]["hash"] if count else None,
        }
        for n in range(5):
            answer = remember(server, session, {"visit": visit, "n": n}, resumed["epoch"])
            assert answer.status_code == 201
            acknowledged.append(answer.json())
        if visit == 1:
            server.kill()
            server.start()
            assert remember(server, session, "the epoch outlives the server", resumed["epoch"]).status_code == 201
            acknowledged.append(server.get(f"/v1/sessions/{session}/memories?after=10").json()["items"][0])
    found = memories(server, session)
    assert found == [Memory.model_validate(entry) for entry in acknowledged]
    assert [entry.sequence for entry in found] == list(range(1, 22))


def test_two_clients_fight_for_one_session(start: Any) -> None:
    """H3: whoever's write is accepted owned the session at that place of the log; the other is told why."""
    first: Server = start("--no-worker")
    second: Server = start("--no-worker", database=first.database)
    session = first.session()
    begin = threading.Barrier(2)

    def fight(server: Server, client: str) -> dict[str, list[Any]]:
        story: dict[str, list[Any]] = {"epochs": [], "accepted": [], "refused": []}
        begin.wait()
        for round_ in range(ROUNDS):
            epoch = resume(server, session, client, takeover=True)["epoch"]
            story["epochs"].append(epoch)
            for n in range(100):
                answer = remember(server, session, [client, round_, n], epoch)
                if answer.status_code != 201:
                    story["refused"].append(answer.json())
                    break
                story["accepted"].append(answer.json())
                if n == 3 and round_ == ROUNDS - 1:
                    break  # the last word
        return story

    with ThreadPoolExecutor(2) as pool:
        stories = list(pool.map(fight, (first, second), ("ada", "bob")))
    epochs = [epoch for story in stories for epoch in story["epochs"]]
    assert sorted(epochs) == list(range(1, 2 * ROUNDS + 1))
    owners = {epoch: client for story, client in zip(stories, ("ada", "bob"), strict=True) for epoch in story["epochs"]}
    log = memories(first, session)
    assert log == memories(second, session)
    assert [entry.epoch for entry in log] == sorted(entry.epoch for entry in log)  # never back to an older owner
    contents: list[Any] = [entry.content for entry in log]
    authors = [(entry.by, content[0]) for entry, content in zip(log, contents, strict=True)]
    assert authors == [(owners[entry.epoch],) * 2 for entry in log]
    accepted = [Memory.model_validate(entry) for story in stories for entry in story["accepted"]]
    assert sorted(accepted, key=lambda entry: entry.sequence) == log
    refusals = [problem for story in stories for problem in story["refused"]]
    assert refusals
    for problem in refusals:
        assert (problem["status"], problem["code"], problem["session_id"]) == (412, "stale_epoch", session)
        assert problem["owner"] in ("ada", "bob")


def test_the_loser_is_told_on_its_stream_by_the_other_server(start: Any) -> None:
    first: Server = start()
    second: Server = start("--no-worker", database=first.database)
    session = first.session()
    mine = resume(first, session, "ada")
    busy = second.post(f"/v1/sessions/{session}/resume", {"client_id": "bob"})
    assert (busy.status_code, busy.json()["code"], busy.json()["owner"]) == (409, "SESSION_BUSY", "ada")
    assert busy.json()["lease_expires_at"] == mine["lease_expires_at"]
    path = f"/v1/sessions/{session}/events?session_epoch={mine['epoch']}"
    with first.events(path, mine["tail"]["cursor"]) as events:
        resume(second, session, "bob", takeover=True)
        told = next(iter(events))
        assert (told.event, told.id, told.json["owner"], told.json["epoch"]) == ("session.superseded", None, "bob", 2)
    assert remember(first, session, "late", mine["epoch"]).status_code == 412


def test_the_next_input_begins_at_once_on_any_server(start: Any) -> None:
    """S7: the worker hears of a turn that comes, without waiting for its next look around."""
    server: Server = start(REATTACH_SWEEP_S="600")
    session = server.session()
    first = server.run({"text": "one"}, {"wait_ms": 200}, session=session)
    queued = [server.run({"text": f"{n}"}, session=session, on_busy="enqueue") for n in range(2)]
    with server.events(f"/v1/sessions/{session}/events") as events:
        ends: list[str] = []
        for block in events:
            if block.event == "run.created":
                ends.append(block.json["run_id"])
            if block.event == "run.completed" and ends[-1] == queued[-1]["run_id"]:
                break
    assert ends == [run["run_id"] for run in (first, *queued)]
    interrupted = server.run({"wait_ms": 600_000}, session=session)
    instead = server.run({"text": "instead"}, session=session, on_busy="interrupt")
    assert server.frames(interrupted["run_id"])[-1].event == "run.cancelled"
    assert server.frames(instead["run_id"])[-1].event == "run.completed"
    epoch = {"Session-Epoch": str(resume(server, session, "ada")["epoch"])}
    server.post(f"/v1/sessions/{session}/handoffs", {"handoff_id": "h"})
    body = {"agent": "script", "input": {"prompt": "go", "steps": [{"text": "held"}]}, "on_busy": "enqueue"}
    held = server.post(f"/v1/sessions/{session}/runs", body, **epoch).json()
    server.post(f"/v1/sessions/{session}/handoffs/h", {"action": "abandon"})
    assert server.frames(held["run_id"])[-1].event == "run.completed"
