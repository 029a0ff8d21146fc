"""What the world tells its trace, in plain values."""

from collections.abc import Mapping
from typing import Any

from ..domain.ports import News, SessionMoved
from .process import PROCESS
from .violation import Violation


def told(news: News) -> dict[str, Any]:
    if isinstance(news, SessionMoved):
        return {"session": news.session_id, "begun": news.begun}
    record = news.record
    last = record.data[-1]
    kind = last[9 : last.index(b'"', 9)].decode()
    return {"run": news.run_id, "first": record.first_seq, "last": record.last_seq, "epoch": record.epoch, "type": kind}


def running() -> str | None:
    process = PROCESS.get()
    return process.label if process is not None else None


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str | int | float | bool) else str(value) for name, value in fields.items()
    }


def unhandled(context: Mapping[str, Any]) -> Violation:
    error = context.get("exception")
    return Violation("unhandled-error", f"{context.get('message')}: {type(error).__name__}: {error}")
