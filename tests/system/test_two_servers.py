"""Several servers on one store, workers elsewhere: C4, C12, S5, S8, X1, X3, A4 and I3 across processes."""

import concurrent.futures
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from reattach.simulations.chaos.proxy import Link

from .linked import linked
from .server import TERMINAL, Block, Server, free_port

ROUNDS = 8
STALE: dict[str, dict[str, Any]] = {
    "output": {"first_seq": 3, "frames": [{"type": "step.start", "step": 1}]},
    "suspend": {"approvals": [{"tool_call_id": "c", "tool": "t", "arguments": 1}], "step": 0, "state": 1},
    "complete": {},
    "fail": {"error": {"type": "late", "message": "late"}},
    "release": {},
    "renew": {"worker": "w1"},
}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two servers on one file. Nobody works there, and every test ends the runs that it starts."""
    database = tmp_path_factory.mktemp("two") / "reattach.db"
    first, second = (Server(database, free_port(), arguments=("--no-worker",)).start() for _ in range(2))
    yield first, second
    first.kill()
    second.kill()


@pytest.fixture
def pool() -> Iterator[concurrent.futures.Executor]:
    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        yield executor


def claim(server: Server, worker: str, agent: str = "script") -> dict[str, Any]:
    """Claim until there is something."""
    while True:
        items = server.post("/v1/work/claim", {"worker": worker, "agents": [agent]}).json()["items"]
        if items:
            assignment: dict[str, Any] = items[0]
            return assignment


def write(server: Server, run_id: str, verb: str, epoch: int, body: Any = None) -> httpx.Response:
    return server.post(f"/v1/runs/{run_id}/{verb}", body, **{"Run-Epoch": str(epoch)})


def test_a_cursor_is_good_on_the_other_server(start: Callable[..., Server]) -> None:
    """C2, C4: the other one watches the run, too, and hears of its frames a little later."""
    first = start()
    second = start("--no-worker", database=first.database)
    run_id = first.run({"text": "0123456789" * 6, "chunk": 1, "delay_ms": 4})["run_id"]
    path = f"/v1/runs/{run_id}/events"
    last = 0
    with second.events(path) as watched, first.events(path) as events:
        for block in events:
            answer = second.get(f"{path}?follow=false", **{"Last-Event-ID": str(block.id)})
            assert "stream.reset" not in answer.text, block.id
            last = answer.status_code
        assert last == 204
        assert list(watched) == first.frames(run_id)


def test_a_stale_epoch_is_refused_by_every_route_of_either_server(two: tuple[Server, Server]) -> None:
    """S5: the first worker's lease ended, and the other server gave the run to a second one."""
    first, second = two
    run_id = first.run({"text": "x"})["run_id"]
    assert claim(first, "w1")["run"]["epoch"] == 1
    assert write(first, run_id, "output", 1, STALE["output"]).status_code == 200
    taken_over = claim(second, "w2")
    assert (taken_over["run"]["run_id"], taken_over["run"]["epoch"]) == (run_id, 2)
    before = first.get(f"/v1/runs/{run_id}/events?follow=false").text
    late = {**STALE, "output": {**STALE["output"], "first_seq": taken_over["next_seq"]}}
    for server, (verb, body) in itertools.product(two, late.items()):
        answer = write(server, run_id, verb, 1, body)
        assert (answer.status_code, answer.json()["code"], answer.json()["epoch"]) == (412, "stale_epoch", 2), verb
    assert second.get(f"/v1/runs/{run_id}/events?follow=false").text == before
    assert write(first, run_id, "complete", 2).json()["status"] == "completed"


def test_an_output_that_is_sent_to_both_is_in_the_log_once(
    two: tuple[Server, Server], pool: concurrent.futures.Executor
) -> None:
    """I3: the answer of one was lost, or is late; at the same time, or later."""
    run_id = two[0].run({"text": "x"})["run_id"]
    seq = claim(two[0], "w1")["next_seq"]
    for step in range(1, ROUNDS + 1):
        frames = [{"type": "step.start", "step": step}, {"type": "step.end", "step": step, "checkpoint": None}]
        body = {"first_seq": seq, "frames": frames}
        answers = [pool.submit(write, server, run_id, "output", 1, body) for server in two * 2]
        assert {answer.result().status_code for answer in answers} == {200}
        seq += 2
        other = {"first_seq": seq - 2, "frames": frames[:1]}
        assert write(two[step % 2], run_id, "output", 1, other).json()["code"] == "append_conflict"
    write(two[1], run_id, "complete", 1)
    blocks = two[0].frames(run_id)
    assert len(blocks) == 2 + 2 * ROUNDS + 1
    assert [block.json["seq"] for block in blocks] == list(range(1, len(blocks) + 1))


