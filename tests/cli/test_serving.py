"""`serve` and `config`."""

from pathlib import Path

import pytest

from ..system.server import Server, free_port
from .command import CommandLine, script


def test_a_port_that_is_taken(reattach: CommandLine, server: Server, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'other.db'}"
    done = reattach("serve", "--port", str(server.port), "--database", database)
    assert (done.code, done.out) == (2, "")
    assert f"127.0.0.1:{server.port}" in done.err
    assert "--port" in done.err


def test_ctrl_c_ends_the_server(reattach: CommandLine, tmp_path: Path) -> None:
    serving = reattach.start("serve", "--port", str(free_port()), "--database", f"sqlite:///{tmp_path / 'other.db'}")
    assert serving.process.stdout is not None
    assert "listens on http://127.0.0.1:" in serving.process.stdout.readline()
    serving.interrupt()
    assert serving.end().code == 0


def test_without_a_worker_runs_wait(reattach: CommandLine, tmp_path: Path) -> None:
    port, database = str(free_port()), f"sqlite:///{tmp_path / 'other.db'}"
    url = ("--url", f"http://127.0.0.1:{port}")
    serving = reattach.start("serve", "--port", port, "--database", database, "--no-worker")
    assert serving.process.stdout is not None
    serving.process.stdout.readline()
    running = reattach.start("run", "script", "--input", script({"text": "never"}), *url)
    run_id = running.until("run_")[:30]
    assert reattach("cancel", run_id, *url).code == 0
    assert (running.end().code, serving.process.poll()) == (3, None)


def test_tokens(reattach: CommandLine, tmp_path: Path) -> None:
    port, database = str(free_port()), f"sqlite:///{tmp_path / 'other.db'}"
    url = ("--url", f"http://127.0.0.1:{port}")
    serving = reattach.start("serve", "--port", port, "--database", database, REATTACH_TOKENS="ann=secret-of-ann")
    assert serving.process.stdout is not None
    serving.process.stdout.readline()
    refused = reattach("run", "script", "--input", script({"text": "Hi"}), *url)
    assert refused.code == 4
    assert "Bearer" in refused.err
    done = reattach("run", "script", "--input", script({"text": "Hi"}), *url, REATTACH_TOKEN="secret-of-ann")
    assert (done.code, done.out) == (0, "Hi\n")


def test_config_shows_what_is_in_effect_without_secrets(reattach: CommandLine) -> None:
    environment = {
        "REATTACH_TOKENS": "ann=secret-of-ann",
        "REATTACH_DATABASE": "postgresql://ann:secret-of-ann@db:5432/runs",
        "REATTACH_LEASE_S": "7",
        "REATTACH_RENEW_S": "2",
    }
    done = reattach("config", "--port", "9000", **environment)
    assert done.code == 0
    assert "secret" not in done.out
    lines = [line.partition("#")[0].strip() for line in done.out.splitlines()]
    assert {"REATTACH_PORT=9000", "REATTACH_LEASE_S=7.0", "REATTACH_TOKENS=(hidden)"} <= set(lines)
    assert "REATTACH_DATABASE=postgresql://ann:(hidden)@db:5432/runs" in lines
    listed = reattach("config", "--json", **environment).json[0]
    assert (listed["lease_s"], listed["tokens"], listed["port"]) == (7.0, "(hidden)", 8000)


def test_config_without_tokens_says_so(reattach: CommandLine) -> None:
    assert reattach("config", "--json").json[0]["tokens"] == ""


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"REATTACH_LEASE_S": "1"}, ["REATTACH_LEASE_S=1", "REATTACH_RENEW_S=5", "REATTACH_RENEW_S=0.333333"]),
        ({"REATTACH_RENEW_S": "7.6"}, ["REATTACH_LEASE_S=15", "REATTACH_RENEW_S=7.6", "REATTACH_RENEW_S=5."]),
        ({"REATTACH_TOKEN_S": "ann=secret"}, ["REATTACH_TOKEN_S", "REATTACH_TOKENS"]),
        ({"REATTACH_tokens": "ann=secret"}, ["REATTACH_tokens", "REATTACH_TOKENS"]),
        ({"REATTACH_LEASE": "30"}, ["REATTACH_LEASE ", "REATTACH_LEASE_S"]),
        ({"REATTACH_SOMETHING_ELSE": "1"}, ["REATTACH_SOMETHING_ELSE", "reattach config"]),
    ],
)
def test_settings_that_cannot_work(
    reattach: CommandLine, server: Server, environment: dict[str, str], says: list[str]
) -> None:
    for command in (("config",), ("serve", "--port", str(server.port), "--database", "sqlite:///:memory:")):
        done = reattach(*command, **environment)
        assert (done.code, done.out) == (2, "")
        assert all(text in done.err for text in says)
        assert "secret" not in done.err


def test_what_is_no_setting_of_a_server_is_none_of_its_business(reattach: CommandLine) -> None:
    others = {"REATTACH_URL": "http://x", "REATTACH_TOKEN": "t", "REATTACH_TEST_X": "1", "REATTACH_LEASE": ""}
    assert reattach("config", **others, REATTACH_LEASE_S="10", REATTACH_RENEW_S="5").code == 0
