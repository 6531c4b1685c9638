"""Where a body ends (RFC 9112 6 and 7), found while the bytes go through.

``Framing`` is what a head says; ``Framing.body()`` gives the measure for one message. A measure
is fed what arrives and says what may go on, what belongs to the next message, and whether the
body is complete. It collects nothing: at most one unfinished chunk-size or trailer line.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from exproxy.model import CLIENT, Side
from protocols.http.faults import BadMessage, Truncated
from protocols.http.fields import CLAIM, FIELD, TOKEN, Mark, list_of, value_of
from protocols.http.limits import DEFAULT_LIMITS, MessageLimits

_DIGITS = re.compile(rb"[0-9]{1,19}")
_LONGEST = 2**63 - 1
_CODING = re.compile(TOKEN + rb"(?:[\t ]*;[\t ]*" + TOKEN + rb"=[^,\"]*)?")
# Strict on purpose: no blanks around ";" and "=", though RFC 9112 7.1.1 lets a recipient bear them.
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_CHUNK = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:;" + TOKEN + rb"(?:=(?:" + TOKEN + rb"|" + _QUOTED + rb"))?)*)\r\n"
)
_SIZE_LINE = 16 + 2
_EXTENDED_CHUNKS = 16
# Framing, routing and authentication have no place in a trailer (RFC 9110 6.5.1).
_NOT_IN_TRAILERS = frozenset(
    b"authorization connection content-length cookie expect host keep-alive proxy proxy-authenticate "
    b"proxy-authorization proxy-connection set-cookie te trailer transfer-encoding upgrade "
    b"www-authenticate".split()
)

Fed: TypeAlias = tuple[bytes, bytes, bool]


class NoBody:
    """Nothing follows the head: done from the beginning."""

    done = True

    def feed(self, data: bytes) -> Fed:
        """Everything belongs to the next message."""
        return b"", data, True

    def eof(self) -> None:
        """The connection may end here."""


class LengthBody:
    """Exactly so many bytes (RFC 9112 6.2). ``left``: the bytes still to come."""

    __slots__ = ("_side", "left")

    def __init__(self, length: int, side: Side = CLIENT) -> None:
        self.left = length
        self._side = side

    @property
    def done(self) -> bool:
        """Whether the body is complete."""
        return not self.left

    def feed(self, data: bytes) -> Fed:
        """``data`` -> (bytes that go on, bytes of the next message, complete)."""
        if len(data) <= self.left:
            self.left -= len(data)
            return data, b"", not self.left
        head, rest = data[: self.left], data[self.left :]
        self.left = 0
        return head, rest, True

    def passed(self, count: int) -> None:
        """``count`` <= ``left`` bytes of the body went by without being fed (a bounded relay)."""
        self.left -= count

    def eof(self) -> None:
        """The connection ended: raises Truncated where bytes are missing."""
        if self.left:
            raise Truncated(self._side)


class UntilCloseBody:
    """A response body that the end of the connection ends (RFC 9112 6.3 rule 8)."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> Fed:
        """``data`` -> (all of it, nothing, not yet complete)."""
        return data, b"", False

    def eof(self) -> None:
        """The connection ended, and so did the body; whether by intent nobody can tell."""
        self.done = True


