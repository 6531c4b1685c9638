"""PDUs for tests, of both byte orders, and towers as a server would have them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from protocols.msrpc.binding import NDR32
from protocols.msrpc.names import KNOWN
from protocols.msrpc.pdu import FIRST, LAST, OBJECT, REQUEST, RESPONSE, Pdu, Stream
from protocols.msrpc.tower import tcp_tower

# A signature of 16 bytes behind its trailer: NTLM, integrity (level 5), no padding.
SIGNED = bytes([10, 5, 0, 0, 0, 0, 0, 0]) + bytes(16)
CONNECT = bytes([10, 2, 0, 0, 0, 0, 0, 0]) + bytes(16)


def pdus(data: bytes) -> list[Pdu]:
    """The PDUs in these bytes, which must be whole ones."""
    stream = Stream(0xFFFF, lambda header: True)
    found = [item for item in stream.feed(data) if isinstance(item, Pdu)]
    assert stream.between
    return found


def one(data: bytes) -> Pdu:
    """The PDU that these bytes are."""
    (found,) = pdus(data)
    return found


def stub_of(data: bytes) -> bytes:
    """The stub of a call in its fragments."""
    return b"".join(pdu.raw[start:end] for pdu in pdus(data) for start, end in (pdu.stub(),))


def packed(kind: int, call: int, body: bytes, *, flags: int = FIRST | LAST, little: bool = True) -> bytes:
    """A PDU of either byte order, without authentication."""
    order = "<" if little else ">"
    drep = 0x10000000 if little else 0
    head = struct.pack(">BBBBI", 5, 0, kind, flags, drep)
    return head + struct.pack(order + "HHI", 16 + len(body), 0, call) + body


def carrier(
    kind: int,
    call: int,
    stub: bytes = b"",
    *,
    context: int = 0,
    opnum: int = 0,
    flags: int = FIRST | LAST,
    little: bool = True,
    trailer: bytes = b"",
    identity: bytes = b"",
) -> bytes:
    """A request or response; ``trailer``: what stands behind the stub, ``identity``: an object's 16 bytes."""
    order = "<" if little else ">"
    last = struct.pack(order + "H", opnum) if kind == REQUEST else b"\0\0"
    flags |= OBJECT if identity else 0
    body = struct.pack(order + "IH", len(stub), context) + last + identity + stub + trailer
    made = bytearray(packed(kind, call, body, flags=flags, little=little))
    if trailer:
        made[10:12] = struct.pack(order + "H", len(trailer) - 8)
    return bytes(made)


def request(call: int, opnum: int, stub: bytes = b"", context: int = 0, little: bool = True) -> bytes:
    """A call in one fragment."""
    return carrier(REQUEST, call, stub, opnum=opnum, context=context, little=little)


def answer(call: int, stub: bytes, largest: int = 4280, little: bool = True, trailer: bytes = b"") -> bytes:
    """An answer, in fragments with so many bytes of the stub each."""
    return b"".join(
        carrier(RESPONSE, call, piece, flags=flags, little=little, trailer=trailer)
        for piece, flags in cut(stub, largest)
    )


def cut(stub: bytes, largest: int) -> Iterator[tuple[bytes, int]]:
    """A stub in pieces, each with its flags."""
    for at in range(0, max(len(stub), 1), largest):
        first, last = at == 0, at + largest >= len(stub)
        yield stub[at : at + largest], (FIRST if first else 0) | (LAST if last else 0)


def tower_of(name: str, port: int, host: str = "127.0.0.11") -> bytes:
    """The TCP tower of a known interface."""
    known = KNOWN[name]
    address = bytes(int(part) for part in host.split("."))
    return tcp_tower(known.uuid, known.major, known.minor, port, address)


def tower(*sides: tuple[bytes, bytes]) -> bytes:
    """A tower of these floors, each its left and its right side."""
    made = struct.pack("<H", len(sides))
    for side in (each for floor in sides for each in floor):
        made += struct.pack("<H", len(side)) + side
    return made


def pipe_tower(name: str, pipe: str) -> bytes:
    """The tower of a known interface behind a named pipe."""
    known = KNOWN[name]
    version = struct.pack("<H", known.major), struct.pack("<H", known.minor)
    return tower(
        (b"\x0d" + known.uuid.bytes_le + version[0], version[1]),
        (b"\x0d" + NDR32.bytes_le + b"\2\0", b"\0\0"),
        (b"\x0b", b"\0\0"),
        (b"\x0f", pipe.encode() + b"\0"),
        (b"\x11", b"\\\\EXCH1\0"),
    )
