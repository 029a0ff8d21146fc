"""The table in tests/README.md keeps its word: every scenario has a row, every row a test that exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
TABLE: Final = ROOT / "tests" / "README.md"
PROMISED: Final = "C1-2 C4-6 C8-19 S1-11 X1-6 A1-9 I1-3 T1-9 H1-9 E1-4"
ROW: Final = re.compile(r"^\| *([A-Z]\d+) *\|([^|]*)\|([^|]*)\|$", re.MULTILINE)
NODE: Final = re.compile(r"`(?P<path>[\w/.-]+\.py)::(?P<name>[\w:]+)`")


def promised() -> list[str]:
    """`C1-2 I1` written out: C1, C2, I1."""
    spans = re.findall(r"([A-Z])(\d+)(?:-(\d+))?", PROMISED)
    return [f"{letter}{n}" for letter, low, high in spans for n in range(int(low), int(high or low) + 1)]


def names_in(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """What pytest can be pointed at: functions, classes with their methods, and state machines assigned to a name."""
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.ClassDef(name=name, body=members):
                yield prefix + name
                yield from names_in(members, f"{prefix}{name}::")
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield prefix + name
            case _:
                pass


def faults(table: str, root: Path) -> list[str]:
    """What is wrong with the rows of a table, one line each."""
    found: list[str] = []
    for scenario, says, tests in ROW.findall(table):
        nodes = list(NODE.finditer(tests))
        if not says.strip(" -") or not nodes:
            found.append(f"{scenario}: the row is empty")
        if unread := NODE.sub("", tests).replace("<br>", "").strip(" ,-"):
            found.append(f"{scenario}: not a test: {unread}")
        for node in nodes:
            file = root / node["path"]
            known = set(names_in(ast.parse(file.read_text(encoding="utf-8")).body)) if file.is_file() else set[str]()
            if node["name"] not in known or not node["name"].split("::")[-1].lower().startswith("test"):
                found.append(f"{scenario}: no such test: {node[0]}")
    return found


def test_every_promised_scenario_has_one_row() -> None:
    assert [row[0] for row in ROW.findall(TABLE.read_text(encoding="utf-8"))] == promised()


def test_every_row_names_tests_that_exist() -> None:
    found = faults(TABLE.read_text(encoding="utf-8"), ROOT)
    assert not found, "\n".join(found)


def test_a_bad_row_is_found(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("def test_a(): ...\nclass TestB:\n    def test_c(self): ...\ndef other(): ...")
    good = "| C1 | replays alike | `test_x.py::test_a`, `test_x.py::TestB::test_c` |"
    assert faults(good, tmp_path) == []
    for bad in (
        "| C1 | replays alike | - |",
        "| C1 | - | `test_x.py::test_a` |",
        "| C1 | replays alike | `test_x.py::test_gone` |",
        "| C1 | replays alike | `test_gone.py::test_a` |",
        "| C1 | replays alike | `test_x.py::other` |",
        "| C1 | replays alike | `test_x.py::test_a`, by hand |",
    ):
        assert len(faults(bad, tmp_path)) == 1
