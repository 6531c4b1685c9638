"""Log-ins that belong to a connection."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Pin
from exproxy.events import Lost
from exproxy.model import BACKEND
from protocols.http.authentication import binds, logs_in
from protocols.http.head import parse_request, parse_response
from tests.http.support import GET, OK, ONE, Talk, kinds, post, to_client

CHALLENGE = (
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nWWW-Authenticate: NTLM TlRMTVNT\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def asking(*fields: bytes) -> bytes:
    """A GET with these fields."""
    return GET[:-2] + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


class SchemesTests(SynchronousTestCase):
    """What counts as such a log-in."""

    def test_requests(self) -> None:
        """NTLM, Negotiate and Kerberos do, in any case; Basic and Bearer do not."""
        for value, expected in (
            (b"Authorization: NTLM TlRMTVNT", True),
            (b"authorization: negotiate YII", True),
            (b"Authorization: Nego2 YII", True),
            (b"Proxy-Authorization: Kerberos YII", True),
            (b"Authorization: Basic bnRsbTp4", False),
            (b"Authorization: Bearer ntlm", False),
            (b"X-Authorization: NTLM x", False),
        ):
            self.assertEqual(logs_in(parse_request(asking(value))), expected, value)

    def test_answers(self) -> None:
        """A challenge of 401 or 407 does, alone or in a list, and so does Persistent-Auth."""
        for first, field, expected in (
            (b"401 x", b"WWW-Authenticate: NTLM", True),
            (b"401 x", b'WWW-Authenticate: Basic realm="a", negotiate', True),
            (b"407 x", b"Proxy-Authenticate: Nego2", True),
            (b"200 OK", b"Persistent-Auth: true", True),
            (b"200 OK", b"Persistent-Auth: false", False),
            (b"200 OK", b"WWW-Authenticate: NTLM", False),
            (b"401 x", b'WWW-Authenticate: Basic realm="ntlm"', False),
            (b"401 x", b"WWW-Authenticate: Bearer", False),
        ):
            head = parse_response(b"HTTP/1.1 " + first + b"\r\n" + field + b"\r\n\r\n")
            self.assertEqual(binds(head), expected, field)


class PinTests(SynchronousTestCase):
    """The connection then stays with its link."""

    def test_by_the_request(self) -> None:
        """The first leg pins the link it goes over, before it goes."""
        talk = Talk()
        talk.says(asking(b"Authorization: NTLM TlRMTVNT"))
        actions = talk.meets()
        self.assertEqual(kinds(actions), ["Pin", "ToBackend"])
        self.assertEqual(actions[0], Pin(ONE))

    def test_by_the_challenge(self) -> None:
        """A challenge pins, so that the next leg finds the same link."""
        talk = Talk()
        talk.exchanges(GET, CHALLENGE)
        self.assertIn([Pin(ONE)], [actions[:1] for _, actions in talk.steps])

    def test_once(self) -> None:
        """The later legs have nothing more to pin."""
        talk = Talk()
        talk.exchanges(asking(b"Authorization: NTLM a"), CHALLENGE)
        talk.exchanges(asking(b"Authorization: NTLM b"), OK)
        pins = [action for _, actions in talk.steps for action in actions if isinstance(action, Pin)]
        self.assertEqual(pins, [Pin(ONE)])

    def test_challenge_before_the_body(self) -> None:
        """A challenge to a request that waits for 100 keeps the connection: the body still comes."""
        talk = Talk()
        talk.says(post(b"", b"Expect: 100-continue", b"Authorization: NTLM a", length=3))
        talk.meets()
        actions = talk.answers(CHALLENGE)
        self.assertNotIn(b"Connection", to_client(actions))
        self.assertNotIn("Hangup", kinds(actions))
        self.assertIn("Idle", kinds(talk.says(b"abc")))

    def test_not_where_it_ends(self) -> None:
        """A backend that challenges and closes has nothing to be pinned to."""
        talk = Talk()
        actions = talk.exchanges(GET, CHALLENGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertNotIn("Pin", kinds(actions))
        self.assertIn("Close", kinds(actions))

    def test_ends_together(self) -> None:
        """When a pinned backend says close, the client's connection closes with it, and is told so."""
        talk = Talk()
        close = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        actions = talk.exchanges(asking(b"Authorization: NTLM a"), close)
        self.assertIn(b"\r\nConnection: close\r\n", to_client(actions))
        self.assertEqual(kinds(actions)[-1], "Hangup")

    def test_no_repetition(self) -> None:
        """A request on a pinned link that ends is not sent over another: nobody is logged in there."""
        talk = Talk()
        talk.exchanges(asking(b"Authorization: NTLM a"))
        talk.says(GET)
        talk.meets(ONE, reused=True)
        self.assertEqual(kinds(talk.on(Lost(BACKEND, "closed", ONE))), ["Record", "Hangup"])
        self.assertEqual(talk.client, OK)

    def test_backend_keep_alive(self) -> None:
        """The deadline of a pinned idle link ends both."""
        talk = Talk()
        talk.exchanges(asking(b"Authorization: NTLM a"))
        self.assertEqual(kinds(talk.expire("link-1")), ["Hangup"])
