"""Bytes that say whose they are: each block of 4 KiB begins with its stream's number and its own.

Whoever gets a stream compares every byte; where they differ it can be told whether they are another
stream's, which is worse than damage.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

BLOCK = 4096
PIECE = 16 * BLOCK
_HEAD = struct.Struct(">QQ")
_REST = BLOCK - _HEAD.size
_BASE = random.Random(6).randbytes(1 << 16) * 2


class Wrong(Exception):
    """Other bytes than were sent, or something that no fault explains; the text says what."""


def block(number: int, at: int) -> bytes:
    """One block of a stream; ``number`` has 64 bits."""
    start = (number * 31 + at * 977) & 0xFFFF
    return _HEAD.pack(number, at) + _BASE[start : start + _REST]


def _piece(number: int, at: int) -> bytes:
    return b"".join(block(number, each) for each in range(at * 16, at * 16 + 16))


def stream(number: int, length: int) -> Iterator[bytes]:
    """A stream's first ``length`` bytes, in pieces of 64 KiB."""
    for at in range((length + PIECE - 1) // PIECE):
        yield _piece(number, at)[: length - at * PIECE]


def whole(number: int, length: int) -> bytes:
    """The same as one."""
    return b"".join(stream(number, length))


class Comparison:
    """Compares a stream as it comes in; ``left`` bytes are still to come."""

    def __init__(self, number: int, length: int) -> None:
        self.left = length
        self._number = number
        self._length = length
        self._pieces = stream(number, length)
        self._expected = b""

    def take(self, data: bytes) -> None:
        """The next bytes. Raises Wrong."""
        at = 0
        while at < len(data):
            if not self._expected:
                self._expected = next(self._pieces, b"")
                if not self._expected:
                    raise Wrong(f"{len(data) - at} bytes more than the {self._length} of the stream")
            part = data[at : at + len(self._expected)]
            if part != self._expected[: len(part)]:
                raise Wrong(self._difference(part))
            self._expected = self._expected[len(part) :]
            self.left -= len(part)
            at += len(part)

    def _difference(self, part: bytes) -> str:
        first = next(n for n, (a, b) in enumerate(zip(part, self._expected, strict=False)) if a != b)
        at = self._length - self.left + first
        found = part[first - at % BLOCK :][: _HEAD.size] if first >= at % BLOCK else b""
        if len(found) == _HEAD.size:
            number, place = _HEAD.unpack(found)
            if (
                block(number, place)[: len(part) - first]
                == part[first - at % BLOCK :][:BLOCK][: len(part) - first]
            ):
                return f"block {place} of stream {number:x} in stream {self._number:x} at byte {at}"
        return f"other bytes at byte {at} of stream {self._number:x}: {part[first : first + 32]!r}"
