"""DCE/RPC packets (C706 chapter 12, MS-RPCE) as far as the kit's own client and server need them.

Written apart from exproxy's codec, so that a mistake there is not made here too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from .interfaces import Interface

REQUEST, RESPONSE, FAULT, BIND, BIND_ACK, BIND_NAK, ALTER, ALTER_ACK = 0, 2, 3, 11, 12, 13, 14, 15
WHOLE = 3  # first and last fragment
FRAGMENT = 5840
ACCEPTED, REJECTED = 0, 2
NO_SUCH_INTERFACE, NO_SUCH_SYNTAX = 1, 2
NDR = ("8A885D04-1CEB-11C9-9FE8-08002B104860", "2.0")
NDR64 = ("71710533-BEBA-4937-8319-B5DBEF9CCC36", "1.0")
OPNUM_OUT_OF_RANGE = 0x1C010002


@dataclass(frozen=True)
class Pdu:
    """One packet; `order` is `<` or `>`, `flags` are the pfc_flags, `body` is what follows the header."""

    kind: int
    call: int
    body: bytes
    order: str = "<"
    flags: int = WHOLE

    def pack(self) -> bytes:
        """The packet's bytes."""
        head = struct.pack("4B", 5, 0, self.kind, self.flags)
        drep = struct.pack("4B", 0x10 if self.order == "<" else 0, 0, 0, 0)
        tail = struct.pack(f"{self.order}HHI", 16 + len(self.body), 0, self.call)
        return head + drep + tail + self.body

    def unpack(self, form: str, at: int = 0) -> tuple[int, ...]:
        """Numbers of the body in the packet's byte order."""
        return struct.unpack_from(self.order + form, self.body, at)


def length(head: bytes) -> int:
    """How long the packet is whose header this is."""
    (found,) = struct.unpack_from("<H" if head[4] >> 4 else ">H", head, 8)
    return int(found)


def parse(data: bytes) -> Pdu:
    """One whole packet."""
    order = "<" if data[4] >> 4 else ">"
    (call,) = struct.unpack_from(f"{order}I", data, 12)
    return Pdu(data[2], call, data[16:], order, data[3])


def syntax(interface: Interface, order: str = "<") -> bytes:
    """UUID and version as they are in a bind."""
    identity, (major, minor) = UUID(interface[0]), map(int, interface[1].split("."))
    # The version is one number of 32 bits, the minor one on top (C706 12.6.3.1).
    version = struct.pack(f"{order}I", minor << 16 | major)
    return (identity.bytes_le if order == "<" else identity.bytes) + version


def bind(
    *interfaces: Interface, group: int = 0, order: str = "<", kind: int = BIND, transfer: Interface = NDR
) -> bytes:
    """A bind, one context for each interface; `group`: the association group to join."""
    body = struct.pack(f"{order}HHIB3x", FRAGMENT, FRAGMENT, group, len(interfaces))
    for number, interface in enumerate(interfaces):
        body += struct.pack(f"{order}HBx", number, 1) + syntax(interface, order) + syntax(transfer, order)
    return Pdu(kind, 1, body, order).pack()


def request(opnum: int, stub: bytes = b"", *, call: int = 2, context: int = 0, order: str = "<") -> bytes:
    """A call in one fragment."""
    return Pdu(REQUEST, call, struct.pack(f"{order}IHH", len(stub), context, opnum) + stub, order).pack()


def contexts(pdu: Pdu) -> list[tuple[int, bytes, list[bytes]]]:
    """A bind's contexts: identifier, abstract syntax, transfer syntaxes (20 bytes each)."""
    at, found = 12, []
    for _ in range(pdu.body[8]):
        identifier, count = pdu.unpack("HB", at)
        syntaxes = [pdu.body[at + 4 + 20 * n : at + 24 + 20 * n] for n in range(count + 1)]
        found.append((identifier, syntaxes[0], syntaxes[1:]))
        at += 4 + 20 * (count + 1)
    return found


def ack(asked: Pdu, group: int, port: int, results: Iterable[tuple[int, int]]) -> bytes:
    """bind_ack or alter_context_resp, with a result and a reason for each context."""
    address = f"{port}\0".encode() if asked.kind == BIND else b""
    order = asked.order
    body = struct.pack(f"{order}HHIH", FRAGMENT, FRAGMENT, group, len(address)) + address
    body += b"\0" * (-len(body) % 4)
    told = list(results)
    body += struct.pack("B3x", len(told))
    for result, reason in told:
        chosen = syntax(NDR, order) if result == ACCEPTED else b"\0" * 20
        body += struct.pack(f"{order}HH", result, reason) + chosen
    return Pdu(asked.kind + 1, asked.call, body, order).pack()


def results(pdu: Pdu) -> list[tuple[int, int]]:
    """The result and the reason of each context of a bind_ack."""
    (size,) = pdu.unpack("H", 8)
    at = 10 + size
    at += -at % 4
    return [pdu.unpack("HH", at + 4 + 24 * n)[:2] for n in range(pdu.body[at])]  # type: ignore[misc]
