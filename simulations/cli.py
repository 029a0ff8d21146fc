"""`reattach simulate`: its commands and options. What carries them out is imported when it is needed."""

import argparse
import importlib
from typing import TYPE_CHECKING, Final

from ..adapters.cli.options import Command, Commands, duration, positive

if TYPE_CHECKING:
    from ..adapters.cli.terminal import Terminal

_ABOUT: Final = "Run the real service in a simulated world, where everything that can go wrong does, from one seed."
_EPILOG: Final = (
    "Exit codes: 0 nothing found, 1 a promise was broken (the last line replays it), 2 usage, 3 the simulator failed, "
    "4 not deterministic, 5 a planted bug or a mark was missed, 6 your agent can't be simulated as it is, 130 Ctrl-C. "
    "`shrink` and `explain` are about a failure that is known: 0 is that they have done it."
)
HASH_SEED_MAX: Final = 2**32 - 1
"""What PYTHONHASHSEED may be."""


def add(commands: Commands) -> None:
    """Declare `simulate` and what it can do."""
    simulate = commands.add_parser(
        "simulate", help="look for broken promises in a simulated world", description=_ABOUT, epilog=_EPILOG
    )
    actions = simulate.add_subparsers(title="what to do", metavar="WHAT", required=True)
    _hunt(actions)
    _run(actions)
    _files(actions)
    _judge(actions)


def _hunt(actions: Commands) -> None:
    hunt = _action(actions, "hunt", "searching:hunt", "run many seeds, and stop at the first broken promise")
    _add_world(hunt)
    _add_campaign(hunt, "as many as --minutes allow, else 1,000, from a start that the clock gives")
    hunt.add_argument("--failures", type=positive, default=1, metavar="N", help="stop after N failures (default: 1)")
    _add_shrinking(hunt)
    cover = _action(actions, "cover", "searching:cover", "run seeds, and say which marks they reach and which not")
    _add_world(cover)
    _add_campaign(cover, "0:500")
    _add_shrinking(cover)


def _run(actions: Commands) -> None:
    run = _action(actions, "run", "replaying:run", "run one seed")
    run.add_argument("--seed", type=_seed, required=True, metavar="N", help="which one")
    _add_world(run)
    run.add_argument("--tape", metavar="FILE", help="save all of its decisions here, for replay and shrink")
    _add_outputs(run)


def _files(actions: Commands) -> None:
    replay = _action(actions, "replay", "replaying:replay", "run a saved tape again")
    _add_tape(replay)
    replay.add_argument("--intact", action="store_true", help="without the bug that was planted: it must pass")
    _add_outputs(replay)
    shrink = _action(actions, "shrink", "replaying:shrink", "make a failing tape as simple as can be")
    _add_tape(shrink)
    shrink.add_argument("--out", metavar="FILE", help="where to save it (default: TAPE with .shrunk.json)")
    _add_budget(shrink)
    _add_json(shrink)
    explain = _action(actions, "explain", "replaying:explain", "tell and draw what happens on a tape")
    _add_tape(explain)
    explain.add_argument("--html", metavar="FILE", help="where to draw it (default: TAPE with .html)")
    explain.add_argument("--trace", metavar="FILE", help="write every event here, as JSON lines")
    explain.add_argument("--last", type=positive, default=25, metavar="N", help="events to tell (default: 25)")


