"""protocols.msrpc.tower: floors, ports and addresses."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc.binding import NDR32, NDR64
from protocols.msrpc.names import KNOWN
from protocols.msrpc.tower import MOST_FLOORS, NoTower, address_of, floors, read_tower, tcp_tower
from tests.msrpc.support import pipe_tower, tower, tower_of

EMSMDB = KNOWN["emsmdb"]
# The tower of SAMR at port 59531 as Samba gives it out.
SAMR = bytes.fromhex(
    "050013000d785734123412cdabef000123456789ac01000200000013000d045d888aeb1cc9119fe808002b1048600200020000"
    "0001000b020000000100070200e88b01000904000000000000"[:-2]
)


def identity(uuid: bytes, major: int, minor: int) -> tuple[bytes, bytes]:
    """The floor of an interface or transfer syntax."""
    return b"\x0d" + uuid + struct.pack("<H", major), struct.pack("<H", minor)


INTERFACE = identity(EMSMDB.uuid.bytes_le, 0, 81)
TRANSFER = identity(NDR32.bytes_le, 2, 0)
RPC = (b"\x0b", b"\0\0")


class ReadTests(SynchronousTestCase):
    """Octets that servers give out."""

    def test_tcp(self) -> None:
        """Interface, version, port and address, and where the last two stand."""
        found = read_tower(tower_of("emsmdb", 59531))
        self.assertEqual((found.interface, found.major, found.minor), (EMSMDB.uuid, 0, 81))
        self.assertEqual((found.transport, found.port, found.host), ("TCP", 59531, "127.0.0.11"))
        self.assertEqual((found.transfer, found.port_at, found.host_at), (NDR32, 64, 71))

    def test_as_a_server_writes_it(self) -> None:
        """A real one is 75 bytes, the same as ours."""
        self.assertEqual(len(SAMR), 75)
        self.assertEqual(tcp_tower(KNOWN["samr"].uuid, 1, 0, 59531, bytes(4)), SAMR)
        self.assertEqual(read_tower(SAMR).host, "0.0.0.0")

    def test_ndr64(self) -> None:
        """The version of the transfer syntax is 1.0 for NDR64."""
        made = tcp_tower(EMSMDB.uuid, 0, 81, 1, bytes(4), NDR64)
        self.assertEqual(read_tower(made).transfer, NDR64)
        self.assertEqual(floors(made)[1][1], NDR64.bytes_le + b"\1\0")

    def test_moved(self) -> None:
        """Another port and address, and all else as it was."""
        octets = tower_of("nspi", 59532)
        there = read_tower(octets).moved(octets, 6002, bytes([192, 0, 2, 1]))
        self.assertEqual(there, tower_of("nspi", 6002, "192.0.2.1"))

    def test_without_an_address(self) -> None:
        """A tower may lack the address floor; its port is moved alone."""
        octets = tower(INTERFACE, TRANSFER, RPC, (b"\x07", b"\0\x87"))
        found = read_tower(octets)
        self.assertEqual((found.port, found.host, found.host_at), (135, "", 0))
        self.assertEqual(found.moved(octets, 136, b"abcd"), octets[:-1] + b"\x88")

    def test_strange_address(self) -> None:
        """A fifth floor that is no IPv4 address is left alone."""
        for fifth in ((b"\x09", bytes(16)), (b"\x0a", bytes(4)), (b"\x09", b"")):
            octets = tower(INTERFACE, TRANSFER, RPC, (b"\x07", b"\0\x87"), fifth)
            self.assertEqual(read_tower(octets).host_at, 0)

    def test_other_transports(self) -> None:
        """Named pipes, HTTP and others have no port that could be served, and a text for people."""
        self.assertEqual(
            read_tower(pipe_tower("samr", "\\pipe\\lsass")).transport, "named pipe \\pipe\\lsass"
        )
        for fourth, text in (
            ((b"\x10", b"LRPC-1234\0"), "local LRPC-1234"),
            ((b"\x1f", struct.pack(">H", 593)), "HTTP 593"),
            ((b"\x08", struct.pack(">H", 1024)), "UDP 1024"),
            ((b"\x07", b"\0"), "protocol 0x07"),
            ((b"\x42", b"\x1b[2J"), "protocol 0x42 ?[2J"),
            ((b"\x0f", b"\xff\r\n"), "named pipe \N{REPLACEMENT CHARACTER}??"),
        ):
            found = read_tower(tower(INTERFACE, TRANSFER, RPC, fourth, (b"\x11", b"\\\\A\0")))
            self.assertEqual((found.transport, found.port, found.host), (text, 0, ""))

    def test_datagrams(self) -> None:
        """TCP under anything but connection-oriented RPC has no port either."""
        self.assertEqual(
            read_tower(tower(INTERFACE, TRANSFER, (b"\x0a", b"\0\0"), (b"\x07", b"\0\x87"))).port, 0
        )


class NoTowerTests(SynchronousTestCase):
    """Octets that are none."""

    def test_truncated(self) -> None:
        """Cut anywhere it is a NoTower; a null pointer's nothing is one too."""
        octets = tower_of("emsmdb", 59531)
        for end in range(len(octets)):
            with self.assertRaises(NoTower):
                read_tower(octets[:end])

    def test_not_of_an_interface(self) -> None:
        """The first two floors must be an interface and a transfer syntax, with their versions."""
        for sides in (
            (),
            (INTERFACE, TRANSFER, RPC),
            (RPC, TRANSFER, RPC, RPC),
            (INTERFACE, RPC, RPC, RPC),
            ((INTERFACE[0][:-1], INTERFACE[1]), TRANSFER, RPC, RPC),
            (INTERFACE, (TRANSFER[0], b"\0"), RPC, RPC),
            (INTERFACE, TRANSFER, RPC, (b"", b"\0\x87")),
        ):
            with self.assertRaises(NoTower):
                read_tower(tower(*sides))

    def test_most_floors(self) -> None:
        """16 floors are read, 17 are not."""
        more = (INTERFACE, TRANSFER, *[RPC] * (MOST_FLOORS - 2))
        self.assertEqual(len(floors(tower(*more))), MOST_FLOORS)
        with self.assertRaisesRegex(NoTower, "^17 floors$"):
            floors(tower(*more, RPC))

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=120))
    def test_rubbish(self, octets: bytes) -> None:
        """Any octets are a tower or NoTower."""
        for data in (octets, b"\5\0" + octets, tower_of("emsmdb", 1)[: len(octets)] + octets):
            with contextlib.suppress(NoTower):
                read_tower(data)


class WriteTests(SynchronousTestCase):
    """Towers of ours."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.uuids(),
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFF),
        st.integers(1, 0xFFFF),
        st.binary(min_size=4, max_size=4),
    )
    def test_round_trip(self, uuid: object, major: int, minor: int, port: int, host: bytes) -> None:
        """What is written is read again, and a move changes 6 bytes at the most."""
        octets = tcp_tower(uuid, major, minor, port, host)  # type: ignore[arg-type]
        found = read_tower(octets)
        self.assertEqual((found.interface, found.major, found.minor, found.port), (uuid, major, minor, port))
        self.assertEqual(found.host, ".".join(map(str, host)))
        moved = found.moved(octets, 1, b"\1\2\3\4")
        self.assertEqual(found.moved(moved, port, host), octets)

    def test_address_of(self) -> None:
        """IPv4 addresses have a floor; for all others it says: any."""
        self.assertEqual(address_of("192.0.2.1"), bytes([192, 0, 2, 1]))
        for text in ("2001:db8::1", "::ffff:192.0.2.1", "lb.example.org", ""):
            self.assertEqual(address_of(text), bytes(4))
