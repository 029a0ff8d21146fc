"""Snapshot: taken anywhere and folded on, it equals the full replay; filtering shows less and moves nothing."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from reattach.domain import agent as a
from reattach.domain.frames import FACT_TYPES
from reattach.domain.request_config import KINDS_MAX, Kind, RequestConfig
from reattach.domain.snapshot import Snapshot
from reattach.domain.wire import encode, type_of

from .log import RunLog
from .strategies import FRAMES, NUMBERS, RUNS

KINDS: Final[tuple[Kind, ...]] = ("text", "reasoning", "tool", "data", "source", "file", "step")
CONFIGS: Final = st.builds(
    RequestConfig,
    kinds=st.none() | st.lists(st.sampled_from(KINDS), unique=True).map(tuple),
    tool_output=st.sampled_from(["full", "omit"]),
)


def wire(snapshot: Snapshot, config: RequestConfig | None = None) -> dict[str, Any]:
    """The state as it travels."""
    return from_json(to_json(snapshot.state(config)))


def folded(frames: list[dict[str, Any]]) -> Snapshot:
    snapshot = Snapshot.empty()
    for frame in frames:
        snapshot.apply(frame)
    return snapshot


def shown(log: RunLog, config: RequestConfig) -> list[dict[str, Any]]:
    """The frames as a reader with this configuration gets them."""
    lines = [config.shown(line) for line in log.lines]
    return [from_json(line) for line in lines if line is not None]


@given(log=RUNS)
def test_a_snapshot_anywhere_and_the_rest_is_the_whole(log: RunLog) -> None:
    frames = log.frames
    whole = wire(folded(frames))
    so_far = Snapshot.empty()
    for place in range(len(frames) + 1):
        resumed = Snapshot.load(wire(so_far), place)
        for frame in frames[place:]:
            resumed.apply(frame)
        assert wire(resumed) == whole
        assert resumed.seq == len(frames)
        if place < len(frames):
            so_far.apply(frames[place])


AGAIN: Final = (".start", ".end", ".ready")


@given(log=RUNS)
def test_the_last_frame_again_changes_nothing(log: RunLog) -> None:
    """A reset sends a snapshot and then the head's frame, which a snapshot of a fact may hold already."""
    snapshot = Snapshot.empty()
    for record in log.records:
        for line in record.data:
            snapshot.apply(from_json(line))
        last = from_json(record.data[-1])
        if last["type"] in FACT_TYPES or last["type"].endswith(AGAIN):
            early = Snapshot.load(wire(snapshot), last["seq"] - 1)
            early.apply(last)
            assert wire(early) == wire(snapshot)
            assert early.messages.carry() == Snapshot.load(wire(snapshot), last["seq"]).messages.carry()


@given(log=RUNS, config=CONFIGS)
def test_a_filtered_stream_folds_to_the_filtered_state(log: RunLog, config: RequestConfig) -> None:
    assert wire(folded(shown(log, config))) == wire(folded(log.frames), config)


@given(log=RUNS, config=CONFIGS, data=st.data())
def test_a_filtered_snapshot_and_the_filtered_rest_is_the_filtered_whole(
    log: RunLog, config: RequestConfig, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, log.head))
    resumed = Snapshot.load(wire(folded(log.frames[:place]), config), place)
    for frame in shown(log, config):
        if frame["seq"] > place:
            resumed.apply(frame)
    assert wire(resumed) == wire(folded(log.frames), config)


