"""`reattach mcp`: the tools of docs/mcp.md over stdin and stdout."""

import argparse
import os

from ..mcp import EXTRA, is_installed
from .exits import Exit, UsageError
from .options import DEFAULT_URL, Commands, in_loop
from .terminal import Terminal


def add(commands: Commands) -> None:
    """Declare the command."""
    mcp = commands.add_parser("mcp", help="serve the MCP tools on stdin and stdout", allow_abbrev=False)
    mcp.add_argument(
        "--url", default=os.environ.get("REATTACH_URL") or DEFAULT_URL, help="the server's URL (default: %(default)s)"
    )
    mcp.set_defaults(command=in_loop(_mcp))


async def _mcp(options: argparse.Namespace, _: Terminal) -> int:
    if not is_installed():
        raise UsageError(f"The MCP tools need an extra: pip install '{EXTRA}'.")
    from ..mcp.stdio import serve  # noqa: PLC0415  - the SDK is no part of the base install

    await serve(options.url, os.environ.get("REATTACH_TOKEN") or None)
    return Exit.COMPLETED
