"""The history of a session in which a promise was broken, as a file: its log, what everybody was shown and answered."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...domain.errors import ReattachError
from ...domain.ports import Damaged, Store
from .rows import Rows, rows_of

if TYPE_CHECKING:
    from .story import Story


def write(folder: Path, story: "Story", rows: Rows) -> None:
    """JSON lines: records, connections (what was asked for, every byte that came, how it ended), decisions, endings."""
    with (folder / f"history-{story.name}.jsonl").open("w", encoding="utf-8") as file:
        for line in _lines(story, rows):
            file.write(json.dumps(line, default=str, ensure_ascii=False) + "\n")


async def write_open(folder: Path, stories: Sequence["Story"], store: Store) -> None:
    """The same of every story that is under way: where one of them broke off, nobody has judged it."""
    for story in stories:
        if story.session_id is not None:
            with contextlib.suppress(ReattachError):  # the database may be what broke
                write(folder, story, await rows_of(store, story.session_id))


def _lines(story: "Story", rows: Rows) -> Iterator[dict[str, Any]]:
    yield {"session": rows.session_id, "told": story.told}
    for run_id, records in rows.records.items():
        for record in records:
            if isinstance(record, Damaged):
                yield {"run": run_id, "damaged": record.first_seq}
                continue
            data = [line.decode() for line in record.data]
            yield {"run": run_id, "first_seq": record.first_seq, "epoch": record.epoch, "data": data}
    for one in story.deliveries:
        came = b"".join(one.pieces).decode(errors="backslashreplace")
        yield {"reader": one.who, "asked": asdict(one.asked), "came": came, "end": one.end}
    for following in story.followings:
        yield {"reader": following.who, "asked": asdict(following.asked), "told": following.told}
    for (run_id, approval_id), operations in story.board.decisions.items():
        yield {"run": run_id, "approval": approval_id, "operations": [str(one) for one in operations]}
    for run_id, operations in story.board.endings.items():
        yield {"run": run_id, "operations": [str(one) for one in operations]}
