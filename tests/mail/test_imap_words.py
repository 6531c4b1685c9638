"""protocols.mail.imap_words and imap_stream: commands, literals, lists, and where commands end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.testing import every_split
from protocols.mail.imap_stream import OPEN, Stream
from protocols.mail.imap_words import (
    Command,
    Edits,
    Literal,
    head,
    listed,
    literal,
    quoted,
    status,
    without_list,
)


def arguments(*pieces: bytes) -> list[bytes] | None:
    found = head(pieces[0])
    assert found is not None
    return Command(*found, pieces).arguments()


class WordsTests(SynchronousTestCase):
    def test_head(self) -> None:
        """Tag and word; what cannot be a tag is none."""
        self.assertEqual(head(b"a1 login x y"), (b"a1", b"LOGIN"))
        self.assertEqual(head(b"A.1 NOOP"), (b"A.1", b"NOOP"))
        for line in (b"", b"a1", b"+ OK", b"* OK", b"a1  LOGIN", b"a( x", b"\x80 NOOP", b" NOOP x"):
            self.assertIsNone(head(line), line)

    def test_literals(self) -> None:
        """A literal at the end of a line, asked for or not."""
        self.assertEqual(literal(b"a LOGIN {5}"), Literal(5, True))
        self.assertEqual(literal(b"a LOGIN {5+}"), Literal(5, False))
        self.assertIsNone(literal(b"a LOGIN {5} x"))
        self.assertIsNone(literal(b"a LOGIN {x}"))

    def test_arguments(self) -> None:
        """Atoms, quoted strings and literals, in any mixture."""
        for pieces, found in (
            ((b"a LOGIN anna secret",), [b"anna", b"secret"]),
            ((b'a LOGIN "an\\"na" "s e\\\\c"',), [b'an"na', b"s e\\c"]),
            ((b"a LOGIN {4}", b"anna", b" {6+}", b"s\r\ncr{", b""), [b"anna", b"s\r\ncr{"]),
            ((b'a LOGIN "" ""',), [b"", b""]),
            ((b"a LOGIN anna p{x}",), [b"anna", b"p{x}"]),
            ((b'a LOGIN "anna',), None),
            ((b'a LOGIN "anna"x y',), None),
            ((b"a NOOP",), []),
        ):
            self.assertEqual(arguments(*pieces), found, pieces)

    def test_ambiguous(self) -> None:
        """A brace that is a literal for one parser and a part of a word for another is no credential."""
        for pieces in ((b"a LOGIN anna p{2}", b"xx", b""), (b'a LOGIN anna "x {2}', b"xx", b"")):
            found = head(pieces[0])
            assert found is not None
            self.assertIsNone(Command(*found, pieces).credentials(), pieces)

    def test_quoted(self) -> None:
        """Printable ASCII is quoted, anything else has to be a literal."""
        self.assertEqual(quoted(b'a"b\\c'), b'"a\\"b\\\\c"')
        for value in (b"a\r\nb", b"\x00", "\N{LATIN SMALL LETTER U WITH DIAERESIS}".encode(), b"x" * 2000):
            self.assertIsNone(quoted(value))

    def test_status(self) -> None:
        """The line that ends a command has its tag."""
        self.assertEqual(status(b"a1 ok done", b"a1"), b"OK")
        for line in (b"a11 OK", b"* OK", b"a1"):
            self.assertIsNone(status(line, b"a1"))

    def test_lists(self) -> None:
        """Lists are changed wherever they stand; LOGINDISABLED and STARTTLS are there once."""
        words = b"IMAP4rev1 STARTTLS AUTH=PLAIN AUTH=SCRAM-SHA-1-PLUS SASL-IR IDLE"
        before = b"IMAP4rev1 STARTTLS SASL-IR IDLE LOGINDISABLED"
        after = b"IMAP4rev1 AUTH=PLAIN SASL-IR IDLE"
        for form in (b"* CAPABILITY %b", b"* OK [CAPABILITY %b] ready", b"a OK [CAPABILITY %b] in"):
            self.assertEqual(Edits(True, False).line(form % words), form % before)
            self.assertEqual(Edits(False, True).line(form % words), form % after)
            self.assertEqual(listed(form % words), frozenset(words.upper().split()))
        self.assertEqual(Edits(True, False).line(b"* OK [ALERT] x"), b"* OK [ALERT] x")
        self.assertEqual(
            Edits(None, True, (b"X1",), {b"IDLE"}).list(words.split()),
            b"IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR X1",
        )
        self.assertEqual(without_list(b"* OK [CAPABILITY A B] ready"), b"* OK ready")
        self.assertEqual(without_list(b"* OK ready"), b"* OK ready")


class StreamTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """Commands and answers are counted the same however they are cut, literals included."""
        client = b"a NOOP\r\nb APPEND x {12+}\r\nc NOOP\r\nb OK\r\nd FETCH 1 BODY[]\r\n"
        server = b"* 1 FETCH (BODY[] {9}\r\nd OK x\r\n\r)\r\n* OK {3}\r\na OK\r\nb OK\r\n"
        for pieces in every_split(client):
            stream = Stream()
            for piece in pieces:
                stream.from_client(piece)
            self.assertEqual(stream.open, {b"a": b"NOOP", b"b": b"APPEND", b"d": b"FETCH"}, pieces)
            self.assertFalse(stream.quiet)
        for pieces in every_split(server):
            stream = Stream()
            stream.from_client(client)
            for piece in pieces:
                stream.from_server(piece)
            self.assertEqual(stream.open, {b"d": b"FETCH"}, pieces)
            stream.from_server(b"d OK done\r\n")
            self.assertTrue(stream.quiet)

    def test_half_said(self) -> None:
        """Half a line of either side is no quiet moment, nor is a literal under way."""
        stream = Stream()
        self.assertTrue(stream.quiet)
        stream.from_client(b"a NO")
        self.assertFalse(stream.quiet)
        stream.from_client(b"OP\r\n")
        stream.from_server(b"a OK\r\n* 1 EX")
        self.assertFalse(stream.quiet)
        stream.from_server(b"ISTS\r\n")
        self.assertTrue(stream.quiet)

    def test_idle(self) -> None:
        """IDLE is quiet once the server waits, and no more once the client is done with it."""
        stream = Stream()
        stream.from_client(b"a IDLE\r\n")
        self.assertFalse(stream.quiet)
        stream.from_server(b"+ idling\r\n")
        self.assertTrue(stream.quiet)
        stream.from_client(b"DONE\r\n")
        self.assertFalse(stream.quiet)
        stream.from_server(b"a OK\r\n")
        self.assertTrue(stream.quiet)

    def test_unwanted_literal(self) -> None:
        """A literal that the server will not have does not come; another command's end changes nothing."""
        stream = Stream()
        stream.from_client(b"a NOOP\r\nb APPEND x {1000}\r\n")
        stream.from_server(b"a OK\r\n")
        self.assertFalse(stream.quiet)
        stream.from_server(b"b NO [OVERQUOTA] full\r\n")
        self.assertTrue(stream.quiet)
        stream.from_client(b"c NOOP\r\n")
        self.assertEqual(stream.open, {b"c": b"NOOP"})

    def test_compressed(self) -> None:
        """Behind COMPRESS nothing can be read."""
        stream = Stream()
        stream.from_client(b"a COMPRESS DEFLATE\r\n")
        stream.from_server(b"a NO\r\n")
        self.assertFalse(stream.unreadable)
        stream.from_client(b"b COMPRESS DEFLATE\r\n")
        stream.from_server(b"b OK\r\n")
        self.assertTrue(stream.unreadable)

    def test_bounded(self) -> None:
        """What nobody answers is not remembered for ever, nor is an endless line."""
        stream = Stream()
        for number in range(OPEN + 1):
            stream.from_client(b"x%d y\r\n" % number)
        self.assertTrue(stream.unreadable)
        stream = Stream()
        for _ in range(100):
            stream.from_client(b"a" * 10_000)
        self.assertLess(len(stream._client._head) + len(stream._client._tail), 1000)
