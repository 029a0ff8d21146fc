"""The base install does without the SDK: nothing imports it, and who asks for the tools is told what to install."""

import os
import subprocess
import sys
from pathlib import Path

from ..system.server import ROOT, Server

BLOCKED = "import sys; sys.modules['mcp'] = None; "


def python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REATTACH_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment | {"PYTHONPATH": str(ROOT / ".src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_module_of_the_base_install_imports_the_sdk() -> None:
    code = "import sys, reattach.adapters.composition, reattach.adapters.cli.commands; print('mcp' in sys.modules)"
    assert python(code).stdout == "False\n"


def test_without_the_sdk_the_command_says_what_to_install() -> None:
    done = python(BLOCKED + "from reattach.adapters.cli import main; sys.exit(main(['mcp']))")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'reattach[mcp]'" in done.stderr


def test_without_the_sdk_the_service_runs_and_has_no_such_route(tmp_path: Path) -> None:
    code = (
        BLOCKED
        + """
import asyncio, httpx
from reattach.adapters.client import InProcess
from reattach.adapters.composition import load_settings, running

async def main():
    async with running(load_settings(database=sys.argv[1])) as service:
        async with httpx.AsyncClient(transport=InProcess(service.app), base_url="http://here") as http:
            print((await http.post("/mcp", json={})).status_code, (await http.get("/healthz")).status_code)

asyncio.run(main())
"""
    )
    done = python(code, f"sqlite:///{tmp_path / 'reattach.db'}")
    assert done.stdout == "404 200\n", done.stderr


def test_a_setting_turns_it_off(server: Server) -> None:
    assert server.post("/mcp").status_code == 400  # no message of the protocol
    settings = python(
        "import os; os.environ['REATTACH_MCP'] = 'false'; from reattach.adapters.cli import main; main(['config'])"
    )
    assert "REATTACH_MCP=False" in settings.stdout
