"""What Session, Job and Run share: frozen state, frozen facts, and the split between deciding and evolving.

`allow` may refuse a fact; `evolve` never does, so history replays for ever when rules change.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict

from .transitions import check


class Fact(BaseModel):
    """A transition that happened. No id and no version: those belong to the record that carries it.

    `topic` is its stored name, stable for ever; `command` is the row of the machine's table it stands for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    topic: ClassVar[str]
    command: ClassVar[str]
    at: AwareDatetime


class Aggregate(BaseModel):
    """The state of one stream after `version`, the version of its last fact (0: nothing yet)."""

    model_config = ConfigDict(frozen=True)
    machine: ClassVar[str]
    version: int = 0

    @property
    @abstractmethod
    def state(self) -> str | None:
        """The machine's state, or None before the first fact."""

    @abstractmethod
    def target(self, fact: Any) -> str:
        """The state that `fact` leads to."""

    @abstractmethod
    def changes(self, fact: Any) -> dict[str, Any]:
        """The fields that `fact` sets. Total: it never refuses."""

    def allow(self, fact: Any) -> None:
        """Raise IllegalTransition unless the table allows `fact` now. Subclasses add what the table can't say."""
        check(self.machine, self.state, fact.command, self.target(fact))

    def evolve(self, fact: Any, version: int) -> Self:
        """The state after `fact`, recorded at `version`. Never refuses."""
        return self.model_copy(update={**self.changes(fact), "version": version})

    @classmethod
    def fold(cls, facts: Iterable[tuple[int, Fact]]) -> Self:
        """The state after these (version, fact) pairs, from nothing."""
        aggregate = cls()
        for version, fact in facts:
            aggregate = aggregate.evolve(fact, version)
        return aggregate