def test_two_starts_at_once_at_two_servers_have_one_winner(
    two: tuple[Server, Server], pool: concurrent.futures.Executor
) -> None:
    """S8"""
    body: dict[str, Any] = {"agent": "script", "input": {"steps": []}}
    for _ in range(ROUNDS):
        session = two[0].session()
        path = f"/v1/sessions/{session}/runs"
        answers = [start.result() for start in [pool.submit(server.post, path, body) for server in two * 3]]
        assert sorted(answer.status_code for answer in answers) == [202] + [409] * 5
        (winner,) = (answer.json()["run_id"] for answer in answers if answer.status_code == 202)
        assert {answer.json()["run_id"] for answer in answers} == {winner}
        assert len(two[1].get(f"/v1/runs?session_id={session}").json()["items"]) == 1
        two[1].post(f"/v1/runs/{winner}/cancel")


def test_opposite_decisions_at_two_servers_have_one_winner(
    two: tuple[Server, Server], pool: concurrent.futures.Executor
) -> None:
    """A4: the loser is told who won."""
    approve, deny = ({"approval_id": "1.1.a1", "outcome": outcome} for outcome in ("approve", "deny"))
    for _ in range(ROUNDS):
        run_id = two[0].run({"text": "x"})["run_id"]
        claim(two[0], "w1")
        assert write(two[0], run_id, "suspend", 1, STALE["suspend"]).status_code == 200
        path = f"/v1/runs/{run_id}/decisions"
        asked = [(two[n % 2], (approve, deny)[n // 2 % 2]) for n in range(4)]
        answers = [pool.submit(server.post, path, {"decisions": [decision]}) for server, decision in asked]
        won: set[str] = set()
        for (_, decision), answer in zip(asked, (answer.result() for answer in answers), strict=True):
            assert answer.status_code in (200, 409), answer.text
            stands = decision["outcome"] if answer.status_code == 200 else answer.json()["decision"]["outcome"]
            assert (stands == decision["outcome"]) == (answer.status_code == 200)
            won.add(stands)
        assert len(won) == 1
        events = two[1].get(f"/v1/runs/{run_id}/events?follow=false").text
        assert events.count("event: approval.decided") == 1
        assert two[0].post(f"/v1/runs/{run_id}/cancel").json()["status"] == "cancelled"


def test_a_cancel_and_a_completion_at_two_servers_have_one_winner(
    two: tuple[Server, Server], pool: concurrent.futures.Executor
) -> None:
    """X3: by the order of the log, and the same for every reader."""
    for n in range(ROUNDS):
        run_id = two[0].run({"text": "x"})["run_id"]
        claim(two[0], "w1")
        cancelled = pool.submit(two[n % 2].post, f"/v1/runs/{run_id}/cancel")
        completed = pool.submit(write, two[1 - n % 2], run_id, "complete", 1)
        status = cancelled.result().json()["status"]
        assert (completed.result().status_code == 200) == (status == "completed")
        for server in two:
            blocks = server.frames(run_id)
            assert [b.event for b in blocks if b.event in TERMINAL] == [f"run.{status}"]
            assert blocks[-1].event == f"run.{status}"


def test_a_cancel_at_another_server_reaches_an_agent_that_is_silent(start: Callable[..., Server]) -> None:
    """X1: the agent runs in another process, one run at a time, and would be silent for ten minutes."""
    working = start(REATTACH_CONCURRENCY="1")
    serving = start("--no-worker", database=working.database)
    run_id = working.run({"tool": {"name": "slow", "delay_ms": 600_000, "result": "late"}})["run_id"]
    with serving.events(f"/v1/runs/{run_id}/events") as events:
        for block in events:
            if block.event == "tool.call.ready":
                assert serving.post(f"/v1/runs/{run_id}/cancel").json()["status"] == "cancelled"
    assert serving.frames(run_id)[-1].event == "run.cancelled"
    assert working.frames(working.run({"text": "the next one"})["run_id"])[-1].event == "run.completed"


def test_readers_behind_a_plain_proxy_go_on_at_the_other_server(start: Callable[..., Server]) -> None:
    """C12: one server drains. Its readers are told so; nobody is told that the run ended; nothing is lost."""
    working = start()
    servers = [start("--no-worker", database=working.database) for _ in range(2)]
    ports = itertools.cycle([server.port for server in servers])
    run_id = working.run({"text": "0123456789" * 20, "chunk": 1, "delay_ms": 10})["run_id"]
    path = f"/v1/runs/{run_id}/events"
    with linked(Link(lambda: ("127.0.0.1", next(ports)))) as front:
        seen: list[Block] = []
        told = 0
        terminated = False
        while not seen or seen[-1].event not in TERMINAL:
            try:
                for block in working.blocks(f"{front.url}{path}", seen[-1].id if seen else None):
                    if block.event == "stream.reconnect":
                        assert json.loads(block.data)["reason"] == "draining"
                        told += 1
                        continue
                    seen.append(block)
                    if len(seen) > 30 and not terminated:
                        terminated = True
                        servers[0].terminate()
                        servers[0].start()
                        servers[1].terminate()
            except httpx.HTTPError:
                continue  # the proxy found nobody there
    assert told >= 1
    assert seen == working.frames(run_id)
