"""What a stream reads and writes through, and why it ends."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

CLOSED = Failure(ConnectionDone())  # type: ignore[no-untyped-call]
LOST = Failure(ConnectionLost())  # type: ignore[no-untyped-call]
ABORTED = Failure(ConnectionAborted())  # type: ignore[no-untyped-call]


class Channel(Protocol):
    """What a Stream reads and writes through.

    Both calls raise BlockingIOError where nothing can be done now, and any other OSError where the
    connection is lost; ChannelLost says why. A channel that decrypts may keep bytes of which epoll knows
    nothing: such a stream is ``thorough``, that is, read until BlockingIOError whatever a read brings.
    """

    def recv_into(self, buffer: memoryview, size: int, /) -> int:
        """Read up to ``size`` bytes into ``buffer``; how many, 0 at the end of what the other side says."""

    def send(self, data: Any, /) -> int:
        """Write what goes now of ``data`` (bytes or memoryview); how many bytes."""


class ChannelLost(OSError):
    """The connection is lost for a reason that is not the system's: ``reason`` is what its protocol hears."""

    def __init__(self, reason: Failure) -> None:
        super().__init__(reason.getErrorMessage())
        self.reason = reason


def reason_of(error: OSError) -> Failure:
    """What a protocol hears of that error."""
    return error.reason if isinstance(error, ChannelLost) else LOST
