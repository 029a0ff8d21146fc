"""What a run's readers are shown of its frames, by the request_config that the run was created with.

Written from the wire's point of view, beside `domain.request_config` (which is under test).
"""

from typing import Any, Final

from pydantic_core import from_json, to_json

from ...domain.identifiers import RunId
from ...domain.request_config import RequestConfig
from ...domain.snapshot import Snapshot
from .log import RunLog

_KINDS: Final = {"text", "reasoning", "tool", "data", "source", "file", "step"}


def shown(line: bytes, config: RequestConfig) -> bytes | None:
    """A stored frame as its readers get it, or None if they don't."""
    if config.kinds is None and config.tool_output == "full":
        return line
    kind = line[9 : line.index(b'"', 9)].decode()
    family = kind.partition(".")[0]
    if config.kinds is not None and family in _KINDS and family not in config.kinds and kind != "step.reset":
        return None
    if kind == "tool.result" and config.tool_output == "omit":
        fields = from_json(line)
        return to_json({**fields, "output": None, "omitted": True}) if "output" in fields else line
    return line


def is_shown(run: RunLog, seq: int) -> bool:
    """Whether its readers get this frame."""
    return shown(run.lines[seq - 1], run.config) is not None


def all_hidden(run: RunLog, first: int, last: int) -> bool:
    """Whether nothing is shown from frame `first` to frame `last`."""
    return not any(is_shown(run, seq) for seq in range(first, last + 1))


def folded(run: RunLog) -> Any:
    """What the whole run amounts to for its readers."""
    whole = Snapshot.empty()
    for line in run.lines:
        whole.apply(from_json(line))
    return whole.state(run.config)


def parted(state: Any, run_id: RunId) -> tuple[list[Any], Any]:
    """A session's state: the messages of other runs, and what remains, as if the run were alone."""
    own: list[Any] = []
    others: list[Any] = []
    for message in state["messages"]:
        (own if message["message_id"].split(":")[1] == run_id else others).append(message)
    alone = {name: value for name, value in state.items() if name != "before"}
    return others, {**alone, "messages": own}


def folded_on(state: Any, seq: int, run: RunLog) -> Any:
    """What a snapshot and the shown frames after it amount to."""
    snapshot = Snapshot.load(state, seq)
    for line in run.lines[seq:]:
        frame = shown(line, run.config)
        if frame is not None:
            snapshot.apply(from_json(frame))
    return snapshot.state()
