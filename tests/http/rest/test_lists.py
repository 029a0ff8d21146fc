"""Lists and queries over HTTP: pages, filters, and what is refused rather than guessed."""

import pytest

from reattach.adapters.http.query import QUERY_BYTES_MAX

from .serving import Api, problem_of


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
        long = "y" * (QUERY_BYTES_MAX - 1)
        assert problem_of(api.get(f"{path}?x={long}"), 400, "malformed")["limit"] == QUERY_BYTES_MAX


def test_sessions_are_listed_page_by_page_newest_first(api: Api) -> None:
    """J3: each once, in a stable order; a cursor of nowhere is refused."""
    mine = [api.session() for _ in range(5)][::-1]
    found: list[str] = []
    cursor: str | None = None
    while len(found) < len(mine):
        answer = api.get(
            "/v1/sessions", params={"limit": "2", "status": "open", **({"cursor": cursor} if cursor else {})}
        )
        assert len(answer.json()["items"]) == 2
        found += [session["session_id"] for session in answer.json()["items"]]
        cursor = answer.json()["next_cursor"]
        api.session()  # newer ones do not disturb the pages that follow
    assert found[:5] == mine
    assert api.get("/v1/sessions", params={"status": "finalized"}).json() == {"items": [], "next_cursor": None}
    problem_of(api.get("/v1/sessions", params={"cursor": f"ses_{'0' * 26}"}), 400, "invalid_cursor")
