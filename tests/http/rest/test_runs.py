"""Runs over HTTP: started, streamed, refused, cancelled."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .serving import Api, Backend, problem_of

FIELDS = (
    "run_id job_id session_id request_config turn attempt agent status head_seq first_seq epoch prompt "
    "pending_approvals stop_reason error usage created_at started_at ended_at"
).split()


def test_a_run_is_started_and_read(api: Api) -> None:
    """S9: the answer has the run, and its stream has the first frame already."""
    session_id = api.session()
    started = api.start(session_id)
    run = started.json()
    assert started.status_code == 202
    assert started.headers["location"] == f"/v1/runs/{run['run_id']}"
    assert run["events_url"] == f"/v1/runs/{run['run_id']}/events"
    assert set(FIELDS) <= set(run)
    assert (run["session_id"], run["status"], run["prompt"], run["turn"]) == (session_id, "pending", "hi", 1)
    assert (run["head_seq"], run["first_seq"], run["epoch"], run["pending_approvals"]) == (1, 1, 0, [])
    assert (run["stop_reason"], run["error"], run["usage"], run["started_at"], run["ended_at"]) == (None,) * 5
    assert run["request_config"] == {"kinds": None, "tool_output": "full"}
    assert len(run["request_config_digest"]) == 16
    events = run.pop("events_url")
    assert api.get(started.headers["location"]).json() == run
    assert '"type":"run.created"' in api.get(events, params={"follow": "false"}).text


def test_a_run_can_be_streamed_by_the_request_that_starts_it(api: Api) -> None:
    session_id = api.session()
    headers = {"Accept": "application/json;q=0.5, Text/Event-Stream; charset=utf-8; q=0.01"}
    with api.http.stream("POST", f"/v1/sessions/{session_id}/runs", json={"agent": "plain"}, headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        run_id = stream.headers["reattach-run-id"]
        assert stream.headers["location"] == f"/v1/runs/{run_id}"
        events = (line for line in stream.iter_lines() if line.startswith("event: "))
        assert next(events) == "event: run.created"
        api.post(f"/v1/runs/{run_id}/cancel")
        assert list(events) == ["event: run.cancelled"]


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "*/*",
        "text/event-stream;q=0",
        "text/event-stream; charset=utf-8; q=0.00",
        "Text/Event-Stream;charset=utf-8;Q=0;x=y, application/json",
        "text/*",
        "x" * 4000,
        "",
    ],
)
def test_only_who_asks_for_a_stream_gets_one(api: Api, accept: str) -> None:
    path = f"/v1/sessions/{api.session()}/runs"
    with api.http.stream("POST", path, json={"agent": "plain"}, headers={"Accept": accept}) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (202, "application/json")


def test_a_cursor_that_the_stream_would_refuse_starts_nothing(api: Api) -> None:
    session_id = api.session()
    refused = api.start(session_id, Accept="text/event-stream", Last_Event_ID="seven")
    problem_of(refused, 400, "invalid_cursor")
    assert api.get("/v1/runs", params={"session_id": session_id}).json()["items"] == []


def test_only_a_run_that_is_streamed_takes_the_parameters_of_a_stream(api: Api) -> None:
    session_id = api.session()
    path = f"/v1/sessions/{session_id}/runs"
    for query, headers in (("?follow=false", {}), ("?limit=1", {"Accept": "text/event-stream"})):
        refused = api.post(path + query, {"agent": "plain"}, **headers)
        assert problem_of(refused, 400, "malformed")["field"] in ("follow", "limit")
    assert api.get("/v1/runs", params={"session_id": session_id}).json()["items"] == []
    streamed = api.post(f"{path}?follow=false", {"agent": "plain"}, Accept="text/event-stream")
    assert (streamed.status_code, streamed.text.count("event: run.created")) == (200, 1)


def test_a_busy_session_names_the_run(api: Api) -> None:
    """S7 (reject): before any side effect."""
    run = api.run()
    for headers in ({}, {"Accept": "text/event-stream"}):
        problem = problem_of(api.start(run["session_id"], **headers), 409, "session_busy")
        assert (problem["run_id"], problem["session_id"]) == (run["run_id"], run["session_id"])
        assert problem["pending_approvals"] == []
    assert [r["run_id"] for r in api.get("/v1/runs", params={"session_id": run["session_id"]}).json()["items"]] == [
        run["run_id"]
    ]


def test_a_waiting_run_names_its_approvals(api: Api) -> None:
    """A1, with and without a stream."""
    run = api.run()
    approvals = api.claim(run).suspend("rm", "mv")
    for headers in ({}, {"Accept": "text/event-stream"}):
        problem = problem_of(api.start(run["session_id"], **headers), 409, "session_busy")
        assert problem["pending_approvals"] == approvals
        assert all(approval in problem["detail"] for approval in approvals)


def test_of_many_starts_at_once_one_wins(api: Api) -> None:
    session_id = api.session()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(api.start, [session_id] * 8))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 7
    won = next(answer.json()["run_id"] for answer in answers if answer.status_code == 202)
    assert {answer.json()["run_id"] for answer in answers} == {won}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"agent": "nobody"}, "unknown_agent", None),
        ({}, "invalid", "agent"),
        ({"agent": 5}, "invalid", "agent"),
        ({"agent": "plain", "inputs": 1}, "invalid", "inputs"),
        ({"agent": "plain", "on_busy": "queue"}, "invalid", "on_busy"),
        ({"agent": "plain", "request_config": {"kinds": ["smell"]}}, "invalid", "request_config.kinds.0"),
        ({"agent": "plain", "request_config": {"kinds": ["text"] * 8}}, "invalid", "request_config"),
        ({"agent": "plain", "request_config": {"colour": 1}}, "invalid", "request_config.colour"),
        ({"agent": "script", "input": {"steps": [{"dance": 1}]}}, "invalid", None),
        ({"agent": "script", "input": "no script"}, "invalid", None),
    ],
)
def test_what_a_run_can_not_be(api: Api, body: dict[str, Any], code: str, field: str | None) -> None:
    session_id = api.session()
    problem = problem_of(api.post(f"/v1/sessions/{session_id}/runs", body), 422, code)
    if field is not None:
        assert problem["field"] == field
    assert api.get("/v1/runs", params={"session_id": session_id}).json()["items"] == []


def test_a_cancel_is_answered_with_the_actual_state(api: Api) -> None:
    """X2: twice, and after the end."""
    run = api.run()
    first = api.post(f"/v1/runs/{run['run_id']}/cancel", {"reason": "no more"}).json()
    again = api.post(f"/v1/runs/{run['run_id']}/cancel", {"reason": "again"}).json()
    assert (first["status"], first["head_seq"]) == ("cancelled", 2)
    assert again == first
    held = api.claim(api.run())
    held.post("complete", {"stop_reason": "max_tokens", "usage": {"output_tokens": 7}})
    done = api.post(f"/v1/runs/{held.run_id}/cancel").json()
    assert (done["status"], done["stop_reason"], done["usage"]) == ("completed", "max_tokens", {"output_tokens": 7})


def test_a_cancel_needs_no_body(api: Api) -> None:
    run = api.run()
    assert api.http.post(f"/v1/runs/{run['run_id']}/cancel").json()["status"] == "cancelled"


def test_while_draining_nothing_is_started(backend: Backend) -> None:
    draining = [False]
    with backend.serve(draining=lambda: draining[0]) as port:
        api = Api(port)
        session_id, run = api.session(), api.run()
        assert api.get("/readyz").json() == {"status": "ready"}
        draining[0] = True
        for refused in (api.start(session_id), api.post("/v1/work/claim", {"worker": "w", "agents": ["plain"]})):
            problem_of(refused, 503, "draining")
            assert int(refused.headers["retry-after"]) > 0
        problem_of(api.get("/readyz"), 503, "draining")
        assert api.get("/healthz").json() == {"status": "alive"}
        assert api.get(run["events_url"], params={"follow": "false"}).status_code == 200
        assert api.post(f"/v1/runs/{run['run_id']}/cancel").json()["status"] == "cancelled"
        api.http.close()
