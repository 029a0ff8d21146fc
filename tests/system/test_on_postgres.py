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
from .server import Block, Server
from .test_approvals import test_waiting_survives_every_process
from .test_crashes import (
    test_a_killed_server_loses_nothing_and_the_agent_goes_on_from_its_checkpoint,
    test_a_paused_worker_writes_nothing_after_a_take_over,
    test_a_run_that_kills_its_workers_ends_as_worker_lost,
    test_no_reader_holds_a_frame_the_log_does_not_have,
)
from .test_sessions import test_two_clients_fight_for_one_session
from .test_two_servers import (
    pool,
    test_a_cancel_and_a_completion_at_two_servers_have_one_winner,
    test_a_cancel_at_another_server_reaches_an_agent_that_is_silent,
    test_a_cursor_is_good_on_the_other_server,
    test_a_stale_epoch_is_refused_by_every_route_of_either_server,
    test_an_output_that_is_sent_to_both_is_in_the_log_once,
    test_opposite_decisions_at_two_servers_have_one_winner,
    test_readers_behind_a_plain_proxy_go_on_at_the_other_server,
    test_two_starts_at_once_at_two_servers_have_one_winner,
)

__all__ = [
    "pool",
    "test_a_cancel_and_a_completion_at_two_servers_have_one_winner",
    "test_a_cancel_at_another_server_reaches_an_agent_that_is_silent",
    "test_a_cursor_is_good_on_the_other_server",
    "test_a_killed_server_loses_nothing_and_the_agent_goes_on_from_its_checkpoint",
    "test_a_paused_worker_writes_nothing_after_a_take_over",
    "test_a_run_that_kills_its_workers_ends_as_worker_lost",
    "test_a_stale_epoch_is_refused_by_every_route_of_either_server",
    "test_an_output_that_is_sent_to_both_is_in_the_log_once",
    "test_no_reader_holds_a_frame_the_log_does_not_have",
    "test_opposite_decisions_at_two_servers_have_one_winner",
    "test_readers_behind_a_plain_proxy_go_on_at_the_other_server",
    "test_two_clients_fight_for_one_session",
    "test_two_starts_at_once_at_two_servers_have_one_winner",
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
    """Two servers on one database. Nobody works there."""
    first: Server = start("--no-worker")
    return first, start("--no-worker", database=first.database)


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


def test_a_key_at_both_servers_starts_once(two: tuple[Server, Server]) -> None:
    """I1 across processes."""

    def create_at(n: int) -> httpx.Response:
        return two[n % 2].post("/v1/sessions", {}, **{"Idempotency-Key": "once"})

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create_at, range(8)))
    assert {answer.status_code for answer in made} <= {200, 201}
    assert len({json.loads(answer.text)["session_id"] for answer in made}) == 1
