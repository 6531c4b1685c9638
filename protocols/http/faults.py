"""What is wrong with a message, whose fault it is, and what to answer the client."""

from __future__ import annotations

from exproxy.errors import ExproxyError
from exproxy.model import CLIENT, Side

BAD_GATEWAY = 502


class BadMessage(ExproxyError):
    """A message that must not go on.

    ``side`` sent it, ``status`` is the answer that the client gets (of a backend's message always
    502), ``reason`` is for the log only and quotes nothing of the message.
    """

    def __init__(self, status: int, reason: str, side: Side = CLIENT) -> None:
        self.status = status if side is CLIENT else BAD_GATEWAY
        self.reason = reason
        self.side = side
        super().__init__(f"{self.status}: {reason}")


class HeadTooLarge(BadMessage):
    """More bytes or more fields than a head may have: 431 (RFC 6585 5)."""

    def __init__(self, reason: str, side: Side = CLIENT) -> None:
        super().__init__(431, reason, side)


class TargetTooLong(BadMessage):
    """A request target beyond its limit: 414 (RFC 9110 15.5.15)."""

    def __init__(self) -> None:
        super().__init__(414, "request target too long")


class Truncated(BadMessage):
    """The connection ended inside a body (RFC 9112 8)."""

    def __init__(self, side: Side = CLIENT) -> None:
        super().__init__(400, "the body ended too early", side)
