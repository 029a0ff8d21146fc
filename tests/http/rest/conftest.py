"""Fixtures: a backend for the suite, a server without tokens and one with two tenants and a worker."""

from collections.abc import Iterator

import pytest

from .serving import Api, Backend, Held

ANNA, BERT, WORKER = "anna-token", "bert-token", "worker-token"


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """Store and application."""
    running = Backend(tmp_path_factory.mktemp("rest"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def port(backend: Backend) -> Iterator[int]:
    """The port of a server without tokens."""
    with backend.serve() as port:
        yield port


@pytest.fixture(scope="session")
def api(port: int) -> Iterator[Api]:
    """The tenant `default`."""
    client = Api(port)
    yield client
    client.http.close()


@pytest.fixture(scope="session")
def guarded_port(backend: Backend) -> Iterator[int]:
    """The port of a server that knows three tokens."""
    with backend.serve(tokens=f"anna={ANNA}, bert={BERT} *={WORKER}") as port:
        yield port


@pytest.fixture
def stranger(guarded_port: int) -> Iterator[Api]:
    """Somebody without a token."""
    client = Api(guarded_port)
    yield client
    client.http.close()


@pytest.fixture
def anna(guarded_port: int) -> Iterator[Api]:
    """A tenant."""
    client = Api(guarded_port, ANNA)
    yield client
    client.http.close()


@pytest.fixture
def bert(guarded_port: int) -> Iterator[Api]:
    """Another tenant."""
    client = Api(guarded_port, BERT)
    yield client
    client.http.close()


@pytest.fixture
def worker(guarded_port: int) -> Iterator[Api]:
    """A worker of all tenants."""
    client = Api(guarded_port, WORKER)
    yield client
    client.http.close()


@pytest.fixture
def held(api: Api) -> Held:
    """A run that has just been claimed."""
    return api.claim(api.run(input={"any": "input"}))
