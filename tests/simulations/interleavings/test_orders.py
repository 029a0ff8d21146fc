"""However the statements of a few transactions meet on a real PostgreSQL: it comes to what some serial order does."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from reattach.simulations.interleavings.choices import Choices, every
from reattach.simulations.interleavings.exploring import Budget, explore
from reattach.simulations.interleavings.races import RACES
from reattach.simulations.planted import Edit
from reattach.simulations.planted.edit import edited
from reattach.simulations.verdicts import Verdict

from ...postgres import new_database
from ..simulating import Simulate, little, simulate

__all__ = ["little", "simulate"]  # fixtures

SMALL = ("append, the same append", "create, create with the same key")
"""Races all of whose orders are played."""

BUDGET = Budget(switches=1, orders=40, sample=4)
"""Of the others. `reattach simulate interleavings` plays more."""

TRANSACTION = "infrastructure.eventstore.transaction:StoreTransaction"
WRITING = "infrastructure.eventstore.postgres_writer"
SESSION_UNLOCKED = Edit(f"{TRANSACTION}.session", "sql.LOCK_SESSION", "sql.SELECT_SESSION")
RUN_UNLOCKED = Edit(f"{TRANSACTION}.run", "sql.LOCK_RUN", "sql.SELECT_RUN")
APPENDS = "connection.execute(sql.APPEND_OUTPUTS, arrays).fetchall()"
LOOKS_THEN_APPENDS = """[
        (row["stream_id"],) for row in rows
        if (row["version"],) == connection.execute(
            statements.compiled(statements.sa.text(
                "SELECT version + frames FROM events WHERE stream_id = :stream_id ORDER BY version DESC LIMIT 1"
            )), {"stream_id": row["stream_id"]}).fetchone()
        and (row["epoch"], "running") == connection.execute(
            statements.compiled(statements.sa.text("SELECT epoch, status FROM runs WHERE run_id = :stream_id")),
            {"stream_id": row["stream_id"]}).fetchone()
        and connection.execute(statements.compiled(statements.sa.insert(statements.events)), row | {"feed_id": None})
    ]"""


@pytest.fixture(name="url", scope="module")
def url_of_a_database() -> str:
    return new_database()


@pytest.mark.parametrize("name", RACES)
def test_every_order_comes_to_what_a_serial_one_does(url: str, name: str) -> None:
    explored = explore(url, RACES[name], Budget(switches=None) if name in SMALL else BUDGET)
    assert explored.wrong is None, "\n".join([explored.detail, *explored.wrong.order])
    assert explored.orders > 10
    if name in SMALL:
        assert (explored.more, explored.cut) == (False, False)


@pytest.mark.parametrize(
    ("edits", "name"),
    [
        ([SESSION_UNLOCKED], "start, start"),
        ([SESSION_UNLOCKED, Edit(f"{TRANSACTION}._project", "changed != 1", "False")], "resume, take over a session"),
        ([RUN_UNLOCKED], "complete, cancel"),
        ([RUN_UNLOCKED], "decide, decide"),
        ([Edit(f"{WRITING}:_append", APPENDS, LOOKS_THEN_APPENDS)], "append, cancel"),
        ([Edit(f"{WRITING}:_append", APPENDS, LOOKS_THEN_APPENDS)], "append, take-over"),
        ([Edit(f"{WRITING}:PostgresWriter._do", "connection.execute(sql.AWAIT_RUN, ", "dict(")], "append, cancel"),
        ([Edit(f"{WRITING}:_undone", "Contended | Taken", "Contended")], "create, create with the same key"),
        ([Edit(f"{WRITING}:PostgresWriter._undone", "asked is not None", "False")], "start, start with the same key"),
    ],
    ids=[
        "the session is not locked",
        "nor is it looked whether it has changed",
        "the run is not locked",
        "the run is not locked, either, for decisions",
        "the fence is asked, then it is appended",
        "so it is beside a take-over",
        "nobody waits for who has the run in hand",
        "a taken key is not done again",
        "a refusal is not done again",
    ],
)
def test_a_planted_bug_is_found(url: str, edits: Sequence[Edit], name: str) -> None:
    with edited(edits):
        explored = explore(url, RACES[name], replace(BUDGET, orders=None))
    assert explored.wrong is not None
    assert explored.wrong.outcome is not None, explored.detail  # nothing broke: it came to what it may not
    assert explored.wrong.switches == 1
    assert explored.detail


def test_the_command_says_what_it_played(simulate: Simulate, url: str) -> None:
    arguments = ["--database", url, "--switches", "1", "--sample", "1"]
    done = simulate("interleavings", *arguments, "--only", "append, the same append", "resume, take over a session")
    assert done.code == Verdict.CLEAN
    assert done.last.endswith("each came to what a serial one does")
    refused = simulate("interleavings", "--database", url, "--only", "nothing")
    assert (refused.code, "There is no race 'nothing'" in refused.err) == (Verdict.USAGE, True)
    assert simulate("interleavings").code == Verdict.USAGE
    with edited([SESSION_UNLOCKED]):
        found = simulate("interleavings", *arguments, "--only", "start, start")
        assert found.code == Verdict.VIOLATION
        assert "BROKEN PROMISE interleaving (start, start)" in found.out
        assert simulate.printed(found.last).code == Verdict.VIOLATION
        told = simulate("interleavings", *arguments, "--only", "start, start", "--json").json
        assert told["races"]["start, start"]["wrong"]


def test_all_ways_are_played_once() -> None:
    def play(choices: Choices) -> str:
        return "".join("abc"[choices.choose(3, cost=1)] for _ in range(2 + choices.choose(2)))

    played = [way for _, way in every(play)]
    assert len(played) == len(set(played)) == 9 + 27
    assert len([way for _, way in every(play, budget=1)]) == (1 + 2 * 2) + (1 + 2 * 3)
