"""Who owns a session: resume with its fallback and evidence, fencing by Session-Epoch, renew, detach (H2, H3)."""

from typing import Any

import httpx
import pytest

from reattach.domain.identifiers import SessionId
from reattach.domain.memory import Memory, first_break

from .serving import Api, problem_of

NOBODYS = f"ses_{'0' * 26}"


def resume(api: Api, session_id: str, client: str = "ada", **fields: Any) -> httpx.Response:
    return api.post(f"/v1/sessions/{session_id}/resume", {"client_id": client, **fields})


def owned(api: Api, client: str = "ada") -> tuple[str, str]:
    """A new session of the client, and its epoch."""
    session_id = api.session()
    return session_id, str(resume(api, session_id, client).json()["epoch"])


def remember(api: Api, session_id: str, content: Any, **headers: str) -> httpx.Response:
    return api.post(f"/v1/sessions/{session_id}/memories", {"content": content}, **headers)


def test_a_resume_says_everything_to_go_on_with(api: Api) -> None:
    session_id = api.session()
    answer = resume(api, session_id)
    resumed = answer.json()
    assert answer.status_code == 200
    assert (resumed["session_id"], resumed["resumed"], resumed["code"]) == (session_id, True, "RESUMED")
    assert (resumed["epoch"], resumed["warning"]) == (1, None)
    assert resumed["continuity"] == {"count": 0, "first": None, "last": None, "head_hash": None}
    assert resumed["tail"] == api.get(f"/v1/sessions/{session_id}/tail").json()
    session = api.get(f"/v1/sessions/{session_id}").json()
    assert (session["owner"], session["epoch"]) == ("ada", 1)
    assert session["lease_expires_at"] == resumed["lease_expires_at"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("nope", "INVALID_SESSION_ID"),
        ("%20", "INVALID_SESSION_ID"),
        ("%ED%A0%80", "INVALID_SESSION_ID"),
        ("%00", "INVALID_SESSION_ID"),
        ("null", "INVALID_SESSION_ID"),
        ("%F0%9F%98%80" * 60, "INVALID_SESSION_ID"),
        ("x" * 3000, "INVALID_SESSION_ID"),
        (f"run_{'0' * 26}", "INVALID_SESSION_ID"),
        (NOBODYS.upper(), "INVALID_SESSION_ID"),
        (NOBODYS, "SESSION_NOT_FOUND"),
    ],
)
def test_what_cannot_be_resumed_is_replaced_with_a_warning(api: Api, asked: str, code: str) -> None:
    answer = resume(api, asked)
    assert answer.status_code == 201, answer.text
    resumed = answer.json()
    assert (resumed["resumed"], resumed["code"], resumed["epoch"]) == (False, code, 1)
    assert resumed["warning"]["code"] == code
    assert len(resumed["warning"]["asked"]) <= 80
    stand_in = api.get(f"/v1/sessions/{resumed['session_id']}").json()
    assert (stand_in["status"], stand_in["owner"], stand_in["warning"]) == ("open", "ada", resumed["warning"])
    assert remember(api, resumed["session_id"], 1, Session_Epoch="1").status_code == 201


def test_a_finalized_or_deleted_session_is_replaced(api: Api) -> None:
    for end, code in (("finalize", "SESSION_FINALIZED"), ("delete", "SESSION_NOT_FOUND")):
        session_id = api.session()
        path = f"/v1/sessions/{session_id}"
        done = api.post(f"{path}/finalize") if end == "finalize" else api.http.delete(path)
        assert done.status_code == (200 if end == "finalize" else 204)
        answer = resume(api, session_id)
        assert (answer.status_code, answer.json()["code"]) == (201, code)
        assert answer.json()["session_id"] != session_id
        assert answer.json()["warning"]["asked"] == session_id


def test_another_tenants_session_is_replaced_like_one_that_never_was(anna: Api, bert: Api) -> None:
    theirs = anna.session()
    before = anna.get(f"/v1/sessions/{theirs}").json()
    seen: list[Any] = []
    for asked in (theirs, NOBODYS):
        answer = resume(bert, asked)
        text = answer.text.replace(asked, "ASKED").replace(answer.json()["session_id"], "NEW")
        shown = httpx.Response(answer.status_code, text=text).json()
        for times in (shown, shown["tail"]["session"]):
            assert times.pop("lease_expires_at")
        assert shown["tail"]["session"].pop("created_at")
        seen.append((answer.status_code, sorted(set(answer.headers) - {"date"}), shown))
    assert seen[0] == seen[1]
    assert anna.get(f"/v1/sessions/{theirs}").json() == before


