"""The pool: jobs in fresh processes, fed with tasks and read as they answer. A job that dies or hangs is replaced."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryFile
from threading import Thread
from time import monotonic
from types import TracebackType
from typing import Final, Self

from . import job as worlds
from .job import Outcome, Task

AHEAD: Final = 4
"""Tasks a job holds: it need not wait for the campaign, and a campaign that stops loses little."""

TASK_SECONDS_MAX: Final = 120.0
"""Seconds without an answer after which a job counts as hung: a world takes a tenth of one."""

DEATHS_MAX: Final = 3
"""Jobs that may die one after the other, without an answer in between, before the campaign gives up."""

COMPLAINT_CHARS_MAX: Final = 4_000
"""Characters kept of what a dead job said last."""


class JobsFail(Exception):
    """Jobs don't even start; the message is what they said."""


class Job:
    """One process and the tasks it holds, oldest first."""

    def __init__(self, world: str, hash_seed: int | None, answers: "SimpleQueue[tuple[Job, str | None]]") -> None:
        # The same modules as here, also those that only a test or the current folder has.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
        if hash_seed is not None:
            environment["PYTHONHASHSEED"] = str(hash_seed)
        self.holds: deque[Task] = deque()
        self.heard_at = monotonic()
        self._said = TemporaryFile()  # noqa: SIM115  - lives as long as the job
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.job", world],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            encoding="utf-8",
        )
        self._answers = answers
        Thread(target=self._read, daemon=True).start()

    def give(self, task: Task) -> None:
        """One more task. A job that is dead says so where it is read."""
        if not self.holds:
            self.heard_at = monotonic()
        self.holds.append(task)
        pipe = self._process.stdin
        assert pipe is not None
        with suppress(BrokenPipeError, ValueError):
            pipe.write(task.line + "\n")
            pipe.flush()

    def last_words(self) -> str:
        """The end of what it wrote to stderr, and how it ended."""
        code = self._process.wait()
        self._said.seek(0)
        said = self._said.read().decode("utf-8", "replace")[-COMPLAINT_CHARS_MAX:].strip()
        return f"the job ended with code {code}\n{said}".strip()

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()

    def close(self) -> None:
        """End it, and wait until it is gone."""
        self.kill()
        self._process.wait()
        self._said.close()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        with pipe:
            for line in pipe:
                self._answers.put((self, line))
        self._answers.put((self, None))


class Pool:
    """Jobs, as a context: leaving it ends them."""

    def __init__(self, jobs: int, *, hash_seed: int | None = None) -> None:
        self._world = worlds.WORLD
        self._hash_seed = hash_seed
        self._answers: SimpleQueue[tuple[Job, str | None]] = SimpleQueue()
        self._deaths = 0
        self._jobs = [self._start() for _ in range(jobs)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for job in self._jobs:
            job.close()

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome | None]:
        """Each task's outcome, as they come; nothing, once a second at least, so that a caller can look at the clock.

        Tasks are taken one by one, and no more of them once the caller leaves. Raises JobsFail.
        """
        waiting = iter(tasks)
        for job in self._jobs * AHEAD:
            self._feed(job, waiting)
        while any(job.holds for job in self._jobs):
            self._kill_the_hung()
            try:
                job, line = self._answers.get(timeout=1)
            except Empty:
                yield None
                continue
            if line is not None:
                self._deaths = 0
                job.holds.popleft()
                job.heard_at = monotonic()
                self._feed(job, waiting)
                yield Outcome.parse(line)
            elif job in self._jobs:
                yield from self._bury(job, waiting)

    def _start(self) -> Job:
        return Job(self._world, self._hash_seed, self._answers)

    def _feed(self, job: Job, waiting: Iterator[Task]) -> None:
        task = next(waiting, None)
        if task is not None:
            job.give(task)

    def _kill_the_hung(self) -> None:
        for job in self._jobs:
            if job.holds and monotonic() - job.heard_at > TASK_SECONDS_MAX:
                job.kill()

    def _bury(self, dead: Job, waiting: Iterator[Task]) -> Iterator[Outcome]:
        """Whoever died, died of the task it was at; the others go to its successor."""
        said = dead.last_words()
        dead.close()
        self._deaths += 1
        if self._deaths >= DEATHS_MAX:
            raise JobsFail(said)
        successor = self._jobs[self._jobs.index(dead)] = self._start()
        at = dead.holds.popleft() if dead.holds else None
        for task in dead.holds:
            successor.give(task)
        self._feed(successor, waiting)
        if at is not None:
            yield Outcome(at.seed, at.setting, at.point, trouble=said)
