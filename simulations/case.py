"""A case: a tape with everything that is needed to run it again, as it is kept in a file."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from .report import Report, Setting
from .store.opening import kind_of
from .tape import FORMAT

NAME_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.-]+")
"""What never gets into a file's name."""


class UnreadableCase(Exception):
    """The file is no tape, or of another format."""


@dataclass(frozen=True, slots=True)
class Case:
    """Decisions, what they were run with, and what came of it."""

    decisions: Mapping[str, list[int]]
    setting: Setting
    seed: int = 0
    violation: str | None = None

    @classmethod
    def of(cls, report: Report, setting: Setting) -> Self:
        """What a report tells."""
        return cls(report.decisions, setting, report.seed or 0, report.violation.name if report.violation else None)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises OSError and UnreadableCase."""
        try:
            data: Any = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise UnreadableCase(f"{path} is no {FORMAT}.")
            decisions = {str(site): [_answer(value) for value in values] for site, values in data["decisions"].items()}
            setting = Setting(*(_name(data.get(name)) for name in ("planted", "agents", "store")))
            return cls(decisions, setting, int(data["seed"]), data.get("violation"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UnreadableCase(f"{path} holds no tape.") from error

    def write(self, path: Path) -> None:
        """Make the file, and its folder. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The file's content: that of `Tape.dump`, and the agents and the store if they were not the usual ones."""
        given = {"agents": self.setting.agents, "store": kind_of(self.setting.store)}
        head = {
            "format": FORMAT,
            "seed": self.seed,
            "planted": self.setting.planted,
            "violation": self.violation,
            **{name: value for name, value in given.items() if value is not None},
        }
        lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
        sites = [f"    {json.dumps(site)}: {json.dumps(values)}" for site, values in sorted(self.decisions.items())]
        decisions = "{\n" + ",\n".join(sites) + "\n  }" if sites else "{}"
        return "{\n" + ",\n".join([*lines, f'  "decisions": {decisions}']) + "\n}\n"

    @property
    def file_name(self) -> str:
        """What the file is called unless somebody says otherwise: the same case, the same name."""
        parts = (self.violation or "tape", self.setting.planted or "", str(self.seed))
        return NAME_UNSAFE.sub("-", "_".join(part for part in parts if part)) + ".json"


def _answer(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _name(value: object) -> str | None:
    if not isinstance(value, str | None):
        raise TypeError(value)
    return value


def replay_command(path: Path, setting: Setting) -> str:
    """The command that runs a saved case again: the file knows everything but where a PostgreSQL is."""
    return shlex.join(("reattach", "simulate", "replay", str(path), *setting.database))


def run_command(seed: int, setting: Setting) -> str:
    """The command that runs a seed again."""
    return shlex.join(("reattach", "simulate", "run", "--seed", str(seed), *setting.options))
