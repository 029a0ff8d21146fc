"""`migrate` brings a database to this version's schema; `serve` and `verify` say so where it is needed."""

from pathlib import Path

import psycopg
import pytest

from reattach.infrastructure.migrations import HEAD

from ..postgres import new_database
from ..system.server import Server, free_port
from .command import CommandLine


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_database_is_brought_to_the_schema_once(reattach: CommandLine, tmp_path: Path, store: str) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}" if store == "sqlite" else new_database(migrated=False)
    made, again = (reattach("migrate", "--database", url) for _ in range(2))
    assert (made.code, again.code) == (0, 0)
    assert f"now has the schema {HEAD} (nothing before)" in made.out
    assert f"has the schema {HEAD} already" in again.out
    assert reattach("verify", "--database", url).code == 0


def test_a_server_names_the_command(reattach: CommandLine) -> None:
    url = new_database(migrated=False)
    refused = reattach("serve", "--database", url, "--port", "0")
    assert refused.code == 2
    assert f"reattach migrate --database {url}" in refused.err


def test_verify_names_what_is_altered_on_postgres(reattach: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a healthy database is silent, also under a running server."""
    url = new_database()

    def there(_: Path) -> str:
        return url

    monkeypatch.setattr("tests.system.server.database_url", there)
    server = Server(Path("postgresql"), free_port()).start()
    try:
        session = server.session()
        server.post(f"/v1/sessions/{session}/memories", {"content": "m"})
        run_id = server.run({"text": "Hello"}, session=session)["run_id"]
        server.frames(run_id)
        assert reattach("verify", "--database", url).out == ""
        with psycopg.connect(url) as operator:
            operator.execute("UPDATE events SET state = 'x' WHERE topic = 'run.completed'")
        found = reattach("verify", "--database", url)
        assert found.code == 5
        assert found.out.startswith(f"{run_id} seq ")
        assert found.out.endswith(": is torn or altered\n")
    finally:
        server.terminate()
