"""The PROXY protocol: headers read from bytes cut anywhere, and written as others read them."""

from __future__ import annotations

import ipaddress
import struct

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import Destination, Source
from exproxy.proxy_protocol import (
    LONGEST_HEADER,
    LONGEST_LINE,
    Header,
    Malformed,
    build,
    crc32c,
    local,
    own,
    parse,
)
from exproxy.testing import every_split

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
IPV4 = bytes([192, 0, 2, 1, 203, 0, 113, 9]) + struct.pack("!HH", 40000, 25)
IPV6 = (
    ipaddress.ip_address("2001:db8::1").packed
    + ipaddress.ip_address("2001:db8::25").packed
    + struct.pack("!HH", 40000, 25)
)
FOUR = (Source("192.0.2.1", 40000), Destination("203.0.113.9", 25))
SIX = (Source("2001:db8::1", 40000), Destination("2001:db8::25", 25))


def binary(command: int, family: int, block: bytes = b"") -> bytes:
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


def vector(kind: int, value: bytes) -> bytes:
    """A type-length-value vector."""
    return struct.pack("!BH", kind, len(value)) + value


def summed(command: int, family: int, block: bytes, flaw: int = 0) -> bytes:
    """A header with its checksum in the last vector; ``flaw`` is added to it."""
    blank = binary(command, family, block + vector(3, bytes(4)))
    return blank[:-4] + struct.pack("!I", (crc32c(blank) + flaw) % 2**32)


# (header, source and destination)
GOOD = [
    (b"PROXY TCP4 192.0.2.1 203.0.113.9 40000 25\r\n", FOUR),
    (
        b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
        (Source("0.0.0.0"), Destination("255.255.255.255", 65535)),
    ),
    (b"PROXY TCP6 2001:db8::1 2001:DB8:0::25 40000 25\r\n", SIX),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:cb00:7109 40000 25\r\n", FOUR),
    (b"PROXY UNKNOWN\r\n", (None, None)),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", (None, None)),
    (b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 16) + b"\r\n", (None, None)),
    (binary(0x21, 0x11, IPV4), FOUR),
    (binary(0x21, 0x21, IPV6), SIX),
    (binary(0x21, 0x11, IPV4 + vector(4, b"") + vector(0x20, b"\1\0\0\0\0")), FOUR),
    (summed(0x21, 0x11, IPV4 + vector(2, b"mail.litware.com")), FOUR),
    (summed(0x21, 0x21, IPV6), SIX),
    (binary(0x21, 0x11, IPV4 + vector(0xE0, bytes(LONGEST_HEADER - 16 - 12 - 3))), FOUR),
    # UDP, UNIX sockets and what is unspecified: the connection's own addresses hold.
    (binary(0x21, 0x12, IPV4), (None, None)),
    (binary(0x21, 0x00), (None, None)),
    (binary(0x21, 0x00, vector(4, b"padding")), (None, None)),
    (binary(0x21, 0x31, bytes(216)), (None, None)),
    (binary(0x20, 0x00), (None, None)),
    # What stands in a LOCAL header is to be discarded, whatever it is.
    (binary(0x20, 0x11, IPV4), (None, None)),
    (binary(0x20, 0xFF, b"anything"), (None, None)),
]

