"""The simulated stores: the model as the specification, the production code on SQLite in line, both in lock-step."""

from .core import Core, NoWakeups, OnCommit, open_over
from .dual import Divergence, DualCore
from .inline import Fate, InlineCommitter, SqliteCore
from .model import ModelCore

__all__ = [
    "Core",
    "Divergence",
    "DualCore",
    "Fate",
    "InlineCommitter",
    "ModelCore",
    "NoWakeups",
    "OnCommit",
    "SqliteCore",
    "open_over",
]
