"""The README keeps its word: its commands are run as they stand, against a server on another port."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..system.server import ROOT, TIMEOUT_S, Block, Server, free_port

README = (ROOT / "README.md").read_text(encoding="utf-8")
STREAM = (ROOT / "docs" / "stream.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "reattach.db", free_port()).start()
    yield running
    running.kill()


def shell(script: str, server: Server) -> str:
    """Run shell lines of the README; only the port and the place of the command differ."""
    script = script.replace("localhost:8000", f"localhost:{server.port}")
    script = script.replace(".venv/bin/reattach", f"{sys.executable} -m reattach")
    done = subprocess.run(
        ["bash", "-euc", script],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S * 3,
        check=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / ".src"), "REATTACH_URL": server.url},
    )
    return done.stdout


def test_the_tour_with_curl(server: Server) -> None:
    start, resume, decide = blocks(README, "sh")[1:4]
    begin = start.replace("curl -sN", "timeout 2 curl -sN").rstrip() + " || true\n"
    seen = shell(begin + "echo RUN $run\n", server)
    run = seen.rsplit("RUN ", 1)[1].strip()
    ids = re.findall(r"^id: (\S+)$", seen, re.MULTILINE)
    assert ids, "the tour shows no frames"
    approve, cancel = decide.strip().splitlines()
    server.kill()
    server.start()
    resumed = resume.replace("<the last id>", ids[-1]).replace("curl", "timeout 4 curl").rstrip() + " || true\n"
    rest = re.findall(r"^id: (\S+)$", shell(f"run={run}\n{resumed}", server), re.MULTILINE)
    assert not set(ids) & set(rest)
    whole = [str(block.id) for block in read_until_cancelled(server, run, cancel)]
    assert whole[: len(ids)] == ids
    assert whole[len(ids) : len(ids) + len(rest)] == rest
    assert approve == ".venv/bin/reattach approve $run"


def read_until_cancelled(server: Server, run: str, cancel: str) -> list[Block]:
    shell(f"run={run}\n{cancel}", server)
    return server.frames(run)


def test_the_agent_of_the_readme(tmp_path: Path) -> None:
    (source,) = blocks(README, "python")
    (tmp_path / "my_agents.py").write_text(source)
    database, port = tmp_path / "reattach.db", free_port()
    server = Server(database, port, arguments=("--agents", "my_agents:counter"), folder=tmp_path).start()
    try:
        answer = server.post(f"/v1/sessions/{server.session()}/runs", {"agent": "counter"})
        text = "".join(b.json["text"] for b in server.frames(answer.json()["run_id"]) if b.event == "text.delta")
        assert text == "0 1 2 3 4 5 6 7 8 9 "
    finally:
        server.kill()


def test_every_command_is_where_the_reader_has_it() -> None:
    commands = re.findall(r"^(\S*reattach) \w+", "".join(blocks(README, "sh")), re.MULTILINE)
    assert len(commands) > 3
    assert set(commands) == {".venv/bin/reattach"}


def test_the_pages_it_points_to_exist() -> None:
    for page in (README, STREAM):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page):
            assert (ROOT / target).exists() or (ROOT / "docs" / target).exists(), target


def test_the_example_of_the_stream_page_is_what_is_sent(server: Server) -> None:
    run_id = server.run({"text": "Hello", "chunk": 5})["run_id"]
    sent = next(block for block in server.frames(run_id) if block.event == "text.delta")
    example = blocks(STREAM, "")[0]
    shape = re.sub(r"run_\w{26}", "RUN", example).replace("RUN.1.1.7", "ID").replace('"seq":7', '"seq":N')
    data = re.sub(r'"seq":\d+', '"seq":N', sent.data)
    assert shape.strip() == f"event: text.delta\nid: ID\ndata: {data}"
