"""The Python of docs/client.md, run as it stands there against a real server."""

import asyncio
import re
from collections.abc import Iterator
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


def test_the_page_has_no_code_that_is_not_run() -> None:
    assert len(BLOCKS) == sum(block.count("\nasync def ") for block in BLOCKS)
