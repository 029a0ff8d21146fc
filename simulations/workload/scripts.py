"""What the agents of a world are asked to do: scripts drawn from the tape, the shortest one first."""

from typing import Any, Final

from ..tape import Tape
from .users import PROMPTS, Users

STEPS_MAX: Final = 4
"""Steps of a script; a repeat counts as one."""

KINDS: Final = (
    *("text", "reasoning", "tool", "wait", "approvals", "data", "repeat"),
    *("approvals", "wait", "fail", "crash"),
)
"""Kinds of steps; the first is the benign one."""

DELAYS_MS: Final = (0, 10, 100, 400)
"""Milliseconds between two outputs."""

WAITS_MS: Final = (50, 500, 2_000, 5_000)
"""Milliseconds of silence: up to more than a lease."""

DEADLINES_S: Final = (2.0, 2.0, 2.0, 0.0)
"""Seconds after which approvals expire that do so soon; the last ones are too late at once."""

AGENTS: Final = ("script", "script", "script", "script", "count", "talk", "remote", "remote", "fragile")
"""Which agent an author asks."""

CONFIGS: Final[tuple[dict[str, Any] | None, ...]] = (
    None,
    {"tool_output": "omit"},
    {"kinds": ["text", "tool"]},
    {"kinds": ["reasoning", "data", "step"], "tool_output": "omit"},
    {"kinds": []},
    {"kinds": None, "tool_output": "full"},
)
"""What readers of a run are to be shown (`request_config`); mostly nothing is said about it."""

CONFIG_P: Final = 0.35
"""Part of the runs that are started with a request_config."""

TEXTS: Final = ("Hello.", "A longer answer, in several pieces.", "Zeilen\nund Zeichen: äöü €", "x" * 60)


def draw_config(tape: Tape, name: str) -> dict[str, Any] | None:
    """What an author wants to be shown of the next run, or None for all."""
    return CONFIGS[tape.sparse(f"author.config:{name}", len(CONFIGS), CONFIG_P)]


def draw_script(tape: Tape, site: str) -> dict[str, Any]:
    """A script for the `script` agent."""
    count = 1 + tape.draw(f"{site}.steps", STEPS_MAX)
    return {"steps": [_step(tape, site, nested=False) for _ in range(count)]}


def _step(tape: Tape, site: str, *, nested: bool) -> dict[str, Any]:
    kinds = ("text", "data", "tool") if nested else KINDS
    kind = tape.pick(f"{site}.kind", kinds)
    delay_ms = tape.pick(f"{site}.delay", DELAYS_MS)
    match kind:
        case "text" | "reasoning":
            return {kind: tape.pick(f"{site}.text", TEXTS), "chunk": 4 + 8 * tape.draw(f"{site}.chunk", 3)} | (
                {"delay_ms": delay_ms}
            )
        case "tool":
            result = {"error": "it broke"} if tape.chance(f"{site}.tool-error", 0.2) else {"result": {"ok": True}}
            return {"tool": {"name": "look", "arguments": {"at": delay_ms}, "delay_ms": 5 * delay_ms, **result}}
        case "wait":
            return {"wait_ms": tape.pick(f"{site}.wait", WAITS_MS)}
        case "approvals":
            return _approvals(tape, site)
        case "data":
            return {"data": {"name": "progress", "value": delay_ms}}
        case "repeat":
            times = 2 + tape.draw(f"{site}.times", 3)
            return {"repeat": {"times": times, "steps": [_step(tape, site, nested=True)]}}
        case "fail":
            return {"fail": {"type": "llm_timeout", "message": "too slow", "retryable": True}}
        case _:
            return {"crash": True}


def _approvals(tape: Tape, site: str) -> dict[str, Any]:
    count = 1 + tape.draw(f"{site}.approvals", 3)
    wanted = [{"tool": "pay", "arguments": {"sum": n}, "result": {"paid": n}} for n in range(count)]
    step: dict[str, Any] = {"approvals": wanted}
    if tape.chance(f"{site}.short-deadline", 0.3):
        step["timeout_s"] = tape.pick(f"{site}.deadline", DEADLINES_S)
    return step


def draw_input(tape: Tape, name: str, users: Users) -> tuple[str, Any]:
    """What an author asks: an agent and its input. A user's own agents get most of the questions."""
    if users.agents and not tape.chance(f"author.scripted:{name}", 0.25):
        agent = tape.pick(f"author.users-agent:{name}", sorted(users.agents))
        return agent, tape.pick(f"author.prompt:{name}", users.inputs)
    agent = tape.pick(f"author.agent:{name}", AGENTS)
    given = draw_script(tape, f"script:{name}") if agent == "script" else tape.pick(f"author.prompt:{name}", PROMPTS)
    return agent, given
