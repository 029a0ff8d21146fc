"""`reattach chaos` on a PostgreSQL of its own, which it may restart: its options are passed on.

python -m tests.system.chaos_on_postgres --minutes 30 --servers 2 --workers 3 --readers 50 --kills 300
"""

import os
import shlex
import sys
from collections.abc import Sequence

from reattach.__main__ import main

from ..postgres import UNPRIVILEGED, Server, new_server, text


def restart_command(server: Server) -> str:
    """What restarts it as a crash does: nothing is written down first."""
    options = ("-D", str(server.directory / "data"), "-l", str(server.directory / "log"), "-m", "immediate", "-w")
    command = [str(server.binaries / "pg_ctl"), *options, "restart"]
    who = ["runuser", "-u", UNPRIVILEGED, "--"] if os.geteuid() == 0 else []
    return f"cd {shlex.quote(str(server.directory))} && {shlex.join([*who, *command])}"


def chaos(arguments: Sequence[str]) -> int:
    """Run it; its exit code."""
    server = new_server(max_connections="200")
    try:
        server.create()
        return main(["chaos", "--database", text(server.url), "--restart", restart_command(server), *arguments])
    finally:
        server.remove()


if __name__ == "__main__":
    sys.exit(chaos(sys.argv[1:]))
