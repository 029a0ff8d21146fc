"""What a run looks like while it happens: each frame becomes text, a line, or nothing."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import to_json

from ...domain.frames import TERMINAL_TYPES
from ..client import Frame, Interruption, PendingApproval, Tail
from .terminal import Terminal, shortened

ENDINGS: Final[Mapping[str, tuple[str, str]]] = {
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("■", "yellow"),
}
TAIL: Final = "session.tail"
"""The type of a tail's line among the frames of --json."""

ARGUMENTS_CHARS_MAX: Final = 100
"""Longer arguments are laid out over several lines."""


class JsonLines:
    """For scripts: one frame a line on stdout, with its cursor as `id`."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def show(self, frame: Frame) -> None:
        """One line."""
        self._terminal.result(to_json({**frame.data, "id": frame.id}).decode())

    def show_tail(self, tail: Tail) -> None:
        """One line before the frames: its `cursor` is the place they go on from."""
        self._terminal.result(to_json({"type": TAIL, **tail.model_dump(mode="json"), "id": None}).decode())

    def interrupted(self, interruption: Interruption) -> None:
        """Say so, once."""
        note_interruption(self._terminal, interruption)


class Screen:
    """For people. `asked` are the approvals that were asked for and, as far as frames were seen, not decided."""

    def __init__(self, terminal: Terminal) -> None:
        self.asked: list[PendingApproval] = []
        self._terminal = terminal
        self._tools: dict[str, str] = {}
        self._began: str | None = None

    def interrupted(self, interruption: Interruption) -> None:
        """Say so, once."""
        note_interruption(self._terminal, interruption)

    def show_tail(self, tail: Tail) -> None:
        """What was said before the frames to come: their own messages, a prompt above all, are left to them."""
        running = () if tail.active_run is None else (tail.active_run.run_id,)
        to_come = (*running, *tail.session.queue)
        self.show_messages(message.model_dump() for message in tail.messages if message.run_id not in to_come)
        self._terminal.note(state_of(tail), "dim")

    def show(self, frame: Frame) -> None:
        """Frames of unknown types are for programs that know them."""
        data, terminal = frame.data, self._terminal
        match frame.type:
            case "text.delta":
                terminal.answer(data["text"])
            case "text.end":
                terminal.end_answer()
            case "reasoning.delta":
                terminal.aside(data["text"])
            case "tool.call.ready":
                self._tools[data["tool_call_id"]] = data["name"]
                terminal.note(f"→ {data['name']} {compact(data['arguments'])}", "dim")
            case "tool.result":
                self._show_result(data)
            case "data" | "source" | "file":
                self._show_thing(frame.type, data)
            case kind if kind.startswith(("run.", "approval.")):
                self._show_fact(frame)
            case "step.reset":
                terminal.end_answer()
                terminal.note("The worker was lost; what follows replaces its unfinished step.", "dim")
            case kind if kind.startswith("stream."):
                self._show_exception(frame)
            case "session.superseded" | "session.warning":
                terminal.note(f"{frame.type}: {compact(data)}", "yellow")
            case _:
                pass

    def _show_thing(self, kind: str, data: Mapping[str, Any]) -> None:
        match kind:
            case "data":
                line = f"{data['name']}: {compact(data['value'])}"
            case "source":
                line = f"source: {data.get('title') or ''} {data['url']}".replace("  ", " ")
            case _:
                line = f"file: {data['name']} ({data['media_type']}) {data['url']}"
        self._terminal.note(f"· {line}", "dim")

    def _show_result(self, data: Mapping[str, Any]) -> None:
        name = self._tools.get(data["tool_call_id"], "tool")
        if data.get("error") is not None:
            self._terminal.note(f"✗ {name}: {shortened(data['error'])}", "red")
        elif data.get("omitted"):
            self._terminal.note(f"← {name} (output not shown)", "dim")
        else:
            self._terminal.note(f"← {name} {compact(data.get('output'))}", "dim")

    def _show_fact(self, frame: Frame) -> None:
        data, terminal = frame.data, self._terminal
        match frame.type:
            case "run.created":
                self._begin(data)
            case "approval.requested":
                asked = PendingApproval.model_validate(data)
                self.asked.append(asked)
                terminal.note(f"? {asked.approval_id} needs approval: {call(asked)}", "dim")
            case "approval.decided":
                self.asked = [asked for asked in self.asked if asked.approval_id != data["approval_id"]]
                reason = f" ({shortened(data['reason'])})" if data["reason"] else ""
                verb = "approved" if data["outcome"] == "approve" else "denied"
                terminal.note(f"{data['approval_id']} was {verb} by {data['by']}{reason}", "dim")
            case "run.suspended":
                terminal.end_answer()
            case "run.released":
                terminal.note("The worker hands the run on.", "dim")
            case kind if kind in TERMINAL_TYPES:
                self._end(kind.partition(".")[2], data)
            case _:
                pass

    def _begin(self, data: Mapping[str, Any]) -> None:
        self._began = data["at"]
        self._terminal.note(f"{data['run_id']} · {data['agent']} · turn {data['turn']} of {data['session_id']}", "dim")
        if data["prompt"]:
            self._terminal.note(f"> {data['prompt']}", "dim")

    def _end(self, status: str, data: Mapping[str, Any]) -> None:
        took = duration(self._began, data["at"])
        self._terminal.end_answer()
        self._terminal.note(*ending(status, data["run_id"], data, took))
        self._tools.clear()
        self.asked.clear()

    def _show_exception(self, frame: Frame) -> None:
        data, terminal = frame.data, self._terminal
        match frame.type:
            case "stream.reset":
                terminal.note(
                    f"The place in the stream was lost ({data['reason']}); here is what there is now.", "yellow"
                )
            case "stream.snapshot":
                self._show_snapshot(data["state"])
            case "stream.error":
                seqs = f"{data['first_seq']} to {data['last_seq']}"
                terminal.note(f"The server can't read the frames {seqs} ({data['code']}).", "red")
            case _:
                pass

    def _show_snapshot(self, state: Mapping[str, Any]) -> None:
        self.asked = [PendingApproval.model_validate(asked) for asked in state["pending_approvals"]]
        self.show_messages(state["messages"])

    def show_messages(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """What was said, as it looked when it was said."""
        for message in messages:
            if message["status"] == "abandoned":
                continue
            for part in message["parts"]:
                if message["role"] == "user":
                    self._terminal.note(f"> {part['text']}", "dim")
                else:
                    self._show_part(part)

    def _show_part(self, part: Mapping[str, Any]) -> None:
        terminal = self._terminal
        match part["kind"]:
            case "text":
                terminal.answer(part["text"])
                if part.get("state") != "open":
                    terminal.end_answer()
            case "reasoning":
                terminal.aside(part["text"])
            case "tool" if "arguments" in part:
                self._tools[part["tool_call_id"]] = part["name"]
                terminal.note(f"→ {part['name']} {compact(part['arguments'])}", "dim")
            case "tool_result":
                self._show_result(part)
            case "data" | "source" | "file" as kind:
                self._show_thing(kind, part)
            case "event":
                terminal.note(*ending(part["event"].partition(".")[2], "", part))
            case _:
                pass


def note_interruption(terminal: Terminal, interruption: Interruption) -> None:
    """One line for a break, however often coming back fails."""
    if interruption.count == 1:
        terminal.note(f"… {interruption.why}; coming back, nothing is lost", "dim")


def state_of(tail: Tail) -> str:
    """One line on a session: which, how far, and what it is busy with."""
    session, active = tail.session, tail.active_run
    turns = f"{session.turns} turn{'' if session.turns == 1 else 's'}"
    doing = tail.status if active is None else f"{active.run_id} is {tail.status}"
    return " · ".join((session.session_id, session.status, turns, doing))


def ending(status: str, run_id: str, data: Mapping[str, Any], took: str = "") -> tuple[str, str]:
    """The status line of a run that ended, and its style. `data` is its terminal frame, or the run itself."""
    mark, style = ENDINGS.get(status, ("·", "plain"))
    error: Mapping[str, Any] = data.get("error") or {}
    why = {
        "completed": data.get("stop_reason"),
        "failed": f"{error.get('type')}: {shortened(str(error.get('message')))}",
        "cancelled": data.get("reason"),
    }.get(status)
    return " · ".join(piece for piece in (f"{mark} {status}", why, took, run_id) if piece), style


def call(approval: PendingApproval) -> str:
    """The tool call an approval is about, on one line."""
    return f"{approval.tool} {compact(approval.arguments)}"


def in_full(approval: PendingApproval) -> str:
    """The whole call: nobody should approve what they were not shown."""
    arguments = to_json(approval.arguments).decode()
    if len(arguments) > ARGUMENTS_CHARS_MAX:
        arguments = to_json(approval.arguments, indent=2).decode()
    return f"{approval.tool} {arguments}"


def compact(value: object) -> str:
    """JSON on one short line."""
    return shortened(to_json(value, fallback=str).decode())


def until(deadline: datetime) -> str:
    """A deadline as a person reads it."""
    return f"{deadline.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(began: str | None, ended: str) -> str:
    """How long it took, or nothing if the beginning was not seen."""
    if began is None:
        return ""
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
