"""What running one world tells: the one result that everything else in this package works with."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import make_url

from ..infrastructure.eventstore import is_postgres
from .store.opening import kind_of
from .tape import Tape
from .trace import Trace
from .violation import Violation


@dataclass(frozen=True, slots=True)
class Report:
    """One world, from its start to its end or to the first broken promise."""

    seed: int | None
    planted: str | None
    violation: Violation | None
    trouble: str | None
    """A bug of the harness itself, with its traceback: says nothing about the code under test."""
    decisions: dict[str, list[int]]
    """What the tape answered; sites with nothing but zeros are left out."""
    trace: Trace
    marks: dict[str, int]
    steps: int
    simulated_s: float
    exchanges: int
    commits: int


class RunWorld(Protocol):
    """`world.run_world`. `store` is as in `Setting`; without one, the tape draws it."""

    def __call__(
        self, tape: Tape, *, planted: str | None, agents: str | None, store: str | None, tracing: bool
    ) -> Report: ...


@dataclass(frozen=True, slots=True)
class Setting:
    """What a world is run with besides its tape."""

    planted: str | None = None
    agents: str | None = None
    """`module:name` of the user's own agents."""
    store: str | None = None
    """"model", "sqlite", "dual", or the URL of a PostgreSQL."""

    @property
    def options(self) -> list[str]:
        """How it is given on a command line. A password is not shown."""
        given = (("--planted", self.planted), ("--agents", self.agents), ("--store", kind_of(self.store)))
        return [word for option, value in given if value is not None for word in (option, value)] + self.database

    @property
    def database(self) -> list[str]:
        """The part of `options` that says where the PostgreSQL is, if it is one."""
        if self.store is None or not is_postgres(self.store):
            return []
        return ["--database", make_url(self.store).render_as_string()]


def attempt(run_world: RunWorld, tape: Tape, setting: Setting, *, tracing: bool) -> Report:
    """Run a world. What it raises is trouble of the harness, whatever it is."""
    try:
        return run_world(tape, planted=setting.planted, agents=setting.agents, store=setting.store, tracing=tracing)
    except Exception:  # noqa: BLE001  - reported as what it is, and a campaign goes on
        return Report(
            seed=tape.seed,
            planted=setting.planted,
            violation=None,
            trouble=traceback.format_exc(),
            decisions=tape.decisions,
            trace=Trace(lambda: 0.0, on=tracing, seed=tape.seed, planted=setting.planted),
            marks={},
            steps=0,
            simulated_s=0.0,
            exchanges=0,
            commits=0,
        )


def replayer(
    run_world: RunWorld, setting: Setting, *, seed: int = 0, tracing: bool
) -> Callable[[Mapping[str, list[int]]], Report]:
    """A function from decisions to what they lead to. The seed is only noted in the reports."""
    return lambda decisions: attempt(run_world, Tape.replay(decisions, seed), setting, tracing=tracing)
