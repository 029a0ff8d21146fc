"""Fixtures of the store's tests: a clock that stands still, a store in a fresh directory, a world around it."""

import pytest

# The suites are no test files themselves; so their asserts explain themselves, too.
for module in ("world", "contract_appends", "contract_facts", "contract_reads", "contract_snapshots"):
    pytest.register_assert_rewrite(f"tests.eventstore.{module}")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