@given(frame=FRAMES, seq=NUMBERS, config=CONFIGS)
def test_filtering_hides_no_fact_and_moves_nothing(frame: Any, seq: int, config: RequestConfig) -> None:
    data = encode(frame, seq)
    view = config.shown(data)
    if frame.fact:
        assert view == data
    elif view is None:
        assert config.kinds is not None
        kind: Any = frame.type.partition(".")[0]
        assert not config.shows(kind)
    else:
        assert from_json(view)["seq"] == seq
        assert type_of(view) == frame.type
        assert view == data or frame.type == "tool.result"
    if config.shows_everything:
        assert view == data


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_hides_its_own_frames_and_no_others(kind: Kind) -> None:
    log = busy_run()
    others: tuple[Kind, ...] = tuple(other for other in KINDS if other != kind)
    hidden = {type_of(line) for line in log.lines if RequestConfig(kinds=others).shown(line) is None}
    alone = {type_of(line) for line in log.lines if RequestConfig(kinds=(kind,)).shown(line) is not None}
    assert hidden
    assert all(name.partition(".")[0] == kind for name in hidden)
    assert hidden <= alone
    assert alone - hidden <= FACT_TYPES | {"message.start", "message.end"}


def busy_run() -> RunLog:
    """Output of every kind, a reset, and parts left open."""
    log = RunLog()
    log.create()
    log.claim()
    log.write(a.Text("a"), a.Reasoning("b"), a.ToolCall("c", "pay", {"sum": 1}), a.ToolResult("c", {"ok": True}))
    log.take_over()
    log.write(a.Data("n", 1), a.Source("u"), a.File("n", "m", "u"), a.ToolResult("d", error="no"), a.Checkpoint(1))
    log.write(a.Reasoning("hm"), a.EndPart(), a.ToolCallStart("e", "mail"), a.Text("well"))
    return log


def test_omitted_tool_output_says_so_and_errors_stay() -> None:
    config = RequestConfig(tool_output="omit")
    results = [frame for frame in shown(busy_run(), config) if frame["type"] == "tool.result"]
    assert [(r.get("output"), r.get("omitted"), r.get("error")) for r in results] == [
        (None, True, None),
        (None, None, "no"),
    ]


def test_an_agents_event_message_is_filtered_as_its_frames_are() -> None:
    """Only remote workers can write one; the prompt and the outcome are facts and always shown."""
    frames: list[dict[str, Any]] = [
        {"type": "message.start", "seq": 1, "message_id": "s:r:1", "role": "event"},
        {"type": "text.start", "seq": 2, "part": "1.1.1", "message_id": "s:r:1"},
    ]
    config = RequestConfig(kinds=("tool",))
    visible = [frame for frame in frames if config.shown(to_json(frame)) is not None]
    assert wire(folded(visible)) == wire(folded(frames), config)


def test_the_size_depends_on_the_state_and_not_on_the_frames() -> None:
    sizes: list[int] = []
    for pieces in (1, 500):
        log = RunLog()
        log.create()
        log.claim()
        log.write(*[a.Text("x" * (500 // pieces)) for _ in range(pieces)])
        sizes.append(len(to_json(folded(log.frames).state())))
    assert sizes[0] == sizes[1]


def test_a_voided_attempt_leaves_only_its_mark() -> None:
    log = RunLog()
    log.create()
    log.claim()
    log.write(a.Text("x" * 10_000))
    before = len(to_json(folded(log.frames).state()))
    log.take_over()
    assert len(to_json(folded(log.frames).state())) < before - 9_000


@given(config=CONFIGS)
def test_the_digest_names_the_configuration(config: RequestConfig) -> None:
    again = RequestConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert again.digest == config.digest
    assert len(config.digest) == 16
    shuffled = config.model_copy(update={"kinds": config.kinds[::-1] if config.kinds else config.kinds})
    assert shuffled.digest == config.digest


@given(one=CONFIGS, other=CONFIGS)
def test_different_configurations_have_different_digests(one: RequestConfig, other: RequestConfig) -> None:
    def meaning(config: RequestConfig) -> tuple[Any, str]:
        return (None if config.kinds is None else sorted(config.kinds), config.tool_output)

    assert (one.digest == other.digest) == (meaning(one) == meaning(other))


def test_the_digest_is_stable() -> None:
    assert RequestConfig().digest == "6e5b0b984c9e0fa1"


def test_kinds_are_bounded() -> None:
    assert len(KINDS) <= KINDS_MAX
