"""Bodies: where they end, that they go through unchanged, and what is refused in them."""

from __future__ import annotations

from itertools import pairwise

import h11
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import BACKEND
from protocols.http.faults import BadMessage, Truncated
from protocols.http.framing import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    Body,
    ChunkedBody,
    Framing,
    Kind,
    LengthBody,
    NoBody,
    UntilCloseBody,
)
from protocols.http.limits import MessageLimits

LIMITS = MessageLimits(extension=20, trailer=60, trailer_fields=3)

# (data that goes on, body)
GOOD = [
    (b"", b"0\r\n\r\n"),
    (b"", b"000\r\n\r\n"),
    (b"hello world", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
    (b"0123456789", b"a\r\n0123456789\r\n0\r\n\r\n"),
    (b"0123456789", b"000000000000000A\r\n0123456789\r\n0\r\n\r\n"),
    (b"\r\n0\r\n\r\n", b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"),
    (b"a", b"1;x\r\na\r\n0;y=z\r\n\r\n"),
    (b"a", b'1;x="; \\" q";y\r\na\r\n0\r\n\r\n'),
    (b"a", b"1\r\na\r\n0\r\nVary: *\r\nServer-Timing: a;dur=1\r\n\r\n"),
    (b"a", b"1\r\na\r\n0\r\nX:\r\n\r\n"),
]

# (what it shows, body, status)
BAD = [
    ("no size", b"\r\n", 400),
    ("not hexadecimal", b"g\r\n", 400),
    ("sign", b"+1\r\na\r\n", 400),
    ("minus", b"-1\r\na\r\n", 400),
    ("prefix 0x", b"0x1\r\na\r\n", 400),
    ("underscore", b"1_0\r\n", 400),
    ("17 digits", b"00000000000000001\r\na\r\n", 400),
    ("size beyond 63 bits", b"8000000000000000\r\na\r\n", 400),
    ("blank after the size", b"1 \r\na\r\n", 400),
    ("blank before the size", b" 1\r\na\r\n", 400),
    ("bare LF after the size", b"1\na\r\n", 400),
    ("CR CR LF after the size", b"1\r\r\na\r\n", 400),
    ("junk after the size", b"1 junk\r\na\r\n", 400),
    ("empty extension", b"1;\r\na\r\n", 400),
    ("blank before an extension", b"1 ;x\r\na\r\n", 400),
    ("blank after the semicolon", b"1; x\r\na\r\n", 400),
    ("open quote", b'1;x="y\r\na\r\n', 400),
    ("control character in an extension", b"1;x=\x01\r\na\r\n", 400),
    ("control character in a quoted extension", b'1;x="\x7f"\r\na\r\n', 400),
    ("bare LF in an extension", b"1;x\ny\r\na\r\n", 400),
    ("long extension", b"1;" + b"x" * 20 + b"\r\na\r\n", 400),
    ("long extension without an end", b"1;" + b"x" * 100_000, 400),
    ("long size without an end", b"1" * 100, 400),
    ("many extensions", (b"1;" + b"x" * 19 + b"\r\na\r\n") * 17, 400),
    ("data longer than its size", b"1\r\nab\r\n", 400),
    ("bare LF after the data", b"1\r\na\n0\r\n\r\n", 400),
    ("bare CR after the data", b"1\r\na\r0\r\n\r\n", 400),
    ("no last chunk", b"3\r\nfoo\r\n\r\n", 400),
    ("folded trailer", b"0\r\nX: a\r\n b\r\n\r\n", 400),
    ("trailer without a colon", b"0\r\nX\r\n\r\n", 400),
    ("blank before a trailer's colon", b"0\r\nX : a\r\n\r\n", 400),
    ("control character in a trailer", b"0\r\nX: \0\r\n\r\n", 400),
    ("bare LF after a trailer", b"0\r\nX: a\n\r\n", 400),
    ("bare LF as the end", b"0\r\n\n", 400),
    ("long trailer", b"0\r\nX: " + b"a" * 60 + b"\r\n\r\n", 431),
    ("long trailer without an end", b"0\r\nX: " + b"a" * 100_000, 431),
    ("trailers too long together", b"0\r\n" + (b"X: " + b"a" * 20 + b"\r\n") * 3 + b"\r\n", 431),
    ("too many trailers", b"0\r\n" + b"X:\r\n" * 4 + b"\r\n", 431),
    ("a hundred thousand trailers", b"0\r\n" + b"X:\r\n" * 100_000, 431),
    *(
        (f"trailer {name.decode()}", b"0\r\n" + name + b": 1\r\n\r\n", 400)
        for name in (
            b"Content-Length", b"Transfer-Encoding", b"content_length", b"Host", b"Authorization", b"Cookie",
            b"Set-Cookie", b"Connection", b"Trailer", b"X-Forwarded-For", b"X_Real_IP", b"Forwarded",
        )
    ),
]  # fmt: skip


def whole(body: Body, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """What went on and what was left of ``pieces``."""
    onward = rest = b""
    for piece in pieces:
        forward, left, done = body.feed(piece)
        onward += forward
        rest += left
        assert done == body.done
    return onward, rest


class ChunkedTests(SynchronousTestCase):
    """Chunks, extensions and trailers."""

    def test_good_at_every_split(self) -> None:
        """A body goes on byte for byte, what follows it is left, wherever it is cut in two."""
        for _, body in GOOD:
            data = body + b"GET /"
            for cut in range(len(data) + 1):
                self.assertEqual(whole(ChunkedBody(LIMITS), [data[:cut], data[cut:]]), (body, b"GET /"))

    def test_good_byte_by_byte(self) -> None:
        """One byte at a time gives the same, with and without dechunking."""
        for content, body in GOOD:
            bytewise = [bytes((byte,)) for byte in body + b"GET /"]
            self.assertEqual(whole(ChunkedBody(LIMITS), bytewise), (body, b"GET /"))
            self.assertEqual(whole(ChunkedBody(LIMITS, dechunk=True), bytewise), (content, b"GET /"))
            self.assertEqual(whole(ChunkedBody(LIMITS, dechunk=True), [body, b"GET /"]), (content, b"GET /"))

    def test_bad_at_every_split(self) -> None:
        """A malformed body is refused however it is cut, with its status; of a backend with 502."""
        for shows, body, status in BAD:
            for cut in range(min(len(body), 80)):
                error = self.assertRaises(BadMessage, whole, ChunkedBody(LIMITS), [body[:cut], body[cut:]])
                self.assertEqual((shows, error.status), (shows, status))
            error = self.assertRaises(BadMessage, ChunkedBody(LIMITS, BACKEND).feed, body)
            self.assertEqual((error.status, error.side), (502, BACKEND))

    def test_nothing_malformed_goes_on(self) -> None:
        """What has gone on when a body is refused was valid up to there."""
        for shows, body, _ in BAD:
            measure, passed = ChunkedBody(LIMITS), b""
            with self.assertRaises(BadMessage):
                for byte in body[:2000]:
                    passed += measure.feed(bytes((byte,)))[0]
            again = ChunkedBody(LIMITS)
            self.assertEqual((shows, again.feed(passed)), (shows, (passed, b"", again.done)))

    def test_only_unfinished_lines_are_held(self) -> None:
        """Data goes on at once; of a line that has not ended nothing does."""
        body = ChunkedBody()
        self.assertEqual(body.feed(b"ff"), (b"", b"", False))
        self.assertEqual(body.feed(b"\r\nabc"), (b"ff\r\nabc", b"", False))
        piece = b"d" * 252
        self.assertIs(body.feed(piece)[0], piece)
        self.assertEqual(body.feed(b"\r"), (b"", b"", False))
        self.assertEqual(body.feed(b"\n0"), (b"\r\n", b"", False))

    def test_truncation(self) -> None:
        """The end of the connection anywhere before the last byte is told, and after it borne."""
        body = b"1;x\r\na\r\n0\r\nX: y\r\n\r\n"
        for cut in range(len(body)):
            measure = ChunkedBody(side=BACKEND)
            measure.feed(body[:cut])
            self.assertEqual(self.assertRaises(Truncated, measure.eof).status, 502)
        measure = ChunkedBody()
        measure.feed(body)
        measure.eof()
        self.assertEqual(measure.feed(b"more"), (b"", b"more", True))

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.lists(st.integers(0, 200), max_size=6)
    )
    def test_h11_sees_the_same_data(self, chunks: list[bytes], cuts: list[int]) -> None:
        """Dechunked in any pieces, a body's data is what h11 reads."""
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        at = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
        pieces = [body[start:end] for start, end in pairwise(at)]
        peer = h11.Connection(h11.SERVER)
        peer.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        read = b""
        while not isinstance(event := peer.next_event(), h11.EndOfMessage):
            read += bytes(event.data) if isinstance(event, h11.Data) else b""
        self.assertEqual(whole(ChunkedBody(dechunk=True), pieces), (read, b""))
        self.assertEqual(whole(ChunkedBody(), pieces), (body, b""))


class OtherBodiesTests(SynchronousTestCase):
    """Length, until close, none."""

    def test_length(self) -> None:
        """A length body takes exactly its bytes, without copying whole pieces, and tells truncation."""
        body = LengthBody(5)
        piece = b"abc"
        self.assertIs(body.feed(piece)[0], piece)
        self.assertEqual(self.assertRaises(Truncated, body.eof).status, 400)
        self.assertEqual(body.feed(b"deGET"), (b"de", b"GET", True))
        body.eof()
        self.assertTrue(body.done)
        self.assertEqual(body.feed(b"x"), (b"", b"x", True))
        self.assertEqual(LengthBody(3).feed(b"abc"), (b"abc", b"", True))

    def test_length_zero(self) -> None:
        """A length of zero is complete from the beginning."""
        self.assertTrue(LengthBody(0).done)

    def test_length_passed_elsewhere(self) -> None:
        """Bytes that a relay moved are counted too."""
        body = LengthBody(5)
        body.passed(4)
        self.assertEqual((body.left, body.done), (1, False))
        self.assertEqual(body.feed(b"ab"), (b"a", b"b", True))

    def test_until_close(self) -> None:
        """Everything goes on, and the end of the connection completes it."""
        body = UntilCloseBody()
        self.assertEqual(body.feed(b"abc"), (b"abc", b"", False))
        self.assertFalse(body.done)
        body.eof()
        self.assertTrue(body.done)

    def test_none(self) -> None:
        """Without a body everything belongs to the next message."""
        body = NoBody()
        self.assertEqual(body.feed(b"abc"), (b"", b"abc", True))
        body.eof()
        self.assertTrue(body.done)

    def test_framing_gives_its_measure(self) -> None:
        """Each framing makes a fresh measure of its kind."""
        for framing, kind in (
            (NO_BODY, NoBody),
            (CHUNKED, ChunkedBody),
            (UNTIL_CLOSE, UntilCloseBody),
            (Framing(Kind.LENGTH, 4), LengthBody),
        ):
            self.assertIsInstance(framing.body(), kind)
        dechunked = CHUNKED.body(side=BACKEND, dechunk=True)
        self.assertEqual(dechunked.feed(b"1\r\na\r\n"), (b"a", b"", False))
        self.assertEqual(self.assertRaises(Truncated, dechunked.eof).status, 502)
