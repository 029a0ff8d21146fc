"""`verify`: silent on a healthy store; else it names stream and seq (B7)."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reattach.infrastructure.codec import stream_id

from ..system.server import Server, free_port
from .command import CommandLine


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A database with memories and turns, its session, and a run."""
    path = tmp_path_factory.mktemp("verify") / "reattach.db"
    server = Server(path, free_port()).start()
    try:
        session = server.session()
        for number in range(4):
            server.post(f"/v1/sessions/{session}/memories", {"content": number})
        run = server.run({"text": "Hello"}, {"text": "Bye"}, session=session)
        server.frames(run["run_id"])
        server.run({"approvals": [{"tool": "send", "arguments": {}, "result": "sent"}]})
    finally:
        server.terminate()
    return path, session, str(run["run_id"])


@pytest.fixture
def damaged(written: tuple[Path, str, str], tmp_path: Path) -> Callable[..., str]:
    """The URL of a copy in which this was done."""

    def damage(statement: str, *parameters: object) -> str:
        copy = tmp_path / "copy.db"
        with closing(sqlite3.connect(written[0])) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            assert target.execute(statement, parameters).rowcount == 1
            target.commit()
        return f"sqlite:///{copy}"

    return damage


def test_a_healthy_store_is_silent(reattach: CommandLine, written: tuple[Path, str, str]) -> None:
    done = reattach("verify", "--database", f"sqlite:///{written[0]}")
    assert (done.code, done.out, done.err) == (0, "", "")


ALTER = "UPDATE memories SET body = replace(body, '\"content\":2', '\"content\":9') "
HERE = " WHERE stream_id = ?1 AND version = "


@pytest.mark.parametrize(
    ("change", "place", "seq", "what"),
    [
        ("DELETE FROM events", "3", 3, "is missing"),
        ("DELETE FROM events", "(SELECT max(version) FROM events WHERE stream_id = ?1)", None, "is missing"),
        ("UPDATE events SET state = substr(state, 2)", "2", 2, "is torn or altered"),
        ("UPDATE events SET epoch = 7", "1", 1, "is torn or altered"),
        ("UPDATE events SET frames = 2", "1", 1, "is torn or altered"),
    ],
)
@pytest.mark.parametrize("which", ["session", "run"])
def test_a_damaged_record_is_named(
    *,
    reattach: CommandLine,
    written: tuple[Path, str, str],
    damaged: Callable[..., str],
    which: str,
    change: str,
    place: str,
    seq: int | None,
    what: str,
) -> None:
    stream = written[1] if which == "session" else written[2]
    done = reattach("verify", "--database", damaged(change + HERE + place, stream_id(stream)))
    assert done.code == 5
    named = f"{stream} seq {seq}:" if seq is not None else f"{stream} seq "
    assert any(line.startswith(named) and what in line for line in done.out.splitlines()), done.out
    assert {line.split()[0] for line in done.out.splitlines()} == {stream}


@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("DELETE FROM memories WHERE session_id = ? AND sequence = 2", 2),
        ("DELETE FROM memories WHERE session_id = ? AND sequence = 4", 4),
        (ALTER + "WHERE session_id = ? AND sequence = 3", 3),
        ("UPDATE memories SET body = 'torn' WHERE session_id = ? AND sequence = 1", 1),
    ],
)
def test_a_broken_memory_is_named(
    reattach: CommandLine, written: tuple[Path, str, str], damaged: Callable[..., str], statement: str, sequence: int
) -> None:
    done = reattach("verify", "--database", damaged(statement, stream_id(written[1])))
    assert done.code == 5
    assert done.out.splitlines()[0].startswith(f"{written[1]} seq {sequence}: ")


def test_what_is_no_database_of_ours(reattach: CommandLine, tmp_path: Path) -> None:
    missing = reattach("verify", "--database", f"sqlite:///{tmp_path / 'none.db'}")
    assert (missing.code, missing.out) == (2, "")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "words.db").write_text("no database at all, however long one looks at it" * 100)
    assert reattach("verify", "--database", f"sqlite:///{tmp_path / 'words.db'}").code == 5
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE x (y)")
    assert reattach("verify", "--database", f"sqlite:///{tmp_path / 'other.db'}").code == 2
