"""Calls that come in fragments (C706 12.6.4.9): put together to be read, and written back.

Fragments of several calls may be mixed; each call is kept by its number, and all together are bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from protocols.msrpc.pdu import CALL_HEADER, FIRST, LAST, Malformed, Pdu

# Fragments that are kept: small ones cost more than their bytes. Those of real clients and servers have
# 1432 bytes and more, but for each call's last.
MOST_FRAGMENTS = 4096


class Fragments:
    """The calls of one direction whose last fragment is not there yet."""

    def __init__(self, limit: int) -> None:
        """``limit``: bytes of all that is kept."""
        self._limit = limit
        self._calls: dict[int, list[Pdu]] = {}
        self._size = 0
        self._count = 0

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, pdu: Pdu) -> list[Pdu] | None:
        """All fragments of the call that this whole PDU completes, or None; raises Malformed, TooLarge."""
        header = pdu.header
        begun = self._calls.get(header.call)
        if bool(header.flags & FIRST) == (begun is not None):
            raise Malformed(f"a {header.name} that is no fragment of its call", header)
        if begun is None:
            begun = self._calls[header.call] = []
        elif begun[0].header.little != header.little or begun[0].header.kind != header.kind:
            raise Malformed(f"a {header.name} unlike the begin of its call", header)
        begun.append(pdu)
        self._size += header.length
        self._count += 1
        if self._size > self._limit:
            raise TooLarge(f"calls in fragments of more than limits.reassembly ({self._limit}) bytes", header)
        if self._count > MOST_FRAGMENTS:
            raise TooLarge(f"calls in more than {MOST_FRAGMENTS} fragments", header)
        if not header.flags & LAST:
            return None
        return self.drop(header.call)

    def drop(self, call: int) -> list[Pdu]:
        """What is kept of a call, which is forgotten; [] where there is nothing."""
        begun = self._calls.pop(call, [])
        self._size -= sum(pdu.header.length for pdu in begun)
        self._count -= len(begun)
        return begun


class TooLarge(Malformed):
    """More than the stated limit."""


def join(fragments: Sequence[Pdu]) -> bytes:
    """The stub of a call; raises Malformed."""
    if len(fragments) == 1:
        start, end = fragments[0].stub()
        return fragments[0].raw[start:end]
    return b"".join(pdu.raw[start:end] for pdu in fragments for start, end in (pdu.stub(),))


def put_back(fragments: Sequence[Pdu], stub: bytes) -> bytes:
    """The same fragments with another stub of the same length."""
    parts: list[bytes] = []
    at = 0
    for pdu in fragments:
        start, end = pdu.stub()
        parts += (pdu.raw[:start], stub[at : at + end - start], pdu.raw[end:])
        at += end - start
    return b"".join(parts)


def cut_anew(first: Pdu, stub: bytes, largest: int) -> bytes:
    """A stub of another length, as fragments of at most ``largest`` bytes; ``first`` began the call.

    Without authentication trailers, which would speak of bytes that are not there any more.
    """
    header = first.header
    # Fragments but the last end at a multiple of 8 bytes (C706 12.6.4.9, MS-RPCE 2.2.2.11).
    room = max(8, (largest - CALL_HEADER) // 8 * 8)
    flags = header.flags & ~(FIRST | LAST)
    order = header.order
    parts: list[bytes] = []
    at = 0
    while at < len(stub) or not parts:
        piece = stub[at : at + room]
        mark = (FIRST if not at else 0) | (LAST if at + room >= len(stub) else 0)
        parts.append(first.raw[:3] + bytes([flags | mark]) + first.raw[4:8])
        parts.append(struct.pack(order + "HHII", CALL_HEADER + len(piece), 0, header.call, len(stub) - at))
        parts += (first.raw[20:CALL_HEADER], piece)
        at += room
    return b"".join(parts)
