"""What a run's readers are shown: chosen when the run is created, the same for every view, replay and resume of it.

Filtering hides output frames or what tools returned; it never changes a frame's seq or id, and never hides a fact.
"""

import hashlib
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json, to_json

from .wire import type_of

Kind = Literal["text", "reasoning", "tool", "data", "source", "file", "step"]

KINDS_MAX: Final = 7
"""Entries of `kinds`: each kind once."""

_PREFIXES: Final = {
    "text": b'{"type":"text.',
    "reasoning": b'{"type":"reasoning.',
    "tool": b'{"type":"tool.',
    "data": b'{"type":"data"',
    "source": b'{"type":"source"',
    "file": b'{"type":"file"',
    "step": b'{"type":"step.',
}
_TOOL_RESULT: Final = b'{"type":"tool.result"'
_STEP_RESET: Final = "step.reset"


class RequestConfig(BaseModel):
    """`kinds`: the kinds of output shown (null: all). `tool_output`: whether results of tools are shown in full."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kinds: tuple[Kind, ...] | None = Field(default=None, max_length=KINDS_MAX)
    tool_output: Literal["full", "omit"] = "full"

    @property
    def digest(self) -> str:
        """A short name of this configuration (16 hex digits), for `?config=`."""
        canonical = {
            "kinds": sorted(set(self.kinds)) if self.kinds is not None else None,
            "tool_output": self.tool_output,
        }
        return hashlib.sha256(to_json(canonical)).hexdigest()[:16]

    @property
    def shows_everything(self) -> bool:
        """Whether `shown` is the identity."""
        return self.kinds is None and self.tool_output == "full"

    def shows(self, kind: Kind) -> bool:
        """Whether output of this kind is shown."""
        return self.kinds is None or kind in self.kinds

    def shown(self, data: bytes) -> bytes | None:
        """A stored frame as this configuration shows it, or None if it does not."""
        if self.kinds is not None:
            hidden = (prefix for kind, prefix in _PREFIXES.items() if kind not in self.kinds)
            if data.startswith(tuple(hidden)) and type_of(data) != _STEP_RESET:
                return None
        if self.tool_output == "omit" and data.startswith(_TOOL_RESULT):
            fields = from_json(data)
            if "output" in fields:
                return to_json({**fields, "output": None, "omitted": True})
        return data


EVERYTHING: Final = RequestConfig()
"""What a run has whose starter asked for nothing."""
