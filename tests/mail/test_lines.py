"""protocols.mail.lines: lines cut out of a stream, wherever the network cuts it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.testing import every_split
from protocols.mail.lines import BareNewline, Lines, TooLong


def lines(reader: Lines) -> list[bytes]:
    """All lines that are whole."""
    found = []
    while (line := reader.line()) is not None:
        found.append(line)
    return found


class LinesTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """Lines come out the same however the bytes are cut, and what follows them is kept."""
        for pieces in every_split(b"one\r\n\r\ntwo words\r\nrest"):
            reader, found = Lines(100, strict=True), []
            for piece in pieces:
                reader.feed(piece)
                found += lines(reader)
            self.assertEqual(found, [b"one", b"", b"two words"], pieces)
            self.assertEqual(reader.some(), b"rest")

    def test_lenient(self) -> None:
        """Where it is not strict, a LF alone ends a line and a CR is a byte like any other."""
        reader = Lines(100)
        reader.feed(b"one\ntwo\rthree\r\n")
        self.assertEqual(lines(reader), [b"one", b"two\rthree"])

    def test_bare(self) -> None:
        """Strictly, a CR or LF alone is refused, as soon as it is certain to be alone."""
        for data in (b"one\ntwo\r\n", b"one\rtwo", b"one\r\rtwo\r\n", b"\n", b"one\r\r\n"):
            for pieces in every_split(data):
                reader = Lines(100, strict=True)

                def fed(reader: Lines = reader, pieces: tuple[bytes, ...] = pieces) -> None:
                    for piece in pieces:
                        reader.feed(piece)
                        lines(reader)

                self.assertRaises(BareNewline, fed)

    def test_limit(self) -> None:
        """A line of the limit passes, one byte more does not, finished or not."""
        reader = Lines(10)
        reader.feed(b"12345678\r\n")
        self.assertEqual(reader.line(), b"12345678")
        reader.feed(b"123456789\r\n")
        self.assertRaises(TooLong, reader.line)
        reader = Lines(10)
        reader.feed(b"1234567890")
        self.assertRaises(TooLong, reader.line)
        self.assertIsNone(reader.line(limit=20))

    def test_bytes(self) -> None:
        """Counted bytes, whatever they are, and what was taken too much goes back."""
        reader = Lines(10)
        reader.feed(b"ab\r\ncd")
        self.assertIsNone(reader.exactly(7))
        self.assertEqual(reader.exactly(3), b"ab\r")
        reader.back(b"ab\r")
        self.assertEqual((reader.line(), reader.some(1), len(reader), reader.clear()), (b"ab", b"c", 1, 1))
