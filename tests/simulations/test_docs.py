"""The page about the simulator keeps its word: the bug of its sample agent is found, shrunk, drawn and replayed."""

import re
import subprocess
import sys
from pathlib import Path

from tests.system.server import ROOT

PAGE = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")


def simulate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as the page gives it, in a folder that has the sample agent."""
    command = [sys.executable, "-m", "reattach", "simulate", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT / '.src'}:{folder}"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=folder, env=environment, check=False
    )


def printed(what: str) -> str:
    """What the page says a command prints, as a pattern: its dots stand for what differs."""
    (block,) = (text for text in re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if what in text)
    return r"[^\n]*".join(re.escape(piece) for piece in block.split("..."))


def test_an_agent_that_no_world_can_hold_is_told_as_on_the_page(tmp_path: Path) -> None:
    lines = ("import time", "import reattach", "", "@reattach.agent()", "async def sleepy(context):")
    body = ("    yield reattach.Text('I am tired.')", "    time.sleep(1)", "")
    (tmp_path / "my_sleepy.py").write_text("\n".join((*lines, *body)))
    told = simulate(tmp_path, "hunt", "--agents", "my_sleepy:sleepy", "--seeds", "0", "--jobs", "1")
    assert told.returncode == 6, told.stdout + told.stderr
    assert re.search(printed("agent-escapes"), told.stdout), told.stdout


def test_the_bug_of_the_sample_agent_is_found_and_drawn(tmp_path: Path) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "my_counter.py").write_text(source)
    (command,) = re.findall(r"^\.venv/bin/reattach simulate (hunt --agents .*)$", PAGE, re.MULTILINE)
    found = simulate(tmp_path, *command.split(), "--jobs", "1")
    assert found.returncode == 1, found.stdout + found.stderr
    assert re.search(printed("agent-check"), found.stdout), found.stdout
    replay = found.stdout.rstrip().splitlines()[-1]
    assert replay.startswith("reattach simulate replay ")
    again = simulate(tmp_path, *replay.split()[2:])
    assert again.returncode == 1
    assert "agent-check" in again.stdout
    (page,) = (tmp_path / "simulations-found").glob("*.html")
    assert "agent-check" in page.read_text(encoding="utf-8")

    mended = source.replace("reattach.Checkpoint(number)", "reattach.Checkpoint(number + 1)")
    (tmp_path / "my_counter.py").write_text(mended)
    quiet = simulate(tmp_path, "hunt", "--agents", "my_counter:counter", "--seeds", "0:20", "--jobs", "1")
    assert quiet.returncode == 0, quiet.stdout + quiet.stderr
