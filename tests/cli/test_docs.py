"""docs/cli.md keeps its word: its exit codes and its commands are those of the code."""

import re

import pytest

from reattach.adapters.cli.exits import Exit

from ..system.server import ROOT
from .command import CommandLine

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_the_table_of_exit_codes_is_complete() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)] == sorted(Exit)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^\| `reattach (\w+)", PAGE, re.MULTILINE))))
def test_every_command_and_option_exists(reattach: CommandLine, command: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `reattach {command}"))
    shown = reattach(command, "--help")
    assert shown.code == 0
    for option in re.findall(r"--[a-z-]+", row):
        assert option in shown.out
