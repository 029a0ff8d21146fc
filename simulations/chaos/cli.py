"""`reattach chaos`: its options. What carries it out is imported when it is needed."""

import argparse
from typing import TYPE_CHECKING, Final

from ...adapters.cli.options import Commands, duration, positive

if TYPE_CHECKING:
    from ...adapters.cli.terminal import Terminal

_ABOUT: Final = (
    "Run real servers and workers; kill, stop and cut them off; judge what readers saw and what the log says."
)
_EPILOG: Final = (
    "Exit codes: 0 no promise was broken, 1 one was, 2 usage, 3 the chaos itself failed, 5 it was less than was asked "
    "for, 130 Ctrl-C."
)


def add(commands: Commands) -> None:
    """Declare `chaos`."""
    chaos = commands.add_parser(
        "chaos", help="kill real processes under load", description=_ABOUT, epilog=_EPILOG, allow_abbrev=False
    )
    chaos.add_argument("--minutes", type=duration, default=1.0, metavar="M", help="how long (default: 1)")
    chaos.add_argument("--servers", type=positive, default=2, metavar="N", help="server processes (default: 2)")
    chaos.add_argument("--workers", type=positive, default=3, metavar="N", help="worker processes (default: 3)")
    chaos.add_argument("--readers", type=positive, default=50, metavar="N", help="readers at a time (default: 50)")
    chaos.add_argument("--kills", type=int, metavar="N", help="times kill -9 hits one (default: 10 a minute)")
    chaos.add_argument("--database", metavar="URL", help="an empty one (default: a new SQLite file)")
    chaos.add_argument("--restart", metavar="COMMAND", help="what restarts the database's server at once, now and then")
    chaos.add_argument("--hosts", type=int, default=0, metavar="N", help="spread them over N network namespaces (root)")
    chaos.add_argument("--seed", type=int, metavar="N", help="of the plan of faults (default: from the clock)")
    chaos.add_argument("--html", metavar="FILE", help="draw the end of it here")
    chaos.add_argument("--found", default="chaos-found", metavar="DIR", help="where to keep the logs of a finding")
    chaos.add_argument("--planted", metavar="NAME", help="plant this bug first (`simulate mutants` lists them)")
    chaos.add_argument("--tape", metavar="FILE", help="the faults and the planted bug of a tape that simulate saved")
    chaos.add_argument("--intact", action="store_true", help="with --tape: without the bug that was planted")
    chaos.add_argument("--json", action="store_true", help="print one JSON object for a script to read")
    chaos.set_defaults(command=_chaos)


def _chaos(options: argparse.Namespace, terminal: "Terminal") -> int:
    from .running import chaos  # noqa: PLC0415  - it brings the simulator and the server

    return chaos(options, terminal)
