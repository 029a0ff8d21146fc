"""`reattach serve`, `reattach worker` and `reattach config`."""

import argparse
import sys
from typing import Any, Final

from pydantic_core import to_json

from .exits import Exit, UsageError
from .options import Commands
from .terminal import Terminal

_HIDDEN: Final = "(hidden)"
_DATABASE: Final = "where everything is kept (default: sqlite:///reattach.db)"
_AGENTS: Final = "the agents to load (default: the demo agents)"


def add(commands: Commands) -> None:
    """Declare the commands."""
    serve = commands.add_parser("serve", help="serve the API, and run agents", allow_abbrev=False)
    _add_settings(serve)
    serve.set_defaults(command=_serve)
    worker = commands.add_parser("worker", help="run agents, without a server", allow_abbrev=False)
    worker.add_argument("--database", metavar="URL", help=_DATABASE)
    worker.add_argument("--agents", metavar="MODULE:NAME", help=_AGENTS)
    worker.add_argument("--concurrency", type=int, metavar="N", help="runs it works on at once (default: 256)")
    worker.set_defaults(command=_work)
    config = commands.add_parser("config", help="print the settings as they are in effect here", allow_abbrev=False)
    _add_settings(config)
    config.add_argument("--json", action="store_true", help="print one JSON object")
    config.set_defaults(command=_config)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (default: 8000)")
    parser.add_argument("--database", metavar="URL", help=_DATABASE)
    parser.add_argument("--agents", metavar="MODULE:NAME", help=_AGENTS)
    parser.add_argument("--no-worker", action="store_true", help="serve only; runs wait for other processes' workers")


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    names = ("host", "port", "database", "agents")
    return {name: getattr(options, name) for name in names} | {"worker": False if options.no_worker else None}


def _serve(options: argparse.Namespace, _: Terminal) -> int:
    from ..composition import load_settings, run, serve  # noqa: PLC0415  - the server's modules, for the server alone

    settings = load_settings(**_overrides(options))
    try:
        run(serve(settings, announce=_announce))
    except SystemExit as stopped:  # uvicorn's way of saying that it can't listen; its log says why
        where = f"{settings.host}:{settings.port}"
        raise UsageError(
            f"{where} can't be listened on; another server may be there. Choose another --port."
        ) from stopped
    return Exit.COMPLETED


def _work(options: argparse.Namespace, _: Terminal) -> int:
    from ..composition import load_settings, run, work  # noqa: PLC0415  - as above

    given = {name: getattr(options, name) for name in ("database", "agents", "concurrency")}
    # What a server beside it listens on is no concern of a process that doesn't listen.
    settings = load_settings(**given, worker=True, host="127.0.0.1")
    run(work(settings, announce=_announce))
    return Exit.COMPLETED


def _announce(line: str) -> None:
    print(line, flush=True)


def _config(options: argparse.Namespace, _: Terminal) -> int:
    from ..composition import load_settings  # noqa: PLC0415  - as above

    settings = load_settings(**_overrides(options))
    values = {name: _shown(name, value) for name, value in settings.model_dump(mode="json").items()}
    values["database"] = settings.database_shown
    if options.json:
        sys.stdout.write(to_json(values).decode() + "\n")
        return Exit.COMPLETED
    for name, value in values.items():
        about = type(settings).model_fields[name].description or ""
        print(f"REATTACH_{name.upper()}={value}".ljust(48), f"# {about}" if about else "")
    return Exit.COMPLETED


def _shown(name: str, value: object) -> object:
    """A setting as it may be printed: tokens not at all."""
    return value if name != "tokens" else _HIDDEN if value else ""
