"""Hosts made of network namespaces: each has an address and a cable, which can be pulled out and put back.

A host that is cut off hears nothing and is told nothing: no connection of it ends, on either side.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

NETWORK: Final = "10.213"
NETWORKS: Final = 250
"""The first two bytes of every address, and how many values the third may have. In each network .1 is the bridge, where
the people, the judge and the database are."""

HOSTS_MAX: Final = 200


class NoHosts(Exception):
    """There can be none here; the message says why."""


@dataclass(frozen=True, slots=True)
class Host:
    """Where a process runs: its address there, and what stands before its command."""

    name: str
    address: str
    prefix: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether others than this machine reach it: then it needs tokens."""
        return bool(self.prefix)


HERE: Final = Host("here", "127.0.0.1")
"""This machine itself."""


class Hosts:
    """What there is to run on; `bridge` is where everything else listens."""

    def __init__(self, hosts: Sequence[Host], bridge: str) -> None:
        self.all = hosts
        self.bridge = bridge

    @property
    def cables(self) -> Sequence[Host]:
        """Those that can be cut off."""
        return [host for host in self.all if host.open]

    async def cut_off(self, host: Host) -> None:
        """Pull its cable out."""
        await _ip("link", "set", _cable(host.name), "down")

    async def bring_back(self, host: Host) -> None:
        """Put it back."""
        await _ip("link", "set", _cable(host.name), "up")


def why_not() -> str | None:
    """Why there can be no hosts here; None if there can. Makes a small network, and takes it away again."""

    async def tried() -> str | None:
        try:
            async with hosts_of(1):
                return None
        except NoHosts as reason:
            return str(reason)

    return asyncio.run(tried())


@asynccontextmanager
async def hosts_of(count: int) -> AsyncGenerator[Hosts, None]:
    """So many hosts, joined by a bridge; none: this machine alone. Raises NoHosts."""
    if not count:
        yield Hosts([HERE], HERE.address)
        return
    if not sys.platform.startswith("linux"):
        raise NoHosts(f"network namespaces are Linux's, this is {sys.platform}")
    if os.geteuid() != 0:
        raise NoHosts("making network namespaces needs root")
    if shutil.which("ip") is None:
        raise NoHosts("there is no `ip` (Debian: iproute2)")
    network = f"{NETWORK}.{os.getpid() % NETWORKS + 1}"  # several may be at work
    bridge, names = f"rtb{os.getpid()}", [f"rt{os.getpid()}h{n}" for n in range(min(count, HOSTS_MAX))]
    hosts = [Host(name, f"{network}.{n + 2}", ("ip", "netns", "exec", name)) for n, name in enumerate(names)]
    try:
        await _ip("link", "add", bridge, "type", "bridge")
        await _ip("addr", "add", f"{network}.1/24", "dev", bridge)
        await _ip("link", "set", bridge, "up")
        for host in hosts:
            await _wire(host, bridge)
        yield Hosts(hosts, f"{network}.1")
    finally:
        for name in names:
            await _ip("netns", "del", name, quietly=True)  # its end of the cable goes with it
        await _ip("link", "del", bridge, quietly=True)


async def _wire(host: Host, bridge: str) -> None:
    cable, end = _cable(host.name), "eth0"
    await _ip("netns", "add", host.name)
    await _ip("link", "add", cable, "type", "veth", "peer", "name", end, "netns", host.name)
    await _ip("link", "set", cable, "master", bridge, "up")
    within = ("-n", host.name)
    await _ip(*within, "addr", "add", f"{host.address}/24", "dev", end)
    await _ip(*within, "link", "set", end, "up")
    await _ip(*within, "link", "set", "lo", "up")


def _cable(name: str) -> str:
    """The bridge's end of a host's cable. The kernel takes 15 characters."""
    return f"v{name.removeprefix('rt')}"[:15]


async def _ip(*arguments: str, quietly: bool = False) -> None:
    process = await asyncio.create_subprocess_exec(
        "ip", *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    if process.returncode and not quietly:
        raise NoHosts(f"ip {' '.join(arguments)}: {told.decode(errors='replace').strip()}")
