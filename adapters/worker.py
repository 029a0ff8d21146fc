"""The worker: claims runs, runs their agents, appends what they yield, and stops when the log says so.

It holds leases for liveness only; what keeps a stale worker from writing is the epoch, checked in the append itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic_core import from_json

from ..domain.agent import Agent, AgentFailure, Approvals, Context
from ..domain.application import Application
from ..domain.errors import AppendConflict, IllegalTransition, Invalid, ReattachError, RunClosed, StaleEpoch
from ..domain.frames import TERMINAL_TYPES, RunError
from ..domain.identifiers import RunId
from ..domain.ports import News, SessionMoved, Span
from ..domain.requests import Assignment
from ..domain.scribe import Scribe
from ..domain.wire import type_of
from .appender import Appender, patiently
from .segment import drive, internal_error, plain

HISTORY_MESSAGES_MAX: Final = 200
"""Messages of earlier turns an agent is given."""

TYPE_CHARS_MAX: Final = 100
"""Characters of an error's type."""

STOP_S: Final = 1.0
"""Seconds that cancelled agents get to stop while the process drains."""

_WORK: Final = ("run.created", "run.resumed", "run.released", "step.reset")
_LOST: Final = (StaleEpoch, RunClosed, AppendConflict, IllegalTransition)

_log: Final = logging.getLogger("reattach.worker")


class WorkerTimes(BaseModel):
    """The worker's times, in seconds, and how many runs it works on at once."""

    model_config = ConfigDict(frozen=True)
    renew_s: float = 5.0
    sweep_s: float = 5.0
    linger_s: float = 0.0
    concurrency: int = 256


