"""The few DCE/RPC PDUs (C706 chapter 12, MS-RPCE 2.2) that the lab's servers read and write.

Requests are read in either byte order; answers are little-endian, which a client must accept (the data
representation is per PDU and per direction). No authentication, no fragmented answers: every answer here is
shorter than the smallest fragment that a client may insist on (1,432 bytes).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

REQUEST, RESPONSE, FAULT = 0, 2, 3
BIND, BIND_ACK, BIND_NAK, ALTER, ALTER_RESPONSE, AUTH3 = 11, 12, 13, 14, 15, 16
CO_CANCEL, ORPHANED = 18, 19
FIRST, LAST, DID_NOT_EXECUTE, OBJECT = 0x01, 0x02, 0x20, 0x80
HEADER = 16

NDR32 = UUID("8a885d04-1ceb-11c9-9fe8-08002b104860")
FEATURES = bytes.fromhex("2c1cb76c12984045")
"""The first half of a bind time feature negotiation syntax (MS-RPCE 2.2.2.14); its bits follow."""

OP_RANGE, UNKNOWN_INTERFACE, PROTOCOL_ERROR, BAD_STUB = 0x1C010002, 0x1C010003, 0x1C01000B, 0x000006F7
ACCEPTED, REJECTED, NEGOTIATED = 0, 2, 3
NO_ABSTRACT, NO_TRANSFER = 1, 2
NAK_REASON_UNKNOWN, NAK_NO_AUTHENTICATION = 0, 8


class Malformed(Exception):
    """What the client sent is not DCE/RPC; the connection has to end."""


class Fault(Exception):
    """A call that cannot be answered; `status` goes into the fault PDU (MS-RPCE 2.2.2.9, C706 appendix E)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"fault {status:#010x}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Pdu:
    """One PDU; `body` is what follows the 16 bytes of header, without the authentication trailer."""

    kind: int
    flags: int
    little: bool
    call: int
    authenticated: bool
    body: bytes

    @property
    def order(self) -> str:
        """The byte order sign for struct."""
        return "<" if self.little else ">"

    def uuid(self, at: int) -> UUID:
        """The UUID at offset `at` of the body, whatever the byte order."""
        raw = self.body[at : at + 16]
        if len(raw) < 16:
            raise Malformed("a UUID is cut short")
        return UUID(bytes_le=raw) if self.little else UUID(bytes=raw)

    def unpack(self, layout: str, at: int) -> tuple[int, ...]:
        """Integers at offset `at` of the body; raises Malformed when it is too short."""
        try:
            return struct.unpack_from(self.order + layout, self.body, at)
        except struct.error as error:
            raise Malformed("a PDU is cut short") from error


@dataclass(frozen=True, slots=True)
class Context:
    """One presentation context asked for in a bind: an interface and the transfer syntaxes on offer."""

    identity: int
    interface: UUID
    version: int
    transfers: tuple[UUID, ...]

    @property
    def major(self) -> int:
        """The interface's major version; the minor one is in the upper half."""
        return self.version & 0xFFFF


@dataclass(frozen=True, slots=True)
class Bind:
    """A bind or alter_context."""

    fragment: int
    group: int
    contexts: tuple[Context, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One call, all its fragments joined."""

    context: int
    opnum: int
    order: str
    stub: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """The server's word on one presentation context."""

    verdict: int
    reason: int = 0

    @property
    def syntax(self) -> bytes:
        """The transfer syntax identifier that goes with the verdict."""
        return NDR32.bytes_le + b"\2\0\0\0" if self.verdict == ACCEPTED else bytes(20)


def read_pdu(data: bytes | bytearray) -> tuple[Pdu, int] | None:
    """The first PDU of `data` and its length in bytes; None while it is incomplete; raises Malformed."""
    if data[:1] not in (b"", b"\5"):
        raise Malformed("not DCE/RPC version 5")
    if len(data) < HEADER:
        return None
    little = bool(data[4] & 0xF0)
    kind, flags, length, auth, call = struct.unpack_from("<xxBB4xHHI" if little else ">xxBB4xHHI", data)
    trailer = auth + 8 if auth else 0
    if length < HEADER + trailer:
        raise Malformed("a PDU shorter than its own parts")
    if len(data) < length:
        return None
    body = bytes(data[HEADER : length - trailer])
    if auth and kind == REQUEST:
        body = body[: max(0, len(body) - data[length - trailer + 2])]
    return Pdu(kind, flags, little, call, bool(auth), body), length


def read_bind(pdu: Pdu) -> Bind:
    """The bind or alter_context in `pdu`; raises Malformed."""
    _, fragment, group, count = pdu.unpack("HHIB", 0)
    at, contexts = 12, []
    for _ in range(count):
        identity, transfers = pdu.unpack("HB", at)
        interface, (version,) = pdu.uuid(at + 4), pdu.unpack("I", at + 20)
        at += 24
        offered = tuple(pdu.uuid(at + 20 * n) for n in range(transfers))
        at += 20 * transfers
        contexts.append(Context(identity, interface, version, offered))
    return Bind(fragment, group, tuple(contexts))


def read_request(pdu: Pdu) -> Request:
    """The call, or the fragment of one, in `pdu`; raises Malformed."""
    _, context, opnum = pdu.unpack("IHH", 0)
    start = 24 if pdu.flags & OBJECT else 8
    return Request(context, opnum, pdu.order, pdu.body[start:])


def judge(context: Context, known: bool) -> Result:
    """What Exchange's RPC run time says to one presentation context: NDR32 and known interfaces only."""
    for syntax in context.transfers:
        if syntax.bytes_le.startswith(FEATURES):
            return Result(NEGOTIATED, syntax.bytes_le[8] & 0x03)
    if not known:
        return Result(REJECTED, NO_ABSTRACT)
    if NDR32 in context.transfers:
        return Result(ACCEPTED)
    return Result(REJECTED, NO_TRANSFER)


def bind_ack(pdu: Pdu, bind: Bind, group: int, port: int, results: tuple[Result, ...]) -> bytes:
    """The answer to a bind (with the port as secondary address) or to an alter_context (without)."""
    address = f"{port}\0".encode() if pdu.kind == BIND else b""
    head = struct.pack("<HHIH", bind.fragment, bind.fragment, group, len(address)) + address
    head += bytes(-len(head) % 4) + struct.pack("<B3x", len(results))
    body = b"".join(struct.pack("<HH", result.verdict, result.reason) + result.syntax for result in results)
    return _pdu(BIND_ACK if pdu.kind == BIND else ALTER_RESPONSE, pdu.call, head + body)


def bind_nak(pdu: Pdu, reason: int = NAK_REASON_UNKNOWN) -> bytes:
    """The refusal of a bind; the list of versions holds 5.0 alone."""
    return _pdu(BIND_NAK, pdu.call, struct.pack("<HBBB3x", reason, 1, 5, 0))


def response(pdu: Pdu, context: int, stub: bytes) -> bytes:
    """The answer to a call."""
    return _pdu(RESPONSE, pdu.call, struct.pack("<IHBx", len(stub), context, 0) + stub)


def fault(pdu: Pdu, context: int, status: int) -> bytes:
    """The refusal of a call that was not executed."""
    return _pdu(FAULT, pdu.call, struct.pack("<IHBxII", 24, context, 0, status, 0), DID_NOT_EXECUTE)


def _pdu(kind: int, call: int, body: bytes, flags: int = 0) -> bytes:
    length = HEADER + len(body)
    return struct.pack("<BBBBIHHI", 5, 0, kind, FIRST | LAST | flags, 0x10, length, 0, call) + body
