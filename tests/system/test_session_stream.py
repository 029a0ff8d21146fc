"""A session's stream: all its runs in the order of (turn, seq), open between turns, resumable at every cut."""

import itertools
import sqlite3
import threading
from contextlib import closing
from typing import Any

from .server import TERMINAL, TIMEOUT_S, Block, Server


def session_with_turns(server: Server, turns: int) -> tuple[str, list[Block]]:
    """A session with finished turns, and what their runs' own streams say."""
    session = server.session()
    whole: list[Block] = []
    for turn in range(turns):
        whole += server.frames(server.run({"text": f"turn {turn}", "chunk": 2}, session=session)["run_id"])
    return session, whole


def replay(server: Server, session: str, cursor: str | None = None, query: str = "?follow=false") -> list[Block]:
    with server.events(f"/v1/sessions/{session}/events{query}", cursor) as events:
        return list(events)


def test_it_is_its_runs_one_after_the_other(server: Server) -> None:
    session, whole = session_with_turns(server, 3)
    assert replay(server, session) == whole


def test_every_cut_resumes_exactly(server: Server) -> None:
    session, whole = session_with_turns(server, 2)
    for cut, block in enumerate(whole, 1):
        assert replay(server, session, block.id) == whole[cut:]


def test_a_new_turn_arrives_on_the_open_stream(server: Server) -> None:
    session = server.session()
    with server.events(f"/v1/sessions/{session}/events") as events:
        blocks = iter(events)
        for turn in range(3):
            run_id = server.run({"text": "hello", "delay_ms": 2, "chunk": 1}, session=session)["run_id"]
            seen = list(itertools.takewhile(lambda block: block.event not in TERMINAL, blocks))
            assert seen == server.frames(run_id)[:-1], f"turn {turn}"


def test_at_the_end_of_a_turn_the_stream_waits_for_the_next(server: Server) -> None:
    session, whole = session_with_turns(server, 1)
    with server.events(f"/v1/sessions/{session}/events", whole[-1].id) as events:
        run_id = server.run({"text": "next"}, session=session)["run_id"]
        first = next(iter(events))
    assert (first.event, first.json["run_id"]) == ("run.created", run_id)


def test_it_is_one_stream_over_a_restart(start: Any) -> None:
    server: Server = start()
    session, whole = session_with_turns(server, 2)
    server.kill()
    server.start()
    assert replay(server, session) == whole
    run_id = server.run({"text": "after"}, session=session)["run_id"]
    after = server.frames(run_id)
    assert replay(server, session, whole[-1].id) == after


def test_a_cursor_of_another_session_is_a_reset(server: Server) -> None:
    session, whole = session_with_turns(server, 2)
    _, others = session_with_turns(server, 1)
    blocks = replay(server, session, others[3].id)
    assert [block.event for block in blocks[:2]] == ["stream.reset", "stream.snapshot"]
    assert blocks[0].json["reason"] == "foreign"
    assert blocks[2:] == whole[-1:]


def test_an_empty_session_has_a_stream(server: Server) -> None:
    session = server.session()
    assert replay(server, session) == []
    assert server.get("/v1/sessions/nope/events").status_code == 404
    assert server.get(f"/v1/sessions/{session}/events?after=5").status_code == 400


def test_a_damaged_next_turn_ends_the_stream_instead_of_silence(start: Any) -> None:
    """The reader has been sent all that is whole; keepalives for ever would look like a turn that takes long."""
    server: Server = start()
    session, whole = session_with_turns(server, 2)
    server.kill()
    with closing(sqlite3.connect(server.database)) as raw, raw:
        raw.execute("UPDATE runs SET state = x'7b' WHERE turn = 2")
    server.start()
    first_turn = whole[: [block.event in TERMINAL for block in whole].index(True) + 1]
    patience = threading.Timer(TIMEOUT_S, server.kill)  # or the test would be the reader that waits for ever
    patience.start()
    for cursor, expected in ((None, first_turn), (first_turn[-1].id, [])):
        *blocks, last = replay(server, session, cursor, query="")
        assert blocks == expected
        assert (last.event, last.json["reason"]) == ("stream.reconnect", "unavailable")
    patience.cancel()
