"""What a session's stream tells its owner beside the log: superseded, detached, handed off, standing in; each once."""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reattach.adapters.http import walk

from .serving import Api, Backend, problem_of
from .test_handoffs import move, request
from .test_ownership import NOBODYS, owned, remember, resume
from .test_queue import ask, finished
from .test_tail import tail


class Block(NamedTuple):
    event: str
    id: str | None
    data: dict[str, Any]


@contextmanager
def listening(api: Api, session_id: str, cursor: str | None = None, **query: str) -> Generator[Iterator[Block]]:
    """The blocks of the session's stream as they come; one that does not come is a time-out."""
    headers = {"Last-Event-ID": cursor} if cursor is not None else {}
    path = f"/v1/sessions/{session_id}/events"
    with api.http.stream("GET", path, params=query, headers=headers) as answer:
        assert answer.status_code == 200
        yield blocks(answer.iter_lines())


def blocks(lines: Iterator[str]) -> Iterator[Block]:
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            assert name not in fields
            fields[name] = value
        elif "event" in fields:
            yield Block(fields["event"], fields.get("id"), json.loads(fields["data"]))
            fields = {}


def test_the_old_owner_is_told_when_it_happens(api: Api) -> None:
    session_id, epoch = owned(api)
    with listening(api, session_id, session_epoch=epoch) as told:
        resume(api, session_id, "bob", takeover=True)
        event, cursor, fields = next(told)
        assert (event, cursor) == ("session.superseded", None)
        assert fields == {"type": event, "session_id": session_id, "epoch": 2, "owner": "bob", "held": 1}
        resume(api, session_id, "eve", takeover=True)
        api.start(session_id, Session_Epoch="3")
        assert next(told).event == "run.created"  # it reads on, and is told once


def test_an_old_owner_that_attaches_is_told_at_once(api: Api) -> None:
    session_id, epoch = owned(api)
    resume(api, session_id, "bob", takeover=True)
    run = api.start(session_id, Session_Epoch="2").json()
    for query, headers in (({"session_epoch": epoch}, {}), ({}, {"Session-Epoch": epoch})):
        with api.http.stream("GET", f"/v1/sessions/{session_id}/events", params=query, headers=headers) as answer:
            told = blocks(answer.iter_lines())
            assert next(told).event == "session.superseded"
            created = next(told)
            assert (created.event, created.data["run_id"]) == ("run.created", run["run_id"])


def test_the_owner_itself_and_observers_are_told_nothing(api: Api) -> None:
    session_id, epoch = owned(api)
    with listening(api, session_id, session_epoch=epoch) as owner, listening(api, session_id) as observer:
        api.post(f"/v1/sessions/{session_id}/renew", Session_Epoch=epoch)
        api.post(f"/v1/sessions/{session_id}/memories", {"content": 1}, Session_Epoch=epoch)
        run = api.start(session_id, Session_Epoch=epoch).json()
        assert next(owner).event == next(observer).event == "run.created"
        resume(api, session_id, "bob", takeover=True)
        assert next(owner).event == "session.superseded"
        finished(api, run)
        assert next(observer).event == "run.claimed"


def test_a_detached_owner_is_told(api: Api) -> None:
    session_id, epoch = owned(api)
    with listening(api, session_id, session_epoch=epoch) as told:
        api.post(f"/v1/sessions/{session_id}/detach", Session_Epoch=epoch)
        event, cursor, fields = next(told)
        assert (event, cursor, fields["code"]) == ("session.warning", None, "DETACHED")
    with listening(api, session_id, session_epoch=epoch) as told:
        assert next(told).data["code"] == "DETACHED"


@pytest.mark.parametrize("held", ["0", "2", "999999999"])
def test_an_epoch_that_never_was_is_told_as_that(api: Api, held: str) -> None:
    session_id, epoch = owned(api)
    assert epoch == "1"
    with listening(api, session_id, session_epoch=held) as told:
        event, cursor, fields = next(told)
        assert (event, cursor, fields["code"], fields["held"]) == ("session.warning", None, "UNKNOWN_EPOCH", int(held))
        resume(api, session_id, "bob", takeover=True)  # nobody was superseded who was told that he does not own it
        api.start(session_id, Session_Epoch="2")
        assert next(told).event == "run.created"
    refused = api.post(f"/v1/sessions/{session_id}/memories", {"content": 1}, Session_Epoch="999999999")
    assert "999999999 was never granted: the session is at 2." in problem_of(refused, 412, "stale_epoch")["detail"]


def test_the_source_hears_of_each_step_of_a_handoff_once(api: Api) -> None:
    session_id, epoch = owned(api)
    with listening(api, session_id, session_epoch=epoch) as told:
        request(api, session_id)
        request(api, session_id)
        first = next(told)
        assert (first.event, first.data["code"], first.data["handoff_id"]) == (
            "session.warning",
            "HANDOFF_REQUESTED",
            "h",
        )
        with listening(api, session_id, session_epoch=epoch) as late:
            assert next(late).data["code"] == "HANDOFF_REQUESTED"
        remember(api, session_id, "the session moves", Session_Epoch=epoch)
        move(api, session_id, "abandon")
        move(api, session_id, "abandon")
        ended = next(told)
        assert (ended.data["code"], ended.data["reason"]) == ("HANDOFF_ABANDONED", "abandoned")
        request(api, session_id, "h2")
        assert next(told).data["handoff_id"] == "h2"
        move(api, session_id, "ready", "h2", Session_Epoch=epoch)
        assert next(told).data["code"] == "HANDOFF_READY"
        resume(api, session_id, "bob", handoff_id="h2")
        assert next(told).event == "session.superseded"
    with listening(api, session_id, session_epoch="2") as told:  # what is over is no news for who comes later
        api.start(session_id, Session_Epoch="2")
        assert next(told).event == "run.created"


