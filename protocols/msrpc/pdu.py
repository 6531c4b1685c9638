"""DCE/RPC PDUs (C706 12.6, MS-RPCE 2.2.2): the common header, and one direction's bytes cut into PDUs.

Byte order is a matter of each PDU: the two ends of one connection may differ (C706 14.2.5).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

REQUEST, RESPONSE, FAULT = 0, 2, 3
BIND, BIND_ACK, BIND_NAK, ALTER_CONTEXT, ALTER_CONTEXT_RESPONSE, AUTH3 = 11, 12, 13, 14, 15, 16
SHUTDOWN, CO_CANCEL, ORPHANED = 17, 18, 19
KINDS = {
    REQUEST: "request",
    RESPONSE: "response",
    FAULT: "fault",
    BIND: "bind",
    BIND_ACK: "bind_ack",
    BIND_NAK: "bind_nak",
    ALTER_CONTEXT: "alter_context",
    ALTER_CONTEXT_RESPONSE: "alter_context_resp",
    AUTH3: "auth3",
    SHUTDOWN: "shutdown",
    CO_CANCEL: "co_cancel",
    ORPHANED: "orphaned",
}
# Those that carry a call's bytes, which may pass by before they are all there.
CARRIERS = (REQUEST, RESPONSE, FAULT)

FIRST, LAST, DID_NOT_EXECUTE, MAYBE, OBJECT = 0x01, 0x02, 0x20, 0x40, 0x80

VERSION = 5
HEADER = 16
# The header and what all carriers have behind it: a length hint, the context, the operation (requests).
CALL_HEADER = 24
# The authentication trailer before its token (MS-RPCE 2.2.2.11).
TRAILER = 8


class Malformed(Exception):
    """What came is no DCE/RPC; the text says why. ``header``: of its PDU, if that is clear."""

    def __init__(self, reason: str, header: Header | None = None) -> None:
        super().__init__(reason)
        self.header = header


@dataclass(frozen=True, slots=True)
class Header:
    """The 16 bytes that all PDUs begin with. ``length`` and ``auth`` (the token's) are bytes."""

    kind: int
    flags: int
    little: bool
    length: int
    auth: int
    call: int

    @property
    def order(self) -> str:
        """The byte order sign for struct."""
        return "<" if self.little else ">"

    @property
    def name(self) -> str:
        """``bind``, ``request`` …"""
        return KINDS[self.kind]


@dataclass(frozen=True, slots=True)
class Trailer:
    """What is said of a PDU's protection: mechanism (9 SPNEGO, 10 NTLM, 16 Kerberos, 68 Netlogon), level
    (2 connect … 6 privacy; MS-RPCE 2.2.1.1.8), bytes of padding before the trailer."""

    mechanism: int
    level: int
    padding: int


@dataclass(frozen=True, slots=True)
class Pdu:
    """A PDU. ``raw``: all of it, or where ``whole`` is False its first bytes, CALL_HEADER at the least."""

    header: Header
    raw: bytes
    whole: bool = True

    @property
    def trailer(self) -> Trailer | None:
        """The authentication trailer of a whole PDU; None where it has none."""
        if not self.header.auth:
            return None
        at = self.header.length - self.header.auth - TRAILER
        return Trailer(*self.raw[at : at + 3])

    def unpack(self, layout: str, at: int) -> tuple[int, ...]:
        """Integers at that offset of the PDU; raises Malformed where it is too short."""
        try:
            return struct.unpack_from(self.header.order + layout, self.raw, at)
        except struct.error:
            raise Malformed(f"a {self.header.name} is cut short", self.header) from None

    def uuid(self, at: int) -> UUID:
        """The UUID at that offset, in the PDU's byte order; raises Malformed."""
        octets = self.raw[at : at + 16]
        if len(octets) < 16:
            raise Malformed(f"a {self.header.name} is cut short", self.header)
        return UUID(bytes_le=octets) if self.header.little else UUID(bytes=octets)

    @property
    def context(self) -> int:
        """The presentation context of a carrier."""
        return self.unpack("H", 20)[0]

    @property
    def opnum(self) -> int:
        """The operation of a request."""
        return self.unpack("H", 22)[0]

    def stub(self) -> tuple[int, int]:
        """Where the call's own bytes begin and end in a whole carrier, without padding; raises Malformed."""
        header, trailer = self.header, self.trailer
        start = CALL_HEADER + (16 if header.kind == REQUEST and header.flags & OBJECT else 0)
        end = header.length
        if trailer is not None:
            end -= header.auth + TRAILER + trailer.padding
        if end < start:
            raise Malformed(f"a {header.name} shorter than its own parts", header)
        return start, end


def read_header(data: bytes | bytearray, at: int = 0, limit: int = 0xFFFF) -> Header:
    """The header at that offset, of which there must be 16 bytes; raises Malformed where it is none, or
    where the PDU is longer than ``limit``."""
    little = bool(data[at + 4] & 0xF0)
    layout = "<BBBB4xHHI" if little else ">BBBB4xHHI"
    version, minor, kind, flags, length, auth, call = struct.unpack_from(layout, data, at)
    if version != VERSION or minor > 1:
        raise Malformed(f"not DCE/RPC 5.0 or 5.1 but {version}.{minor}")
    header = Header(kind, flags, little, length, auth, call)
    if kind not in KINDS:
        raise Malformed(f"a PDU of the unknown type {kind}")
    least = CALL_HEADER if kind in CARRIERS else HEADER
    if length < least + (auth + TRAILER if auth else 0):
        raise Malformed(f"a {header.name} shorter than its own parts", header)
    if length > limit:
        raise Malformed(f"a {header.name} of {length} bytes, more than limits.pdu ({limit})", header)
    return header


class Stream:
    """One direction of a connection: bytes in, PDUs out, nothing lost and nothing kept for long.

    ``whole(header)`` says which carriers (of calls) must be there as a whole; the others pass by as they
    come: their begin as a Pdu, then bytes. All other PDUs are short, and given out whole.
    """

    __slots__ = ("_kept", "_left", "_limit", "_need", "_whole")

    def __init__(self, limit: int, whole: Callable[[Header], bool] = lambda header: False) -> None:
        """``limit``: bytes of one PDU."""
        self._limit = limit
        self._whole = whole
        self._kept = bytearray()
        self._need = HEADER
        self._left = 0

    @property
    def between(self) -> bool:
        """Whether no PDU is under way: all that was begun has been given out."""
        return not self._left and not self._kept

    @property
    def passing(self) -> bool:
        """Whether the begin of a PDU has been given out, and more of it is to come."""
        return bool(self._left)

    def feed(self, data: bytes) -> list[Pdu | bytes]:
        """What these bytes bring; raises Malformed, and must not be fed any more then."""
        if self._kept:
            self._kept += data
            if len(self._kept) < self._need:
                return []
            data = bytes(self._kept)
            self._kept.clear()
        found: list[Pdu | bytes] = []
        at, end = 0, len(data)
        if self._left:
            at = min(self._left, end)
            self._left -= at
            found.append(data if at == end else data[:at])
        while at < end:
            taken = self._take(data, at, end, found)
            if not taken:
                break
            at += taken
        return found

    def _take(self, data: bytes, at: int, end: int, found: list[Pdu | bytes]) -> int:
        """One PDU, or its begin; 0 where more bytes are needed."""
        have = end - at
        if data[at] != VERSION:
            raise Malformed(f"not DCE/RPC: a PDU begins with {data[at]}, not with {VERSION}")
        if have < HEADER:
            return self._wait(data, at, HEADER)
        header = read_header(data, at, self._limit)
        if have >= header.length:
            found.append(Pdu(header, data[at : at + header.length]))
            return header.length
        passing = header.kind in CARRIERS and not self._whole(header)
        need = CALL_HEADER if passing else header.length
        if have < need:
            return self._wait(data, at, need)
        found.append(Pdu(header, data[at:end], whole=False))
        self._left = header.length - have
        return have

    def _wait(self, data: bytes, at: int, need: int) -> int:
        self._kept += data[at:]
        self._need = need
        return 0
