"""An answer like one before on the same client connection: the same head byte for byte, and a body as long.

What its head says and how it goes on to the client is known then. Everything else takes the long way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from protocols.http.authentication import binds
from protocols.http.exchange import Exchange
from protocols.http.framing import Kind
from protocols.http.head import ResponseHead
from protocols.http.server_cookie import learnt

# Fields of ours, by which an answer differs from its server's.
Added: TypeAlias = Sequence[tuple[bytes, bytes]]


class Familiar:
    """``head`` came, and ``forwarded`` went to the client in its place, with the fields of ours that are
    ``added``; ``size``: bytes of head and body."""

    __slots__ = ("_raw", "added", "forwarded", "head", "size")

    def __init__(self, head: ResponseHead, forwarded: bytes, length: int, added: Added) -> None:
        self.head = head
        self.forwarded = forwarded
        self.added = added
        self._raw = head.raw
        self.size = len(self._raw) + length

    def __repr__(self) -> str:
        return f"<Familiar {self.head.status}, {self.size} bytes>"

    def onward(self, data: bytes) -> bytes | None:
        """What the client gets, where ``data`` is such an answer, whole and nothing else; else None."""
        if len(data) != self.size or not data.startswith(self._raw):
            return None
        return self.forwarded + data[len(self._raw) :]


def usual(exchange: Exchange) -> bool:
    """Whether an answer to that request means what it would mean to most others."""
    head = exchange.head
    return exchange.bare and exchange.keep and head.version >= (1, 1) and head.method not in _OTHERS


# Their answers have bodies of their own rules (RFC 9112 6.3).
_OTHERS = (b"HEAD", b"CONNECT")


def remembered(exchange: Exchange, head: ResponseHead, forwarded: bytes) -> Familiar | None:
    """The answer that has just been given whole, if one like it needs no second look."""
    framing = head.framing(exchange.head.method)
    if not usual(exchange) or framing.kind is not Kind.LENGTH or not exchange.answer.persists:
        return None
    if binds(head) or learnt(head):
        return None
    return Familiar(head, forwarded, framing.length, exchange.added)
