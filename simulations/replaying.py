"""`reattach simulate run`, `replay`, `shrink` and `explain`: one world, in this process."""

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO

from ..adapters.cli.exits import UsageError
from ..adapters.cli.terminal import Terminal
from .case import Case, UnreadableCase, replay_command, run_command
from .finding import investigate
from .job import load_world
from .misuse import MISUSES, misused
from .options import budget, known, setting, store
from .progress import StatusLine
from .report import Report, attempt, replayer
from .saving import require_writable, save
from .shrink import NotReproduced
from .tape import Tape
from .timeline import page, told
from .verdicts import Verdict

NO_FILES: Final[Mapping[str, str]] = {}


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """One seed."""
    chosen = setting(options)
    require_writable(options.tape, options.trace, options.html)
    command = run_command(options.seed, chosen)
    with _aside():
        report = attempt(load_world(), Tape(options.seed), chosen, tracing=True)
    tape = {options.tape: Case.of(report, chosen).text()} if options.tape else {}
    return _tell(report, options, terminal, command, tape)


def replay(options: argparse.Namespace, terminal: Terminal) -> int:
    """A saved tape."""
    case = _read(options)
    require_writable(options.trace, options.html)
    chosen = replace(case.setting, planted=None) if options.intact else case.setting
    command = replay_command(Path(options.tape), chosen) + " --intact" * options.intact
    with _aside():
        report = replayer(load_world(), chosen, seed=case.seed, tracing=True)(case.decisions)
    got = report.violation.name if report.violation else None
    if got != case.violation and not options.intact:
        terminal.note(f"The tape was saved with {case.violation or 'no violation'}: code or simulator have changed.")
    return _tell(report, options, terminal, command)


def shrink(options: argparse.Namespace, terminal: Terminal) -> int:
    """A saved tape that fails, made simple."""
    case = _read(options)
    if case.violation is None:
        raise UsageError(f"{options.tape} breaks no promise: there is nothing to shrink.")
    source = Path(options.tape)
    out = Path(options.out) if options.out else source.with_suffix(".shrunk.json")
    require_writable(str(out), str(out.with_suffix(".html")))
    try:
        with StatusLine(sys.stderr) as line, _aside():
            finding = investigate(
                case,
                source.parent,
                budget=budget(options),
                file=out,
                progress=lambda now: line.show(f"{now.phase}: {now.decisions} decisions, {now.replays} replays"),
            )
    except NotReproduced as error:
        terminal.error(f"{source} can't be shrunk: {error}. Code or simulator have changed since it was saved.")
        return Verdict.NOT_DETERMINISTIC
    saved = save(finding.files(), terminal)
    for text in [json.dumps(finding.json())] if options.json else finding.told(saved=saved):
        terminal.result(text)
    return Verdict.CLEAN if saved else Verdict.TROUBLE


def explain(options: argparse.Namespace, terminal: Terminal) -> int:
    """A saved tape, in words and as a picture."""
    case, source = _read(options), Path(options.tape)
    html = Path(options.html) if options.html else source.with_suffix(".html")
    require_writable(str(html), options.trace)
    with _aside():
        report = replayer(load_world(), case.setting, seed=case.seed, tracing=True)(case.decisions)
    recording = report.trace.recording()
    files = {html: page(recording, report.decisions, replay_command(source, case.setting))}
    if options.trace:
        files[Path(options.trace)] = report.trace.text()
    saved = save(files.items(), terminal)
    if report.violation is None:
        was = f", though it was saved with {case.violation}: code or simulator have changed" if case.violation else ""
        terminal.result(f"{source} breaks no promise{was}.")
    else:
        terminal.result(f"{report.violation.name}: {report.violation.detail}")
    for text in told(recording, report.decisions, options.last):
        terminal.result(text)
    if saved:
        terminal.result(f"The picture is in {html}")
    if report.trouble:
        terminal.result(f"THE SIMULATOR FAILED\n{report.trouble}")
    return Verdict.TROUBLE if report.trouble or not saved else Verdict.CLEAN


def _aside() -> "contextlib.redirect_stdout[TextIO]":
    """What an agent prints is no part of the answer."""
    return contextlib.redirect_stdout(sys.stderr)


def _tell(
    report: Report, options: argparse.Namespace, terminal: Terminal, command: str, files: Mapping[str, str] = NO_FILES
) -> int:
    """Say how a world ended, and write what was asked for. Of a failure, the last line is the command."""
    if options.trace:
        files = {**files, options.trace: report.trace.text()}
    if options.html:
        files = {**files, options.html: page(report.trace.recording(), report.decisions, command)}
    saved = save([(Path(name), text) for name, text in files.items()], terminal)
    verdict = _verdict(report)
    if verdict is Verdict.CLEAN and not saved:
        verdict = Verdict.TROUBLE
    if options.json:
        terminal.result(json.dumps(_json(report, verdict, command)))
        return verdict
    terminal.result(
        f"{report.simulated_s:.2f} simulated seconds, {report.steps:,} steps, {report.exchanges} exchanges, "
        f"{report.commits} commits, {len(report.marks)} marks, trace {report.trace.digest()}"
    )
    if report.trouble:
        terminal.result(f"THE SIMULATOR FAILED\n{report.trouble}\n{command}")
    elif report.violation and verdict is Verdict.AGENT:
        terminal.result("\n".join(misused(report.violation.name, report.violation.detail, command)))
    elif report.violation:
        terminal.result(f"BROKEN PROMISE {report.violation.name}\n  {report.violation.detail}\n{command}")
    else:
        terminal.result("no promise was broken")
    return verdict


def _verdict(report: Report) -> Verdict:
    if report.trouble:
        return Verdict.TROUBLE
    if report.violation is None:
        return Verdict.CLEAN
    return Verdict.AGENT if report.violation.name in MISUSES else Verdict.VIOLATION


def _json(report: Report, verdict: Verdict, command: str) -> dict[str, Any]:
    found = report.violation
    return {
        "verdict": verdict.name.lower().replace("_", "-"),
        "violation": found.name if found else None,
        "detail": found.detail if found else None,
        "trouble": report.trouble,
        "digest": report.trace.digest(),
        "marks": report.marks,
        "steps": report.steps,
        "simulated_s": report.simulated_s,
        "exchanges": report.exchanges,
        "commits": report.commits,
        "replay": command,
    }


def _read(options: argparse.Namespace) -> Case:
    name: str = options.tape
    try:
        case = Case.read(Path(name))
    except OSError as error:
        raise UsageError(f"{name} can't be read: {error.strerror}.") from error
    except UnreadableCase as error:
        raise UsageError(str(error)) from error
    return replace(case, setting=known(replace(case.setting, store=store(case.setting.store, options.database))))
