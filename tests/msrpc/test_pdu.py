"""protocols.msrpc.pdu: headers, and bytes cut into PDUs."""

from __future__ import annotations

import contextlib
import struct
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from exproxy.testing import every_split
from protocols.msrpc.pdu import (
    BIND,
    CALL_HEADER,
    FAULT,
    KINDS,
    REQUEST,
    RESPONSE,
    Header,
    Malformed,
    Pdu,
    Stream,
    Trailer,
    read_header,
)
from tests.msrpc import protected_samples, samples
from tests.msrpc.lookup_samples import ALL_ANSWER
from tests.msrpc.samples import BIG_BIND, PLAIN_BIND, PLAIN_BIND_ACK, SAMR_ANSWER, SAMR_CALL
from tests.msrpc.support import SIGNED, carrier, one, packed, pdus

LIMIT = 0xFFFF


def fed(pieces: tuple[bytes, ...], stream: Stream) -> list[Pdu | bytes]:
    """What a stream gives out for these pieces."""
    return [item for piece in pieces for item in stream.feed(piece)]


def raw(items: list[Pdu | bytes]) -> bytes:
    """All bytes of what was given out."""
    return b"".join(item.raw if isinstance(item, Pdu) else item for item in items)


class HeaderTests(SynchronousTestCase):
    """The 16 bytes that all begin with."""

    def test_little_endian(self) -> None:
        """The first byte of the data representation tells the order of all integers."""
        self.assertEqual(read_header(PLAIN_BIND), Header(11, 3, True, 72, 0, 1))
        self.assertEqual((read_header(PLAIN_BIND).order, read_header(PLAIN_BIND).name), ("<", "bind"))

    def test_big_endian(self) -> None:
        """A big-endian client's header reads the same."""
        header = read_header(BIG_BIND)
        self.assertEqual((header.little, header.order, header.length), (False, ">", 116))

    def test_anywhere(self) -> None:
        """A header may begin behind other bytes."""
        self.assertEqual(read_header(b"xxx" + PLAIN_BIND, 3), read_header(PLAIN_BIND))

    def test_real_ones(self) -> None:
        """All PDUs of real clients and servers have a length that is theirs."""
        for module in (samples, protected_samples):
            for name, data in vars(module).items():
                if isinstance(data, bytes) and "STUB" not in name:
                    self.assertEqual(read_header(data).length, len(data), name)

    def test_versions(self) -> None:
        """5.0 and 5.1 are DCE/RPC over connections; 4, 5.2 and 6.0 are not."""
        self.assertEqual(read_header(b"\5\1" + PLAIN_BIND[2:]).kind, 11)
        for version in (b"\4\0", b"\5\2", b"\6\0", b"GE"):
            with self.assertRaisesRegex(Malformed, r"^not DCE/RPC 5\.0 or 5\.1 but ") as caught:
                read_header(version + PLAIN_BIND[2:])
            self.assertIsNone(caught.exception.header)

    def test_kinds(self) -> None:
        """A type is one of the twelve that are known (RTS, 20, is of RPC over HTTP)."""
        for kind in range(256):
            data = PLAIN_BIND[:2] + bytes([kind]) + PLAIN_BIND[3:]
            if kind in KINDS:
                self.assertEqual(read_header(data).name, KINDS[kind])
            else:
                with self.assertRaisesRegex(Malformed, f"^a PDU of the unknown type {kind}$"):
                    read_header(data)

    def test_too_short(self) -> None:
        """No PDU is shorter than its header, its call's header, and what it says of its authentication."""
        for kind, least in ((BIND, 16), (REQUEST, 24), (RESPONSE, 24), (FAULT, 24)):
            for auth in (0, 16):
                size = least + (auth + 8 if auth else 0)
                head = struct.pack("<BBBBIHHI", 5, 0, kind, 3, 0x10, size, auth, 1)
                self.assertEqual(read_header(head).length, size)
                shorter = struct.pack("<BBBBIHHI", 5, 0, kind, 3, 0x10, size - 1, auth, 1)
                with self.assertRaisesRegex(Malformed, "shorter than its own parts$") as caught:
                    read_header(shorter)
                assert caught.exception.header is not None
                self.assertEqual(caught.exception.header.call, 1)

    def test_limit(self) -> None:
        """A PDU of limits.pdu bytes is taken, one byte more is not."""
        self.assertEqual(read_header(PLAIN_BIND, limit=72).length, 72)
        with self.assertRaisesRegex(Malformed, r"^a bind of 72 bytes, more than limits\.pdu \(71\)$"):
            read_header(PLAIN_BIND, limit=71)

    @settings(max_examples=60, deadline=None)
    @given(st.binary(min_size=16, max_size=40))
    def test_rubbish(self, data: bytes) -> None:
        """Whatever 16 bytes say, they are a header or Malformed."""
        with contextlib.suppress(Malformed):
            self.assertIn(read_header(data).kind, KINDS)


