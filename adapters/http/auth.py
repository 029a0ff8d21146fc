"""Who is asking: bearer tokens and the tenants they stand for. Only the hashes of tokens are kept."""

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from starlette.types import Scope

from ...domain.errors import ConfigurationError, Unauthorized
from .problems import Forbidden

DEFAULT_TENANT: Final = "default"
"""Whose everything is while no token is configured."""

WORKERS: Final = "*"
"""Stands in a tenant's place before the token of workers: they run every tenant's agents, and do nothing else."""

TOKENS_MAX: Final = 1000
"""Tokens one server knows; a request is compared with each."""

TOKEN_CHARS_MAX: Final = 1024
"""Characters of a token."""

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}|\*")
_TOKEN: Final = re.compile(rf"[!-~]{{1,{TOKEN_CHARS_MAX}}}")
_HASHED: Final = re.compile(r"sha256:([0-9a-fA-F]{64})")


class Audience(Enum):
    """Whom an operation is for."""

    PUBLIC = auto()
    TENANT = auto()
    WORKER = auto()


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of this server as (SHA-256, tenant). Without any, everybody is the tenant `default`."""

    known: tuple[tuple[bytes, str], ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.known)

    @classmethod
    def parse(cls, setting: str) -> "Tokens":
        """Read `tenant=token` or `tenant=sha256:<hex>`, separated by commas or white space; `*=token` is for workers.

        Raises ConfigurationError, which never quotes a token.
        """
        known = tuple(_entries(setting))
        if len(known) > TOKENS_MAX:
            raise ConfigurationError(f"{len(known)} tokens are more than {TOKENS_MAX}.", setting="tokens")
        if len(dict(known)) < len(known):
            raise ConfigurationError("Two tokens are the same.", setting="tokens")
        return cls(known)

    def tenant(self, scope: Scope, audience: Audience) -> str:
        """The tenant this request speaks for. Raises Unauthorized, or Forbidden where the token is not for this."""
        if not self.known:
            return DEFAULT_TENANT
        tenant = self._of(_bearer(scope))
        if tenant is None:
            raise Unauthorized
        if (tenant == WORKERS) is not (audience is Audience.WORKER):
            raise Forbidden
        return tenant

    def _of(self, token: bytes) -> str | None:
        """Compares with every token, so that the time taken says nothing about any of them."""
        digest = hashlib.sha256(token).digest()
        found: str | None = None
        for known, tenant in self.known:
            if hmac.compare_digest(known, digest):
                found = tenant
        return found


def _entries(setting: str) -> Iterator[tuple[bytes, str]]:
    for number, entry in enumerate(setting.replace(",", " ").split(), 1):
        tenant, equals, token = entry.partition("=")
        if not equals or not _TENANT.fullmatch(tenant) or not _TOKEN.fullmatch(token):
            detail = f"Token {number} is not of the form tenant=token or tenant=sha256:<64 hex digits>."
            raise ConfigurationError(detail, setting="tokens")
        hashed = _HASHED.fullmatch(token)
        if token.startswith("sha256:") and hashed is None:
            raise ConfigurationError(f"Token {number}: sha256: needs 64 hex digits after it.", setting="tokens")
        yield bytes.fromhex(hashed[1]) if hashed else hashlib.sha256(token.encode()).digest(), tenant


def _bearer(scope: Scope) -> bytes:
    values: list[bytes] = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1 or len(values[0]) > len("Bearer ") + TOKEN_CHARS_MAX:
        raise Unauthorized
    scheme, _, token = values[0].partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise Unauthorized
    return token.strip(b" ")
