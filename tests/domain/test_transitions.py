"""S1 and S2 on the tables: every pair of state and command, against the tables of the design written out here."""

from typing import Final

import pytest

from reattach.domain.errors import IllegalTransition
from reattach.domain.transitions import ACTIVE, FINAL, TABLES, SessionStatus, Status, check, targets

# From the design's section 3, by hand: what the code's tables must say. "-" is the state before the first fact.
DESIGN: Final = {
    "run": """
        create    - pending
        claim     pending running
        take_over running running
        release   running pending
        record    running running
        suspend   running waiting_for_approval
        decide    waiting_for_approval waiting_for_approval pending
        complete  running completed
        fail      pending failed
        fail      running failed
        fail      waiting_for_approval failed
        cancel    pending cancelled
        cancel    running cancelled
        cancel    waiting_for_approval cancelled
    """,
    "job": """
        create    - pending
        attempt   pending pending
        start     pending running
        release   running pending
        suspend   running waiting_for_approval
        resume    waiting_for_approval pending
        complete  running completed
        retry     pending pending
        retry     running pending
        retry     waiting_for_approval pending
        fail      pending failed
        fail      running failed
        fail      waiting_for_approval failed
        cancel    pending cancelled
        cancel    running cancelled
        cancel    waiting_for_approval cancelled
    """,
    "session": """
        create     - open
        start_turn open open
        end_turn   open open
        end_turn   finalized finalized
        warn       open open
        queue_turn open open
        withdraw_turn open open
        attach     open open
        detach     open open
        detach     finalized finalized
        append_memory    open open
        request_handoff  open open
        ready_handoff    open open
        end_handoff      open open
        claim_summary    open open
        claim_summary    finalized finalized
        stage_summary    open open
        stage_summary    finalized finalized
        complete_summary open open
        complete_summary finalized finalized
        finalize   open finalized
        delete     open deleted
        delete     finalized deleted
    """,
}
STATES: Final = {"run": [*Status], "job": [*Status], "session": [*SessionStatus]}


def rows(machine: str) -> dict[tuple[str, str | None], set[str]]:
    """The design's table: (command, state) to the states it may lead to."""
    lines = [line.split() for line in DESIGN[machine].strip().splitlines()]
    return {(command, None if source == "-" else source): set(ends) for command, source, *ends in lines}


@pytest.mark.parametrize("machine", TABLES)
def test_the_tables_say_what_the_design_says(machine: str) -> None:
    wanted = rows(machine)
    commands = {row.command for row in TABLES[machine]} | {command for command, _ in wanted}
    for command in sorted(commands):
        for state in (None, *STATES[machine]):
            assert set(targets(TABLES[machine], state, command)) == wanted.get((command, state), set()), (
                command,
                state,
            )


@pytest.mark.parametrize("machine", TABLES)
def test_check_raises_for_every_other_triple(machine: str) -> None:
    wanted = rows(machine)
    for command in sorted({command for command, _ in wanted}):
        for state in (None, *STATES[machine]):
            for target in STATES[machine]:
                if target in wanted.get((command, state), set()):
                    check(machine, state, command, target)
                else:
                    with pytest.raises(IllegalTransition):
                        check(machine, state, command, target)


def test_unknown_commands_are_refused() -> None:
    with pytest.raises(IllegalTransition):
        check("run", Status.RUNNING, "explode", Status.RUNNING)


def test_final_states_have_no_way_out() -> None:
    for machine in ("run", "job"):
        assert {source for row in TABLES[machine] for source in row.sources}.isdisjoint(FINAL)
    assert all(SessionStatus.DELETED not in row.sources for row in TABLES["session"])


def test_active_and_final_are_all_states() -> None:
    assert sorted((*ACTIVE, *FINAL)) == sorted(Status)
    assert [status for status in Status if status.final] == list(FINAL)
