"""Settings: every number of the service that an operator may change, with its unit, its default and the reason for it.

Read once, at the start, from the command line and the environment (`REATTACH_<NAME>`); nothing reads the environment
later.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..domain.errors import ConfigurationError

PREFIX = "REATTACH_"

OTHERS: Final = ("REATTACH_URL", "REATTACH_TOKEN")
"""Variables with our prefix that are no settings: the command line's clients read them."""

TESTS_PREFIX: Final = "REATTACH_TEST_"
"""What begins so belongs to tests."""

_PASSWORD: Final = re.compile(r"(?<=://)([^:/@]*):[^@/]*@")

Seconds = float


class Settings(BaseModel):
    """All settings. `tokens` are `tenant=token` or `tenant=sha256:<hex>`, separated by commas or white space."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on; anything but loopback needs tokens")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    database: str = Field(
        "sqlite:///reattach.db", description="where everything is kept: sqlite:///file or postgresql://host/name"
    )
    durability: Literal["strict", "relaxed"] = Field(
        "strict", description="strict: fsync before anything is visible; relaxed: a power cut may lose the last second"
    )
    agents: str = Field("", description="module:name of the agents to load, separated by commas")
    worker: bool = Field(default=True, description="whether this process also runs agents")
    mcp: bool = Field(default=True, description="whether /mcp serves the MCP tools, where their extra is installed")
    concurrency: int = Field(256, ge=1, le=10_000, description="runs this process works on at once")
    tokens: str = Field("", description="bearer tokens and their tenants; empty: tenant `default`, loopback only")

    lease_s: Seconds = Field(15.0, gt=0, description="how long a worker may be silent before others take over")
    renew_s: Seconds = Field(
        5.0, gt=0, description="how often leases are renewed; a third of lease_s survives two misses"
    )
    sweep_s: Seconds = Field(5.0, gt=0, description="how often expired leases and approvals are looked for")
    linger_s: Seconds = Field(0.0, ge=0, description="how long output waits for more before it is appended")
    drain_grace_s: Seconds = Field(10.0, ge=0, description="how long a stopping process lets runs and streams finish")
    approval_timeout_s: Seconds = Field(86_400.0, gt=0, description="how long an approval stays open by default")
    idempotency_retention_s: Seconds = Field(86_400.0, gt=0, description="how long an Idempotency-Key is remembered")
    session_lease_s: Seconds = Field(
        60.0, gt=0, description="how long a session's owner may be silent before it is free"
    )
    session_grace_s: Seconds = Field(
        30.0, ge=0, description="how long a session without its owner is left alone before it may be summarized"
    )
    handoff_timeout_s: Seconds = Field(60.0, gt=0, description="how long a handoff waits for its target by default")
    summary_lease_s: Seconds = Field(300.0, gt=0, description="how long a summary's claim lasts: one model call")
    keepalive_s: Seconds = Field(10.0, gt=0, description="longest silence on a stream; proxies cut at 30 to 60 s")
    retry_s: Seconds = Field(1.0, ge=0.1, description="what clients are told to wait before they reconnect")
    body_bytes_max: int = Field(1_048_576, ge=1024, description="bytes of one request body")

    @property
    def database_shown(self) -> str:
        """The database's URL as it may be printed: without its password."""
        return _PASSWORD.sub(r"\1:(hidden)@", self.database)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


def load_settings(environment: Mapping[str, str], overrides: Mapping[str, Any]) -> Settings:
    """Overrides (the command line) win over the environment, which wins over the defaults.

    Raises ConfigurationError naming the setting, for a variable that is none, and for what can't work together.
    """
    known = {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}
    _refuse_unknown(environment, known)
    given: dict[str, Any] = {
        name: environment[variable] for variable, name in known.items() if environment.get(variable)
    }
    try:
        settings = Settings(**(given | {name: value for name, value in overrides.items() if value is not None}))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise ConfigurationError(f"{PREFIX}{name.upper()}: {first['msg']}.", setting=name) from error
    if settings.renew_s > settings.lease_s / 2:
        detail = (
            f"{PREFIX}RENEW_S={settings.renew_s:g} is more than half of {PREFIX}LEASE_S={settings.lease_s:g}: healthy "
            f"runs would lose their worker. A third of the lease works: {PREFIX}RENEW_S={settings.lease_s / 3:.6g}."
        )
        raise ConfigurationError(detail, setting="renew_s")
    if not settings.loopback and not settings.tokens.strip():
        detail = (
            f"Listening on {settings.host} would let anybody in: set {PREFIX}TOKENS=tenant=token, "
            "or listen on 127.0.0.1."
        )
        raise ConfigurationError(detail, setting="tokens")
    return settings


def _refuse_unknown(environment: Mapping[str, str], known: Mapping[str, str]) -> None:
    """A misspelt setting would be as good as none: with REATTACH_TOKEN_S everybody would be let in."""
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable.startswith(TESTS_PREFIX) or not environment[variable]:
            continue
        if variable not in known and variable not in OTHERS:
            name = variable.removeprefix(PREFIX)
            near = get_close_matches(name.upper(), [setting.upper() for setting in known.values()], n=1)
            meant = f"Is {PREFIX}{near[0]} meant?" if near else "Unset it; `reattach config` lists all settings."
            raise ConfigurationError(f"{variable} is no setting. {meant}", setting=name.lower())
