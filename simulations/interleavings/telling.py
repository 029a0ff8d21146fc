"""`reattach simulate interleavings`: the races on a database that is given, and what came of them."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

from sqlalchemy import make_url

from ...adapters.cli.exits import UsageError
from ...adapters.cli.terminal import Terminal
from ..options import store
from ..progress import StatusLine
from ..store.opening import POSTGRES
from ..verdicts import Verdict
from .exploring import SWITCHES, Budget, Explored, explore
from .races import RACES

SAMPLE: Final = 100
"""Orders that chance makes of each race, unless told otherwise."""


def interleavings(options: argparse.Namespace, terminal: Terminal) -> int:
    """Play the orders of each race; stop at the first that comes to what no serial order does."""
    database = store(POSTGRES, options.database) or ""
    names: list[str] = options.only or list(RACES)
    for name in names:
        if name not in RACES:
            raise UsageError(f"There is no race {name!r}. There are: {'; '.join(RACES)}.")
    budget = Budget(options.switches or SWITCHES, options.orders, options.sample or SAMPLE, options.seed)
    began = monotonic()
    found = _explored(database, names, budget)
    seconds = monotonic() - began
    played = sum(explored.orders for explored in found.values())
    wrong = next((name for name, explored in found.items() if explored.wrong is not None), None)
    verdict = Verdict.CLEAN if wrong is None else Verdict.VIOLATION
    if options.json:
        races = {name: _json(explored) for name, explored in found.items()}
        terminal.result(json.dumps({"verdict": verdict.name.lower(), "orders": played, "races": races}))
        return verdict
    for name, explored in found.items():
        terminal.result(_told(name, explored, budget))
    if wrong is None:
        terminal.result(f"{played:,} orders in {seconds:.0f} s: each came to what a serial one does")
        return verdict
    for text in _broken(wrong, found[wrong]):
        terminal.result(text)
    terminal.result(_command(wrong, database, budget))
    return verdict


def _explored(database: str, names: Sequence[str], budget: Budget) -> dict[str, Explored]:
    """The races by name, up to the first that goes wrong."""
    found: dict[str, Explored] = {}
    with StatusLine(sys.stderr) as line:
        for name in names:
            before = sum(explored.orders for explored in found.values())

            def progress(now: Explored, name: str = name, before: int = before) -> None:
                line.show(f"{name}: {now.orders:,} orders, {before + now.orders:,} in all")

            found[name] = explore(database, RACES[name], budget, progress)
            if found[name].wrong is not None:
                break
    return found


def _told(name: str, explored: Explored, budget: Budget) -> str:
    which = f"all with up to {budget.switches} switches" if explored.more else "all there are"
    if explored.cut:
        which = f"the first {budget.orders:,} with up to {budget.switches} switches"
    if explored.wrong is not None:
        which = "up to the first that is wrong"
    chance = f", {explored.sampled:,} of them by chance" if explored.sampled else ""
    outcomes = f"{len(explored.seen)} of {explored.allowed} outcomes"
    strayed = f", {explored.strayed:,} strayed" if explored.strayed else ""
    return f"{name:<32} {explored.orders:>6,} orders ({which}{chance}{strayed}), {outcomes}"


def _broken(name: str, explored: Explored) -> list[str]:
    lines = [f"BROKEN PROMISE interleaving ({name})", *(f"  {text}" for text in explored.detail.splitlines())]
    return [*lines, *(f"    {text}" for text in (explored.wrong.order if explored.wrong is not None else []))]


def _command(name: str, database: str, budget: Budget) -> str:
    """What finds it again: everything up to it is played in the same order."""
    words = ["reattach", "simulate", "interleavings", "--database", make_url(database).render_as_string()]
    words += ["--only", name, "--switches", f"{budget.switches}", "--sample", f"{budget.sample}"]
    words += ["--seed", f"{budget.seed}", *(["--orders", f"{budget.orders}"] if budget.orders else [])]
    return shlex.join(words)


def _json(explored: Explored) -> dict[str, Any]:
    return {
        "orders": explored.orders,
        "sampled": explored.sampled,
        "strayed": explored.strayed,
        "cut": explored.cut,
        "more": explored.more,
        "outcomes": len(explored.seen),
        "allowed": explored.allowed,
        "wrong": explored.wrong.order if explored.wrong is not None else None,
        "detail": explored.detail,
    }
