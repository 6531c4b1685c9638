"""Messages made to be too much: what is said first, what is said over and over, and how that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_HEAD = b"POST /bomb HTTP/1.1\r\nHost: a\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\n"
_OK_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
PIECE = 4096


@dataclass(frozen=True)
class Bomb:
    """``begin``, then ``again`` so many ``times``, then ``end``; refused with ``status``."""

    name: str
    begin: bytes
    again: bytes
    times: int
    end: bytes
    status: int

    def pieces(self) -> Iterator[bytes]:
        """All of it in pieces of about PIECE bytes, made as they are asked for."""
        yield self.begin
        block = self.again * max(PIECE // len(self.again), 1)
        whole, rest = divmod(len(self.again) * self.times, len(block))
        for _ in range(whole):
            yield block
        yield block[:rest] + self.end


_MIB = 1 << 20
REQUESTS = [
    Bomb("a field of 1 MiB", _HEAD + b"X-A: ", b"a", _MIB, b"\r\n\r\n", 431),
    Bomb("a field name of 1 MiB", _HEAD, b"a", _MIB, b": b\r\n\r\n", 431),
    Bomb("10,000 fields", _HEAD, b"X-A: b\r\n", 10_000, b"\r\n", 431),
    Bomb("600 short fields", _HEAD, b"a:\r\n", 600, b"\r\n", 431),
    Bomb("10,000 cookies", _HEAD, b"Cookie: a=b\r\n", 10_000, b"\r\n", 431),
    Bomb("a target of 64 KiB", b"GET /", b"a", 1 << 16, b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    Bomb("a target of 8 MiB", b"GET /", b"a", 8 * _MIB, b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    Bomb("a method of 1 MiB", b"", b"A", _MIB, b" / HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    Bomb("8 MiB without a line end", b"", b"a", 8 * _MIB, b"", 414),
    Bomb("empty lines without end", b"", b"\r\n", _MIB, b"", 400),
    Bomb("NUL without end", b"", b"\0", _MIB, b"", 400),
    Bomb("a chunk extension of 1 MB", _CHUNKED + b"5;", b"a", 1_000_000, b"\r\nhello\r\n0\r\n\r\n", 400),
    Bomb("a chunk size of 1 MB", _CHUNKED, b"0", 1_000_000, b"5\r\nhello\r\n0\r\n\r\n", 400),
    Bomb("an extension at each chunk", _CHUNKED, b"1;" + b"a" * 900 + b"\r\nx\r\n", 1000, b"0\r\n\r\n", 400),
    Bomb("100,000 trailers", _CHUNKED + b"0\r\n", b"X-A: b\r\n", 100_000, b"\r\n", 431),
    Bomb("a trailer of 1 MiB", _CHUNKED + b"0\r\nX-A: ", b"a", _MIB, b"\r\n\r\n", 431),
]
ANSWERS = [
    Bomb("a field of 1 MiB", _OK + b"X-A: ", b"a", _MIB, b"\r\n\r\n", 502),
    Bomb("10,000 fields", _OK, b"Set-Cookie: a=b\r\n", 10_000, b"\r\n", 502),
    Bomb("a reason of 1 MiB", b"HTTP/1.1 200 ", b"a", _MIB, b"\r\n\r\n", 502),
    Bomb("8 MiB without a line end", b"", b"a", 8 * _MIB, b"", 502),
    Bomb("100,000 interim answers", b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 100_000, b"", 502),
    Bomb("a chunk extension of 1 MB", _OK_CHUNKED + b"5;", b"a", 1_000_000, b"\r\nhello\r\n0\r\n\r\n", 200),
    Bomb("100,000 trailers", _OK_CHUNKED + b"0\r\n", b"X-A: b\r\n", 100_000, b"\r\n", 200),
]