class Worker:
    """Runs agents in this process until it is drained."""

    def __init__(self, application: Application, name: str, agents: Mapping[str, Agent], times: WorkerTimes) -> None:
        self.name = name
        self.taken = 0
        """Segments of runs it has begun."""
        self.handed_back = 0
        """Runs it gave back when it was drained."""
        self._application = application
        self._agents = agents
        self._times = times
        self._wake = asyncio.Event()
        self._segments: dict[RunId, tuple[asyncio.Task[None], int]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._draining = False

    def start(self) -> None:
        """Begin to claim. Takes over at once what a dead process left behind with an expired lease."""
        self._stop_listening = self._application.store.listen(self)
        loop = asyncio.get_running_loop()
        self._loops = [loop.create_task(work) for work in (self._claim(), self._renew(), self._sweep())]
        self._wake.set()

    async def drain(self, grace_s: float) -> list[str]:
        """Claim nothing more, let runs finish for `grace_s`, hand the rest back.

        Returns the names of runs whose agents did not stop when they were cancelled.
        """
        self._draining = True
        self._wake.set()
        await asyncio.wait(self._loops[:1], timeout=STOP_S)  # a claim under way is finished, and its runs handed back
        running = [task for task, _ in self._segments.values()]
        if running and grace_s > 0:
            await asyncio.wait(running, timeout=grace_s)
        held = list(self._segments.items())
        for _, (task, _) in held:
            task.cancel()
        if held:
            await asyncio.wait([task for _, (task, _) in held], timeout=STOP_S)
        for run_id, (_, epoch) in held:
            await self._release(run_id, epoch)
        self._stop_listening()
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        return [str(run_id) for run_id, (task, _) in held if not task.done()]

    @property
    def busy(self) -> int:
        """Runs this worker is busy with."""
        return len(self._segments)

    # News of commits: new work, and the end of runs this worker is busy with.

    def committed(self, commits: Sequence[News]) -> None:
        """A worker reads its own runs: a cancel reaches an agent that is silent inside a tool at once."""
        for commit in commits:
            if isinstance(commit, SessionMoved):
                if commit.begun:
                    self._wake.set()
                continue
            last = commit.record.data[-1]
            if not last.startswith((b'{"type":"run.', b'{"type":"step.reset"')):
                continue
            kind = type_of(last)
            if kind in _WORK:
                self._wake.set()
            segment = self._segments.get(commit.run_id)
            if segment is not None and (kind in TERMINAL_TYPES or commit.record.epoch > segment[1]):
                segment[0].cancel()

    def changed(self) -> None:
        """Something was committed elsewhere: look for work, and whether our runs are still ours."""
        self._wake.set()
        if self._segments:
            self._loops.append(asyncio.get_running_loop().create_task(self._quietly(self._check_segments())))
            self._loops = [task for task in self._loops if not task.done()]

    async def _check_segments(self) -> None:
        for run_id, (task, epoch) in list(self._segments.items()):
            view = await self._application.store.run_view(run_id)
            if view is not None and (view.run.final or view.run.epoch > epoch):
                task.cancel()

    # The loops.

    async def _claim(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            self._wake.clear()
            if self._draining:
                return
            overdue = loop.time() >= due
            if overdue:  # expired leases announce themselves to nobody
                due = loop.time() + self._times.sweep_s
            await self._quietly(self._claim_if(due=overdue))

    async def _claim_if(self, *, due: bool) -> None:
        """Most commits bring no work: a look is cheaper than a claim, which takes the one place of the writer."""
        agents = list(self._agents)
        if agents and (due or await self._application.store.has_pending(agents)):
            await self._claim_up_to(max(self._times.concurrency - len(self._segments), 0))

    async def _claim_up_to(self, limit: int) -> None:
        for assignment in await self._application.claim(self.name, list(self._agents), limit):
            run = assignment.run
            stale = self._segments.get(run.run_id)
            if stale is not None:  # this very process lost its lease and takes over from itself
                stale[0].cancel()
            task = asyncio.get_running_loop().create_task(self._work(assignment), name=f"{run.run_id}:{run.epoch}")
            self._segments[run.run_id] = (task, run.epoch)
            self.taken += 1
            task.add_done_callback(partial(self._done, run.run_id, run.epoch))

    def _done(self, run_id: RunId, epoch: int, _: asyncio.Task[None]) -> None:
        segment = self._segments.get(run_id)
        if segment is not None and segment[1] == epoch:
            del self._segments[run_id]
            self._wake.set()

    async def _sweep(self) -> None:
        """On its own: a worker that is woken again and again would never find the time for it."""
        while True:
            await asyncio.sleep(self._times.sweep_s)
            await self._quietly(self._application.sweep())

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._times.renew_s)
            await self._quietly(self._renew_leases())

    async def _renew_leases(self) -> None:
        held = [(run_id, epoch) for run_id, (_, epoch) in self._segments.items()]
        epochs = dict(held)
        for run_id in await self._application.renew(self.name, held):
            segment = self._segments.get(run_id)
            if segment is not None and segment[1] == epochs[run_id]:
                segment[0].cancel()

    async def _release(self, run_id: RunId, epoch: int) -> None:
        try:
            await self._application.release(run_id, epoch)
            self.handed_back += 1
        except ReattachError as error:
            _log.info("%s is not ours to hand back: %s", run_id, error)

    async def _quietly(self, work: Awaitable[None]) -> None:
        """The loops outlive what goes wrong in one round; the next round tries again."""
        try:
            await work
        except ReattachError as error:
            _log.warning("%s", error)
        except Exception:  # noqa: BLE001  - logged with its traceback; the loop itself must not end
            _log.exception("a bug in Reattach; please report it")

    # One segment of one run.

    async def _work(self, assignment: Assignment) -> None:
        run = assignment.run
        checkpoint = assignment.checkpoint
        scribe = Scribe(run, assignment.outline, assignment.next_seq, checkpoint.step if checkpoint else 0)
        appender = Appender(self._application, run.run_id, run.epoch, scribe, self._times.linger_s)
        try:
            await self._segment(assignment, appender)
        except _LOST as error:
            _log.info("%s is not ours any more: %s", run.run_id, error)
        except ReattachError as error:
            _log.warning("%s is left to its lease: %s", run.run_id, error)
        finally:
            await appender.close()

    async def _segment(self, assignment: Assignment, appender: Appender) -> None:
        run = assignment.run
        context = await self._context(assignment)
        try:
            end = await drive(self._agents[run.agent].run(context), appender)
            appender.scribe.finish()
            await appender.flush()
            if isinstance(end, Approvals):
                step = appender.scribe.step
                await patiently(lambda: self._application.suspend(run.run_id, run.epoch, end.requests, end.state, step))
            else:
                await patiently(lambda: self._application.complete(run.run_id, run.epoch, end.stop_reason, end.usage))
        except _LOST:
            raise
        except AgentFailure as failure:
            kind, message = plain(failure.type)[:TYPE_CHARS_MAX], plain(failure.message)
            error = RunError(type=kind, message=message, retryable=bool(failure.retryable))
            await self._fail(run.run_id, run.epoch, appender, error)
        except ReattachError as error:
            if not isinstance(error, Invalid):
                raise
            await self._fail(run.run_id, run.epoch, appender, internal_error(error))
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # it is the worker that stops the agent, not the agent itself
            _log.info("the agent of %s raised", run.run_id, exc_info=True)
            await self._fail(run.run_id, run.epoch, appender, internal_error(error))

    async def _fail(self, run_id: RunId, epoch: int, appender: Appender, error: RunError) -> None:
        try:
            await appender.flush()
        except _LOST:
            raise
        except Exception as unwritten:  # noqa: BLE001  - what can't be appended is lost; the run must end all the same
            _log.warning("output of %s is lost: %r", run_id, unwritten)
        await patiently(lambda: self._application.fail(run_id, epoch, error))

    async def _context(self, assignment: Assignment) -> Context:
        run = assignment.run
        history: Sequence[Mapping[str, JsonValue]] = ()
        if run.turn > 1:
            found = await self._application.store.messages(
                run.session_id, Span(before=(run.turn, 0, 0)), HISTORY_MESSAGES_MAX
            )
            history = [message for _, message, _ in found]
        checkpoint = assignment.checkpoint
        return Context(
            session_id=run.session_id,
            job_id=run.job_id,
            run_id=run.run_id,
            turn=run.turn,
            attempt=run.attempt,
            epoch=run.epoch,
            input=assignment.job.input,
            history=history,
            checkpoint=from_json(checkpoint.state) if checkpoint else None,
            decisions=run.decisions,
        )
