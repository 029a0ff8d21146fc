"""The surface of an event loop around its schedule: what is refused here, what is trivial, and threads run inline.

A simulated world has no outside. Code that reaches for sockets, pipes, subprocesses, signals or threads would run
unsimulated, so it is stopped loudly, with what to do instead.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple

from .process import AGENT

INSTEAD: Final = "a simulated world has no outside: give the code a port, and simulate what is behind it"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SimulationEscape(BaseException):
    """Simulated code reached for the real world: a socket, a thread, a subprocess, a blocking sleep.

    The code at fault is the one in the traceback. Not an Exception, so that nobody's `except Exception` hides it; it
    also ends the run (`SimLoop.abort`), as a task would only keep it as its result. `agent` is the user's agent that
    did it, if one did.
    """

    def __init__(self, what: str, instead: str = INSTEAD) -> None:
        super().__init__(f"{what}: {instead}")
        self.agent = AGENT.get()


FATAL: Final = (SystemExit, KeyboardInterrupt, SimulationEscape)
"""What no callback's failure is: it ends the run."""


def _refusal(name: str) -> Any:
    def refuse(self: "LoopSurface", *_args: object, **_options: object) -> None:
        self.refuse(f"loop.{name}")

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


class LoopSurface(asyncio.AbstractEventLoop, ABC):
    """Everything of an event loop but time, order and tasks.

    `unhandled` collects what asyncio reports as nobody's error: an oracle judges it.
    """

    def __init__(self) -> None:
        self.unhandled: list[dict[str, Any]] = []
        self._listener: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None

    @abstractmethod
    def abort(self, error: BaseException) -> None:
        """End the run with this error."""

    def refuse(self, what: str, instead: str = INSTEAD) -> NoReturn:
        """Raise SimulationEscape, and end the run with it even if it is caught."""
        error = SimulationEscape(what, instead)
        self.abort(error)
        raise error

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run it inline, as one step of its own. It must not wait for anything that this world has to do."""
        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except FATAL:
                raise
            except StopIteration as error:
                future.set_exception(RuntimeError(f"the function raised {error!r}"))
            except BaseException as error:  # noqa: BLE001 - the future carries it to who waits, as a thread's does
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_soon(work)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - its name
        """There is none."""

    async def shutdown_asyncgens(self) -> None:
        """They are closed with the loop."""

    def get_task_factory(self) -> None:
        """None: tasks are this loop's own, see `tasks.py`."""

    def get_debug(self) -> bool:
        """Never: asyncio's debug mode asks the machine's clock."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Ignored."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Remember what went wrong where nobody waits for it; tell the listener, if one is set."""
        self.unhandled.append(context)
        if self._listener is not None:
            self._listener(self, context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Remember it."""
        self.unhandled.append(context)

    def get_exception_handler(self) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None:
        """The listener, if one is set."""
        return self._listener

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
    ) -> None:
        """Tell this handler, too."""
        self._listener = handler

    # Any: the refusals stand for two dozen signatures, none of which matters when the answer is no.
    add_reader: Any = _refusal("add_reader")
    add_signal_handler: Any = _refusal("add_signal_handler")
    add_writer: Any = _refusal("add_writer")
    connect_accepted_socket: Any = _refusal("connect_accepted_socket")
    connect_read_pipe: Any = _refusal("connect_read_pipe")
    connect_write_pipe: Any = _refusal("connect_write_pipe")
    create_connection: Any = _refusal("create_connection")
    create_datagram_endpoint: Any = _refusal("create_datagram_endpoint")
    create_server: Any = _refusal("create_server")
    create_unix_connection: Any = _refusal("create_unix_connection")
    create_unix_server: Any = _refusal("create_unix_server")
    getaddrinfo: Any = _refusal("getaddrinfo")
    getnameinfo: Any = _refusal("getnameinfo")
    remove_reader: Any = _refusal("remove_reader")
    remove_signal_handler: Any = _refusal("remove_signal_handler")
    remove_writer: Any = _refusal("remove_writer")
    sendfile: Any = _refusal("sendfile")
    set_default_executor: Any = _refusal("set_default_executor")
    set_task_factory: Any = _refusal("set_task_factory")
    sock_accept: Any = _refusal("sock_accept")
    sock_connect: Any = _refusal("sock_connect")
    sock_recv: Any = _refusal("sock_recv")
    sock_recv_into: Any = _refusal("sock_recv_into")
    sock_recvfrom: Any = _refusal("sock_recvfrom")
    sock_recvfrom_into: Any = _refusal("sock_recvfrom_into")
    sock_sendall: Any = _refusal("sock_sendall")
    sock_sendfile: Any = _refusal("sock_sendfile")
    sock_sendto: Any = _refusal("sock_sendto")
    start_tls: Any = _refusal("start_tls")
    subprocess_exec: Any = _refusal("subprocess_exec")
    subprocess_shell: Any = _refusal("subprocess_shell")