def test_a_live_owner_is_named_with_its_leases_end(api: Api) -> None:
    session_id, _ = owned(api)
    busy = problem_of(resume(api, session_id, "bob"), 409, "SESSION_BUSY")
    session = api.get(f"/v1/sessions/{session_id}").json()
    assert (busy["owner"], busy["epoch"], busy["session_id"]) == ("ada", 1, session_id)
    assert busy["lease_expires_at"] == session["lease_expires_at"] is not None
    assert (session["owner"], session["epoch"]) == ("ada", 1)


def test_a_takeover_fences_the_old_owner_everywhere(api: Api) -> None:
    session_id, old = owned(api)
    taken = resume(api, session_id, "bob", takeover=True).json()
    assert taken["epoch"] == 2
    path = f"/v1/sessions/{session_id}"
    for answer in (
        remember(api, session_id, "late", Session_Epoch=old),
        api.start(session_id, Session_Epoch=old),
        api.post(f"{path}/renew", Session_Epoch=old),
        api.post(f"{path}/detach", Session_Epoch=old),
        api.post(f"{path}/finalize", Session_Epoch=old),
        api.http.delete(path, headers={"Session-Epoch": old}),
        api.post(f"{path}/handoffs/h", {"action": "ready"}, Session_Epoch=old),
    ):
        stale = problem_of(answer, 412, "stale_epoch")
        assert (stale["epoch"], stale["owner"]) == (2, "bob")
    session = api.get(path).json()
    assert (session["owner"], session["epoch"], session["turns"], session["continuity"]["count"]) == ("bob", 2, 0, 0)
    assert remember(api, session_id, "now", Session_Epoch="2").status_code == 201


def test_the_same_client_may_always_come_back(api: Api) -> None:
    session_id, first = owned(api)
    again = resume(api, session_id)
    assert (again.status_code, again.json()["epoch"]) == (200, 2)
    problem_of(remember(api, session_id, "old tab", Session_Epoch=first), 412, "stale_epoch")


def test_an_owned_session_takes_no_anonymous_writes(api: Api) -> None:
    session_id, epoch = owned(api)
    path = f"/v1/sessions/{session_id}"
    for answer in (
        remember(api, session_id, 1),
        api.start(session_id),
        api.post(f"{path}/finalize"),
        api.http.delete(path),
        api.post(f"{path}/renew"),
        api.post(f"{path}/detach"),
        api.post(f"{path}/handoffs/h", {"action": "ready"}),
    ):
        problem_of(answer, 428, "session_epoch_required")
    assert api.get(path).json()["turns"] == 0
    assert api.start(session_id, Session_Epoch=epoch).status_code == 202


def test_cancel_and_decisions_need_no_epoch(api: Api) -> None:
    session_id, epoch = owned(api)
    run = api.start(session_id, Session_Epoch=epoch).json()
    held = api.claim(run)
    (approval_id,) = held.suspend("rm")
    assert api.decide(run["run_id"], {"approval_id": approval_id, "outcome": "deny"}).status_code == 200
    assert api.post(f"/v1/runs/{run['run_id']}/cancel").status_code == 200


@pytest.mark.parametrize("epoch", ["", "x", "-1", "1.0", "1234567890", "\u0661"])
def test_a_malformed_epoch_is_no_epoch(api: Api, epoch: str) -> None:
    session_id, _ = owned(api)
    headers = {b"Session-Epoch": epoch.encode()}
    refused = api.http.post(f"/v1/sessions/{session_id}/memories", json={"content": 1}, headers=headers)
    assert problem_of(refused, 400, "malformed")["field"] == "Session-Epoch"


def test_an_epoch_of_a_session_that_nobody_owns_is_stale(api: Api) -> None:
    session_id, epoch = owned(api)
    left = api.post(f"/v1/sessions/{session_id}/detach", Session_Epoch=epoch).json()
    assert (left["owner"], left["lease_expires_at"], left["epoch"]) == (None, None, 1)
    problem_of(remember(api, session_id, 1, Session_Epoch=epoch), 412, "stale_epoch")
    assert remember(api, session_id, 1).status_code == 201
    assert resume(api, session_id, "bob").json()["epoch"] == 2


def test_renew_prolongs_the_lease(api: Api) -> None:
    session_id, epoch = owned(api)
    before = api.get(f"/v1/sessions/{session_id}").json()
    renewed = api.post(f"/v1/sessions/{session_id}/renew", Session_Epoch=epoch)
    assert renewed.status_code == 200
    assert renewed.json()["lease_expires_at"] > before["lease_expires_at"]
    assert {**renewed.json(), "lease_expires_at": 0} | {"active_run": None} == {**before, "lease_expires_at": 0}


