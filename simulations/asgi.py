"""A request as a client sends it, and as ASGI describes it to an application."""

from dataclasses import dataclass

from starlette.types import Scope


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sends: once, whole."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def scope_of(request: Request, client: str, node: str, *, raises: bool) -> Scope:
    """What the application of `node` is called with. `raises`: the server is one that raises for a client that has
    gone, and says so by its version of the specification."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4" if raises else "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": request.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers],
        "client": (client, 1),
        "server": (node, 80),
        "state": {},
    }
