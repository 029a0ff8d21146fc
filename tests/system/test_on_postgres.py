"""The scenarios of several processes, with real server processes on one real PostgreSQL.

REATTACH_TEST_STORE=postgresql runs all of tests/system so, but for what alters a file.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from . import server as servers
from .server import TERMINAL, Block, Server
from .test_approvals import test_waiting_survives_every_process
from .test_crashes import (
    test_a_killed_server_loses_nothing_and_the_agent_goes_on_from_its_checkpoint,
    test_a_paused_worker_writes_nothing_after_a_take_over,
    test_a_run_that_kills_its_workers_ends_as_worker_lost,
    test_no_reader_holds_a_frame_the_log_does_not_have,
)
from .test_kills import test_kills_under_load
from .test_sessions import test_two_clients_fight_for_one_session
from .test_two_servers import test_a_cursor_is_good_on_the_other_server

__all__ = [
    "test_a_cursor_is_good_on_the_other_server",
    "test_a_killed_server_loses_nothing_and_the_agent_goes_on_from_its_checkpoint",
    "test_a_paused_worker_writes_nothing_after_a_take_over",
    "test_a_run_that_kills_its_workers_ends_as_worker_lost",
    "test_kills_under_load",
    "test_no_reader_holds_a_frame_the_log_does_not_have",
    "test_two_clients_fight_for_one_session",
    "test_waiting_survives_every_process",
]

SLOW: Any = {"text": "0123456789" * 10, "chunk": 1, "delay_ms": 15}


@pytest.fixture(autouse=True)
def on_postgres(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every path of this module's tests names a database there."""
    monkeypatch.setattr(servers, "STORE", "postgresql")
    servers.database_url.cache_clear()
    yield
    servers.database_url.cache_clear()


@pytest.fixture
def two(start: Any) -> tuple[Server, Server]:
    """Two servers on one database."""
    first: Server = start()
    return first, start(database=first.database)


def test_the_other_server_takes_over_and_its_reader_misses_nothing(start: Any) -> None:
    """S4, S6: the reader is on the server that lives, the agent was on the one that is killed."""
    worker: Server = start()
    survivor: Server = start("--no-worker", database=worker.database)
    run_id = worker.run({"text": "a"}, SLOW)["run_id"]
    seen: list[Block] = []
    with survivor.events(f"/v1/runs/{run_id}/events") as events:
        for block in events:
            seen.append(block)
            if len(seen) == 20:
                worker.kill()
                worker.start()
    assert [block.json["seq"] for block in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].event == "run.completed"
    assert [block.json["epoch"] for block in seen if block.event == "run.claimed"] == [1, 2]
    assert seen == worker.frames(run_id) == survivor.frames(run_id)


def test_a_cancel_on_the_other_server_reaches_a_silent_tool(start: Any) -> None:
    """X1: its worker hears of it through the database."""
    first: Server = start()
    second: Server = start("--no-worker", database=first.database)
    run_id = first.run({"tool": {"name": "slow", "arguments": {}, "result": "late", "delay_ms": 60_000}})["run_id"]
    with first.events(f"/v1/runs/{run_id}/events") as events:
        blocks = iter(events)
        while next(blocks).event != "tool.call.ready":
            pass
        assert second.post(f"/v1/runs/{run_id}/cancel", {}).json()["status"] == "cancelled"
        assert [block.event for block in blocks] == ["run.cancelled"]


def test_starts_at_both_servers_have_one_winner(two: tuple[Server, Server]) -> None:
    """S8."""
    session = two[0].session()
    body = {"agent": "script", "input": {"steps": [{"wait_ms": 60_000}]}}

    def start_at(n: int) -> httpx.Response:
        return two[n % 2].post(f"/v1/sessions/{session}/runs", body)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(start_at, range(8)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [202] + [409] * 7
    won = next(answer.json()["run_id"] for answer in answers if answer.status_code == 202)
    assert all(answer.json().get("run_id") == won for answer in answers)


def test_cancel_and_complete_race_to_one_end_across_servers(two: tuple[Server, Server]) -> None:
    """X3: whoever wins, both servers show the same end, once."""
    for delay in (0, 5, 10, 20):
        run_id = two[0].run({"wait_ms": delay})["run_id"]
        two[1].post(f"/v1/runs/{run_id}/cancel", {})
        logs = [server.frames(run_id) for server in two]
        assert logs[0] == logs[1]
        assert [block.event for block in logs[0] if block.event in TERMINAL] == [logs[0][-1].event]


def test_opposite_decisions_at_both_servers_have_one_winner(two: tuple[Server, Server]) -> None:
    """A4."""
    for _ in range(3):
        run_id = two[0].run({"approvals": [{"tool": "pay", "arguments": 1, "result": 1}]})["run_id"]
        with two[0].events(f"/v1/runs/{run_id}/events") as events:
            asked = next(block.json for block in events if block.event == "approval.requested")["approval_id"]

        def decide(n: int, run_id: str = run_id, asked: str = asked) -> int:
            decisions = [{"approval_id": asked, "outcome": ("approve", "deny")[n % 2]}]
            return two[n % 2].post(f"/v1/runs/{run_id}/decisions", {"decisions": decisions}).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(decide, range(2))) == [200, 409]
        decided = [block for block in two[1].frames(run_id) if block.event == "approval.decided"]
        assert len(decided) == 1


def test_a_key_at_both_servers_starts_once(two: tuple[Server, Server]) -> None:
    """I1 across processes."""

    def create_at(n: int) -> httpx.Response:
        return two[n % 2].post("/v1/sessions", {}, **{"Idempotency-Key": "once"})

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create_at, range(8)))
    assert {answer.status_code for answer in made} <= {200, 201}
    assert len({json.loads(answer.text)["session_id"] for answer in made}) == 1
