"""Every tool, over HTTP and stdio, in both protocol eras, called by the SDK's own client."""

from pathlib import Path

import pytest

from reattach.adapters.mcp.tools import WAIT_S_MAX
from reattach.domain.identifiers import SessionId
from reattach.domain.memory import Memory, first_break

from ..system.server import Server, free_port
from .talking import Refused, Tools, Way

TOOLS = [
    "append_memory",
    "await_run",
    "decide",
    "list_sessions",
    "resume_session",
    "session_status",
    "start_run",
]
SEND = {"approvals": [{"tool": "send", "arguments": {"to": "ann"}, "result": "sent"}]}
UNKNOWN = "ses_01h455vb4pex5vsknk084sn02q"


def steps(*steps: object) -> dict[str, object]:
    return {"prompt": "go", "steps": steps}


def test_every_tool_says_what_it_takes_and_answers(way: Way) -> None:
    async def scenario(tools: Tools) -> None:
        listed = (await tools.client.list_tools()).tools
        assert sorted(tool.name for tool in listed) == TOOLS
        for tool in listed:
            assert tool.description
            assert tool.output_schema is not None
            for name, schema in tool.input_schema["properties"].items():
                assert schema.get("description"), f"{tool.name}.{name}"

    way.talk(scenario)


def test_a_session_from_resume_to_the_end_of_a_run(way: Way) -> None:
    async def scenario(tools: Tools) -> None:
        mine = await tools("resume_session", client_id="laptop")
        assert (mine["resumed"], mine["code"]) == (False, "INVALID_SESSION_ID")
        session_id, epoch = mine["session_id"], mine["epoch"]
        entries = [
            await tools("append_memory", session_id=session_id, content=content, epoch=epoch)
            for content in ("words", {"a": [1, None]}, 7)
        ]
        assert [entry["content"] for entry in entries] == ["words", {"a": [1, None]}, 7]
        assert first_break(SessionId(session_id), map(Memory.model_validate, entries)) is None
        run = await tools(
            "start_run", session_id=session_id, agent="script", input=steps({"text": "may I?"}, SEND), epoch=epoch
        )
        state = await tools("await_run", run_id=run["run_id"])
        assert (state["status"], state["final"], state["text"]) == ("waiting_for_approval", False, "may I?")
        [approval] = state["pending_approvals"]
        assert (approval["tool"], approval["arguments"]) == ("send", {"to": "ann"})
        status = await tools("session_status", session_id=session_id)
        assert status["pending_approvals"][0]["approval_id"] == approval["approval_id"]
        assert (status["active_run"]["prompt"], status["status"]) == ("go", "waiting_for_approval")
        decision = {"run_id": run["run_id"], "approval_id": approval["approval_id"], "outcome": "approve"}
        await tools("decide", **decision, arguments={"to": "bob"})
        await tools("decide", **decision, arguments={"to": "bob"})
        with pytest.raises(Refused, match=r"decision_conflict: .*The recorded decision stands"):
            await tools("decide", **decision | {"outcome": "deny"})
        ended = await tools("await_run", run_id=run["run_id"])
        assert (ended["status"], ended["final"], ended["pending_approvals"]) == ("completed", True, [])
        assert session_id in [item["session_id"] for item in (await tools("list_sessions", status="open"))["items"]]
        again = await tools("resume_session", client_id="laptop", session_id=session_id)
        assert (again["code"], again["warning"], again["epoch"]) == ("RESUMED", None, epoch + 1)
        assert (again["continuity"]["count"], again["continuity"]["head_hash"]) == (3, entries[-1]["hash"])
        assert again["tail"]["messages"][0]["parts"][0]["text"] == "go"

    way.talk(scenario)


def test_no_good_id_is_a_new_session_with_a_warning(way: Way) -> None:
    async def scenario(tools: Tools) -> None:
        for asked in (None, 7, "", "a/b", ["x"], UNKNOWN):
            mine = await tools("resume_session", client_id="laptop", session_id=asked)
            assert mine["code"] == ("SESSION_NOT_FOUND" if asked == UNKNOWN else "INVALID_SESSION_ID"), asked
            assert mine["warning"]["code"] == mine["code"]
            assert mine["session_id"] != asked

    way.talk(scenario)


def test_dots_for_an_id_are_no_other_request(way: Way) -> None:
    async def scenario(tools: Tools) -> None:
        for asked in (".", ".."):
            with pytest.raises(Refused, match=r"not_found: There is no session '\."):
                await tools("session_status", session_id=asked)
            with pytest.raises(Refused, match=r"not_found: There is no run '\."):
                await tools("await_run", run_id=asked)

    way.talk(scenario)


