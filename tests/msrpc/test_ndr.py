"""protocols.msrpc.ndr: integers, alignment, and the end of a stub."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc.ndr import BadStub, Reader, Syntax, Writer

SYNTAXES = [Syntax(little, wide) for little in (True, False) for wide in (False, True)]


class NdrTests(SynchronousTestCase):
    def test_sizes(self) -> None:
        """Pointers and counts are 4 bytes in NDR and 8 in NDR64, aligned to themselves."""
        self.assertEqual((Syntax().size, Syntax(wide=True).size), (4, 8))
        for syntax in SYNTAXES:
            writer = Writer(syntax)
            writer.octets(b"x")
            writer.count(1)
            self.assertEqual(len(writer.stub), 2 * syntax.size)

    def test_bytes(self) -> None:
        """The very bytes, in both orders."""
        for syntax, written in (
            (Syntax(), "aa000000 01000000 02000000"),
            (Syntax(little=False), "aa000000 00000001 00000002"),
            (Syntax(wide=True), "aa000000 01000000 0200000000000000"),
            (Syntax(little=False, wide=True), "aa000000 00000001 0000000000000002"),
        ):
            writer = Writer(syntax)
            writer.octets(b"\xaa")
            writer.long(1)
            writer.count(2)
            self.assertEqual(bytes(writer.stub), bytes.fromhex(written))
            reader = Reader(bytes(writer.stub), syntax)
            self.assertEqual((reader.take(1), reader.long(), reader.count()), (b"\xaa", 1, 2))

    def test_short(self) -> None:
        """Integers of 2 bytes are aligned to 2."""
        reader = Reader(bytes.fromhex("ff 00 0102 0304"), Syntax(little=False))
        self.assertEqual((reader.take(1), reader.short(), reader.short()), (b"\xff", 0x0102, 0x0304))

    def test_start(self) -> None:
        """A reader may begin anywhere; alignment is that of the stub."""
        reader = Reader(bytes(4) + b"\1\0\0\0", Syntax(), 2)
        self.assertEqual((reader.long(), reader.at), (1, 8))

    def test_ends(self) -> None:
        """Whatever is read beyond the end is a BadStub that says where."""
        for read, text in (
            (lambda r: r.long(), "^cut short at byte 4$"),
            (lambda r: r.count(), "^cut short at byte 4$"),
            (lambda r: (r.short(), r.short()), "^cut short at byte 6$"),
            (lambda r: r.take(4), "^4 bytes at byte 4 are too many$"),
            (lambda r: r.take(2**63), "are too many$"),
            (lambda r: r.take(-1), "^-1 bytes at byte 4 are too many$"),
            (lambda r: (r.align(16), r.take(0)), "^0 bytes at byte 16 are too many$"),
        ):
            reader = Reader(bytes(7), Syntax(), 4)
            with self.assertRaisesRegex(BadStub, text):
                read(reader)

    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(SYNTAXES),
        st.lists(
            st.tuples(st.sampled_from(["long", "count", "octets"]), st.integers(0, 2**32 - 1)), max_size=20
        ),
    )
    def test_round_trip(self, syntax: Syntax, values: list[tuple[str, int]]) -> None:
        """What is written is read again."""
        writer = Writer(syntax)
        for kind, value in values:
            if kind == "octets":
                writer.octets(bytes(value % 7))
            else:
                getattr(writer, kind)(value)
        reader = Reader(bytes(writer.stub), syntax)
        for kind, value in values:
            if kind == "octets":
                self.assertEqual(reader.take(value % 7), bytes(value % 7))
            else:
                self.assertEqual(getattr(reader, kind)(), value)
        self.assertEqual(reader.at, len(writer.stub))