@pytest.mark.parametrize(
    "body",
    [{}, {"client_id": ""}, {"client_id": 5}, {"client_id": "x" * 201}, {"client_id": "a", "takeover": 1}]
    + [{"client_id": "a", "handoff_id": h} for h in ("", "a b", "x" * 81, 5)]
    + [{"client_id": "a", "more": 1}],
)
def test_a_wrong_body_resumes_nothing(api: Api, body: Any) -> None:
    session_id = api.session()
    problem_of(api.post(f"/v1/sessions/{session_id}/resume", body), 422, "invalid")
    assert api.get(f"/v1/sessions/{session_id}").json()["epoch"] == 0


def test_the_same_key_resumes_once(api: Api) -> None:
    """I1: also where the answer is a new session: a lost answer leaves no second one behind."""
    session_id = api.session()
    for asked, status in ((session_id, 200), ("nope", 201)):
        path = f"/v1/sessions/{asked}/resume"
        key = f"resume-{session_id}-{asked}"
        first, again = (api.post(path, {"client_id": "a"}, Idempotency_Key=key) for _ in range(2))
        assert (first.status_code, again.status_code) == (status, status)
        assert again.headers["idempotent-replayed"] == "true"
        assert [first.json()[name] for name in ("session_id", "epoch", "code", "warning")] == [
            again.json()[name] for name in ("session_id", "epoch", "code", "warning")
        ]
        other = api.post(path, {"client_id": "b"}, Idempotency_Key=key)
        problem_of(other, 422, "idempotency_mismatch")


HARD: list[Any] = [
    0,
    -0.0,
    1.0,
    1e22,
    5e-324,
    2**70,
    10**4000,
    "é\u0000\u2028",
    "x" * 60_000,
    None,
    [],
    {"b": 1, "a": [{}]},
]
"""JSON that comes back from a store as something else, if it is not careful."""


def test_memories_are_one_chain_that_anybody_can_check(api: Api) -> None:
    """H1: with any content, over owners and none, page by page; the evidence is in every resume."""
    session_id = api.session()
    path = f"/v1/sessions/{session_id}/memories"
    appended = [remember(api, session_id, HARD[0])]
    epoch = str(resume(api, session_id).json()["epoch"])
    appended += [remember(api, session_id, content, Session_Epoch=epoch) for content in HARD[1:]]
    assert {answer.status_code for answer in appended} == {201}
    found: list[Any] = []
    after: dict[str, str] = {}
    while True:
        page = api.get(path, params={"limit": "5", **after}).json()
        found += page["items"]
        if page["next_cursor"] is None:
            break
        after = {"after": page["next_cursor"]}
    assert [entry["content"] for entry in found] == HARD
    assert found == [answer.json() for answer in appended]
    memories = [Memory.model_validate(entry) for entry in found]
    assert first_break(SessionId(session_id), memories) is None
    assert [(m.by, m.epoch) for m in memories[:2]] == [(None, 0), ("ada", 1)]
    evidence = {"count": len(HARD), "first": 1, "last": len(HARD), "head_hash": found[-1]["hash"]}
    assert resume(api, session_id).json()["continuity"] == evidence
    assert api.get(f"/v1/sessions/{session_id}").json()["continuity"] == evidence


def test_the_same_key_remembers_once(api: Api) -> None:
    session_id = api.session()
    first, again = (remember(api, session_id, "once", Idempotency_Key=f"m-{session_id}") for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    problem_of(remember(api, session_id, "other", Idempotency_Key=f"m-{session_id}"), 422, "idempotency_mismatch")
    assert len(api.get(f"/v1/sessions/{session_id}/memories").json()["items"]) == 1


def test_a_memory_has_a_limit(api: Api) -> None:
    session_id = api.session()
    assert remember(api, session_id, "x" * 65_534).status_code == 201
    assert problem_of(remember(api, session_id, "x" * 65_535), 413, "too_large")["limit"] == 65_536
    problem_of(api.post(f"/v1/sessions/{session_id}/memories", {}), 422, "invalid")
    for query in ({"after": "x"}, {"after": "-1"}, {"limit": "101"}, {"before": "1"}):
        problem_of(api.get(f"/v1/sessions/{session_id}/memories", params=query), 400, "malformed")
    assert api.get(f"/v1/sessions/{session_id}/memories", params={"after": "999999999"}).json()["items"] == []
