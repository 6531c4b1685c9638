"""Clients behind proxies."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Pick
from exproxy.model import Facts, Source
from exproxy.settings import Networks
from protocols.http.peer import Scheme, last_untrusted
from tests.http.support import GET, PLAIN, Talk, only, recorded, to_backend

INSIDE = Networks.parse(["10.0.0.0/8", "2001:db8:1::/48"])
CLAIMS = (
    b"X-Forwarded-For: 198.51.100.7, 192.0.2.99\r\nX-Forwarded-Proto: https\r\nX-Request-ID: theirs\r\n"
    b"Forwarded: for=198.51.100.7\r\nX-Real-IP: 198.51.100.7\r\n"
)
CLAIMING = GET[:-2] + CLAIMS + b"\r\n"


def picked(talk: Talk, request: bytes) -> Facts:
    """The facts of the pick that a request leads to."""
    pick = only(Pick, talk.says(request))
    assert isinstance(pick, Pick)
    return pick.facts


class LastUntrustedTests(SynchronousTestCase):
    """Who X-Forwarded-For says is the client."""

    def test_table(self) -> None:
        """From the right, the first address that is no proxy of ours."""
        for values, expected in (
            ((b"192.0.2.1",), "192.0.2.1"),
            ((b"198.51.100.7, 192.0.2.1, 10.0.0.1",), "192.0.2.1"),
            ((b"198.51.100.7", b"192.0.2.1,10.0.0.1"), "192.0.2.1"),
            ((b"10.0.0.2, 10.0.0.1",), "10.0.0.2"),
            ((b"[2001:db8::9]:443, 2001:db8:1::1",), "2001:db8::9"),
            ((b"192.0.2.1:5000",), "192.0.2.1"),
            ((b"192.0.2.1, unknown",), None),
            ((b"unknown, 10.0.0.1",), "10.0.0.1"),
            ((b"",), None),
            ((), None),
        ):
            self.assertEqual(last_untrusted(values, INSIDE), expected, values)


class TrustTests(SynchronousTestCase):
    """Whose word is taken."""

    def test_stranger(self) -> None:
        """What any client claims is neither believed nor passed on."""
        talk = Talk(PLAIN)
        known = picked(talk, CLAIMING)
        self.assertEqual((known[Source].host, known[Scheme].name), ("192.0.2.1", "http"))
        sent = to_backend(talk.meets())
        self.assertNotIn(b"198.51.100.7", sent)
        self.assertNotIn(b"theirs", sent)
        self.assertIn(b"X-Forwarded-For: 192.0.2.1\r\n", sent)

    def test_trusted_proxy(self) -> None:
        """A trusted proxy's client is the source, its scheme and request id count, and it is added to."""
        talk = Talk(PLAIN, trusted=("192.0.2.1",))
        known = picked(talk, CLAIMING)
        self.assertEqual((known[Source].host, known[Scheme].name), ("192.0.2.99", "https"))
        sent = to_backend(talk.meets())
        self.assertIn(b"X-Forwarded-For: 198.51.100.7, 192.0.2.99, 192.0.2.1\r\n", sent)
        self.assertIn(b"X-Request-ID: theirs\r\n", sent)
        self.assertEqual(recorded(talk.answers(b"HTTP/1.1 204 x\r\n\r\n"))["request_id"], "theirs")

    def test_silent_proxy(self) -> None:
        """A trusted proxy that says nothing is the client itself."""
        talk = Talk(PLAIN, trusted=("192.0.2.0/24",))
        known = picked(talk, GET)
        self.assertEqual((known[Source].host, known[Scheme].name), ("192.0.2.1", "http"))
