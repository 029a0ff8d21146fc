"""C2, C4 on any machine: a cursor read on one server is good on another that shares the store."""

from typing import Any

from .server import Server


def test_a_cursor_is_good_on_the_other_server(start: Any) -> None:
    """The other one watches the run, too, and hears of its frames a little later."""
    first: Server = start()
    second: Server = start("--no-worker", database=first.database)
    run_id = first.run({"text": "0123456789" * 6, "chunk": 1, "delay_ms": 4})["run_id"]
    path = f"/v1/runs/{run_id}/events"
    last = 0
    with second.events(path) as watched, first.events(path) as events:
        for block in events:
            answer = second.get(f"{path}?follow=false", **{"Last-Event-ID": str(block.id)})
            assert "stream.reset" not in answer.text, block.id
            last = answer.status_code
        assert last == 204
        assert list(watched) == first.frames(run_id)
