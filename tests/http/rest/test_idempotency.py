"""Idempotency-Key: what was started once is not started again, and says the same again."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from .serving import Api, problem_of


def test_the_same_key_and_payload_give_the_first_answer_again(api: Api) -> None:
    """I1: also after the run has moved on; executed once."""
    session_id = api.session()
    body = {"agent": "plain", "input": {"n": [1, 2]}, "request_config": {"kinds": ["text"]}}
    first = api.start(session_id, body, Idempotency_Key="k-1")
    assert "idempotent-replayed" not in first.headers
    api.claim(first.json()).post("complete")
    again = api.start(session_id, body, Idempotency_Key="k-1")
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
    resumed = api.start(session_id, {"agent": "plain"}, **key, Last_Event_ID=cursor)
    assert resumed.status_code == 200
    assert (resumed.headers["reattach-run-id"], resumed.headers["idempotent-replayed"]) == (run_id, "true")
    assert [line for line in resumed.text.splitlines() if line.startswith("event: ")] == ["event: run.cancelled"]


def test_of_many_at_once_one_is_executed(api: Api) -> None:
    """I1: a client that does not wait for the answer before it tries again."""
    session_id = api.session()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(partial(api.start, Idempotency_Key="k-many"), [session_id] * 8))
    assert [answer.status_code for answer in answers] == [202] * 8
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 7


def test_sessions_have_keys_too(api: Api) -> None:
    first = api.post("/v1/sessions", {"metadata": {"a": 1}}, Idempotency_Key="s-1")
    again = api.post("/v1/sessions", {"metadata": {"a": 1}}, Idempotency_Key="s-1")
    assert (again.status_code, again.content, again.headers["location"]) == (
        201,
        first.content,
        first.headers["location"],
    )
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    problem_of(api.post("/v1/sessions", {"metadata": {"a": 2}}, Idempotency_Key="s-1"), 422, "idempotency_mismatch")


def test_a_key_is_bound_to_payload_route_and_tenant(api: Api, anna: Api, bert: Api) -> None:
    """I2"""
    session_id = api.session()
    api.start(session_id, Idempotency_Key="k-2")
    for answer in (
        api.start(session_id, {"agent": "plain", "input": "other"}, Idempotency_Key="k-2"),
        api.start(api.session(), Idempotency_Key="k-2"),
        api.post("/v1/sessions", {}, Idempotency_Key="k-2"),
    ):
        assert problem_of(answer, 422, "idempotency_mismatch")["key"] == "k-2"
    sessions = [tenant.post("/v1/sessions", {}, Idempotency_Key="k-3").json()["session_id"] for tenant in (anna, bert)]
    assert sessions[0] != sessions[1]


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_a_key_is_visible_ascii(api: Api, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    problem = problem_of(api.http.post("/v1/sessions", json={}, headers=headers), 400, "malformed")
    assert problem["field"] == "Idempotency-Key"


def test_a_key_may_have_255_characters(api: Api) -> None:
    assert api.post("/v1/sessions", {}, Idempotency_Key="!" * 255).status_code == 201


def test_a_key_stands_once(api: Api) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    problem_of(api.http.post("/v1/sessions", json={}, headers=headers), 400, "malformed")