class ChunkedBody:
    """Chunks and trailers (RFC 9112 7.1), validated strictly and passed on byte for byte.

    With ``dechunk`` only the data goes on (to an HTTP/1.0 client), trailers are dropped. Refused:
    sizes beyond 16 digits or 63 bits, anything but CRLF as a line end, blanks in a size line, extensions
    beyond ``limits``, and trailers that frame, route, authenticate or claim an origin.
    """

    __slots__ = (
        "_data",
        "_extended",
        "_held",
        "_left",
        "_limits",
        "_lines",
        "_side",
        "_step",
        "_trailer",
        "done",
    )

    def __init__(
        self, limits: MessageLimits = DEFAULT_LIMITS, side: Side = CLIENT, dechunk: bool = False
    ) -> None:
        self.done = False
        self._limits = limits
        self._side = side
        self._data: list[bytes] | None = [] if dechunk else None
        self._held = b""
        self._left = 0
        self._extended = 0
        self._trailer = 0
        self._lines = 0
        self._step: Callable[[bytes, int], int] = self._size

    def feed(self, data: bytes) -> Fed:
        """``data`` -> (bytes that go on, bytes of the next message, complete).

        Raises BadMessage: 400, or 431 for trailers beyond the limits; 502 of a backend.
        """
        if self.done:
            return b"", data, True
        if self._held:
            data = self._held + data
        at, end = 0, len(data)
        while at < end and not self.done:
            after = self._step(data, at)
            if after == at:
                break
            at = after
        self._held = b"" if self.done else data[at:]
        return self._onward(data, at), data[at:] if self.done else b"", self.done

    def eof(self) -> None:
        """The connection ended: raises Truncated unless the last chunk and the trailers were there."""
        if not self.done:
            raise Truncated(self._side)

    def _onward(self, data: bytes, end: int) -> bytes:
        if self._data is None:
            return data[:end]
        onward = b"".join(self._data)
        self._data.clear()
        return onward

    # Each state takes what it understands from ``at`` on and returns where it stopped;
    # not having moved, it needs more.

    def _size(self, data: bytes, at: int) -> int:
        extension = self._limits.extension
        if not self._line_ended(data, at, _SIZE_LINE + extension, "chunk size", 400):
            return at
        found = _CHUNK.match(data, at)
        if found is None:
            raise BadMessage(400, "malformed chunk size line", self._side)
        length = found.end(2) - found.start(2)
        self._extended += length
        if length > extension or self._extended > _EXTENDED_CHUNKS * extension:
            raise BadMessage(400, "chunk extensions too long", self._side)
        self._left = int(found[1], 16)
        if self._left > _LONGEST:
            raise BadMessage(400, "chunk size beyond 63 bits", self._side)
        self._step = self._content if self._left else self._trailers
        return found.end()

    def _content(self, data: bytes, at: int) -> int:
        after = min(at + self._left, len(data))
        self._left -= after - at
        if self._data is not None:
            self._data.append(data[at:after])
        if not self._left:
            self._step = self._line_end
        return after

    def _line_end(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self._step = self._size
            return at + 2
        if len(data) - at >= 2 or not data.startswith(b"\r", at):
            raise BadMessage(400, "chunk data longer than its size", self._side)
        return at

    def _trailers(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self.done = True
            return at + 2
        if not self._line_ended(data, at, self._limits.trailer - self._trailer, "trailer", 431):
            return at
        found = FIELD.match(data, at)
        if found is None:
            raise BadMessage(400, "malformed trailer line", self._side)
        self._trailer += found.end() - at
        self._lines += 1
        if self._lines > self._limits.trailer_fields:
            raise BadMessage(431, "too many trailers", self._side)
        name = found[1].lower().replace(b"_", b"-")
        if name in _NOT_IN_TRAILERS or CLAIM.fullmatch(name):
            raise BadMessage(400, "a field that no trailer may hold", self._side)
        return found.end()

    def _line_ended(self, data: bytes, at: int, most: int, what: str, status: int) -> bool:
        """Whether a line of at most ``most`` bytes is there; BadMessage where it fills its room."""
        if data.find(b"\n", at, at + most) >= 0:
            return True
        if len(data) - at >= most:
            raise BadMessage(status, f"{what} line too long", self._side)
        return False


NO_MORE = NoBody()

Body: TypeAlias = NoBody | LengthBody | ChunkedBody | UntilCloseBody


class Kind(enum.Enum):
    """What ends a body."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until-close"


@dataclass(frozen=True, slots=True)
class Framing:
    """What a head says of its body; ``length`` in bytes, for Kind.LENGTH only."""

    kind: Kind
    length: int = 0

    def body(
        self, limits: MessageLimits = DEFAULT_LIMITS, side: Side = CLIENT, dechunk: bool = False
    ) -> Body:
        """A measure for one body that ``side`` sends; ``dechunk`` where HTTP/1.0 receives it."""
        if self.kind is Kind.LENGTH:
            return LengthBody(self.length, side)
        if self.kind is Kind.CHUNKED:
            return ChunkedBody(limits, side, dechunk)
        return NO_MORE if self.kind is Kind.NONE else UntilCloseBody()


NO_BODY = Framing(Kind.NONE)
CHUNKED = Framing(Kind.CHUNKED)
UNTIL_CLOSE = Framing(Kind.UNTIL_CLOSE)


def declared(
    fields: Mapping[bytes, Mark], raw: bytes, marks: Iterable[Mark], version: tuple[int, int], side: Side
) -> Framing | None:
    """What Content-Length and Transfer-Encoding say together; None where neither is there.

    One rule for both directions, stricter than RFC 9112 6.3 where that lets one repair: one
    Content-Length of 1 to 19 digits up to 2**63-1 (leading zeros are borne and not passed on),
    never a list and never twice, even of equals; or Transfer-Encoding of exactly ``chunked``, in
    HTTP/1.1 only; never both; neither spelled with an underscore, which some servers would read.
    Raises BadMessage: 400, or 501 for an unknown coding; 502 of a backend.
    """
    length = fields.get(b"content-length")
    if b"content_length" in fields or b"transfer_encoding" in fields:
        raise BadMessage(400, "a framing field spelled with an underscore", side)
    if b"transfer-encoding" not in fields:
        return None if length is None else _length(value_of(raw, length), side)
    if length is not None:
        raise BadMessage(400, "both Content-Length and Transfer-Encoding", side)
    if version < (1, 1):
        raise BadMessage(400, "Transfer-Encoding in HTTP/1.0", side)
    codings = list_of(raw, marks, b"transfer-encoding").lower()
    if codings != b"chunked":
        raise _coding_complaint(codings, side)
    return CHUNKED


@lru_cache(maxsize=4096)
def _length(value: bytes, side: Side) -> Framing:
    if not _DIGITS.fullmatch(value):
        raise BadMessage(400, "invalid Content-Length", side)
    length = int(value)
    if length > _LONGEST:
        raise BadMessage(400, "Content-Length beyond 63 bits", side)
    return Framing(Kind.LENGTH, length)


def _coding_complaint(codings: bytes, side: Side) -> BadMessage:
    """501 where the only fault is a coding unknown to us, 400 where the list itself is wrong."""
    names = [coding.strip(b"\t ") for coding in codings.split(b",")]
    if not all(_CODING.fullmatch(name) for name in names):
        return BadMessage(400, "malformed Transfer-Encoding", side)
    if b"chunked" in names[:-1] or any(name.startswith(b"chunked;") for name in names):
        return BadMessage(400, "chunked is not the last transfer coding, or not plain", side)
    return BadMessage(501, "unknown transfer coding", side)
