"""`reattach chaos`, carried out: progress while it runs, what came of it, a page that draws its end."""

import argparse
import asyncio
import shlex
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from ...adapters.cli.exits import UsageError
from ...adapters.cli.options import invocation
from ..case import Case, UnreadableCase
from ..options import known_bug
from ..planted import planted_bug
from ..progress import StatusLine
from ..timeline import page
from ..verdicts import Verdict
from .databases import Database, database_of, shown
from .film import Film
from .outcome import ChaosLoop, Options, Outcome
from .plan import plan
from .script import faults_of, rounds
from .world import World, possible

if TYPE_CHECKING:
    from ...adapters.cli.terminal import Terminal

KILLS_PER_MINUTE: Final = 10
"""Kills where none are asked for."""

CLEAN: Final = (
    "nothing lost, doubled or reordered; every run ended; each approval decided once; nobody wrote under a stale epoch"
)
"""What a chaos has shown if nothing is found."""

TAKES: Final = "Real processes: the seed is that of the plan of faults, what they make of it is never the same twice."

NEEDED: Final = ("take-over", "resumed-honest")
"""Marks without which a chaos with many kills has shown nothing."""

MANY: Final = 10
"""Kills from which on they must have been reached."""


def chaos(options: argparse.Namespace, terminal: "Terminal") -> int:
    """The command. Raises UsageError."""
    folder = Path(tempfile.mkdtemp(prefix="reattach-chaos-"))
    try:
        database = database_of(options.database or f"sqlite:///{folder / 'reattach.db'}", options.restart)
        asked = _asked(options, folder)
        if options.tape:
            asked = _scripted(asked, options, database)
        command = _command(options, asked)
        others = (
            len(asked.script or plan(asked.seed, asked.seconds, asked.kills, possible(asked, database))) - asked.kills
        )
        terminal.note(
            f"seed {asked.seed}: {asked.servers} servers, {asked.workers} workers, {asked.readers} readers on "
            f"{shown(database.url)}; {asked.kills} kills and {others} other faults in {clock(asked.seconds)}"
        )
        with (
            planted_bug(asked.planted),
            StatusLine(sys.stderr) as line,
            asyncio.Runner(loop_factory=ChaosLoop) as runner,
        ):
            outcome, film = runner.run(_lived(asked, database, line))
        verdict = verdict_of(outcome, asked.kills)
        if options.html:
            header = {"seed": asked.seed, "planted": asked.planted}
            drawn = page(film.recording(outcome.violation, header), {}, command, TAKES)
            Path(options.html).write_text(drawn, encoding="utf-8")
        if verdict in (Verdict.VIOLATION, Verdict.TROUBLE):
            kept = Path(options.found) / f"chaos-{asked.seed}"
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            terminal.note(f"The logs of all processes{' and the database' if not options.database else ''}: {kept}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        terminal.result(to_json(_json(outcome, asked, verdict, command)).decode())
    else:
        _tell(terminal, outcome, verdict, asked, command)
    return verdict


async def _lived(asked: Options, database: Database, line: StatusLine) -> tuple[Outcome, Film]:
    world = World(asked, database, lambda outcome: line.show(progress(outcome, asked)))
    return await world.run(), world.film


def _asked(options: argparse.Namespace, folder: Path) -> Options:
    kills = options.kills if options.kills is not None else round(options.minutes * KILLS_PER_MINUTE)
    seed = options.seed if options.seed is not None else int(time.time())
    seconds = options.minutes * 60
    if options.planted is not None:
        known_bug(options.planted)
    people = options.servers, options.workers, options.readers
    return Options(seconds, *people, kills, seed, folder, options.hosts, options.planted)


def _scripted(asked: Options, options: argparse.Namespace, database: Database) -> Options:
    """The same with the faults of a tape. Raises UsageError."""
    try:
        case = Case.read(Path(options.tape))
    except (OSError, UnreadableCase) as error:
        raise UsageError(f"{options.tape} can't be read: {error}") from error
    script = rounds(faults_of(case), asked.seconds, possible(asked, database))
    if not script:
        raise UsageError(f"{options.tape} has no fault that this database can suffer.")
    planted = None if options.intact else case.setting.planted or asked.planted
    kills = sum(fault.kind.startswith("kill") for fault in script)
    return replace(asked, planted=planted, script=tuple(script), kills=kills)


def _command(options: argparse.Namespace, asked: Options) -> str:
    """What does the same again, as far as chance allows."""
    words = [*invocation(), "chaos", "--seed", str(asked.seed), "--minutes", f"{options.minutes:g}"]
    for name in ("servers", "workers", "readers", "kills", *(("hosts",) if asked.hosts else ())):
        words += [f"--{name}", str(getattr(asked, name))]
    if options.database:
        words += ["--database", shown(options.database)]
    for name in ("restart", "planted", "tape"):
        words += [f"--{name}", getattr(options, name)] if getattr(options, name) else []
    return shlex.join([*words, *(["--intact"] if options.intact else [])])


def verdict_of(outcome: Outcome, kills: int) -> Verdict:
    """How it ends. One that killed less than was asked, or in which nobody took over, shows nothing."""
    if outcome.violation is not None:
        return Verdict.VIOLATION
    if outcome.trouble is not None:
        return Verdict.TROUBLE
    return Verdict.MISSED if outcome.kills < kills or (kills >= MANY and missed(outcome)) else Verdict.CLEAN


def missed(outcome: Outcome) -> list[str]:
    """Marks that a chaos with many kills must reach."""
    return [name for name in NEEDED if not outcome.marks[name]]


def progress(outcome: Outcome, asked: Options) -> str:
    """A chaos in one line."""
    stops = outcome.faults["stop-server"] + outcome.faults["stop-worker"]
    others = sum(outcome.faults.values()) - outcome.kills - stops
    return (
        f"{clock(outcome.elapsed_s)} of {clock(asked.seconds)}, {outcome.phase} · kills {outcome.kills}/{asked.kills}"
        f" · stops {stops} · other faults {others} · frames {outcome.frames:,} · resumes {outcome.resumes:,} · "
        f"take-overs {outcome.takeovers} · {outcome.runs} runs of {outcome.stories} sessions judged"
    )


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _tell(terminal: "Terminal", outcome: Outcome, verdict: Verdict, asked: Options, command: str) -> None:
    faults = ", ".join(f"{name} {count}" for name, count in sorted(outcome.faults.items()))
    terminal.result(
        f"{outcome.kills} kills in {clock(outcome.elapsed_s)} ({faults}); {outcome.runs} runs of {outcome.stories} "
        f"sessions, {outcome.streams} streams by {asked.readers} readers at once, {outcome.frames:,} frames, "
        f"{outcome.resumes:,} resumes, {outcome.takeovers} take-overs, {outcome.decisions} approvals"
    )
    if outcome.violation is not None:
        terminal.result(f"BROKEN PROMISE {outcome.violation.name}\n  {outcome.violation.detail}")
    elif outcome.trouble is not None:
        terminal.result(f"The chaos itself failed: {outcome.trouble}")
    elif verdict is Verdict.MISSED:
        terminal.result(f"Less than was asked for: {outcome.kills} of {asked.kills} kills, never {missed(outcome)}.")
    else:
        terminal.result(CLEAN)
    terminal.result(command)


def _json(outcome: Outcome, asked: Options, verdict: Verdict, command: str) -> dict[str, Any]:
    violation = outcome.violation
    return {
        "verdict": verdict.name.lower(),
        "seed": asked.seed,
        "elapsed_s": round(outcome.elapsed_s, 1),
        "kills": outcome.kills,
        "faults": dict(outcome.faults),
        "sessions": outcome.stories,
        "runs": outcome.runs,
        "streams": outcome.streams,
        "frames": outcome.frames,
        "resumes": outcome.resumes,
        "takeovers": outcome.takeovers,
        "approvals": outcome.decisions,
        "marks": dict(sorted(outcome.marks.items())),
        "violation": violation and {"name": violation.name, "detail": violation.detail},
        "trouble": outcome.trouble,
        "command": command,
    }
