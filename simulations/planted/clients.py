"""Planted bugs of the Python client: where it comes back, what it hands on, when it takes a stream for over."""

from typing import Final

from .edit import Edit, Planted

_TAKE: Final = "adapters.client.position:Position.take"
_IS_NEXT: Final = "adapters.client.follow:Follower._is_next"
_WAIT: Final = "adapters.client.follow:Follower._wait"

CLIENTS: Final = (
    Planted(
        "client-resumes-one-too-short",
        "After a break the client comes back with the frame before the last one that it has handed on.",
        ("resumed-elsewhere",),
        (
            Edit(
                _TAKE,
                "self.cursor = frame.id\n",
                "before, self.__dict__['last'] = self.__dict__.get('last', frame.id), frame.id\n"
                "        self.cursor = before\n",
            ),
        ),
    ),
    Planted(
        "client-resumes-from-the-start",
        "After a break the client comes back without a cursor, and relies on dropping what it has had.",
        ("resumed-elsewhere",),
        (
            Edit(
                "adapters.client.follow:Follower._headers",
                "cursor = self._position.cursor",
                "cursor = None if self._failures else self._position.cursor",
            ),
        ),
    ),
    Planted(
        "client-takes-a-reconnect-for-an-end",
        "The client takes stream.reconnect, which ends a connection, for the end of the stream.",
        ("clean-end",),
        (
            Edit(
                "adapters.client.follow:Follower.frames",
                "except _Broken as broken:\n",
                "except _Broken as broken:\n"
                '            if broken.why.startswith("the server asked"):\n'
                "                return\n",
            ),
        ),
    ),
    Planted(
        "client-takes-a-break-for-an-end",
        "The client takes a connection that ends without a word for the end of the stream.",
        ("clean-end",),
        (
            Edit(
                "adapters.client.follow:Follower.frames",
                "except httpx.RequestError as error:",
                "except httpx.ReadError:\n            return\n        except httpx.RequestError as error:",
            ),
        ),
    ),
    Planted(
        "client-keeps-a-reset-to-itself",
        "The client does not hand a reset on, so that nobody forgets what they had.",
        ("snapshot-unasked",),
        (
            Edit(
                _IS_NEXT,
                "self._failures = 0\n    return True",
                'self._failures = 0\n    return frame.type != "stream.reset"',
            ),
        ),
    ),
    Planted(
        "client-forgets-a-snapshot",
        "The client does not take the place of a snapshot for its own: what follows looks as if frames were missing.",
        ("client-raised",),
        (Edit(_TAKE, "elif frame.type == SNAPSHOT:", "elif frame.type == SNAPSHOT and self.cursor is None:"),),
    ),
    Planted(
        "client-doubles-after-a-reset",
        "After a reset the client forgets its cursor for good, and hands everything on again after a break.",
        ("delivery-repeat", "resumed-elsewhere"),
        (
            Edit(
                _TAKE,
                "self.cursor = frame.id\n",
                "self.cursor = None if self.__dict__.get('reset') else frame.id\n",
            ),
            Edit(
                _TAKE, "elif frame.type == RESET:", "elif frame.type == RESET:\n        self.__dict__['reset'] = True"
            ),
            Edit(
                "adapters.client.position:Position.judge",
                "if cursor.seq <= place.seq:",
                "if cursor.seq <= place.seq and not self.__dict__.get('reset'):",
            ),
        ),
    ),
    Planted(
        "client-deaf-to-retry",
        "The client comes back at once, whatever the server asks for.",
        ("came-back-too-soon",),
        (Edit(_WAIT, "await asyncio.sleep(wait_s)", "await asyncio.sleep(0)"),),
    ),
    Planted(
        "client-gives-up-while-it-hears",
        "The client counts its patience from the first break of all, not from the last sign of life.",
        ("gave-up-too-soon",),
        (
            Edit(
                "adapters.client.follow:Follower.frames",
                "self._lost_at = None\n",
                "pass\n",
            ),
        ),
    ),
    Planted(
        "client-gives-up-over-a-config",
        "The client that can't read for a while whether a run hides frames ends the stream.",
        ("client-raised",),
        (
            Edit(
                "adapters.client.follow:Follower._is_filtered",
                "except ReattachError as error:",
                "except ZeroDivisionError as error:",
            ),
        ),
    ),
    Planted(
        "client-gives-up-behind-a-proxy",
        "The client ends the stream if a proxy, not the service, refuses to say whether a run hides frames.",
        ("client-raised",),
        (
            Edit(
                "adapters.client.follow:Follower._is_filtered",
                'not is_passing(error.fields.get("status", 0))',
                'error.code not in ("store_unavailable", "draining")',
            ),
        ),
    ),
)
