"""NDR and NDR64 (C706 14, MS-RPCE 2.2.5): the few shapes of which the endpoint mapper's calls are made.

They differ in the size and alignment of pointers and counts: 4 bytes in NDR, 8 in NDR64.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass


class BadStub(Exception):
    """The bytes of a call do not mean what they should; the text says where."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """How the values of one call are laid out."""

    little: bool = True
    wide: bool = False

    @property
    def size(self) -> int:
        """Bytes of a pointer, of a count, and what they are aligned to."""
        return 8 if self.wide else 4


class Reader:
    """Reads a stub from its begin."""

    __slots__ = ("_count", "_long", "_short", "_size", "at", "stub")

    def __init__(self, stub: bytes, syntax: Syntax, at: int = 0) -> None:
        order = "<" if syntax.little else ">"
        self._long = struct.Struct(order + "I")
        self._short = struct.Struct(order + "H")
        self._count = struct.Struct(order + "Q") if syntax.wide else self._long
        self._size = syntax.size
        self.stub = stub
        self.at = at

    def _read(self, layout: struct.Struct, alignment: int) -> int:
        at = self.at + -self.at % alignment
        self.at = at + layout.size
        if self.at > len(self.stub):
            raise BadStub(f"cut short at byte {at}")
        value: int = layout.unpack_from(self.stub, at)[0]
        return value

    def long(self) -> int:
        """An unsigned integer of 4 bytes."""
        return self._read(self._long, 4)

    def short(self) -> int:
        """An unsigned integer of 2 bytes."""
        return self._read(self._short, 2)

    def count(self) -> int:
        """A count, offset or pointer: 4 or 8 bytes."""
        return self._read(self._count, self._size)

    def align(self, alignment: int) -> None:
        """Skip what fills up to a multiple of so many bytes."""
        self.at += -self.at % alignment

    def take(self, count: int) -> bytes:
        """So many bytes as they are."""
        at, self.at = self.at, self.at + count
        if count < 0 or self.at > len(self.stub):
            raise BadStub(f"{count} bytes at byte {at} are too many")
        return self.stub[at : self.at]


class Writer:
    """Writes a stub from its begin."""

    __slots__ = ("_order", "_syntax", "stub")

    def __init__(self, syntax: Syntax) -> None:
        self._order = "<" if syntax.little else ">"
        self._syntax = syntax
        self.stub = bytearray()

    def align(self, alignment: int) -> None:
        """Fill up to a multiple of so many bytes."""
        self.stub += bytes(-len(self.stub) % alignment)

    def long(self, *values: int) -> None:
        """Unsigned integers of 4 bytes."""
        self.align(4)
        self.stub += struct.pack(f"{self._order}{len(values)}I", *values)

    def count(self, *values: int) -> None:
        """Counts, offsets or pointers."""
        self.align(self._syntax.size)
        letter = "Q" if self._syntax.wide else "I"
        self.stub += struct.pack(f"{self._order}{len(values)}{letter}", *values)

    def octets(self, data: bytes) -> None:
        """Bytes as they are."""
        self.stub += data