# (what it shows, bytes)
BAD = [
    ("a client that speaks itself", b"EHLO client.example\r\n"),
    ("a TLS client", b"\x16\x03\x01"),
    ("a request", b"POST / HTTP/1.1\r\n"),
    ("small letters", b"proxy TCP4"),
    ("no blank", b"PROXY\tTCP4"),
    ("two blanks", b"PROXY  TCP4 192.0.2.1 203.0.113.9 40000 25\r\n"),
    ("blank at the end", b"PROXY TCP4 192.0.2.1 203.0.113.9 40000 25 \r\n"),
    ("bare LF", b"PROXY TCP4 192.0.2.1 203.0.113.9 40000 25\n"),
    ("UNKNOWN with a bare LF", b"PROXY UNKNOWN\n"),
    ("CR in the line", b"PROXY TCP4 192.0.2.1\r 203.0.113.9 40000 25\r\n"),
    ("no family", b"PROXY \r\n"),
    ("another family", b"PROXY UDP4 192.0.2.1 203.0.113.9 40000 25\r\n"),
    ("nearly UNKNOWN", b"PROXY UNKNOWNS\r\n"),
    ("too few words", b"PROXY TCP4 192.0.2.1 203.0.113.9 40000\r\n"),
    ("too many words", b"PROXY TCP4 192.0.2.1 203.0.113.9 40000 25 1\r\n"),
    ("IPv6 in TCP4", b"PROXY TCP4 2001:db8::1 203.0.113.9 40000 25\r\n"),
    ("IPv4 in TCP6", b"PROXY TCP6 192.0.2.1 203.0.113.9 40000 25\r\n"),
    ("leading zeros", b"PROXY TCP4 192.000.002.001 203.0.113.9 40000 25\r\n"),
    ("a name", b"PROXY TCP4 localhost 203.0.113.9 40000 25\r\n"),
    ("a network", b"PROXY TCP4 192.0.2.0/24 203.0.113.9 40000 25\r\n"),
    ("a scope", b"PROXY TCP6 fe80::1%eth0 2001:db8::25 40000 25\r\n"),
    ("brackets", b"PROXY TCP6 [2001:db8::1] 2001:db8::25 40000 25\r\n"),
    ("a port too high", b"PROXY TCP4 192.0.2.1 203.0.113.9 65536 25\r\n"),
    ("a port with zeros", b"PROXY TCP4 192.0.2.1 203.0.113.9 040 25\r\n"),
    ("a negative port", b"PROXY TCP4 192.0.2.1 203.0.113.9 -1 25\r\n"),
    ("no port", b"PROXY TCP4 192.0.2.1 203.0.113.9  25\r\n"),
    ("digits that are none", b"PROXY TCP4 192.0.2.1 203.0.113.9 4\xb2 25\r\n"),
    ("no end of the line", b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 14)),
    ("an end too late", b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 15) + b"\r\n"),
    ("a torn signature", b"\r\n\r\n\0\r\nQUIT\r"),
    ("version 1 in binary", binary(0x11, 0x11, IPV4)),
    ("version 3", binary(0x31, 0x11, IPV4)),
    ("an unknown command", binary(0x22, 0x11, IPV4)),
    ("an unknown family", binary(0x21, 0x41, IPV4)),
    ("an unknown transport", binary(0x21, 0x13, IPV4)),
    ("too short for IPv4", binary(0x21, 0x11, IPV4[:-1])),
    ("too short for IPv6", binary(0x21, 0x21, IPV4)),
    ("too short for UNIX", binary(0x21, 0x31, bytes(215))),
    ("too long", binary(0x21, 0x11, IPV4)[:14] + struct.pack("!H", LONGEST_HEADER - 15)),
    ("a LOCAL that is too long", binary(0x20, 0)[:14] + b"\xff\xff"),
    ("a torn vector", binary(0x21, 0x11, IPV4 + b"\4\0")),
    ("a vector longer than the header", binary(0x21, 0x11, IPV4 + struct.pack("!BH", 4, 1))),
    ("a wrong checksum", summed(0x21, 0x11, IPV4, flaw=1)),
    ("a checksum of three bytes", binary(0x21, 0x11, IPV4 + vector(3, bytes(3)))),
    ("a wrong checksum without addresses", summed(0x21, 0x00, b"", flaw=1)),
]


