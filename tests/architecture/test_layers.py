"""Every rule of the architecture holds in every file, and every rule is seen to fail on code that breaks it."""

import pytest

from . import determinism, imports, style
from .source import FOLDERS, Rule, Source, sources

RULES = (*imports.RULES, *determinism.RULES, *style.RULES)
SOURCES = sources()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_project_keeps_the_rule(rule: Rule) -> None:
    broken = [
        f"{source.path}:{finding.line}: {finding.message}"
        for source in SOURCES
        if rule.covers(source.path)
        for finding in rule.check(source)
    ]
    assert not broken, "\n".join([rule.name, *broken])


@pytest.mark.parametrize(("rule", "path", "text"), [(rule, *bad) for rule in RULES for bad in rule.refused])
def test_a_violation_is_found(rule: Rule, path: str, text: str) -> None:
    assert rule.covers(path)
    assert list(rule.check(Source(path, text)))


@pytest.mark.parametrize(("rule", "path", "text"), [(rule, *good) for rule in RULES for good in rule.allowed])
def test_the_right_form_passes(rule: Rule, path: str, text: str) -> None:
    assert not list(rule.check(Source(path, text)))


def test_every_rule_has_its_counterexample() -> None:
    assert [rule.name for rule in RULES if not rule.refused] == []


def test_all_folders_are_read() -> None:
    assert {source.folder for source in SOURCES} == {"", *FOLDERS}


def test_every_excuse_is_still_needed() -> None:
    too_long = {key for source in SOURCES for key, _, lines, wanted, _ in style.measured(source) if lines > wanted}
    assert set(style.LONGER) - too_long == set()
    assert [key for key, reason in style.LONGER.items() if not reason] == []


def test_an_excuse_reaches_to_the_hard_limit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "LONGER", {"domain/run.py": "a reason"})
    assert not list(style.length(Source("domain/run.py", "x = 1\n" * style.FILE_LINES_MAX)))
    assert list(style.length(Source("domain/run.py", "x = 1\n" * (style.FILE_LINES_MAX + 1))))
