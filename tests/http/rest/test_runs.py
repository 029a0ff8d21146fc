"""Runs over HTTP: started, started twice, listed, read, cancelled, decided."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from .serving import Api, Backend, problem_of

FIELDS = (
    "run_id job_id session_id request_config turn attempt agent status head_seq first_seq epoch prompt "
    "pending_approvals stop_reason error usage created_at started_at ended_at"
).split()


def start(api: Api, session_id: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    return api.post(f"/v1/sessions/{session_id}/runs", body or {"agent": "plain", "input": "hi"}, **headers)


def test_a_run_is_started_and_read(api: Api) -> None:
    """S9: the answer has the run, and its stream has the first frame already."""
    session_id = api.session()
    started = start(api, session_id)
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
    headers = {"Accept": "application/json;q=0.5, text/event-stream"}
    with api.http.stream("POST", f"/v1/sessions/{session_id}/runs", json={"agent": "plain"}, headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        run_id = stream.headers["reattach-run-id"]
        assert stream.headers["location"] == f"/v1/runs/{run_id}"
        events = (line for line in stream.iter_lines() if line.startswith("event: "))
        assert next(events) == "event: run.created"
        api.post(f"/v1/runs/{run_id}/cancel")
        assert list(events) == ["event: run.cancelled"]


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/event-stream;q=0", "text/*", "x" * 4000, ""])
def test_only_who_asks_for_a_stream_gets_one(api: Api, accept: str) -> None:
    assert start(api, api.session(), Accept=accept).status_code == 202


def test_a_cursor_that_the_stream_would_refuse_starts_nothing(api: Api) -> None:
    session_id = api.session()
    refused = start(api, session_id, Accept="text/event-stream", Last_Event_ID="seven")
    problem_of(refused, 400, "invalid_cursor")
    assert api.get("/v1/runs", params={"session_id": session_id}).json()["items"] == []


def test_a_busy_session_names_the_run(api: Api) -> None:
    """S7 (reject): before any side effect."""
    run = api.run()
    for headers in ({}, {"Accept": "text/event-stream"}):
        problem = problem_of(start(api, run["session_id"], **headers), 409, "session_busy")
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
        problem = problem_of(start(api, run["session_id"], **headers), 409, "session_busy")
        assert problem["pending_approvals"] == approvals
        assert all(approval in problem["detail"] for approval in approvals)


def test_of_many_starts_at_once_one_wins(api: Api) -> None:
    session_id = api.session()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: start(api, session_id), range(8)))
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
        ({"agent": "plain", "on_busy": "enqueue"}, "invalid", "on_busy"),
        ({"agent": "plain", "request_config": {"kinds": ["smell"]}}, "invalid", "request_config.kinds.0"),
        ({"agent": "plain", "request_config": {"kinds": ["text"] * 8}}, "invalid", "request_config.kinds"),
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


def test_the_same_key_and_payload_give_the_first_answer_again(api: Api) -> None:
    """I1: also after the run has moved on; executed once."""
    session_id = api.session()
    body = {"agent": "plain", "input": {"n": [1, 2]}, "request_config": {"kinds": ["text"]}}
    first = start(api, session_id, body, Idempotency_Key="k-1")
    assert "idempotent-replayed" not in first.headers
    api.claim(first.json()).post("complete")
    again = start(api, session_id, body, Idempotency_Key="k-1")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert len(api.get("/v1/runs", params={"session_id": session_id}).json()["items"]) == 1


def test_a_key_brings_a_stream_back_where_it_broke(api: Api) -> None:
    """I1: the cursor is honoured when the request that started the run is sent again."""
    session_id = api.session()
    key = {"Accept": "text/event-stream", "Idempotency-Key": "k-stream"}
    with api.http.stream("POST", f"/v1/sessions/{session_id}/runs", json={"agent": "plain"}, headers=key) as stream:
        run_id = stream.headers["reattach-run-id"]
        cursor = next(line for line in stream.iter_lines() if line.startswith("id: ")).removeprefix("id: ")
    api.post(f"/v1/runs/{run_id}/cancel")
    resumed = start(api, session_id, {"agent": "plain"}, **key, Last_Event_ID=cursor)
    assert resumed.status_code == 200
    assert (resumed.headers["reattach-run-id"], resumed.headers["idempotent-replayed"]) == (run_id, "true")
    assert [line for line in resumed.text.splitlines() if line.startswith("event: ")] == ["event: run.cancelled"]


def test_sessions_have_keys_too(api: Api) -> None:
    first = api.post("/v1/sessions", {"metadata": {"a": 1}}, Idempotency_Key="s-1")
    again = api.post("/v1/sessions", {"metadata": {"a": 1}}, Idempotency_Key="s-1")
    assert (again.status_code, again.content, again.headers["location"]) == (201, first.content, first.headers["location"])
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    problem_of(api.post("/v1/sessions", {"metadata": {"a": 2}}, Idempotency_Key="s-1"), 422, "idempotency_mismatch")


def test_a_key_is_bound_to_payload_route_and_tenant(api: Api, anna: Api, bert: Api) -> None:
    """I2"""
    session_id = api.session()
    start(api, session_id, Idempotency_Key="k-2")
    for answer in (
        start(api, session_id, {"agent": "plain", "input": "other"}, Idempotency_Key="k-2"),
        start(api, api.session(), Idempotency_Key="k-2"),
        api.post("/v1/sessions", {}, Idempotency_Key="k-2"),
    ):
        assert problem_of(answer, 422, "idempotency_mismatch")["key"] == "k-2"
    sessions = [tenant.post("/v1/sessions", {}, Idempotency_Key="k-3").json()["session_id"] for tenant in (anna, bert)]
    assert sessions[0] != sessions[1]


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_a_key_is_visible_ascii(api: Api, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    problem = problem_of(api.http.post("/v1/sessions", json={}, headers=headers), 400, "malformed")
    assert problem["field"] == "Idempotency-Key"


def test_a_key_may_have_255_characters(api: Api) -> None:
    assert api.post("/v1/sessions", {}, Idempotency_Key="!" * 255).status_code == 201


def test_a_key_stands_once(api: Api) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    problem_of(api.http.post("/v1/sessions", json={}, headers=headers), 400, "malformed")


def test_runs_are_listed_page_by_page_newest_first(api: Api) -> None:
    """J3: filtered, each once, in a stable order; a cursor of nowhere is refused."""
    session_id = api.session()
    mine: list[str] = []
    for _ in range(5):
        mine.insert(0, api.run(session_id)["run_id"])
        api.post(f"/v1/runs/{mine[0]}/cancel")
    mine.insert(0, api.run(session_id)["run_id"])
    query = {"session_id": session_id, "limit": "2"}
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = api.get("/v1/runs", params={**query, **({"cursor": cursor} if cursor else {})}).json()
        found += [run["run_id"] for run in page["items"]]
        cursor = page["next_cursor"]
    assert found == mine
    for status, count in (("cancelled", 5), ("pending", 1), ("running", 0)):
        items = api.get("/v1/runs", params={"session_id": session_id, "status": status}).json()["items"]
        assert [run["status"] for run in items] == [status] * count
    assert api.get("/v1/runs", params={"session_id": session_id, "agent": "nobody"}).json()["items"] == []
    for cursor in (f"run_{'0' * 26}", "7", "run_x", session_id):
        problem_of(api.get("/v1/runs", params={"cursor": cursor}), 400, "invalid_cursor")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.0", "limit"),
        ("limit=", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=1&limit=1", "limit"),
        ("limit=" + "9" * 500, "limit"),
        ("status=done", "status"),
        ("status=%00", "status"),
        ("agent=%00", "agent"),
        ("agent=%FF", "agent"),
        ("agent=%ED%A0%80", "agent"),
        ("agent=" + "x" * 201, "agent"),
        ("session_id=unknown", "session_id"),
        ("sesion_id=ses_x", "sesion_id"),
        ("after=x", "after"),
        ("=", ""),
    ],
)
def test_a_query_is_never_guessed_at(api: Api, query: str, field: str) -> None:
    assert problem_of(api.get(f"/v1/runs?{query}"), 400, "malformed")["field"] == field


def test_a_query_has_a_limit(api: Api) -> None:
    run = api.run()
    for path in ("/v1/runs", "/healthz", f"/v1/runs/{run['run_id']}", run["events_url"]):
        assert problem_of(api.get(f"{path}?x={'y' * 2047}"), 400, "malformed")["limit"] == 2048


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


def decide(api: Api, run_id: str, *decisions: dict[str, Any]) -> httpx.Response:
    return api.post(f"/v1/runs/{run_id}/decisions", {"decisions": list(decisions)})


def test_decisions_one_by_one(api: Api) -> None:
    """A2, A3, A4: the run waits for the last one; a repeat changes nothing; the first decision stands."""
    held = api.claim(api.run())
    one, two = held.suspend("rm", "mv")
    partly = decide(api, held.run_id, {"approval_id": one, "outcome": "deny", "reason": "no"}).json()
    assert (partly["status"], [a["approval_id"] for a in partly["pending_approvals"]]) == ("waiting_for_approval", [two])
    assert decide(api, held.run_id, {"approval_id": one, "outcome": "deny"}).json() == partly
    lost = problem_of(decide(api, held.run_id, {"approval_id": one, "outcome": "approve"}), 409, "decision_conflict")
    assert (lost["approval_id"], lost["run_id"]) == (one, held.run_id)
    assert (lost["decision"]["outcome"], lost["decision"]["reason"]) == ("deny", "no")
    edited = {"approval_id": two, "outcome": "approve", "arguments": {"for": "less"}}
    done = decide(api, held.run_id, edited).json()
    assert (done["status"], done["pending_approvals"]) == ("pending", [])
    assert decide(api, held.run_id, edited).json() == done
    decisions = api.claim(done).assignment["decisions"]
    assert [(d["outcome"], d["decided_arguments"], d["by"]) for d in decisions] == [
        ("deny", None, "default"),
        ("approve", {"for": "less"}, "default"),
    ]


@pytest.mark.parametrize(
    ("decisions", "status", "code"),
    [
        ([], 422, "invalid"),
        ([{"approval_id": "1.1.a9", "outcome": "approve"}], 404, "unknown_approval"),
        ([{"approval_id": "", "outcome": "approve"}], 404, "unknown_approval"),
        ([{"approval_id": "\u0000", "outcome": "approve"}], 404, "unknown_approval"),
        ([{"approval_id": "ID", "outcome": "approve"}, {"approval_id": "ID", "outcome": "approve"}], 422, "invalid"),
        ([{"approval_id": "ID", "outcome": "approve"}, {"approval_id": "x", "outcome": "deny"}], 404, "unknown_approval"),
        ([{"approval_id": "ID", "outcome": "maybe"}], 422, "invalid"),
        ([{"approval_id": "ID"}], 422, "invalid"),
        ([{"outcome": "approve"}], 422, "invalid"),
        ([{"approval_id": "ID", "outcome": "deny", "arguments": {}}], 422, "invalid"),
        ([{"approval_id": "ID", "outcome": "deny", "reason": "x" * 2001}], 422, "invalid"),
        ([{"approval_id": "ID", "outcome": "deny", "by": "somebody else"}], 422, "invalid"),
        ([{"approval_id": "ID", "outcome": "deny"}] * 65, 422, "invalid"),
        ("ID", 422, "invalid"),
        (None, 422, "invalid"),
    ],
)
def test_bad_decisions_apply_nothing(api: Api, decisions: Any, status: int, code: str) -> None:
    """A5"""
    held = api.claim(api.run())
    (approval_id,) = held.suspend("rm")
    before = api.read(held)
    if isinstance(decisions, list):
        named = [{k: approval_id if v == "ID" else v for k, v in decision.items()} for decision in decisions]
        decisions = named
    problem_of(api.post(f"/v1/runs/{held.run_id}/decisions", {"decisions": decisions}), status, code)
    assert api.read(held) == before


def test_a_run_that_waits_for_nobody_takes_no_decisions(api: Api) -> None:
    run = api.run()
    problem = problem_of(decide(api, run["run_id"], {"approval_id": "1.1.a1", "outcome": "deny"}), 404, "unknown_approval")
    assert problem["run_id"] == run["run_id"]


def test_while_draining_nothing_is_started(backend: Backend) -> None:
    draining = [False]
    with backend.serve(draining=lambda: draining[0]) as port:
        api = Api(port)
        session_id, run = api.session(), api.run()
        assert api.get("/readyz").json() == {"status": "ready"}
        draining[0] = True
        for refused in (start(api, session_id), api.post("/v1/work/claim", {"worker": "w", "agents": ["plain"]})):
            problem_of(refused, 503, "draining")
            assert int(refused.headers["retry-after"]) > 0
        problem_of(api.get("/readyz"), 503, "draining")
        assert api.get("/healthz").json() == {"status": "alive"}
        assert api.get(run["events_url"], params={"follow": "false"}).status_code == 200
        assert api.post(f"/v1/runs/{run['run_id']}/cancel").json()["status"] == "cancelled"
        api.http.close()