class ReadingTests(SynchronousTestCase):
    """Bytes to a header."""

    def test_good(self) -> None:
        """Every form gives its addresses, its length, and leaves the client's own bytes alone."""
        for data, (source, destination) in GOOD:
            expected = Header(len(data), source, destination)
            for rest in (b"", b"EHLO client\r\n", b"\n"):
                self.assertEqual(parse(data + rest), expected, data[:60])

    def test_every_split(self) -> None:
        """Nothing is decided before the last byte, wherever the bytes are cut."""
        for data, _ in GOOD:
            if len(data) > 1000:
                continue
            for pieces in every_split(data):
                had = b""
                for piece in pieces:
                    self.assertIsNone(parse(had), had)
                    had += piece
                found = parse(had)
                assert found is not None
                self.assertEqual(found.length, len(data))

    def test_bad(self) -> None:
        """What is no header is refused, at every cut either at once or with more bytes."""
        for what, data in BAD:
            with self.assertRaises(Malformed, msg=what) as caught:
                parse(data)
            self.assertNotEqual(str(caught.exception), "")
            for end in range(len(data)):
                try:
                    found = parse(data[:end])
                except Malformed:
                    break
                self.assertIsNone(found, what)

    def test_refused_early(self) -> None:
        """A client that speaks its own protocol is known by its first wrong byte."""
        for data in (b"E", b"\x16", b"PX", b"\r\n\r\n\0\r\nQUIT\r", b"PROXY_"):
            self.assertRaises(Malformed, parse, data)
            self.assertIsNone(parse(data[:-1]))

    def test_limits(self) -> None:
        """One byte beyond the longest line, or the longest header, is one too many."""
        line = b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 15)
        self.assertIsNone(parse(line[: LONGEST_LINE - 1]))
        self.assertRaises(Malformed, parse, line + b"x")
        head = SIGNATURE + b"\x21\x00"
        self.assertIsNone(parse(head + struct.pack("!H", LONGEST_HEADER - 16)))
        self.assertRaises(Malformed, parse, head + struct.pack("!H", LONGEST_HEADER - 15))

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=300))
    @example(b"")
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes, also behind a good beginning, are a header, no header, or wait for more."""
        for begin in (
            b"",
            b"PROXY ",
            b"PROXY TCP4 ",
            SIGNATURE,
            SIGNATURE + b"\x21",
            SIGNATURE + b"\x21\x11\x00\x20",
        ):
            try:
                found = parse(begin + data)
            except Malformed:
                continue
            if found is not None:
                self.assertLessEqual(found.length, len(begin + data))
                self.assertEqual(parse((begin + data)[: found.length]), found)

    @settings(max_examples=200, deadline=None)
    @given(st.integers(min_value=0, max_value=len(GOOD) - 1), st.data())
    def test_one_byte_changed(self, number: int, data: st.DataObject) -> None:
        """A good header with one byte changed ends in no other way."""
        header = bytearray(GOOD[number][0][:300])
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
        try:
            found = parse(bytes(header))
        except Malformed:
            return
        self.assertTrue(found is None or found.length <= len(header))


class WritingTests(SynchronousTestCase):
    """Values to bytes."""

    def test_as_the_field_writes_them(self) -> None:
        """Both versions, both families, byte by byte."""
        self.assertEqual(build("v1", *FOUR), b"PROXY TCP4 192.0.2.1 203.0.113.9 40000 25\r\n")
        self.assertEqual(build("v1", *SIX), b"PROXY TCP6 2001:db8::1 2001:db8::25 40000 25\r\n")
        self.assertEqual(build("v2", *FOUR), binary(0x21, 0x11, IPV4))
        self.assertEqual(build("v2", *SIX), binary(0x21, 0x21, IPV6))
        self.assertEqual(local(), binary(0x20, 0))

    def test_two_families(self) -> None:
        """Of two families the IPv4 address is written v4-mapped, on either side."""
        self.assertEqual(
            build("v1", SIX[0], FOUR[1]), b"PROXY TCP6 2001:db8::1 ::ffff:203.0.113.9 40000 25\r\n"
        )
        self.assertEqual(
            build("v1", FOUR[0], SIX[1]), b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::25 40000 25\r\n"
        )
        for ends in ((SIX[0], FOUR[1]), (FOUR[0], SIX[1])):
            header = build("v2", *ends)
            self.assertEqual(header[13], 0x21)
            self.assertEqual(parse(header), Header(len(header), *ends))

    def test_no_address(self) -> None:
        """Where there is no IP address nothing is claimed."""
        self.assertEqual(build("v1", Source(""), FOUR[1]), b"PROXY UNKNOWN\r\n")
        self.assertEqual(build("v2", Source(""), FOUR[1]), local())

    def test_own(self) -> None:
        """A check is LOCAL in version 2, and its own connection in version 1."""
        self.assertEqual(own("v2", *FOUR), local())
        self.assertEqual(own("v1", *FOUR), build("v1", *FOUR))

    def test_checksum(self) -> None:
        """CRC32C of the known examples (RFC 3720 B.4)."""
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)
        self.assertEqual(crc32c(b"\xff" * 32), 0x62A8AB43)
        self.assertEqual(crc32c(bytes(range(32))), 0x46DD794E)

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(("v1", "v2")),
        st.ip_addresses(),
        st.ip_addresses(),
        st.integers(0, 65535),
        st.integers(0, 65535),
    )
    def test_read_back(self, version, here, there, one, other) -> None:  # type: ignore[no-untyped-def]
        """Whatever is written is read back, in at most the longest line."""
        source, destination = Source(str(here), one), Destination(str(there), other)
        header = build(version, source, destination)
        found = parse(header + b"rest")
        assert found is not None and found.source is not None and found.destination is not None
        self.assertEqual(found.length, len(header))
        self.assertLessEqual(found.length, LONGEST_LINE)
        ends = [(found.source, here), (found.destination, there)]
        for got, wanted in ends:
            mapped = getattr(wanted, "ipv4_mapped", None)
            self.assertEqual(ipaddress.ip_address(got.host), mapped or wanted)
        self.assertEqual((found.source.port, found.destination.port), (one, other))
