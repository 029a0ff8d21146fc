"""Who may: tokens and what they open, and that another tenant's things look exactly like things that are not there."""

import hashlib
import re
from typing import Any

import httpx
import pytest

from reattach.adapters.http.auth import TOKENS_MAX, Audience, Tokens
from reattach.domain.errors import ConfigurationError

from .conftest import ANNA, WORKER
from .serving import Api, problem_of

NOBODY = "0" * 26


def bearer(header: str | None) -> dict[str, Any]:
    return {"type": "http", "headers": [] if header is None else [(b"authorization", header.encode())]}


def test_tokens_are_read_plain_or_hashed() -> None:
    hashed = hashlib.sha256(b"b-token").hexdigest()
    tokens = Tokens.parse(f" a=a=token,\n b=sha256:{hashed.upper()}  *=w ")
    assert tokens.tenant(bearer("Bearer a=token"), Audience.TENANT) == "a"
    assert tokens.tenant(bearer("bEARER  b-token "), Audience.TENANT) == "b"
    assert tokens.tenant(bearer("Bearer w"), Audience.WORKER) == "*"
    assert not Tokens.parse("  ")
    assert "a=token" not in repr(tokens) + repr(vars(Tokens))


@pytest.mark.parametrize(
    "setting",
    [
        "token-only",
        "=t",
        "a=",
        "a b=t",
        "-a=t",
        "a=sha256:12",
        "a=sha256:" + "g" * 64,
        "é=t",
        "a=é",
        "a=" + "t" * 1025,
        "a=t b=t",
        "a" * 65 + "=t",
        " ".join(f"a=t{n}" for n in range(TOKENS_MAX + 1)),
    ],
)
def test_a_wrong_setting_is_refused_without_being_quoted(setting: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Tokens.parse(setting)
    assert refused.value.fields == {"setting": "tokens"}
    assert not re.search(r"token-only|=t\b|sha256:[0-9g]", refused.value.detail)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        "Basic " + ANNA,
        ANNA,
        "Bearer " + ANNA + "x",
        "Bearer " + ANNA[:-1],
        "Bearer " + "x" * 2000,
        f"Bearer {ANNA},{ANNA}",
        "Token " + ANNA,
    ],
)
@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/runs/x", "/v1/runs/x/events", "/v1/agents"])
def test_without_a_token_nothing_is_told(stranger: Api, path: str, header: str | None) -> None:
    refused = stranger.get(path, headers={"Authorization": header} if header is not None else {})
    problem_of(refused, 401, "unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"


def test_two_authorizations_are_none(stranger: Api) -> None:
    headers = [("Authorization", f"Bearer {ANNA}"), ("Authorization", f"Bearer {ANNA}")]
    problem_of(stranger.get("/v1/agents", headers=headers), 401, "unauthorized")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/"])
def test_some_paths_are_for_everybody(stranger: Api, path: str) -> None:
    assert stranger.get(path).status_code == 200


def test_tenants_and_workers_have_routes_of_their_own(anna: Api, worker: Api) -> None:
    run = anna.run()
    claim = {"worker": "w", "agents": ["plain"]}
    problem_of(anna.post("/v1/work/claim", claim), 403, "forbidden")
    for verb in ("output", "suspend", "complete", "fail", "release", "renew"):
        problem_of(anna.post(f"/v1/runs/{run['run_id']}/{verb}", {}, Run_Epoch="1"), 403, "forbidden")
    problem_of(worker.get(f"/v1/runs/{run['run_id']}"), 403, "forbidden")
    problem_of(worker.post("/v1/sessions"), 403, "forbidden")
    assert worker.post("/v1/work/claim", claim).status_code == 200
    assert WORKER not in worker.post("/v1/work/claim", claim).text


def test_who_decided_and_who_cancelled_is_the_tenant(anna: Api, worker: Api) -> None:
    run = anna.run()
    (approval_id, _) = worker.claim(run).suspend("rm", "mv")
    anna.post(f"/v1/runs/{run['run_id']}/decisions", {"decisions": [{"approval_id": approval_id, "outcome": "deny"}]})
    anna.post(f"/v1/runs/{run['run_id']}/cancel")
    stream = anna.get(run["events_url"]).text
    assert re.findall(r'"by":"(\w+)"', stream) == ["anna", "reattach", "anna"]


def answered(api: Api, method: str, path: str, **headers: str) -> httpx.Response:
    """An answer that may be a stream without end, of which nothing is read then."""
    body = {"agent": "plain"} if method == "POST" else None
    with api.http.stream(method, path, json=body, headers=headers) as answer:
        endless = answer.headers["content-type"].startswith("text/event-stream")
        content = b"" if endless else answer.read()
    return httpx.Response(answer.status_code, headers=answer.headers, content=content)


def requests(api: Api, session_id: str, run_id: str) -> dict[str, httpx.Response]:
    """Everything a tenant can ask about a session and a run."""
    decision = {"decisions": [{"approval_id": "1.1.a1", "outcome": "approve"}]}
    return {
        "session": api.get(f"/v1/sessions/{session_id}"),
        "messages": api.get(f"/v1/sessions/{session_id}/messages"),
        "session events": answered(api, "GET", f"/v1/sessions/{session_id}/events"),
        "start": api.post(f"/v1/sessions/{session_id}/runs", {"agent": "plain"}),
        "start streamed": answered(api, "POST", f"/v1/sessions/{session_id}/runs", Accept="text/event-stream"),
        "run": api.get(f"/v1/runs/{run_id}"),
        "run head": api.http.head(f"/v1/runs/{run_id}"),
        "events": answered(api, "GET", f"/v1/runs/{run_id}/events"),
        "events after": answered(api, "GET", f"/v1/runs/{run_id}/events", **{"Last-Event-ID": f"{run_id}.0.0.1"}),
        "cancel": api.post(f"/v1/runs/{run_id}/cancel"),
        "decide": api.post(f"/v1/runs/{run_id}/decisions", decision),
        "cursor": api.get("/v1/runs", params={"cursor": run_id}),
        "session cursor": api.get("/v1/sessions", params={"cursor": session_id}),
        "runs of session": api.get("/v1/runs", params={"session_id": session_id}),
        **session_requests(api, f"/v1/sessions/{session_id}", run_id),
    }


def session_requests(api: Api, path: str, run_id: str) -> dict[str, httpx.Response]:
    """What can be asked about a session's tail, owner, memory, handoffs and summaries."""
    epoch = {"Session_Epoch": "1"}
    session_id = path.rpartition("/")[2]
    return {
        "tail": api.get(f"{path}/tail"),
        "messages after": api.get(f"{path}/messages", params={"after": f"{session_id}:{run_id}:0"}),
        "events after": answered(api, "GET", f"{path}/events", **{"Last-Event-ID": f"{run_id}.1.0.1"}),
        "events of the owner": answered(api, "GET", f"{path}/events?session_epoch=1"),
        "memories": api.get(f"{path}/memories"),
        "remember": api.post(f"{path}/memories", {"content": 1}),
        "remember as owner": api.post(f"{path}/memories", {"content": 1}, **epoch),
        "renew": api.post(f"{path}/renew", **epoch),
        "detach": api.post(f"{path}/detach", **epoch),
        "finalize": api.post(f"{path}/finalize"),
        "finalize as owner": api.post(f"{path}/finalize", **epoch),
        "delete": api.http.delete(path),
        "handoffs": api.post(f"{path}/handoffs", {"handoff_id": "h"}),
        "handoff": api.get(f"{path}/handoffs/h"),
        "ready": api.post(f"{path}/handoffs/h", {"action": "ready"}, **epoch),
        "abandon": api.post(f"{path}/handoffs/h", {"action": "abandon"}),
        "claim summary": api.post(f"{path}/summary/claim", {"by": "s"}),
        "stage summary": api.post(f"{path}/summary/stage", {"token": "t", "result": 1}),
        "complete summary": api.post(f"{path}/summary/complete", {"token": "t"}),
    }


def as_seen(answer: httpx.Response, *ids: str) -> tuple[Any, ...]:
    """An answer as it looks when the ids that were asked for are painted over."""
    text, headers = answer.text, dict(answer.headers)
    for name in ids:
        text = text.replace(name, "ID")
    headers.pop("date")
    return answer.status_code, headers, text


def test_another_tenants_things_look_unknown(anna: Api, bert: Api, worker: Api) -> None:
    """E4: the same bytes but for the id, on every route; and nothing happens to them."""
    run = anna.run(anna.session(secret="s"))
    worker.claim(run).suspend("rm")
    path = f"/v1/sessions/{run['session_id']}"
    anna.post(f"{path}/resume", {"client_id": "ada"})
    anna.post(f"{path}/handoffs", {"handoff_id": "h"})
    before = anna.read(run), anna.get(path).json()
    theirs = requests(bert, run["session_id"], run["run_id"])
    nobodys = requests(bert, f"ses_{NOBODY}", f"run_{NOBODY}")
    for name, answer in theirs.items():
        seen = as_seen(answer, run["session_id"], run["run_id"])
        assert seen == as_seen(nobodys[name], f"ses_{NOBODY}", f"run_{NOBODY}"), name
        assert answer.status_code == {"cursor": 400, "session cursor": 400, "runs of session": 200}.get(name, 404)
    assert theirs["runs of session"].json() == {"items": [], "next_cursor": None}
    assert (anna.read(run), anna.get(path).json()) == before


def test_lists_hold_only_ones_own(anna: Api, bert: Api) -> None:
    """E4"""
    runs = [tenant.run() for tenant in (anna, bert)]
    for path, name in (("/v1/runs", "run_id"), ("/v1/sessions", "session_id")):
        pages = [tenant.get(path, params={"limit": "100"}).json()["items"] for tenant in (anna, bert)]
        found = [[item[name] for item in page] for page in pages]
        assert not set(found[0]) & set(found[1])
        assert [run[name] in ids for run, ids in zip(runs, found, strict=True)] == [True, True]


def test_a_wrong_id_is_unknown_whatever_it_looks_like(anna: Api) -> None:
    run_id = anna.run()["run_id"]
    for wrong in (
        run_id.upper(),
        run_id[:-1],
        run_id + "0",
        run_id.replace("run_", "ses_"),
        run_id + "%00",
        run_id + "%20",
        run_id + "%0A",
        "%ED%A0%80",
        "%F0%9F%98%80",
        "x" * 4000,
        "-1",
        "null",
        "%2e%2e",
    ):
        problem = problem_of(anna.get(f"/v1/runs/{wrong}"), 404, "not_found")
        assert len(problem["detail"]) < 300
        problem_of(anna.post(f"/v1/sessions/{wrong}/runs", {"agent": "plain"}), 404, "not_found")