class PduTests(SynchronousTestCase):
    """What is read of a PDU."""

    def test_carriers(self) -> None:
        """Context, operation and stub of a request and its answer."""
        call, said = one(SAMR_CALL), one(SAMR_ANSWER)
        self.assertEqual((call.context, call.opnum, call.stub()), (0, 3, (24, 140)))
        self.assertEqual((said.context, said.stub()), (0, (24, 152)))

    def test_big_endian(self) -> None:
        """The same in the other byte order."""
        call = one(carrier(REQUEST, 7, b"stub", context=0x0102, opnum=0x0304, little=False))
        self.assertEqual((call.header.call, call.context, call.opnum), (7, 0x0102, 0x0304))

    def test_object(self) -> None:
        """The UUID of an object stands between the operation and the stub."""
        call = one(carrier(REQUEST, 1, b"stub", identity=bytes(range(16))))
        start, end = call.stub()
        self.assertEqual(call.raw[start:end], b"stub")

    def test_trailer(self) -> None:
        """Mechanism, level and padding of the protection; the stub ends before them."""
        self.assertIsNone(one(SAMR_CALL).trailer)
        call = one(protected_samples.SIGNED_CALL)
        self.assertEqual(call.trailer, Trailer(9, 5, 12))
        self.assertEqual(call.stub(), (24, 160 - 16 - 8 - 12))
        self.assertEqual(one(protected_samples.SEALED_CALL).trailer.level, 6)

    def test_padding_beyond_all_bounds(self) -> None:
        """Padding that reaches into the call's header is an error."""
        trailer = bytes([10, 5, 200, 0, 0, 0, 0, 0]) + bytes(16)
        with self.assertRaisesRegex(Malformed, "^a response shorter than its own parts$"):
            one(carrier(RESPONSE, 1, b"stub", trailer=trailer)).stub()

    def test_cut_short(self) -> None:
        """Integers and UUIDs beyond the end are an error, not an exception of Python's."""
        pdu = one(PLAIN_BIND)
        self.assertEqual(pdu.unpack("HH", 16), (4280, 4280))
        self.assertEqual(pdu.uuid(32), UUID("e1af8308-5d1f-11c9-91a4-08002b14a0fa"))
        self.assertEqual(one(BIG_BIND).uuid(32), pdu.uuid(32))
        for read in (lambda: pdu.unpack("I", 70), lambda: pdu.uuid(57), lambda: pdu.uuid(100)):
            with self.assertRaisesRegex(Malformed, "^a bind is cut short$"):
                read()


