"""What a backend sends."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.testing import every_split
from protocols.http.answer import Answer
from protocols.http.faults import BadMessage
from protocols.http.head import parse_request
from protocols.http.limits import DEFAULT_LIMITS
from tests.http.support import GET, OK


def awaited(request: bytes = GET, upgrade: bool = False) -> Answer:
    """The answer to a request."""
    return Answer(parse_request(request), DEFAULT_LIMITS, upgrade)


class AnswerTests(SynchronousTestCase):
    """Heads and bodies."""

    def test_every_split(self) -> None:
        """However the bytes come: the same heads, the same body, the same surplus."""
        data = b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"surplus"
        for pieces in every_split(data):
            answer = awaited()
            heads, body, rest = [], b"", b""
            for piece in pieces:
                if answer.done:
                    rest += piece
                    continue
                more, onward = answer.feed(piece)
                heads += more
                body += onward
                rest += answer.rest
            self.assertEqual([head.status for head in heads], [100, 200])
            self.assertEqual((body, rest, answer.done), (b"hello", b"surplus", True))

    def test_persists(self) -> None:
        """Whether the connection may be used again."""
        for data, expected in (
            (OK, True),
            (OK[:-1], True),
            (OK + b"x", False),
            (b"", False),
            (OK.replace(b"1.1", b"1.0"), False),
            (OK.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"), True),
            (OK.replace(b"\r\n\r\n", b"\r\nConnection: Close\r\n\r\n"), False),
            (b"HTTP/1.1 200 OK\r\n\r\n", False),
        ):
            answer = awaited()
            answer.feed(data)
            self.assertEqual(answer.persists, expected, data)

    def test_ended(self) -> None:
        """An orderly end completes a body without a length, and nothing else."""
        for data, expected in (
            (b"", False),
            (OK[:-1], False),
            (OK, True),
            (b"HTTP/1.1 200 OK\r\n\r\nhel", True),
            (b"HTTP/1.1 200 OK\r\n", False),
        ):
            answer = awaited()
            answer.feed(data)
            self.assertEqual(answer.ended(), expected, data)

    def test_switch(self) -> None:
        """101 ends HTTP where an upgrade was offered, and is refused where not."""
        switch = b"HTTP/1.1 101 Switching Protocols\r\n\r\nmore"
        answer = awaited(upgrade=True)
        self.assertEqual([head.status for head in answer.feed(switch)[0]], [101])
        self.assertEqual((answer.done, answer.rest), (True, b"more"))
        self.assertRaises(BadMessage, awaited().feed, switch)
