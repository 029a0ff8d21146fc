"""Scripts for tests: any script that Hypothesis can think of, and what each step of one is expected to give."""

from typing import Any

from hypothesis import strategies as st

Step = dict[str, Any]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text("abc", min_size=1, max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
chunks = st.integers(1, 5)


def with_kind(kind: str, value: st.SearchStrategy[Any], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.fixed_dictionaries({kind: value}, optional=optional)


approvals = with_kind(
    "approvals",
    st.lists(with_kind("tool", names, arguments=values, result=values), min_size=1, max_size=3),
    timeout_s=st.floats(0, 100),
)
leaves = st.one_of(
    with_kind("text", texts, chunk=chunks, delay_ms=st.just(0)),
    with_kind("reasoning", texts, chunk=chunks),
    with_kind("tool", with_kind("name", names, arguments=values, result=values)),
    with_kind("tool", with_kind("name", names, error=texts)),
    with_kind("data", st.fixed_dictionaries({"name": names, "value": values})),
    with_kind("wait_ms", st.just(0)),
    approvals,
)


def _repeat(inner: st.SearchStrategy[Step]) -> st.SearchStrategy[Step]:
    body = st.fixed_dictionaries({"times": st.integers(1, 2), "steps": st.lists(inner, min_size=1, max_size=3)})
    return with_kind("repeat", body)


steps = leaves | _repeat(leaves | _repeat(leaves | _repeat(leaves)))
scripts = st.fixed_dictionaries({"steps": st.lists(steps, max_size=4)}, optional={"prompt": texts})
