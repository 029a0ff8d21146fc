"""The fold on the client's side: the server's own, also over resets and snapshots."""

from hypothesis import given
from hypothesis import strategies as st

from reattach.adapters.client import Frame, fold
from reattach.domain.snapshot import Snapshot

from .logs import RUN, SESSION, log

LOG = log("Hello", ", ", "world", end="failed")
FRAMES = [line.as_frame() for line in LOG]


def snapshot_at(seq: int) -> Frame:
    state = fold(FRAMES[:seq]).state()
    return Frame("stream.snapshot", seq, None, {"type": "stream.snapshot", "state": state, "seq": seq})


RESET = Frame("stream.reset", None, None, {"type": "stream.reset", "reason": "trimmed", "cursor": "x"})
UNREADABLE = {"type": "stream.error", "first_seq": 2, "last_seq": 2, "code": "record_damaged"}


def test_a_run_as_people_see_it() -> None:
    state = fold(FRAMES).state()
    assert (state["run"]["run_id"], state["run"]["status"]) == (RUN, "failed")
    assert [message["role"] for message in state["messages"]] == ["user", "assistant", "event"]
    assert state["messages"][1]["parts"][0]["text"] == "Hello, world"
    assert state["messages"][0]["message_id"].startswith(f"{SESSION}:{RUN}:")


@given(st.integers(1, len(LOG)), st.integers(0, len(LOG)))
def test_prefix_reset_snapshot_and_rest_are_the_whole(known: int, at: int) -> None:
    frames = [*FRAMES[:known], RESET, snapshot_at(at), *FRAMES[at:]]
    assert fold(frames).state() == fold(FRAMES).state()


def test_a_reset_leaves_nothing_of_what_was_known() -> None:
    assert fold([*FRAMES, RESET]).state() == Snapshot.empty().state()


@given(st.integers(0, len(LOG)))
def test_folding_goes_on_from_a_state(at: int) -> None:
    assert fold(FRAMES[at:], fold(FRAMES[:at])).state() == fold(FRAMES).state()


def test_what_is_not_in_the_log_changes_nothing() -> None:
    warning = Frame("session.warning", None, None, {"type": "session.warning"})
    lost = Frame("stream.error", 2, LOG[1].id, UNREADABLE)
    assert fold([FRAMES[0], warning, lost, *FRAMES[2:]]).state()["messages"] == fold(FRAMES).state()["messages"]
    assert fold([]).state() == Snapshot.empty().state()
