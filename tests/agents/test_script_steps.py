"""The language of scripts: what is refused, and that the refusal names the place."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reattach.adapters.agents import script_steps as language
from reattach.adapters.agents.script import ScriptAgent
from reattach.domain.errors import Invalid

from .scripts import scripts, values

SCRIPT = ScriptAgent()


def nested(levels: int, times: int = 1) -> Any:
    step: Any = {"text": "a"}
    for _ in range(levels):
        step = {"repeat": {"times": times, "steps": [step]}}
    return step


def deep(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


MALFORMED: dict[str, Any] = {
    "steps": {"prompt": "hello"},
    "prompt": {"prompt": 1, "steps": []},
    "extra": {"steps": [], "extra": 1},
    "steps[0]": {"steps": [{}]},
    "steps[1]": {"steps": [{"text": "a"}, "b"]},
    "steps[2]": {"steps": [{"text": "a"}, {"text": "a"}, {"text": "a", "reasoning": "b"}]},
    "steps[0].text": {"steps": [{"text": 1}]},
    "steps[0].chunk": {"steps": [{"text": "a", "chunk": 0}]},
    "steps[0].delay_ms": {"steps": [{"reasoning": "a", "delay_ms": language.WAIT_MS_MAX + 1}]},
    "steps[0].chnk": {"steps": [{"text": "a", "chnk": 1}]},
    "steps[0].tool": {"steps": [{"tool": {"name": "t", "result": None, "error": "no"}}]},
    "steps[0].tool.name": {"steps": [{"tool": {"name": ""}}]},
    "steps[0].tool.arguments": {"steps": [{"tool": {"name": "t", "arguments": deep(1000)}}]},
    "steps[0].approvals": {"steps": [{"approvals": []}]},
    "steps[0].approvals[1].tool": {"steps": [{"approvals": [{"tool": "t"}, {}]}]},
    "steps[0].timeout_s": {"steps": [{"approvals": [{"tool": "t"}], "timeout_s": -1}]},
    "steps[0].data.name": {"steps": [{"data": {"value": 1}}]},
    "steps[0].wait_ms": {"steps": [{"wait_ms": 0.5}]},
    "steps[0].fail.type": {"steps": [{"fail": {"message": "no"}}]},
    "steps[0].crash": {"steps": [{"crash": False}]},
    "steps[0].repeat.times": {"steps": [{"repeat": {"times": 0, "steps": [{"text": "a"}]}}]},
    "steps[0].repeat.steps": {"steps": [{"repeat": {"times": 1, "steps": []}}]},
    "steps[0].repeat.steps[1]": {"steps": [{"repeat": {"times": 1, "steps": [{"text": "a"}, {"txt": "b"}]}}]},
    "steps[0].repeat.steps[0].tool": {
        "steps": [{"repeat": {"times": 1, "steps": [{"tool": {"name": "t", "result": 1, "error": ""}}]}}]
    },
}


@pytest.mark.parametrize("path", MALFORMED)
def test_a_malformed_script_is_refused_by_its_place(path: str) -> None:
    with pytest.raises(Invalid) as refusal:
        SCRIPT.validate(MALFORMED[path])
    assert refusal.value.fields["field"] == f"input.{path}"
    assert refusal.value.detail.startswith(f"{path}: ")


@pytest.mark.parametrize("input", [None, True, 1, "text", [], [{"text": "a"}]])
def test_what_is_no_script_at_all_is_refused(input: Any) -> None:  # noqa: A002  - the wire's word
    with pytest.raises(Invalid, match="A script is an object") as refusal:
        SCRIPT.validate(input)
    assert refusal.value.fields == {"field": "input"}


OVER: dict[str, Any] = {
    "steps": [{"text": "a"}] * (language.STEPS_MAX + 1),
    "nesting": [nested(language.NESTING_MAX + 1)],
    "very deep": [nested(20_000)],
    "times": [nested(1, language.TIMES_MAX + 1)],
    "outputs": [nested(2, language.TIMES_MAX)],
    "approvals": [{"approvals": [{"tool": "t"}] * 65}],
}


@pytest.mark.parametrize("limit", OVER)
def test_what_is_over_a_limit_is_refused(limit: str) -> None:
    with pytest.raises(Invalid):
        SCRIPT.validate({"steps": OVER[limit]})


def test_what_is_at_a_limit_is_accepted() -> None:
    at: list[Any] = [
        [{"text": "a"}] * language.STEPS_MAX,
        [nested(language.NESTING_MAX)],
        [nested(1, language.TIMES_MAX)],
    ]
    for steps in at:
        SCRIPT.validate({"steps": steps})


@settings(deadline=None)
@given(
    values
    | st.fixed_dictionaries({"steps": values | st.lists(st.dictionaries(st.sampled_from(language.KINDS), values))})
)
def test_any_json_is_a_script_or_refused(input: Any) -> None:  # noqa: A002  - the wire's word
    with contextlib.suppress(Invalid):
        SCRIPT.validate(input)


@settings(deadline=None)
@given(scripts, st.data())
def test_a_step_spoilt_anywhere_is_named(script: Any, data: st.DataObject) -> None:
    """Method: walk down to any step, give it a field it doesn't have, and expect exactly that path."""
    path, steps = "steps", script["steps"]
    while steps:
        index = data.draw(st.integers(0, len(steps) - 1))
        path += f"[{index}]"
        step = steps[index]
        if "repeat" not in step or data.draw(st.booleans()):
            step["unknown"] = 1
            with pytest.raises(Invalid) as refusal:
                SCRIPT.validate(script)
            assert refusal.value.fields["field"] == f"input.{path}.unknown"
            return
        steps, path = step["repeat"]["steps"], f"{path}.repeat.steps"
