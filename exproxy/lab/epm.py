"""The lab's endpoint mapper: ept_map and ept_lookup (C706 appendix O, MS-RPCE 2.2.1.2).

Towers are octet strings whose counters are little-endian whatever the byte order of the PDU, while port and
address in them are in network order (C706 appendix L).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from exproxy.lab import dcerpc
from exproxy.lab.dcerpc import BAD_STUB, NDR32, OP_RANGE, Fault, Request

EPM = UUID("e1af8308-5d1f-11c9-91a4-08002b14a0fa")
EMSMDB = UUID("a4f1db00-ca47-1067-b31f-00dd010662da")
ASYNC_EMSMDB = UUID("5261574a-4572-206e-b268-6b199213b4e4")
NSPI = UUID("f5cc5a18-4264-101a-8c59-08002b2f8426")
RFRI = UUID("1544f5e0-613c-11d1-93df-00c04fd7bd09")

NOT_REGISTERED = 0x16C9A0D6
_LOOKUP, _MAP, _FREE = 2, 3, 4
_UUID_FLOOR, _RPC_FLOOR, _TCP_FLOOR, _IP_FLOOR = 0x0D, 0x0B, 0x07, 0x09
_MARK = b"lab endpoint"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An interface and where it listens; ept_lookup shows the `annotation` (63 bytes at most)."""

    interface: UUID
    major: int
    minor: int
    port: int
    annotation: str


def tower(endpoint: Endpoint, address: str) -> bytes:
    """The ncacn_ip_tcp tower of 75 bytes: interface, NDR32, connection-oriented RPC, port, address."""
    floors = (
        _floor(_identity(endpoint.interface, endpoint.major), struct.pack("<H", endpoint.minor)),
        _floor(_identity(NDR32, 2), b"\0\0"),
        _floor(bytes([_RPC_FLOOR]), b"\0\0"),
        _floor(bytes([_TCP_FLOOR]), struct.pack(">H", endpoint.port)),
        _floor(bytes([_IP_FLOOR]), ipaddress.IPv4Address(address).packed),
    )
    return struct.pack("<H", len(floors)) + b"".join(floors)


def _identity(uuid: UUID, major: int) -> bytes:
    return bytes([_UUID_FLOOR]) + uuid.bytes_le + struct.pack("<H", major)


def _floor(left: bytes, right: bytes) -> bytes:
    return struct.pack("<H", len(left)) + left + struct.pack("<H", len(right)) + right


def floors(octets: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The (left, right) halves of a tower's floors; raises Fault when it is cut short."""
    try:
        (count,), at, found = struct.unpack_from("<H", octets), 2, []
        for _ in range(min(count, 16)):
            left, at = _counted(octets, at)
            right, at = _counted(octets, at)
            found.append((left, right))
    except struct.error as error:
        raise Fault(BAD_STUB) from error
    return tuple(found)


def _counted(octets: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<H", octets, at)
    end = at + 2 + length
    if end > len(octets):
        raise Fault(BAD_STUB)
    return octets[at + 2 : end], end


class Mapper:
    """Answers the calls to an endpoint mapper; `endpoints` is asked each time, `address` is IPv4."""

    def __init__(self, endpoints: Callable[[], Sequence[Endpoint]], address: str) -> None:
        self._endpoints = endpoints
        self._address = address

    def __call__(self, request: Request) -> bytes:
        """The stub of the answer; raises Fault."""
        try:
            if request.opnum == _MAP:
                return self._map(request)
            if request.opnum == _LOOKUP:
                return self._lookup(request)
        except struct.error as error:
            raise Fault(BAD_STUB) from error
        if request.opnum == _FREE:
            return bytes(24)
        raise Fault(OP_RANGE)

    def _map(self, request: Request) -> bytes:
        order, stub = request.order, request.stub
        at = 20 if struct.unpack_from(order + "I", stub)[0] else 4
        pointer, _, length = struct.unpack_from(order + "III", stub, at)
        if not pointer or at + 12 + length > len(stub):
            raise Fault(BAD_STUB)
        wanted = floors(stub[at + 12 : at + 12 + length])
        at += 12 + length
        (most,) = struct.unpack_from(order + "I", stub, at + -at % 4 + 20)
        found = [tower(e, self._address) for e in self._endpoints() if _serves(e, wanted)][:most]
        head = bytes(20) + struct.pack("<IIII", len(found), most, 0, len(found))
        head += b"".join(struct.pack("<I", 3 + n) for n in range(len(found)))
        return head + b"".join(map(_octets, found)) + struct.pack("<I", 0 if found else NOT_REGISTERED)

    def _lookup(self, request: Request) -> bytes:
        order, stub = request.order, request.stub
        at = 24 if struct.unpack_from(order + "I", stub, 4)[0] else 8
        at += 24 if struct.unpack_from(order + "I", stub, at)[0] else 4
        handle = stub[at + 4 : at + 24]
        (most,) = struct.unpack_from(order + "I", stub, at + 24)
        # The handle is opaque to the client, so it may carry the position itself: nothing to keep or to leak.
        start = struct.unpack("<I", handle[16:])[0] if handle[4:16] == _MARK else 0
        entries = self._endpoints()
        found = entries[start : start + most]
        more = start + len(found) < len(entries) and most > 0
        following = bytes(4) + _MARK + struct.pack("<I", start + len(found)) if more else bytes(20)
        head = following + struct.pack("<IIII", len(found), most, 0, len(found))
        head += b"".join(_entry(number, entry) for number, entry in enumerate(found, 1))
        towers = b"".join(_octets(tower(entry, self._address)) for entry in found)
        return head + towers + struct.pack("<I", 0 if found else NOT_REGISTERED)


def _serves(endpoint: Endpoint, wanted: tuple[tuple[bytes, bytes], ...]) -> bool:
    if len(wanted) < 4 or wanted[0][0] != _identity(endpoint.interface, endpoint.major):
        return False
    return wanted[1][0] == _identity(NDR32, 2) and wanted[3][0] == bytes([_TCP_FLOOR])


def _octets(octets: bytes) -> bytes:
    return struct.pack("<II", len(octets), len(octets)) + octets + bytes(-len(octets) % 4)


def _entry(number: int, endpoint: Endpoint) -> bytes:
    text = endpoint.annotation.encode()[:63] + b"\0"
    return bytes(16) + struct.pack("<III", number, 0, len(text)) + text + bytes(-len(text) % 4)


def map_request(interface: UUID, major: int, minor: int) -> bytes:
    """The little-endian stub of an ept_map call for one interface over TCP (used by the lab's clients)."""
    asked = tower(Endpoint(interface, major, minor, 0, ""), "0.0.0.0")  # noqa: S104 - "any", as clients ask
    return struct.pack("<II", 0, 1) + _octets(asked) + bytes(20) + struct.pack("<I", 4)


def lookup_request(most: int = 16) -> bytes:
    """The little-endian stub of an ept_lookup call for everything (used by the lab's clients)."""
    return bytes(16) + bytes(20) + struct.pack("<I", most)


def mapped_port(stub: bytes) -> int | None:
    """The TCP port in the first tower of an ept_map answer, None when it holds none."""
    try:
        (count,) = struct.unpack_from("<I", stub, 20)
        start = 36 + 4 * count
        (length,) = struct.unpack_from("<I", stub, start + 4)
        found = floors(stub[start + 8 : start + 8 + length]) if count else ()
    except (struct.error, dcerpc.Fault):
        return None
    ports = [right for left, right in found if left == bytes([_TCP_FLOOR]) and len(right) == 2]
    return int.from_bytes(ports[0], "big") if ports else None
