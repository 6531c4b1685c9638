"""What two ends agree upon: bind, alter_context, their answers, refusals (C706 12.6.4, MS-RPCE 2.2.2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

from protocols.msrpc.pdu import (
    BIND,
    BIND_ACK,
    BIND_NAK,
    DID_NOT_EXECUTE,
    FAULT,
    FIRST,
    HEADER,
    LAST,
    Malformed,
    Pdu,
)

NDR32 = UUID("8a885d04-1ceb-11c9-9fe8-08002b104860")
NDR64 = UUID("71710533-beba-4937-8319-b5dbef9ccc36")
VERSIONS = {NDR32: 2, NDR64: 1}
# The first half of a bind time feature negotiation syntax (MS-RPCE 2.2.2.14).
FEATURES = bytes.fromhex("2c1cb76c12984045")

ACCEPTED, REJECTED, NEGOTIATED = 0, 2, 3
# Why a context is rejected: interface not known, no transfer syntax in common.
NO_INTERFACE, NO_TRANSFER = 1, 2

# Why a bind is refused (C706 12.6.3.1, MS-RPCE 2.2.2.5). The first two are transient.
CONGESTION, LIMIT_EXCEEDED, BAD_VERSION, NO_AUTHENTICATION = 1, 2, 4, 8
# Status codes of faults (C706 appendix E, MS-RPCE 2.2.2.6).
COMM_FAILURE, PROTOCOL_ERROR, TOO_BUSY, NO_MEMORY = 0x1C010001, 0x1C01000B, 0x1C010014, 0x1C00001B
OP_RANGE, UNKNOWN_INTERFACE, CONTEXT_MISMATCH, BAD_STUB = 0x1C010002, 0x1C010003, 0x1C00001A, 0x000006F7

# More presentation contexts than this in one bind are no use to anybody (Windows sends 3, Samba up to 4).
MOST_CONTEXTS = 64
# What every implementation must be able to take (C706 12.6.3.6), and what Windows offers.
LEAST_FRAGMENT, USUAL_FRAGMENT = 1432, 5840


@dataclass(frozen=True, slots=True)
class Context:
    """A presentation context on offer: an interface, and the transfer syntaxes to choose from."""

    number: int
    interface: UUID
    major: int
    minor: int
    transfers: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Bind:
    """A bind or alter_context. ``group``: the association group to join, 0 for a new one; ``send`` and
    ``receive``: bytes of the largest fragment."""

    send: int
    receive: int
    group: int
    contexts: tuple[Context, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """The word on one context of the bind, in the same order. ``transfer`` None: not accepted."""

    verdict: int
    reason: int
    transfer: UUID | None


@dataclass(frozen=True, slots=True)
class Ack:
    """A bind_ack or alter_context_resp. ``send``: bytes of a fragment that the server sends at most."""

    send: int
    receive: int
    group: int
    results: tuple[Result, ...]


def read_bind(pdu: Pdu) -> Bind:
    """The bind or alter_context in a whole PDU; raises Malformed."""
    send, receive, group, count = pdu.unpack("HHIB", HEADER)
    if count > MOST_CONTEXTS:
        raise Malformed(f"a {pdu.header.name} with {count} contexts", pdu.header)
    at, contexts = HEADER + 12, []
    for _ in range(count):
        number, transfers = pdu.unpack("HB", at)
        interface, (version,) = pdu.uuid(at + 4), pdu.unpack("I", at + 20)
        at += 24
        offered = tuple(pdu.uuid(at + 20 * n) for n in range(transfers))
        at += 20 * transfers
        # The version of the last one, which nobody asks for, must be there all the same.
        pdu.unpack("4B", at - 4)
        contexts.append(Context(number, interface, version & 0xFFFF, version >> 16, offered))
    return Bind(send, receive, group, tuple(contexts))


def read_ack(pdu: Pdu) -> Ack:
    """The bind_ack or alter_context_resp in a whole PDU; raises Malformed."""
    send, receive, group, address = pdu.unpack("HHIH", HEADER)
    at = HEADER + 10 + address
    at += -at % 4
    (count,) = pdu.unpack("B", at)
    at, results = at + 4, []
    for _ in range(count):
        verdict, reason = pdu.unpack("HH", at)
        transfer = pdu.uuid(at + 4) if verdict == ACCEPTED else None
        pdu.unpack("20B", at + 4)
        results.append(Result(verdict, reason, transfer))
        at += 24
    return Ack(send, receive, group, tuple(results))


def read_nak(pdu: Pdu) -> int:
    """The reason in a bind_nak; raises Malformed."""
    return pdu.unpack("H", HEADER)[0]


def pdu(kind: int, call: int, body: bytes, flags: int = FIRST | LAST) -> bytes:
    """A PDU of ours: little-endian, without authentication."""
    return struct.pack("<BBBBIHHI", 5, 0, kind, flags, 0x10, HEADER + len(body), 0, call) + body


def bind(call: int, group: int, contexts: tuple[Context, ...], kind: int = BIND) -> bytes:
    """A bind (or alter_context) of ours."""
    body = struct.pack("<HHIB3x", USUAL_FRAGMENT, USUAL_FRAGMENT, group, len(contexts))
    for each in contexts:
        version = each.minor << 16 | each.major
        body += struct.pack("<HBx16sI", each.number, len(each.transfers), each.interface.bytes_le, version)
        for transfer in each.transfers:
            body += struct.pack("<16sI", transfer.bytes_le, VERSIONS[transfer])
    return pdu(kind, call, body)


def ack(
    call: int, answered: Bind, group: int, port: int, results: tuple[Result, ...], kind: int = BIND_ACK
) -> bytes:
    """The answer to a bind, ``port`` its secondary address, or to an alter_context, which has none."""
    address = f"{port}\0".encode() if kind == BIND_ACK else b""
    body = struct.pack("<HHIH", answered.receive, answered.send, group, len(address)) + address
    body += bytes(-(HEADER + len(body)) % 4) + struct.pack("<B3x", len(results))
    for each in results:
        syntax = bytes(20)
        if each.transfer is not None:
            syntax = struct.pack("<16sI", each.transfer.bytes_le, VERSIONS[each.transfer])
        body += struct.pack("<HH", each.verdict, each.reason) + syntax
    return pdu(kind, call, body)


def nak(call: int, reason: int) -> bytes:
    """The refusal of a bind; the protocol versions in it are 5.0 alone."""
    return pdu(BIND_NAK, call, struct.pack("<HBBB3x", reason, 1, 5, 0))


def fault(call: int, context: int, status: int, *, executed: bool = False) -> bytes:
    """The refusal of a call; ``executed``: whether it may have been carried out all the same."""
    flags = FIRST | LAST | (0 if executed else DID_NOT_EXECUTE)
    return pdu(FAULT, call, struct.pack("<IHBxII", 0, context, 0, status, 0), flags)
