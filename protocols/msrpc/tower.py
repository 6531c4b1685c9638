"""Protocol towers (C706 appendix L): where an interface can be reached, as the endpoint mapper says it.

An octet string of floors. Their counters are little-endian whatever the byte order of the PDU is; port
and address are in network order.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from uuid import UUID

from protocols.msrpc.binding import NDR32

UUID_FLOOR, RPC_FLOOR, TCP_FLOOR, IP_FLOOR = 0x0D, 0x0B, 0x07, 0x09
# Other protocols on the fourth floor, for people (C706 appendix I, MS-RPCE 2.1).
TRANSPORTS = {0x08: "UDP", 0x0F: "named pipe", 0x10: "local", 0x1F: "HTTP"}
MOST_FLOORS = 16


class NoTower(Exception):
    """The octets are no tower."""


@dataclass(frozen=True, slots=True)
class Tower:
    """A tower of an RPC interface.

    ``port`` and ``host`` are there for ncacn_ip_tcp alone, with the offsets of their bytes in the octets;
    for all others ``port`` is 0 and ``transport`` says what it is ("named pipe \\\\pipe\\\\lsass").
    """

    interface: UUID
    major: int
    minor: int
    transfer: UUID
    transport: str
    port: int = 0
    host: str = ""
    port_at: int = 0
    host_at: int = 0

    def moved(self, octets: bytes, port: int, host: bytes) -> bytes:
        """The octets of a TCP tower with another port and address (4 bytes)."""
        changed = bytearray(octets)
        changed[self.port_at : self.port_at + 2] = port.to_bytes(2, "big")
        if self.host_at:
            changed[self.host_at : self.host_at + 4] = host
        return bytes(changed)


def floors(octets: bytes) -> list[tuple[int, bytes, int, bytes]]:
    """The floors: protocol, the rest of the left side, offset and bytes of the right one; raises NoTower."""
    if len(octets) < 2:
        raise NoTower("shorter than its count")
    count = int.from_bytes(octets[:2], "little")
    if count > MOST_FLOORS:
        raise NoTower(f"{count} floors")
    at, found = 2, []
    for _ in range(count):
        left, at = _side(octets, at)
        right, end = _side(octets, at)
        if not left:
            raise NoTower("a floor without a protocol")
        found.append((left[0], left[1:], at + 2, right))
        at = end
    return found


def _side(octets: bytes, at: int) -> tuple[bytes, int]:
    length = int.from_bytes(octets[at : at + 2], "little")
    end = at + 2 + length
    if at + 2 > len(octets) or end > len(octets):
        raise NoTower("cut short")
    return octets[at + 2 : end], end


def read_tower(octets: bytes) -> Tower:
    """The tower in these octets; raises NoTower where it is none of connection-oriented or local RPC."""
    found = floors(octets)
    if len(found) < 4 or found[0][0] != UUID_FLOOR or found[1][0] != UUID_FLOOR:
        raise NoTower("not one of an RPC interface")
    interface, major, minor = _identity(found[0])
    transfer = _identity(found[1])[0]
    protocol, _, port_at, right = found[3]
    if protocol != TCP_FLOOR or found[2][0] != RPC_FLOOR or len(right) != 2:
        return Tower(interface, major, minor, transfer, _transport(protocol, right))
    host, host_at = "", 0
    if len(found) > 4 and found[4][0] == IP_FLOOR and len(found[4][3]) == 4:
        host, host_at = str(ipaddress.IPv4Address(found[4][3])), found[4][2]
    port = int.from_bytes(right, "big")
    return Tower(interface, major, minor, transfer, "TCP", port, host, port_at, host_at)


def _identity(floor: tuple[int, bytes, int, bytes]) -> tuple[UUID, int, int]:
    _, left, _, right = floor
    if len(left) != 18 or len(right) != 2:
        raise NoTower("an interface without UUID and version")
    return UUID(bytes_le=left[:16]), int.from_bytes(left[16:], "little"), int.from_bytes(right, "little")


def _transport(protocol: int, right: bytes) -> str:
    kind = TRANSPORTS.get(protocol, f"protocol {protocol:#04x}")
    if protocol in (0x08, 0x1F) and len(right) == 2:
        return f"{kind} {int.from_bytes(right, 'big')}"
    text = right.rstrip(b"\0").decode("ascii", "replace")
    return f"{kind} {''.join(c if c.isprintable() else '?' for c in text)}".rstrip()


def tcp_tower(
    interface: UUID, major: int, minor: int, port: int, host: bytes, transfer: UUID = NDR32
) -> bytes:
    """The ncacn_ip_tcp tower of 75 bytes; ``host``: 4 bytes, zeros for any."""
    version = 2 if transfer == NDR32 else 1
    sides = (
        (bytes([UUID_FLOOR]) + interface.bytes_le + struct.pack("<H", major), struct.pack("<H", minor)),
        (bytes([UUID_FLOOR]) + transfer.bytes_le + struct.pack("<H", version), b"\0\0"),
        (bytes([RPC_FLOOR]), b"\0\0"),
        (bytes([TCP_FLOOR]), port.to_bytes(2, "big")),
        (bytes([IP_FLOOR]), host),
    )
    packed = [struct.pack("<H", len(side)) + side for floor in sides for side in floor]
    return struct.pack("<H", len(sides)) + b"".join(packed)


def address_of(text: str) -> bytes:
    """The 4 bytes of an IPv4 address; zeros (any) for all else, for which towers have no room."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return bytes(4)
    return address.packed if address.version == 4 else bytes(4)
