"""H1 as an agent meets it: another process resumes a session over MCP after each of three kill -9 of the server."""

from pathlib import Path

import pytest

from reattach.domain.identifiers import SessionId
from reattach.domain.memory import Memory, first_break

from ..system.server import Server, free_port
from .talking import Tools, Way

KILLS = 3
ENTRIES = 4


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_another_process_resumes_after_each_kill(tmp_path: Path, era: str) -> None:
    """Each resume is a new `reattach mcp` process, as an agent that was restarted would start it."""
    server = Server(tmp_path / "reattach.db", free_port()).start()
    way = Way(server.url, "stdio", era)
    asked: str | None = None
    hashes: list[str] = []
    epochs: list[int] = []

    async def one_life(tools: Tools) -> str:
        mine = await tools("resume_session", client_id="agent", session_id=asked)
        assert mine["resumed"] is (asked is not None)
        evidence = mine["continuity"]
        assert (evidence["count"], evidence["head_hash"]) == (len(hashes), hashes[-1] if hashes else None)
        epochs.append(mine["epoch"])
        for number in range(ENTRIES):
            content = {"life": len(epochs), "number": number}
            entry = await tools("append_memory", session_id=mine["session_id"], content=content, epoch=mine["epoch"])
            hashes.append(entry["hash"])
        return str(mine["session_id"])

    try:
        for _ in range(KILLS + 1):
            asked = way.talk(one_life)
            server.kill()
            server.start()
        page = server.get(f"/v1/sessions/{asked}/memories?limit=100").json()
        evidence = server.get(f"/v1/sessions/{asked}").json()["continuity"]
    finally:
        server.kill()
    entries = [Memory.model_validate(item) for item in page["items"]]
    assert [entry.hash for entry in entries] == hashes
    assert first_break(SessionId(str(asked)), entries) is None
    count = (KILLS + 1) * ENTRIES
    assert evidence == {"count": count, "first": 1, "last": count, "head_hash": hashes[-1]}
    assert epochs == sorted(set(epochs))


def test_one_process_goes_on_over_each_kill(tmp_path: Path) -> None:
    """The agent's own process stays: its next call waits for the server, and nothing is appended twice."""
    server = Server(tmp_path / "reattach.db", free_port()).start()

    async def scenario(tools: Tools) -> None:
        mine = await tools("resume_session", client_id="agent")
        session_id, epoch = mine["session_id"], mine["epoch"]
        run = await tools(
            "start_run",
            session_id=session_id,
            agent="script",
            input={"prompt": "go", "steps": [{"text": "done"}]},
            epoch=epoch,
        )
        for number in range(KILLS):
            await tools("append_memory", session_id=session_id, content=number, epoch=epoch)
            server.kill()
            server.start()
        again = await tools("resume_session", client_id="agent", session_id=session_id)
        assert (again["resumed"], again["continuity"]["count"]) == (True, KILLS)
        ended = await tools("await_run", run_id=run["run_id"])
        assert (ended["status"], ended["text"]) == ("completed", "done")

    try:
        Way(server.url, "stdio").talk(scenario)
    finally:
        server.kill()
