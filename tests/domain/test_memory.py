"""The chain of memories: every way to tamper with it is found, at the first entry that is not as it was accepted."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import assume, given
from hypothesis import strategies as st

from reattach.domain.identifiers import SessionId, identifier
from reattach.domain.memory import Memory, chain_hash, first_break

from .log import SESSION, START
from .strategies import JSON

OTHER = SessionId(identifier("ses", UUID(int=9)))
CONTENTS = st.lists(JSON, min_size=2, max_size=6)
FIELDS = ("content", "by", "epoch", "at", "hash", "sequence")


def chain(contents: list[Any], session_id: SessionId = SESSION) -> list[Memory]:
    entries: list[Memory] = []
    for number, content in enumerate(contents, 1):
        at = START + timedelta(seconds=number)
        entry = Memory(sequence=number, content=content, by="ada", epoch=number // 2, at=at, hash="")
        previous = entries[-1].hash if entries else None
        whole = entry.model_copy(update={"hash": chain_hash(previous, session_id, entry)})
        entries.append(Memory.model_validate_json(whole.model_dump_json()))  # as it comes back from the store
    return entries


@given(CONTENTS)
def test_a_whole_chain_holds_from_any_entry_on(contents: list[Any]) -> None:
    entries = chain(contents)
    assert first_break(SESSION, entries) is None
    for cut in range(1, len(entries)):
        assert first_break(SESSION, entries[cut:], entries[cut - 1]) is None


@given(CONTENTS, st.data())
def test_an_altered_entry_is_named(contents: list[Any], data: st.DataObject) -> None:
    entries = chain(contents)
    place = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(st.sampled_from(FIELDS))
    was = getattr(entries[place], name)
    changed = {
        "content": data.draw(JSON),
        "by": data.draw(st.none() | st.just("eve")),
        "epoch": was if name != "epoch" else was + 1,
        "at": was if name != "at" else was + timedelta(microseconds=1),
        "hash": "0" * 64,
        "sequence": was if name != "sequence" else was + 1,
    }[name]
    assume(repr(changed) != repr(was))  # 1 and 1.0 are equal, and not the same entry
    entries[place] = entries[place].model_copy(update={name: changed})
    assert first_break(SESSION, entries) == place + 1


@given(CONTENTS, st.data())
def test_a_missing_or_moved_entry_is_named(contents: list[Any], data: st.DataObject) -> None:
    entries = chain(contents)
    place = data.draw(st.integers(0, len(entries) - 2))
    assert first_break(SESSION, entries[:place] + entries[place + 1 :]) == place + 1
    swapped = [*entries[:place], entries[place + 1], entries[place], *entries[place + 2 :]]
    assert first_break(SESSION, swapped) == place + 1
    assert first_break(SESSION, [*entries[: place + 1], *entries[place:]]) == place + 2


@given(CONTENTS, st.data())
def test_a_fork_is_named_where_it_joins(contents: list[Any], data: st.DataObject) -> None:
    """Another history with an end that is whole in itself, put on the beginning of this one."""
    entries = chain(contents)
    fork = chain([{"forked": content} for content in contents])
    place = data.draw(st.integers(1, len(entries) - 1))
    assert first_break(SESSION, entries[:place] + fork[place:]) == place + 1


def test_a_chain_is_of_one_session() -> None:
    assert first_break(SESSION, chain([1, 2], OTHER)) == 1
