"""E3, E4 and the process itself: what it refuses to do, and what a token is good for on a stream."""

import os
import subprocess
import sys
from typing import Any

import httpx

from .server import ROOT, TIMEOUT_S, Server


def reattach(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reattach", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".src"), **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=ROOT,
    )


def test_an_open_door_is_refused() -> None:
    """E3: anything but loopback needs tokens, and the message says how."""
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        refused = reattach("serve", "--host", host, "--port", "0")
        assert refused.returncode != 0
        assert "REATTACH_TOKENS" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_wrong_setting_says_which_one() -> None:
    refused = reattach("serve", "--port", "0", REATTACH_LEASE_S="soon")
    assert refused.returncode != 0
    assert "REATTACH_LEASE_S" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_streams_of_another_tenant_look_unknown(start: Any) -> None:
    """E4: run, session and cursor; the same answer as for an id nobody has."""
    server: Server = start(REATTACH_TOKENS="ann=one bob=two")
    ann, bob = {"Authorization": "Bearer one"}, {"Authorization": "Bearer two"}
    session = server.post("/v1/sessions", {}, **ann).json()["session_id"]
    body = {"agent": "script", "input": {"steps": [{"text": "secret", "chunk": 99}]}}
    run_id = server.post(f"/v1/sessions/{session}/runs", body, **ann).json()["run_id"]
    whole = httpx.get(f"{server.url}/v1/runs/{run_id}/events", headers=ann, timeout=TIMEOUT_S)
    assert "secret" in whole.text
    cursor = {"Last-Event-ID": f"{run_id}.1.1.2"}
    for path in (f"/v1/runs/{run_id}/events", f"/v1/sessions/{session}/events"):
        unknown = path.replace(run_id[-4:], "0000").replace(session[-4:], "0000")
        mine, nobodys = server.get(path, **bob), server.get(unknown, **bob)
        assert mine.status_code == nobodys.status_code == 404
        assert mine.text.replace(run_id, "").replace(session, "") == nobodys.text.replace(unknown.split("/")[3], "")
        assert server.get(path, **bob, **cursor).status_code == 404
        assert server.get(path).status_code == 401
    others = server.post("/v1/sessions", {}, **bob).json()["session_id"]
    events = server.get(f"/v1/sessions/{others}/events?follow=false", **bob, **cursor)
    assert "secret" not in events.text
    assert '"reason":"foreign"' in events.text
