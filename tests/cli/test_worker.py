"""`worker`: processes that only run agents, beside servers that only serve."""

import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from ..system.server import FAST, Block, Server, database_url, free_port
from .command import CommandLine, Done, Running

Work = Callable[..., Running]


@pytest.fixture(scope="module")
def only_serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("shared") / "shared.db", free_port(), arguments=("--no-worker",)).start()
    yield server
    server.kill()


@pytest.fixture
def work(reattach: CommandLine, only_serving: Server) -> Work:
    """Start a worker on the server's database."""

    def start(*arguments: str, **environment: str) -> Running:
        database = database_url(only_serving.database)
        settings = FAST | environment
        worker = reattach.start("worker", "--database", database, *arguments, stdout=subprocess.PIPE, **settings)
        worker.until_answer("\n")  # it has said that it works
        return worker

    return start


def stopped(worker: Running) -> Done:
    worker.process.send_signal(signal.SIGTERM)
    return worker.end()


def said_by(blocks: list[Block]) -> str:
    return "".join(block.json["text"] for block in blocks if block.event == "text.delta")


def test_it_runs_what_servers_accept(only_serving: Server, work: Work) -> None:
    first = only_serving.run({"text": "before there was anybody"})["run_id"]
    worker = work(REATTACH_HOST="0.0.0.0", REATTACH_WORKER="false")  # a server's business, not its own
    assert said_by(only_serving.frames(first)) == "before there was anybody"
    second = only_serving.run({"text": "and after"})["run_id"]
    assert said_by(only_serving.frames(second)) == "and after"
    done = stopped(worker)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("Reattach works as ")
    assert "at most 256 runs at once" in lines[0]
    assert lines[-1] == "drained: 2 runs taken in all, 0 handed back"


def test_it_needs_no_server(only_serving: Server, work: Work) -> None:
    """A9: whoever asked may be gone; what was asked for is done all the same."""
    run_id = only_serving.run({"text": "alone"}, {"wait_ms": 200}, {"text": " at work"})["run_id"]
    only_serving.kill()
    worker = work()
    only_serving.start()
    assert said_by(only_serving.frames(run_id)) == "alone at work"
    assert stopped(worker).code == 0


def test_what_ends_within_the_grace_is_finished(only_serving: Server, work: Work) -> None:
    worker = work(REATTACH_DRAIN_GRACE_S="20")
    run_id = only_serving.run({"text": "x"}, {"wait_ms": 400}, {"text": "y"})["run_id"]
    wait_for(only_serving, run_id, "text.delta")
    done = stopped(worker)
    assert (done.code, done.out.splitlines()[-1]) == (0, "drained: 1 run taken in all, 0 handed back")
    assert only_serving.frames(run_id)[-1].event == "run.completed"


def test_what_does_not_is_handed_back_at_once(only_serving: Server, work: Work) -> None:
    """S6: nobody waits for a lease to end, and the next worker begins at the last checkpoint."""
    worker = work(REATTACH_LEASE_S="600", REATTACH_RENEW_S="200")
    steps = [{"text": "kept"}, {"tool": {"name": "slow", "delay_ms": 1500, "result": "done"}}, {"text": "!"}]
    run_id = only_serving.run(*steps)["run_id"]
    wait_for(only_serving, run_id, "tool.call.ready")
    done = stopped(worker)
    assert (done.code, done.out.splitlines()[-1]) == (0, "drained: 1 run taken in all, 1 handed back")
    other = work(REATTACH_LEASE_S="600", REATTACH_RENEW_S="200")
    blocks = only_serving.frames(run_id)
    assert [b.event for b in blocks if b.event in ("run.claimed", "run.released", "run.completed")] == [
        "run.claimed",
        "run.released",
        "run.claimed",
        "run.completed",
    ]
    assert said_by(blocks) == "kept!"
    assert stopped(other).code == 0


def test_one_at_a_time(only_serving: Server, work: Work) -> None:
    worker = work("--concurrency", "1")
    runs = [only_serving.run({"text": "x"}, {"wait_ms": 100}, {"text": "y"})["run_id"] for _ in range(3)]
    spans = [
        [b.json["at"] for b in only_serving.frames(run) if b.event in ("run.claimed", "run.completed")] for run in runs
    ]
    (_, first), (second, second_end), (third, _) = sorted(spans)
    assert first <= second
    assert second_end <= third
    assert stopped(worker).code == 0


def test_a_killed_worker_is_taken_over_by_another(only_serving: Server, work: Work) -> None:
    """S4, S11: by the log, with the next epoch, from the last checkpoint."""
    dying = work()
    run_id = only_serving.run({"text": "kept"}, {"text": "0123456789" * 20, "chunk": 1, "delay_ms": 10})["run_id"]
    wait_for(only_serving, run_id, "step.end")
    dying.process.kill()
    dying.end()
    other = work()
    blocks = only_serving.frames(run_id)
    claims = [block.json for block in blocks if block.event == "run.claimed"]
    assert [claim["epoch"] for claim in claims] == [1, 2]
    assert claims[0]["worker"] != claims[1]["worker"]
    assert blocks[-1].event == "run.completed"
    reset = next(block.json for block in blocks if block.event == "step.reset")
    kept = [b for b in blocks if not reset["to_seq"] < b.json["seq"] < reset["seq"]]
    assert said_by(kept) == "kept" + "0123456789" * 20
    assert stopped(other).code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--concurrency", "0"), "REATTACH_CONCURRENCY"),
        (("--agents", "no.such:thing"), "no.such"),
        (("--database", "mysql://x/y"), "mysql"),
    ],
)
def test_what_cannot_work_is_said(reattach: CommandLine, arguments: tuple[str, ...], says: str) -> None:
    done = reattach("worker", *arguments)
    assert (done.code, done.out) == (2, "")
    assert says in done.err


def wait_for(server: Server, run_id: str, event: str) -> None:
    with server.events(f"/v1/runs/{run_id}/events") as events:
        next(block for block in events if block.event == event)
