"""docs/http.md is true: its exchanges are run, its tables are those of the code."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import JsonValue

from reattach.adapters.http import body, connection, output, problems, query, sessions
from reattach.domain.handoffs import HANDOFF_ID_CHARS_MAX
from reattach.domain.memory import MEMORY_BYTES_MAX
from reattach.domain.requests import APPROVALS_MAX
from reattach.domain.session import QUEUE_MAX
from reattach.domain.sessions import CLIENT_CHARS_MAX
from reattach.domain.summaries import SUMMARY_BYTES_MAX

from .serving import Api, Backend

DOCS: Final = Path(__file__).parents[3] / "docs"
PAGE: Final = (DOCS / "http.md").read_text(encoding="utf-8")
EXCHANGE: Final = re.compile(r"```http\n(\w+) (\S+)\n((?:[\w-]+: .*\n)*)(?:(\{.*\})\n)?\n(\d+)\n(\{.*\})\n```")


def matches(expected: JsonValue, found: Any, known: dict[str, str]) -> bool:
    """Whether the shortened answer is part of the real one; learns what a whole `$name` stands for."""
    match expected:
        case dict():
            return all(name in found and matches(value, found[name], known) for name, value in expected.items())
        case list():
            pairs = zip(expected, found, strict=True)
            return len(expected) == len(found) and all(matches(one, other, known) for one, other in pairs)
        case str() if expected.startswith("$") and expected[1:] not in known:
            known[expected[1:]] = found
            return True
        case str():
            return filled(expected, known) == found
        case _:
            return expected == found


def filled(text: str, known: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda name: known[name[1]], text)


@pytest.mark.parametrize("name", ["http.md", "sessions.md"])
def test_every_exchange_happens_as_written(api: Api, name: str) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    while api.post("/v1/work/claim", {"worker": "w", "agents": ["plain", "script"], "limit": 100}).json()["items"]:
        pass
    exchanges = EXCHANGE.findall(page)
    assert len(exchanges) == page.count("```http")
    known: dict[str, str] = {}
    for method, path, headers, sent, status, expected in exchanges:
        named = dict(re.findall(r"([\w-]+): (.*)\n", headers))
        content = filled(sent, known) if sent else None
        if content is not None:
            named["Content-Type"] = "application/json"
        answer = api.http.request(method, filled(path, known), content=content, headers=named)
        assert answer.status_code == int(status), answer.text
        assert matches(json.loads(expected), answer.json(), known), (
            f"{answer.text} is not like {filled(expected, known)}"
        )


def test_every_route_is_listed(backend: Backend, port: int) -> None:
    del port  # there is a server, and so a table
    listed = re.findall(r"^\| (GET|POST|DELETE) \| `(\S+)` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(row for row in backend.operations if row[0] != "HEAD")


def test_every_code_is_listed() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE)
    listed = {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert listed == {(status, kind.code) for kind, status in problems.STATUS.items()}


def test_every_limit_is_the_code_s() -> None:
    limits = PAGE[PAGE.index("## Limits") :]
    defaults = body.HttpLimits()
    for said, real in (
        (r"(\d+) MiB \(`REATTACH_BODY_BYTES_MAX`", defaults.body_bytes_max / 2**20),
        (r"workers (\d+) MiB", defaults.output_bytes_max / 2**20),
        (r"(\d+) s to arrive", defaults.body_wait_s),
        (r"(\d+) levels deep", body.JSON_DEPTH_MAX),
        (r"(\d+) KiB together", connection.HEAD_BYTES_MAX / 1024),
        (r"query (\d+) KiB", query.QUERY_BYTES_MAX / 1024),
        (r"(\d+) items unless", query.PAGE_LIMIT),
        (r"at most (\d+) \|", query.PAGE_LIMIT_MAX),
        (r"session \| (\d+) KiB", sessions.METADATA_BYTES_MAX / 1024),
        (r"summary \| (\d+) KiB", MEMORY_BYTES_MAX / 1024),
        (r"summary \| \d+ KiB, (\d+) KiB", SUMMARY_BYTES_MAX / 1024),
        (r"in a session \| (\d+)", QUEUE_MAX),
        (r"`handoff_id` \| (\d+)", CLIENT_CHARS_MAX),
        (r"`handoff_id` \| \d+ and (\d+)", HANDOFF_ID_CHARS_MAX),
        (r"`message` \| ([\d,]+)", body.REASON_CHARS_MAX),
        (r"approvals \| (\d+)", APPROVALS_MAX),
        (r"([\d,]+) frames", output.OUTPUT_FRAMES_MAX),
    ):
        found = re.findall(said, limits)
        assert [float(number.replace(",", "")) for number in found] == [real], said


def test_the_recipe_of_the_chain_works_as_written(api: Api) -> None:
    """By nothing but the page, the session's id and the answers."""
    recipe = re.findall(r"```python\n(.*?)```", (DOCS / "sessions.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(recipe, names)  # noqa: S102  - it is what a reader would do
    session_id = api.session()
    for content in ("é", {"b": [1.5, None], "a": "\u2028"}, 3):
        api.post(f"/v1/sessions/{session_id}/memories", {"content": content})
    previous = None
    for entry in api.get(f"/v1/sessions/{session_id}/memories").json()["items"]:
        assert names["entry_hash"](previous, session_id, entry) == entry["hash"]
        previous = entry["hash"]
    assert previous == api.get(f"/v1/sessions/{session_id}").json()["continuity"]["head_hash"]
