"""docs/mcp.md keeps its word: its Python runs as it stands, its table names every tool and argument."""

import asyncio
import json
import re
from typing import Any

import pytest

from reattach.adapters.mcp.tools import WAIT_S, WAIT_S_MAX

from ..system.server import ROOT, Server
from .talking import Tools, Way

PAGE = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")


def test_the_python_of_the_page(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    [block] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102  - the page's own code is the subject
    session_id, text = asyncio.run(names["come_back"](server.url, "agent", None))
    assert text == "Hello"
    assert "new, empty session" in capsys.readouterr().out
    assert asyncio.run(names["come_back"](server.url, "agent", session_id)) == (session_id, "Hello")
    assert capsys.readouterr().out == ""
    assert server.get(f"/v1/sessions/{session_id}").json()["continuity"]["count"] == 2


def test_the_table_is_complete(server: Server) -> None:
    async def scenario(tools: Tools) -> dict[str, list[str]]:
        listed = (await tools.client.list_tools()).tools
        return {tool.name: list(tool.input_schema["properties"]) for tool in listed}

    said = {name: given.split(", ") for name, given in re.findall(r"^\| `(\w+)\(([^)]*)\)`", PAGE, re.MULTILINE)}
    actual = Way(server.url).talk(scenario)
    assert {name: sorted(given) for name, given in said.items()} == {n: sorted(given) for n, given in actual.items()}
    assert f"`wait_s` ({WAIT_S:.0f}, at most {WAIT_S_MAX:.0f})" in PAGE


def test_the_configuration_is_json_and_names_the_command() -> None:
    [block] = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    [entry] = json.loads(block)["mcpServers"].values()
    assert (entry["command"], entry["args"]) == ("reattach", ["mcp"])
