"""The event-sourcing library around our facts: one Application that records and replays them.

Nothing outside this file and `recorder.py` knows the library, so that its next version is a change in two places.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import EventStore, IntegrityError, JSONTranscoder, Mapper, StoredEvent
from eventsourcing.utils import Environment, EnvType
from pydantic_core import from_json

from ...domain.aggregate import Aggregate, Fact
from ...domain.errors import AppendConflict
from ...domain.job import JOB_FACTS
from ...domain.run_facts import RUN_FACTS
from ...domain.session_facts import SESSION_FACTS
from ..codec import Codec
from ..driver import Connection
from .recorder import Recorder

A = TypeVar("A", bound=Aggregate)
Upcast = Callable[[dict[str, Any]], dict[str, Any]]
"""Brings the fields of a fact, as an older version stored them, into today's form."""

FACTS: Final[Mapping[str, type[Fact]]] = {fact.topic: fact for fact in (*RUN_FACTS, *JOB_FACTS, *SESSION_FACTS)}
UPCASTS: Final[Mapping[str, Upcast]] = {}
"""By topic. Empty as long as every stored form is today's."""


@dataclass(frozen=True)
class Recorded:
    """A fact in its envelope: where it stands, and the frames its readers see."""

    originator_id: UUID
    originator_version: int
    fact: Fact
    lines: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Replayed(Generic[A]):
    """An aggregate as the library's repository wants to see it."""

    id: UUID
    version: int
    aggregate: A


class FactMapper(Mapper[UUID]):
    """Facts to stored events and back, by their declared topics."""

    def __init__(self, codec: Codec, upcasts: Mapping[str, Upcast]) -> None:
        super().__init__(JSONTranscoder(), compressor=codec.compressor, cipher=codec.cipher)  # type: ignore[arg-type]  # our protocols ask less than the library's base classes
        self._codec = codec
        self._upcasts = upcasts

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """The fact's JSON and its frames, sealed."""
        fact: Fact = domain_event.fact
        state = self._codec.seal((fact.model_dump_json().encode(), *domain_event.lines))
        return StoredEvent(domain_event.originator_id, domain_event.originator_version, fact.topic, state)

    def to_domain_event(self, stored_event: StoredEvent) -> Recorded:
        """Open, upcast, validate."""
        payload, *lines = self._codec.open(stored_event.state)
        topic = stored_event.topic
        if topic in self._upcasts:
            fact = FACTS[topic].model_validate(self._upcasts[topic](from_json(payload)))
        else:
            fact = FACTS[topic].model_validate_json(payload)
        stream = stored_event.originator_id
        stream = stream if isinstance(stream, UUID) else UUID(stream)
        return Recorded(stream, stored_event.originator_version, fact, tuple(lines))


class FactStore(EventStore[UUID]):
    """Loads facts only: replaying a run costs the same whatever its output."""

    def get(
        self,
        originator_id: UUID,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Iterator[Any]:
        """The stream's facts in their envelopes."""
        recorder: Any = self.recorder
        stored = recorder.select_events(originator_id, gt=gt, lte=lte, desc=desc, limit=limit, facts=True)
        return map(self.mapper.to_domain_event, stored)


class Library(Application[UUID]):
    """Where facts are recorded, and can be replayed from."""

    def __init__(self, recorder: Recorder, codec: Codec, upcasts: Mapping[str, Upcast] = UPCASTS) -> None:
        self._recorder = recorder
        self._codec = codec
        self._upcasts = upcasts
        super().__init__()

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        """Nothing from the process's environment: settings arrive as arguments."""
        return Environment(name, env)

    def construct_mapper(self) -> Mapper[UUID]:
        """Ours."""
        return FactMapper(self._codec, self._upcasts)

    def construct_recorder(self) -> Recorder:
        """Ours."""
        return self._recorder

    def construct_event_store(self) -> EventStore[UUID]:
        """Ours."""
        return FactStore(self.mapper, self.recorder)

    def close(self) -> None:
        """Close what it opened."""
        self._recorder.close()
        super().close()

    def record(
        self, connection: Connection, recorded: Recorded, *, epoch: int = 0, outline: bytes | None = None
    ) -> None:
        """Save the fact inside the transaction of this connection. Raises AppendConflict if its place is taken."""
        frames = len(recorded.lines) or 1
        try:
            self.save(recorded, within=connection, frames=frames, epoch=epoch, outline=outline)
        except IntegrityError as error:
            raise AppendConflict(f"Version {recorded.originator_version} is taken: {error}.") from error

    def replay(self, kind: type[A], originator_id: UUID) -> A | None:
        """The aggregate, folded from its facts; None if there are none."""

        def project(_: Replayed[A] | None, events: Iterable[Any]) -> Replayed[A] | None:
            aggregate = kind.fold((event.originator_version, event.fact) for event in events)
            return Replayed(originator_id, aggregate.version, aggregate) if aggregate.version else None

        try:
            return self.repository.get(originator_id, projector_func=project).aggregate
        except AggregateNotFoundError:
            return None