def test_a_session_that_stands_in_says_so_to_who_comes_fresh(api: Api) -> None:
    resumed = resume(api, NOBODYS).json()
    session_id = resumed["session_id"]
    with listening(api, session_id) as told:
        warning = next(told)
        assert (warning.event, warning.id) == ("session.warning", None)
        assert warning.data == {"type": "session.warning", "session_id": session_id, **resumed["warning"]}
        api.start(session_id, Session_Epoch="1")
        created = next(told)
        assert created.event == "run.created"
    with listening(api, session_id, created.id) as told:
        api.post(f"/v1/runs/{created.data['run_id']}/cancel")
        assert next(told).event == "run.cancelled"


def test_another_process_on_the_same_file_tells_too(api: Api, backend: Backend, tmp_path: Path) -> None:
    """Both of the owner and of a turn that begins over there."""
    other = Backend(backend.database.parent)
    try:
        with other.serve() as port:
            there = Api(port)
            session_id, epoch = owned(api)
            run = api.start(session_id, Session_Epoch=epoch).json()
            with listening(there, session_id, tail(there, session_id)["cursor"], session_epoch=epoch) as told:
                assert next(told).event == "run.created"
                request(api, session_id)
                assert next(told).data["code"] == "HANDOFF_REQUESTED"
                resume(api, session_id, "bob", takeover=True)
                assert next(told).event == "session.superseded"
                queued = ask(api, session_id, "next", Session_Epoch="2").json()
                api.post(f"/v1/runs/{run['run_id']}/cancel")
                assert next(told).event == "run.cancelled"
                created = next(told)
                assert (created.event, created.data["run_id"]) == ("run.created", queued["run_id"])
            there.http.close()
    finally:
        other.close()


def test_a_stream_between_turns_ends_when_its_session_is_deleted(api: Api) -> None:
    session_id, epoch = owned(api)
    with listening(api, session_id, session_epoch="7") as told:
        assert next(told).data["code"] == "UNKNOWN_EPOCH"  # it is open, and waits
        assert api.http.delete(f"/v1/sessions/{session_id}", headers={"Session-Epoch": epoch}).status_code == 204
        assert list(told) == []


def test_a_queued_turn_arrives_on_the_open_stream_when_it_begins(api: Api) -> None:
    """Also one that a handoff has held back, and one that was cancelled meanwhile."""
    session_id, epoch = owned(api)
    first = api.start(session_id, Session_Epoch=epoch).json()
    with listening(api, session_id) as told:
        assert next(told).data["run_id"] == first["run_id"]
        gone = ask(api, session_id, "gone", Session_Epoch=epoch).json()
        api.post(f"/v1/runs/{gone['run_id']}/cancel")
        request(api, session_id)
        held = ask(api, session_id, "held", Session_Epoch=epoch).json()
        api.post(f"/v1/runs/{first['run_id']}/cancel")
        seen = [next(told) for _ in range(3)]
        assert [block.event for block in seen] == ["run.cancelled", "run.created", "run.cancelled"]
        assert [block.data["run_id"] for block in seen[1:]] == [gone["run_id"]] * 2
        move(api, session_id, "abandon")
        created = next(told)
        assert (created.event, created.data["run_id"]) == ("run.created", held["run_id"])
        api.post(f"/v1/runs/{held['run_id']}/cancel")


def test_a_sessions_snapshot_has_what_was_said_before(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded, and it names the message to page on from."""
    monkeypatch.setattr(walk, "SNAPSHOT_MESSAGES", 3)
    session_id = api.session()
    for n in range(2):
        finished(api, api.run(session_id, input=f"q{n}"), f"a{n}")
    run = api.run(session_id, input="now")
    queued = ask(api, session_id, "later").json()
    with listening(api, session_id, snapshot="true") as told:
        snapshot = next(told)
        assert (snapshot.event, snapshot.id) == ("stream.snapshot", None)
        state = snapshot.data["state"]
        texts = [m["parts"][0]["text"] for m in state["messages"]]
        assert texts[:3] == ["a0", "q1", "a1"]
        assert queued["run_id"] not in json.dumps(state)
        page = api.get(f"/v1/sessions/{session_id}/messages", params={"before": state["before"]}).json()
        assert [m["parts"][0]["text"] for m in page["items"]] == ["q0"]
        created = next(told)
        assert (created.event, created.data["run_id"]) == ("run.created", run["run_id"])
    monkeypatch.setattr(walk, "SNAPSHOT_MESSAGES", 4)
    with listening(api, session_id, snapshot="true") as told:
        assert next(told).data["state"]["before"] is None


def test_two_epochs_contradict_each_other(api: Api) -> None:
    session_id, epoch = owned(api)
    path = f"/v1/sessions/{session_id}/events?session_epoch={epoch}"
    problem_of(api.get(path, headers={"Session-Epoch": str(int(epoch) + 1)}), 400, "malformed")
