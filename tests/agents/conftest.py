"""No test of this folder asks a model by accident: those that mean to, ask a server of their own."""

from collections.abc import Iterator

import pytest
from pydantic_ai import models


@pytest.fixture(autouse=True)
def no_model_requests() -> Iterator[None]:
    with models.override_allow_model_requests(False):
        yield


@pytest.fixture
def model_requests(no_model_requests: None) -> Iterator[None]:
    with models.override_allow_model_requests(True):
        yield