def test_one_owner_writes_and_the_other_reads_why(way: Way) -> None:
    async def scenario(tools: Tools) -> None:
        mine = await tools("resume_session", client_id="laptop")
        session_id = mine["session_id"]
        with pytest.raises(Refused, match=r'SESSION_BUSY: .*takeover.*"lease_expires_at":"20'):
            await tools("resume_session", client_id="phone", session_id=session_id)
        with pytest.raises(Refused, match="session_epoch_required: "):
            await tools("start_run", session_id=session_id, agent="script", input=steps())
        theirs = await tools("resume_session", client_id="phone", session_id=session_id, takeover=True)
        with pytest.raises(Refused, match=r"stale_epoch: .*phone"):
            await tools("append_memory", session_id=session_id, content="late", epoch=mine["epoch"])
        await tools("append_memory", session_id=session_id, content="mine now", epoch=theirs["epoch"])

    way.talk(scenario)


def test_a_key_does_it_once(way: Way, server: Server) -> None:
    async def scenario(tools: Tools) -> None:
        session_id = server.session()
        start = {"session_id": session_id, "agent": "script", "input": steps({"text": "once"})}
        run = await tools("start_run", **start, idempotency_key=f"run-{session_id}")
        assert (await tools("start_run", **start, idempotency_key=f"run-{session_id}"))["run_id"] == run["run_id"]
        memory = {"session_id": session_id, "content": "once", "idempotency_key": f"memory-{session_id}"}
        assert await tools("append_memory", **memory) == await tools("append_memory", **memory)
        with pytest.raises(Refused, match="idempotency_mismatch: "):
            await tools("append_memory", **memory | {"content": "twice"})
        mine = await tools("resume_session", client_id="a", session_id=None, idempotency_key=f"new-{session_id}")
        again = await tools("resume_session", client_id="a", session_id=None, idempotency_key=f"new-{session_id}")
        assert (mine["session_id"], mine["epoch"]) == (again["session_id"], again["epoch"])

    way.talk(scenario)


def test_a_wait_is_bounded_and_the_run_goes_on(way: Way, server: Server) -> None:
    async def scenario(tools: Tools) -> None:
        waits = server.run({"text": "so far"}, {"wait_ms": 600_000})
        server_says = await tools("await_run", run_id=waits["run_id"], wait_s=0.05)
        while not server_says["text"]:
            server_says = await tools("await_run", run_id=waits["run_id"], wait_s=0.05)
        assert (server_says["status"], server_says["final"], server_says["text"]) == ("running", False, "so far")
        with pytest.raises(Refused, match="wait_s"):
            await tools("await_run", run_id=waits["run_id"], wait_s=WAIT_S_MAX + 1)
        with pytest.raises(Refused, match="not_found: "):
            await tools("await_run", run_id="run_unknown")
        server.post(f"/v1/runs/{waits['run_id']}/cancel")
        assert (await tools("await_run", run_id=waits["run_id"], wait_s=0))["status"] == "cancelled"
        failed = server.run({"fail": {"type": "llm_timeout", "message": "no answer"}})
        ended = await tools("await_run", run_id=failed["run_id"])
        assert (ended["status"], ended["error"]["type"]) == ("failed", "llm_timeout")

    way.talk(scenario)


def test_the_same_tokens_and_tenants_as_everywhere(tmp_path: Path, transport: str) -> None:
    tokens = {"REATTACH_MCP": "true", "REATTACH_TOKENS": "ann=token-of-ann,bob=token-of-bob"}
    server = Server(tmp_path / "reattach.db", free_port(), tokens).start()
    try:
        assert server.post("/mcp").status_code == 401
        assert server.get("/mcp").status_code == 405

        def way(token: str) -> Way:
            name = "REATTACH_TOKEN" if transport == "stdio" else "Authorization"
            return Way(server.url, transport, headers={name: token if transport == "stdio" else f"Bearer {token}"})

        async def ann(tools: Tools) -> str:
            return str((await tools("resume_session", client_id="laptop"))["session_id"])

        session_id = way("token-of-ann").talk(ann)

        async def bob(tools: Tools) -> None:
            assert (await tools("list_sessions"))["items"] == []
            mine = await tools("resume_session", client_id="laptop", session_id=session_id)
            assert mine["code"] == "SESSION_NOT_FOUND"
            with pytest.raises(Refused, match="not_found: "):
                await tools("session_status", session_id=session_id)

        way("token-of-bob").talk(bob)
    finally:
        server.kill()


def test_a_page_of_another_site_is_refused_where_no_token_protects(server: Server) -> None:
    body: dict[str, object] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    for header, value, status in (("Origin", "http://evil.example", 403), ("Host", "evil.example", 421)):
        assert server.post("/mcp", body, **{header: value}).status_code == status
