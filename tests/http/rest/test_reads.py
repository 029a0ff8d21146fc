"""Reading changes nothing: whatever is asked by GET, and however it is refused, the database stays as it is."""

import sqlite3
from contextlib import closing

from .serving import Api, Backend


def test_get_writes_nothing(backend: Backend, api: Api) -> None:
    """C17: `data_version` is SQLite's own word for "somebody else has written"."""
    held = api.claim(api.run())
    held.output(*held.says("hello"))
    session_id = held.assignment["run"]["session_id"]
    paths = ["/", "/healthz", "/readyz", "/v1/agents", "/v1/sessions", "/v1/runs", "/v1/runs?limit=0", "/nowhere"]
    for found, unknown in ((held.run_id, f"run_{'0' * 26}"), (session_id, f"ses_{'0' * 26}")):
        kind = "runs" if found == held.run_id else "sessions"
        for name in (found, unknown, "x"):
            paths += [f"/v1/{kind}/{name}", f"/v1/{kind}/{name}/events?follow=false", f"/v1/{kind}?cursor={name}"]
    paths += [f"/v1/sessions/{session_id}/messages", f"/v1/runs/{held.run_id}/events?follow=false&snapshot=true"]
    with closing(sqlite3.connect(backend.database)) as watcher:

        def version() -> int:
            number: int = watcher.execute("PRAGMA data_version").fetchone()[0]
            return number

        before = version()
        for path in paths:
            for method in ("GET", "HEAD", "OPTIONS"):
                api.http.request(method, path)
        assert version() == before
        api.session()
        assert version() != before


def test_a_list_is_as_of_its_last_write(api: Api) -> None:
    """C16: what an answer said is what every other view says from then on."""
    run = api.run()
    cancelled = api.post(f"/v1/runs/{run['run_id']}/cancel").json()
    listed = api.get("/v1/runs", params={"session_id": run["session_id"]}).json()["items"]
    assert listed == [cancelled] == [api.read(run)]
    assert api.get(f"/v1/sessions/{run['session_id']}").json()["active_run"] is None
    history = api.get(f"/v1/sessions/{run['session_id']}/messages").json()["items"]
    assert [message["role"] for message in history] == ["user", "event"]


def test_the_front_page_says_what_this_is(api: Api) -> None:
    page = api.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>Reattach</h1>" in page.text
    for path in ("v1/agents", "healthz", "readyz"):
        assert f'href="{path}"' in page.text
        assert api.get(f"/{path}").status_code == 200


def test_agents_are_listed(api: Api) -> None:
    listed = api.get("/v1/agents").json()
    assert [agent["name"] for agent in listed["items"]] == ["plain", "script"]
    assert listed["next_cursor"] is None