class StreamTests(SynchronousTestCase):
    """One direction's bytes."""

    def test_every_split(self) -> None:
        """However bytes are cut, none is lost, and nothing but the begin of a call is given out in part."""
        data = PLAIN_BIND_ACK + SAMR_ANSWER + PLAIN_BIND_ACK
        for pieces in every_split(data):
            stream = Stream(LIMIT)
            items = fed(pieces, stream)
            self.assertEqual(raw(items), data)
            self.assertTrue(stream.between)
            found = [item for item in items if isinstance(item, Pdu)]
            self.assertEqual([each.header.kind for each in found], [12, 2, 12])
            self.assertTrue(found[0].whole and found[2].whole)
            self.assertGreaterEqual(len(found[1].raw), CALL_HEADER)
            self.assertEqual(found[1].whole, len(found[1].raw) == 152)

    def test_every_split_whole(self) -> None:
        """Where calls are wanted whole, PDUs are all that is given out, one by one."""
        data = SAMR_CALL + BIG_BIND + SAMR_ANSWER
        for pieces in every_split(data):
            items = fed(pieces, Stream(LIMIT, lambda header: True))
            self.assertEqual(
                [item.raw for item in items if isinstance(item, Pdu)], [SAMR_CALL, BIG_BIND, SAMR_ANSWER]
            )
            self.assertTrue(all(isinstance(item, Pdu) and item.whole for item in items))

    def test_some_whole(self) -> None:
        """Which calls must be whole is decided for each header."""
        stream = Stream(LIMIT, lambda header: header.call == 2)
        other = carrier(RESPONSE, 3, bytes(100))
        (passing,) = stream.feed(other[:50])
        assert isinstance(passing, Pdu)
        self.assertEqual((passing.whole, passing.raw), (False, other[:50]))
        self.assertFalse(stream.between)
        self.assertEqual(stream.feed(other[50:] + SAMR_ANSWER[:100]), [other[50:]])
        (kept,) = stream.feed(SAMR_ANSWER[100:])
        self.assertEqual(kept, one(SAMR_ANSWER))

    def test_between(self) -> None:
        """A stream knows whether a PDU is under way, held or passing."""
        stream = Stream(LIMIT)
        self.assertTrue(stream.between)
        for piece, between in (
            (PLAIN_BIND[:3], False),
            (PLAIN_BIND[3:], True),
            (SAMR_CALL[:30], False),
            (SAMR_CALL[30:], True),
        ):
            stream.feed(piece)
            self.assertEqual(stream.between, between)

    def test_strange_first_byte(self) -> None:
        """What is no DCE/RPC is known by its first byte, and not waited for."""
        with self.assertRaisesRegex(Malformed, "^not DCE/RPC: a PDU begins with 71, not with 5$"):
            Stream(LIMIT).feed(b"G")
        stream = Stream(LIMIT)
        stream.feed(PLAIN_BIND + SAMR_CALL[:30])
        with self.assertRaises(Malformed):
            stream.feed(SAMR_CALL[30:] + b"\0")

    def test_limit(self) -> None:
        """A PDU of more than limits.pdu bytes is refused as soon as its header is there."""
        Stream(152).feed(SAMR_ANSWER)
        stream = Stream(151)
        self.assertEqual(stream.feed(SAMR_ANSWER[:15]), [])
        with self.assertRaisesRegex(Malformed, r"more than limits\.pdu \(151\)"):
            stream.feed(SAMR_ANSWER[15:16])

    def test_nothing_is_kept_of_a_call_that_passes(self) -> None:
        """A long call passes as it comes, whatever its length."""
        stream = Stream(LIMIT)
        data = carrier(RESPONSE, 1, bytes(60_000))
        for at in range(0, len(data), 1000):
            self.assertEqual(len(raw(stream.feed(data[at : at + 1000]))), min(1000, len(data) - at))
        self.assertTrue(stream.between)

    def test_fragments(self) -> None:
        """The two fragments of a real look-up, byte by byte."""
        items = fed(tuple(ALL_ANSWER[n : n + 1] for n in range(len(ALL_ANSWER))), Stream(LIMIT))
        self.assertEqual(raw(items), ALL_ANSWER)
        self.assertEqual([each.header.flags for each in items if isinstance(each, Pdu)], [1, 2])
        self.assertEqual([each.header.length for each in pdus(ALL_ANSWER)], [4280, 596])

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.binary(max_size=60), max_size=8), st.booleans(), st.data())
    def test_random_cuts(self, bodies: list[bytes], little: bool, data: st.DataObject) -> None:
        """Random PDUs, randomly cut, come out as they went in."""
        made = [
            carrier(RESPONSE, n, body, little=little, trailer=SIGNED if n % 2 else b"")
            if n % 3
            else packed(BIND, n, body, little=little)
            for n, body in enumerate(bodies)
        ]
        whole = b"".join(made)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
        pieces = tuple(whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True))
        self.assertEqual(raw(fed(pieces, Stream(LIMIT))), whole)
        kept = fed(pieces, Stream(LIMIT, lambda header: True))
        self.assertEqual([item.raw for item in kept if isinstance(item, Pdu)], made)
