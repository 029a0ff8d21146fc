"""Reattach for agents that speak the Model Context Protocol: sessions and runs as tools. Needs the extra `mcp`.

This file imports nothing of the SDK: the base install does without it.
"""

from importlib.util import find_spec
from typing import Final

EXTRA: Final = "reattach[mcp]"
"""What to install for this folder."""


def is_installed() -> bool:
    """Whether the SDK is there."""
    return find_spec("mcp") is not None and find_spec("mcp.server") is not None


__all__ = ["EXTRA", "is_installed"]
