"""What can't be done: a message that says what to do, the right exit code, and never a traceback."""

import asyncio

import pytest

from ..client.logs import RUN, SESSION
from ..client.wire import Reply, Wire
from ..system.server import Server, free_port
from .command import CommandLine, Done, script

UNKNOWN = RUN


def test_no_server(reattach: CommandLine) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for command in (["run", "script"], ["follow", SESSION]):
        done = reattach(*command, "--url", url)
        assert (done.code, done.out) == (4, "")
        assert url in done.err
        assert "reattach serve" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "nobody"], "no agent 'nobody'"),
        (["run", "script", "--input", script({"nonsense": 1})], "steps[0]"),
        (["run", "script", "--session", SESSION, "--input", script()], SESSION),
        (["follow", UNKNOWN], UNKNOWN),
        (["follow", SESSION], SESSION),
        (["cancel", UNKNOWN], UNKNOWN),
        (["approve", UNKNOWN], UNKNOWN),
        (["deny", UNKNOWN, "1.1.a1"], UNKNOWN),
    ],
)
def test_what_the_server_refuses(reattach: CommandLine, arguments: list[str], says: str) -> None:
    done = reattach(*arguments)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("error: ")
    assert says in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["walk"], "walk"),
        (["run"], "AGENT"),
        (["follow", "somebody"], "run_"),
        (["run", "script", "--url", "localhost:8000"], "http://"),
        (["serve", "--port", "http"], "--port"),
        (["serve", "--port", "70000"], "PORT"),
        (["serve", "--host", "0.0.0.0"], "REATTACH_TOKENS"),
        (["serve", "--agents", "nowhere:agents"], "nowhere"),
        (["config", "--port", "-1"], "PORT"),
        (["run", "script", "--input", "\udcff\udcfe"], "these words are no UTF-8"),
        (["run", "\udcff"], "UTF-8"),
        (["approve", RUN, "--reason", "\udcff"], "reason is no UTF-8"),
    ],
)
def test_a_command_line_that_is_wrong(reattach: CommandLine, arguments: list[str], says: str) -> None:
    done = reattach(*arguments)
    assert (done.code, done.out) == (2, "")
    assert says in done.err


def test_a_cursor_that_is_none(reattach: CommandLine, server: Server) -> None:
    run = server.run({"text": "Hello"})
    done = reattach("follow", run["run_id"], "--after", "yesterday")
    assert (done.code, done.out) == (4, "")
    assert "run_id.generation.epoch.seq" in done.err


def test_a_busy_session_names_the_run_that_blocks(reattach: CommandLine, server: Server) -> None:
    session = server.session()
    run = server.run({"wait_ms": 600_000}, session=session)
    done = reattach("run", "script", "--session", session, "--input", script())
    assert done.code == 4
    assert run["run_id"] in done.err
    assert server.post(f"/v1/runs/{run['run_id']}/cancel").status_code == 200


def test_something_else_that_answers(reattach: CommandLine) -> None:
    async def scenario() -> Done:
        server = Wire([Reply(b"<html>", content_type="text/html")])
        await server.open()
        try:
            return await asyncio.to_thread(reattach, "follow", RUN, "--url", server.url)
        finally:
            await server.close()

    done = asyncio.run(scenario())
    assert (done.code, done.out) == (4, "")
    assert "proxy" in done.err
