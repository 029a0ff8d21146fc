"""The Python of docs/client.md, run as it stands there against a real server."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..system.server import ROOT, Server, free_port

PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("docs") / "reattach.db", free_port()).start()
    yield running
    running.kill()


def functions() -> dict[str, Any]:
    """What the page defines."""
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)  # noqa: S102  - the page's own code is the subject
    return names


def test_every_function_of_the_page_does_what_it_says(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    page = functions()
    assert asyncio.run(page["main"](server.url)) == "Hello"
    session = server.session()
    run = server.run({"text": "Bye"}, session=session)
    frames = server.frames(run["run_id"])
    assert asyncio.run(page["messages"](server.url, run["run_id"])) == ["go", "Bye"]
    asyncio.run(page["follow_for_ever"](server.url, run["run_id"]))
    assert capsys.readouterr().out.splitlines()[-1] == f"{len(frames)} run.completed"
    waiting = server.run({"wait_ms": 600_000}, session=session)
    assert asyncio.run(page["take_turn"](server.url, session)) == waiting["run_id"]


def test_what_the_page_says_of_sessions(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = functions()
    session = server.session()
    server.frames(server.run({"text": "one"}, session=session)["run_id"])
    server.run({"text": "two"}, {"wait_ms": 600_000}, session=session)
    assert asyncio.run(page["come_back"](server.url, session, 4)) == ["go", "one", "go", "two"]
    assert asyncio.run(page["remember"](server.url, session, "laptop", "a")) == (session, 1)
    assert asyncio.run(page["remember"](server.url, session, "phone", "b")) == (session, 2)
    assert capsys.readouterr().out.startswith("laptop has it until 20")
    other, sequence = asyncio.run(page["remember"](server.url, None, "laptop", "c"))
    assert (other != session, sequence) == (True, 1)
    assert "new, empty session" in capsys.readouterr().out
    assert asyncio.run(page["one_process"](f"sqlite:///{tmp_path / 'here.db'}")) == "run.completed"


def test_the_page_has_no_code_that_is_not_run() -> None:
    assert len(BLOCKS) == sum(block.count("\nasync def ") for block in BLOCKS)
