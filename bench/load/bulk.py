"""Bulk streams, down and up: blocks of many megabytes, each byte compared with what was sent.

A client orders a block: ``D`` or ``U`` and eight bytes of length. Down, the server sends it; up, the
client does, and the server says ``K``, or ``X`` where it got something else.
"""

from __future__ import annotations

import struct
from typing import Any

from bench.load.loop import AGAIN, Channel, Loop, connect
from bench.load.pattern import matches, piece
from bench.load.work import Work

ORDER = struct.Struct(">cQ")
_BUFFER = bytearray(1 << 18)
_VIEW = memoryview(_BUFFER)


class Feeding(Channel):
    """A channel that can send a block of the pattern, as fast as there is room."""

    def __init__(self, loop: Loop, sock: Any) -> None:
        self._at = self._length = 0
        super().__init__(loop, sock)

    def feed(self, length: int) -> None:
        """Send so many bytes."""
        self._at, self._length = 0, length
        self._flush()

    def _flush(self) -> None:
        if self._rest or self._at == self._length:
            super()._flush()
        if self._rest or not self.open or self._at == self._length:
            return
        while self._at < self._length:
            part = piece(self._at, self._length - self._at)
            sent = self._send(part)
            self._at += sent
            if sent < len(part):
                break
        if self.open:
            self.loop.change(self._fd, self._at < self._length)


class Taking(Feeding):
    """A channel that compares a block of the pattern as it comes in, without keeping any of it."""

    def __init__(self, loop: Loop, sock: Any) -> None:
        self._taken = self._wanted = 0
        super().__init__(loop, sock)

    def take(self, length: int) -> None:
        """The next so many bytes that come are a block."""
        self._taken, self._wanted = 0, length

    def took(self, right: bool) -> None:
        """The block is there, or is not what it should be."""

    def _read(self) -> None:
        if self._taken == self._wanted:
            super()._read()
            return
        try:
            count = self.sock.recv_into(_VIEW[: min(len(_BUFFER), self._wanted - self._taken)])
        except AGAIN:
            return
        except OSError as error:
            self._end(str(error))
            return
        if not count:
            self._end("closed")
            return
        right = matches(_BUFFER[:count], self._taken)
        self._taken += count
        if not right or self._taken == self._wanted:
            self.took(right)


class _Stream(Taking):
    def __init__(self, work: Bulk) -> None:
        self.work = work
        super().__init__(work.loop, connect(work.target.address("bulk")))

    def order(self) -> None:
        length = self.work.block
        if self.work.up:
            self.write(ORDER.pack(b"U", length))
            self.feed(length)
        else:
            self.take(length)
            self.write(ORDER.pack(b"D", length))

    def took(self, right: bool) -> None:
        self.work.moved(self, right)

    def received(self, data: bytes) -> None:
        self.work.moved(self, data == b"K")

    def ended(self, reason: str) -> None:
        self.work.fail(f"a stream ended: {reason}")


class Bulk(Work):
    """``streams`` at a time, in blocks of ``block`` bytes, ``up`` or down; a unit is a GB (10⁹ bytes)."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.block: int = self.options["block"]
        self.up: bool = self.options["up"]
        self._streams: list[_Stream] = []

    def prepare(self) -> int:
        self._streams = [_Stream(self) for _ in range(self.options["streams"])]
        return len(self._streams)

    def begin(self) -> None:
        for stream in self._streams:
            self.busy += 1
            stream.order()

    def moved(self, stream: _Stream, right: bool) -> None:
        """A block is through."""
        self.busy -= 1
        self.units += self.block / 1e9
        if not right:
            self.fail("other bytes arrived than were sent")
        elif self.more(self.loop.clock()):
            self.busy += 1
            stream.order()

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        self._streams.clear()
