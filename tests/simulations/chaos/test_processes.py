"""What a process logs is read at the end: a traceback is a finding, unless it is a drain that would not wait."""

from pathlib import Path

import pytest

from reattach.simulations.chaos.film import Film
from reattach.simulations.chaos.processes import Command, Process
from reattach.simulations.violation import Violation

DRAINED = """ERROR:    Exception in ASGI application
Traceback (most recent call last):
  File "x.py", line 1, in <module>
    await it
          ^^
asyncio.exceptions.CancelledError: Task cancelled, timeout graceful shutdown exceeded
"""
RAISED = """a bug in Reattach; please report it
Traceback (most recent call last):
  File "x.py", line 1, in <module>
    raise it
KeyError: 'x'
"""


def process(folder: Path, log: str) -> Process:
    (folder / "n0.log").write_text(log)
    return Process("n0", Command((), {}), folder, Film(lambda: 0.0), lambda _: None)


def test_a_drain_that_does_not_wait_is_none(tmp_path: Path) -> None:
    process(tmp_path, "--- n0.1\n" + DRAINED * 2).check_log()


@pytest.mark.parametrize("log", [RAISED, DRAINED + RAISED, RAISED + DRAINED])
def test_any_other_traceback_is_a_finding(tmp_path: Path, log: str) -> None:
    with pytest.raises(Violation, match="KeyError") as found:
        process(tmp_path, log).check_log()
    assert found.value.name == "process-raised"
