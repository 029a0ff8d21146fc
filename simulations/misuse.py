"""What a user's agent does that no simulated world can hold: which agent, in which line of its own, what instead.

Nothing is said about a promise then, so it is told apart from broken ones, with an exit code of its own.
"""

import linecache
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final

from .loop import Deadlock, SimulationEscape, StepBudget
from .process import AGENT
from .violation import Violation

MISUSES: Final = frozenset({"agent-escapes", "agent-exits", "agent-hangs"})
"""Names of violations that are a user's agent's, not the service's."""

SOURCE_CHARS_MAX: Final = 120
"""Characters of a source line that are shown."""

_PACKAGE: Final = str(Path(__file__).parents[1])
_LIBRARIES: Final = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))

_EXIT: Final = "it would end the whole process: raise AgentFailure, or just return"
_HANG: Final = (
    "it blocks the whole world: await what it waits for, and asyncio.sleep now and then in a long computation"
)
_SPIN: Final = "each wait has to take time: await asyncio.sleep(0.1), or the event it waits for"

Place = tuple[str, int, str]
"""A file, a line in it, and the function that it is in."""


def misused(name: str, detail: str, command: str) -> list[str]:
    """It as lines for people; the last one is the command that brings it back."""
    return [f"AN AGENT CAN'T BE SIMULATED AS IT IS: {name}", f"  {detail}", command]


def ended(error: BaseException, files: Collection[str]) -> Violation | None:
    """How a world has ended that could not go on. None if that is a bug of the simulator: it says nothing of others.

    `files` are those of the users' modules.
    """
    if isinstance(error, SimulationEscape):
        return escaped(error, files)
    if isinstance(error, SystemExit):
        return exited(error, files)
    if isinstance(error, StepBudget) and error.agent is not None:
        return spinning(error, error.agent)
    return Violation("stuck", str(error)) if isinstance(error, Deadlock | StepBudget) else None


def escaped(escape: SimulationEscape, files: Collection[str]) -> Violation | None:
    """Code reached out of the world. None unless an agent's did; `files` are those of the users' modules."""
    return _by_agent("agent-escapes", str(escape), escape.agent, list(_traced(escape.__traceback__)), files)


def exited(error: SystemExit, files: Collection[str]) -> Violation | None:
    """Code asked to end the process. None unless an agent's did."""
    said = f"SystemExit({error.code!r}): {_EXIT}"
    return _by_agent("agent-exits", said, AGENT.get(), list(_traced(error.__traceback__)), files)


def hanging(frame: FrameType | None, seconds: float, files: Collection[str]) -> Violation | None:
    """Code has not come back for so many seconds. None unless an agent's has not."""
    said = f"no await for {seconds:g} s of real time: {_HANG}"
    return _by_agent("agent-hangs", said, AGENT.get(), list(_stacked(frame)), files)


def spinning(stuck: StepBudget, agent: str) -> Violation:
    """The world has spent its steps, and it was an agent that wanted the next one."""
    return Violation("agent-hangs", f"The agent {agent} takes all the steps there are ({stuck}): {_SPIN}.", agent=agent)


def own_line(error: BaseException, files: Collection[str]) -> str:
    """Where in the user's own code it came from: ` (my_agent.py, line 7: ...)`; nothing if that is not known."""
    return _shown(_own(list(_traced(error.__traceback__)), files))


def _by_agent(name: str, said: str, agent: str | None, places: list[Place], files: Collection[str]) -> Violation | None:
    own = _own(places, files)
    outside = [place for place in places if not place[0].startswith(_PACKAGE)]
    if own is None and (agent is None or not outside):
        return None  # not a line of theirs: production or the simulator itself
    who = f"The agent {agent}" if agent is not None else "Code of your agents"
    place = own or outside[-1]
    return Violation(name, f"{who}{_shown(place)}: {said}.", agent=agent or "")


def _own(places: list[Place], files: Collection[str]) -> Place | None:
    """The innermost line of the users' own code: of their modules, or of what is neither ours nor a library's."""
    for place in reversed(places):
        file = place[0]
        if file in files or not (file.startswith(("<", _PACKAGE, *_LIBRARIES))):
            return place
    return None


def _shown(place: Place | None) -> str:
    if place is None:
        return ""
    file, line, function = place
    source = linecache.getline(file, line).strip()[:SOURCE_CHARS_MAX]
    return f" ({Path(file).name}, line {line}, in {function}: `{source}`)"


def _traced(trace: TracebackType | None) -> Iterator[Place]:
    while trace is not None:
        code = trace.tb_frame.f_code
        yield code.co_filename, trace.tb_lineno, code.co_name
        trace = trace.tb_next


def _stacked(frame: FrameType | None) -> list[Place]:
    places: list[Place] = []
    while frame is not None:
        places.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return places[::-1]