def _judge(actions: Commands) -> None:
    mutants = _action(actions, "mutants", "judging:mutants", "hunt for every planted bug: how good is the search?")
    mutants.add_argument("--only", nargs="+", metavar="NAME", help="these planted bugs (default: all)")
    _add_agents(mutants)
    _add_campaign(mutants, "0:100", minutes=False)
    mutants.add_argument("--first", action="store_true", help="go on to the next bug as soon as one is found")
    mutants.add_argument("--shrink", action="store_true", help="shrink each first failure, and run it on intact code")
    points = _action(actions, "crashpoints", "crashing:crashpoints", "kill a process at each of its writes, in turn")
    points.add_argument("--seed", type=_seed, default=0, metavar="N", help="whose world it is (default: 0)")
    points.add_argument("--disk", action="store_true", help="cut the power under the database instead (needs apsw)")
    points.add_argument("--cuts", type=positive, metavar="N", help="power cuts with --disk (default: 1,000)")
    _add_world(points)
    points.add_argument("--jobs", type=positive, metavar="N", help="processes (default: one a core)")
    _add_shrinking(points)
    _add_json(points)
    audit = _action(actions, "audit", "judging:audit", "prove that a seed gives the same world everywhere")
    _add_world(audit)
    _add_campaign(audit, "0:40", minutes=False)
    audit.add_argument(
        "--hash-seeds", type=_hash_seeds, metavar="N,N", help="values of PYTHONHASHSEED to compare (default: 0,1,4711)"
    )
    orders = _action(
        actions, "interleavings", "interleavings.telling:interleavings", "play every order of racing transactions"
    )
    _add_database(orders)
    orders.add_argument("--only", nargs="+", metavar="RACE", help="these races (default: all)")
    orders.add_argument("--switches", type=positive, metavar="N", help="every order with up to N switches (default: 2)")
    orders.add_argument("--orders", type=positive, metavar="N", help="at most N of those, of each race")
    orders.add_argument("--sample", type=positive, metavar="N", help="N orders by chance, of each race (default: 100)")
    orders.add_argument("--seed", type=_seed, default=0, metavar="N", help="of chance (default: 0)")
    _add_json(orders)


def _action(actions: Commands, name: str, carried_out_by: str, about: str) -> argparse.ArgumentParser:
    sentence = about[0].upper() + about[1:] + "." * (about[-1] != "?")
    parser = actions.add_parser(name, help=about, description=sentence, epilog=_EPILOG, allow_abbrev=False)
    parser.set_defaults(command=_later(carried_out_by))
    return parser


def _later(where: str) -> Command:
    """A command whose module is imported when it is called: others need not wait for it."""

    def command(options: argparse.Namespace, terminal: "Terminal") -> int:
        module, _, name = where.partition(":")
        code: int = getattr(importlib.import_module(f".{module}", __package__), name)(options, terminal)
        return code

    return command


def _add_world(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--planted", metavar="NAME", help="plant this bug first (`mutants` lists them)")
    _add_agents(parser)
    stores = ("model", "sqlite", "dual", "postgres")
    parser.add_argument("--store", choices=stores, help="what keeps the log (default: the seed says)")
    _add_database(parser)


def _add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database", metavar="URL", help="the PostgreSQL of --store postgres; worlds have a schema of their own there"
    )


def _add_agents(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--agents", metavar="MODULE:NAME", help="put your own agents into the world")


def _add_campaign(parser: argparse.ArgumentParser, seeds: str, *, minutes: bool = True) -> None:
    parser.add_argument("--seeds", type=_seeds, metavar="A:B", help=f"seeds A to B-1 (default: {seeds})")
    if minutes:
        parser.add_argument("--minutes", type=duration, metavar="M", help="stop after M minutes")
    parser.add_argument("--jobs", type=positive, metavar="N", help="processes (default: one a core)")
    _add_json(parser)


def _add_shrinking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-shrink", action="store_true", help="save a failure with all of its decisions")
    parser.add_argument(
        "--found", default="simulations-found", metavar="DIR", help="where to save failures (default: %(default)s)"
    )
    _add_budget(parser)


def _add_budget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replays", type=positive, metavar="N", help="replays to shrink with (default: 1,000)")
    parser.add_argument("--seconds", type=duration, metavar="S", help="seconds to shrink for (default: 30)")


def _add_tape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tape", metavar="TAPE", help="a file that hunt, run or shrink has saved")
    _add_database(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trace", metavar="FILE", help="write every event here, as JSON lines")
    parser.add_argument("--html", metavar="FILE", help="draw the world here")
    _add_json(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object for a script to read")


def _seeds(text: str) -> range:
    first, colon, end = text.partition(":")
    begin = _seed(first)
    seeds = range(begin, _seed(end) if colon else begin + 1)
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text} holds no seed; 0:100 would be the first hundred")
    return seeds


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: they are the numbers from 0 on")
    return int(text)


def _hash_seeds(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and part.isascii() and int(part) <= HASH_SEED_MAX for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} are no hash seeds: numbers up to {HASH_SEED_MAX}, with commas")
    return tuple(map(int, parts))
