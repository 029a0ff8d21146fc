"""What the world tells its trace, in plain values."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..domain.errors import ReattachError
from ..domain.identifiers import SessionId
from ..domain.ports import Committed
from ..domain.session_facts import SessionFact
from ..infrastructure.eventstore.writer import Work, Written
from .process import PROCESS
from .store.core import records
from .store.faulty import work_name
from .trace import Trace
from .violation import Violation


def told_commit(writer: str, group: Sequence[Work], written: Written) -> dict[str, Any]:
    return {
        "proc": writer,
        "works": [work_name(work) for work in group],
        "news": [_told(news) for news in records(written.news)],
    }


def tell_fact(trace: Trace, session_id: SessionId, fact: SessionFact) -> None:
    trace.emit("fact", **({"session": session_id, **_fact(fact)} if trace.on else {}))


def _fact(fact: SessionFact) -> dict[str, Any]:
    names = ("owner", "epoch", "how", "reason", "sequence", "by", "handoff_id", "outcome", "target", "turn", "run_id")
    said = {name: getattr(fact, name) for name in names if getattr(fact, name, None) is not None}
    if "run_id" in said:
        said["run"] = said.pop("run_id")
    return {"what": fact.topic.partition(".")[2], **said}


def _told(news: Committed) -> dict[str, Any]:
    record = news.record
    last = record.data[-1]
    kind = last[9 : last.index(b'"', 9)].decode()
    place = {"run": news.run_id, "first": record.first_seq, "last": record.last_seq, "epoch": record.epoch}
    return {**place, "type": kind, "sum": zlib.crc32(b"\n".join(record.data))}  # what differs, differs in the trace


def running() -> str | None:
    process = PROCESS.get()
    return process.label if process is not None else None


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str | int | float | bool) else str(value) for name, value in fields.items()
    }


def unhandled(context: Mapping[str, Any]) -> Violation:
    error = context.get("exception")
    if isinstance(error, ReattachError):
        return Violation("trouble-unheard", f"Nobody was told of {type(error).__name__}: {error}")
    return Violation("unhandled-error", f"{context.get('message')}: {type(error).__name__}: {error}")
