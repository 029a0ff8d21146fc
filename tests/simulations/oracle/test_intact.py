"""Real histories break no promise, reach every mark, and stand in the oracle's own log as they were written."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from reattach.domain.identifiers import RunId
from reattach.domain.ports import Append, Record
from reattach.domain.wire import decode_fields
from reattach.simulations.oracle import MARKS
from reattach.simulations.oracle.asked import circumstances

from .scenes import CORES, recorded


@pytest.mark.parametrize("core", CORES)
def test_intact_histories_break_no_promise(core: str) -> None:
    recorded(core).copy().play()


def test_intact_histories_reach_every_mark() -> None:
    recording = recorded().copy()
    recording.play()
    assert set(recording.marks) == set(MARKS)


def test_the_log_answers_for_every_frame() -> None:
    recording = recorded().copy()
    log = recording.play().log
    rows = recording.steps[-1].rows
    assert set(log.all()) == set(rows.views)
    for run_id, records in rows.records.items():
        for record in records:
            assert isinstance(record, Record)
            for seq, line in enumerate(record.data, record.first_seq):
                assert log.frame(run_id, seq) == (record.epoch, line)
        head = rows.views[run_id].head_seq
        assert log.head(run_id) == head
        assert log.frame(run_id, head + 1) is None
        assert log.frame(run_id, 0) is None
        assert log.terminal(run_id) == (head if rows.views[run_id].run.final else None)
        assert log.committed_at(run_id, 1) == rows.views[run_id].run.created_at
    assert log.head(RunId("run_other")) == 0


def test_the_log_knows_sessions_by_their_turns() -> None:
    recording = recorded().copy()
    log = recording.play().log
    for session_id, session in recording.steps[-1].rows.sessions.items():
        runs = log.runs(session_id)
        assert len(runs) == session.turns
        turns = [decode_fields([line])[0]["turn"] for _, line in filter(None, (log.frame(run, 1) for run in runs))]
        assert all(later == earlier + 1 for earlier, later in pairwise(turns))


@pytest.mark.parametrize(
    "names",
    [
        {"tenant", "idempotency"},
        {"run_id", "epoch"},
        {"worker", "held"},
        {"run_id", "decisions"},
        {"run_id", "reason"},
    ],
    ids=sorted,
)
def test_a_work_says_what_it_was_asked(names: set[str]) -> None:
    """The oracle reads these names from the use cases' closures: who renames one has to tell it."""
    works: list[Callable[..., object]] = [
        work for step in recorded().steps for work in step.group if not isinstance(work, Append)
    ]
    assert any(names <= set(circumstances(work)) for work in works)
