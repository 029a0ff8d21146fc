"""Fixtures of the store's tests: a clock that stands still, a store in a fresh directory, a world around it."""

import os

import pytest
from hypothesis import settings

settings.register_profile("fast", deadline=None, max_examples=100, stateful_step_count=40, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=5_000, stateful_step_count=120, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


# The suites are no test files themselves; so their asserts explain themselves, too.
for module in ("world", "contract_appends", "contract_facts", "contract_reads", "contract_snapshots"):
    pytest.register_assert_rewrite(f"tests.eventstore.{module}")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
