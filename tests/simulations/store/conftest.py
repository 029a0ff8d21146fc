"""The store's contract suites explain their asserts here, too."""

import pytest

for module in ("world", "contract_appends", "contract_facts", "contract_reads", "contract_snapshots"):
    pytest.register_assert_rewrite(f"tests.eventstore.{module}")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
