"""What all endless relays have in common: who starts them, what can be asked of them, and their words."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from exproxy.model import BACKEND, CLIENT, Side
from exproxy.wire import reason_text

# Once one connection is gone, how long (seconds, without a byte moving) the other may take to read
# what was queued for it.
LINGER = 30.0
# How a connection ends, in Twisted's words.
CLOSED = "closed"
LOST = reason_text(Failure(ConnectionLost()))  # type: ignore[no-untyped-call]


class RelayUser(Protocol):
    """Who started an endless relay."""

    def finished(self, side: Side | None, reason: str) -> None:
        """Both connections are gone; ``side`` ended it first, None: it fell idle or was cut."""


class Relay(Protocol):
    """An endless relay at work."""

    @property
    def counts(self) -> dict[Side, int]:
        """The bytes that came from each side so far."""

    def cut(self, reason: str) -> None:
        """Drop both connections now (an operator, a server that went down); idempotent."""


def other(side: Side) -> Side:
    """The side across."""
    return BACKEND if side is CLIENT else CLIENT
