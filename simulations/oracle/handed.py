"""What agents are handed, judged as a segment begins: the history of earlier turns, the decisions, the input."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from ...adapters import worker
from ...adapters.agents.remote import RemoteAgent
from ...domain.agent import Agent, Context, Output
from ...domain.messages import Fields
from ...domain.snapshot import Snapshot
from ..violation import Violation
from ..wrapped import WrappedAgent
from .log import Log, RunLog, type_at
from .rows import Readable
from .sessionlog import DELETED


def handed(
    agents: Mapping[str, Agent], log: Log, core: Readable, abort: Callable[[Violation], None]
) -> Mapping[str, Agent]:
    """The agents, each of their contexts judged. Those that run elsewhere are handed what answers their claim."""

    def judge(context: Context) -> None:
        try:
            check_context(log, core, context)
        except Violation as violation:  # not the worker's to catch
            abort(violation)

    return {name: agent if isinstance(agent, RemoteAgent) else Handed(agent, judge) for name, agent in agents.items()}


class Handed(WrappedAgent):
    """An agent whose contexts are judged. What it puts out passes as it is: not a step of the loop is added."""

    def __init__(self, agent: Agent, judge: Callable[[Context], None]) -> None:
        super().__init__(agent)
        self._judge = judge

    def run(self, context: Context) -> AsyncGenerator[Output, None]:
        """Judge, then the agent's."""
        self._judge(context)
        return self._agent.run(context)


def check_context(log: Log, core: Readable, context: Context) -> None:
    """Raises context-wrong for what the log does not say, or says otherwise."""
    session, run = log.sessions.get(context.session_id), log.run(context.run_id)
    if run is None or (session is not None and session.status == DELETED):
        return
    _same("history", context, list(context.history), _history(log, context))
    job = core.job(context.job_id)
    _same("input", context, context.input, job.input if job is not None else None)
    if run.epochs[-1] == context.epoch and run.terminal is None:  # whoever was slow has lost it since
        given = {one.approval_id: one.outcome for one in context.decisions}
        _same("decisions", context, given, _decisions(run))


def _same(what: str, context: Context, given: Any, expected: Any) -> None:
    if given != expected:
        detail = f"The {what} that {context.run_id} is handed is {given!r:.200}, not {expected!r:.200}."
        raise Violation("context-wrong", detail, run_id=context.run_id)


def _history(log: Log, context: Context) -> list[Fields]:
    found: list[Fields] = []
    for run_id in log.begun(context.session_id):
        run = log.run(run_id)
        if run is not None and from_json(run.lines[0])["turn"] < context.turn:
            found += _messages(run.lines)
    return found[-worker.HISTORY_MESSAGES_MAX :]


def _messages(lines: Sequence[bytes]) -> list[Fields]:
    whole = Snapshot.empty()
    for line in lines:
        whole.apply(from_json(line))
    return list(whole.state()["messages"])


def _decisions(run: RunLog) -> dict[str, str]:
    """Those since it was last suspended, by approval."""
    found: dict[str, str] = {}
    for seq, line in enumerate(run.lines, 1):
        kind = type_at(line, seq)
        if kind == "run.suspended":
            found = {}
        elif kind == "approval.decided":
            frame = from_json(line)
            found[frame["approval_id"]] = frame["outcome"]
    return found
