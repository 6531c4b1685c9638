"""Heads and answers that come again: what is known of them is never taken for what is known of others."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Pick, Pin
from exproxy.events import Draining
from exproxy.model import User
from exproxy.testing import keys
from protocols.http.credentials import basic_user
from protocols.http.faults import BadMessage
from protocols.http.head import find_head, parse_again, parse_request
from protocols.http.limits import MessageLimits
from tests.http.clients import CHROME, basic
from tests.http.support import ONE, Talk, only, recorded, to_backend, to_client
from tests.http.test_head import heads, request
from tests.http.test_super_http import cookie, strategy

LINES = (b"Host: mail.example.org", b"User-Agent: " + CHROME)
TOKEN = keys().token("super-http", "exch1")
# Lines that make a difference to somebody, and lines that make none.
EXTRAS = st.lists(
    st.sampled_from(
        [
            b"Accept: */*",
            b"Cookie: a=1",
            cookie(TOKEN),
            cookie(b"forged"),
            basic("ann"),
            basic("bob"),
            b"Connection: close",
            b"Connection: keep-alive, X-Hop",
            b"X-Hop: 1",
            b"X-Forwarded-For: 192.0.2.99",
            b"Expect: 100-continue",
            b"Content-Length: 0",
        ]
    ),
    max_size=2,
    unique=True,
)
ASKED = st.tuples(
    st.sampled_from([b"GET", b"HEAD", b"OPTIONS"]), st.sampled_from([b"/", b"/ews/x", b"/%41?q"])
)


def asking(*fields: bytes, method: bytes = b"GET", path: bytes = b"/owa/") -> bytes:
    """A browser's request."""
    return request(b"%b %b HTTP/1.1" % (method, path), *LINES, *fields, host=None)


def answer(*fields: bytes, body: bytes = b"hello", status: bytes = b"200 OK") -> bytes:
    """A whole answer."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields, b"", b""]
    return b"\r\n".join(lines) + body


def without_id(head: bytes) -> bytes:
    """A forwarded head without the name that each request has of its own."""
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"X-Request-ID"))


class HeadTests(SynchronousTestCase):
    """The quick look at a request."""

    def test_same_lines(self) -> None:
        """A head that differs in method and target only has the very lines of the one before."""
        before = parse_request(asking())
        head = parse_again(asking(method=b"DELETE", path=b"/ews/?a=b"), before)
        assert head is not None
        self.assertIs(head.fields, before.fields)
        self.assertEqual(head, parse_request(asking(method=b"DELETE", path=b"/ews/?a=b")))
        self.assertEqual(head.raw, asking(method=b"DELETE", path=b"/ews/?a=b"))

    def test_every_byte_counts(self) -> None:
        """One byte more, less or other, anywhere behind the first line, is looked at anew."""
        data = asking(b"Cookie: a=1")
        before = parse_request(data)
        for at in range(data.index(b"\n") + 1, len(data)):
            for other in (data[:at] + data[at + 1 :], data[:at] + b"~" + data[at:]):
                self.assertIsNone(parse_again(other, before), other)
            if data[at : at + 1] != b"~":
                self.assertIsNone(parse_again(data[:at] + b"~" + data[at + 1 :], before))

    def test_first_lines(self) -> None:
        """What is no plain request of HTTP/1.1 for a path, or not alone, is left to a closer look."""
        before = parse_request(asking())
        rest = asking().partition(b"\r\n")[2]
        for line in (
            b"GET / HTTP/1.0",
            b"GET http://mail.example.org/ HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"CONNECT /x HTTP/1.1",
            b"GET  / HTTP/1.1",
            b"GET /\x00 HTTP/1.1",
            b"GET /#x HTTP/1.1",
            b"G\xe9T / HTTP/1.1",
            b"GET / HTTP/1.1\r\nX: 1",
            b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b"",
        ):
            self.assertIsNone(parse_again(line + b"\r\n" + rest, before), line)
        for data in (asking() + b"x", b"\r\n" + asking(), asking()[:-1], b""):
            self.assertIsNone(parse_again(data, before), data)

    def test_with_a_body(self) -> None:
        """After a request with a body nothing is taken for granted; HTTP/1.0 neither."""
        for data in (asking(b"Content-Length: 3"), asking(b"Transfer-Encoding: chunked")):
            self.assertIsNone(parse_again(data, parse_request(data)))
        old = asking().replace(b"HTTP/1.1", b"HTTP/1.0")
        self.assertIsNone(parse_again(old, parse_request(old)))

    def test_limits(self) -> None:
        """A longer target is held to the same limits as ever."""
        before = parse_request(asking())
        data = asking(path=b"/" + b"a" * 100)
        self.assertIsNone(parse_again(data, before, MessageLimits(target=100)))
        self.assertIsNone(parse_again(data, before, MessageLimits(head=len(data) - 1)))
        self.assertIsNotNone(parse_again(data, before, MessageLimits(target=101, head=len(data))))

    def test_other_version(self) -> None:
        """The same lines mean something else in HTTP/1.0: they are read anew."""
        data = asking(b"Transfer-Encoding: chunked")
        before = parse_request(data)
        self.assertIs(parse_request(data, before=before).fields, before.fields)
        error = self.assertRaises(
            BadMessage, parse_request, data.replace(b"HTTP/1.1", b"HTTP/1.0"), before=before
        )
        self.assertEqual(error.status, 400)

    @settings(max_examples=150, deadline=None)
    @given(heads(), heads())
    def test_differential(self, first: bytes, second: bytes) -> None:
        """Whatever came before, a head is read as if it were the first; where it is refused, too."""
        try:
            before = parse_request(first)
        except BadMessage:
            return
        lines = first.partition(b"\n")[2]
        for data in (second, second.partition(b"\n")[0] + b"\n" + lines):
            again = parse_again(data, before)
            try:
                alone = parse_request(data)
            except BadMessage as error:
                self.assertIsNone(again)
                found = self.assertRaises(BadMessage, parse_request, data, before=before)
                self.assertEqual((found.status, found.reason), (error.status, error.reason))
                continue
            self.assertEqual(parse_request(data, before=before), alone)
            if again is not None:
                self.assertEqual((again, again.raw, find_head(data)), (alone, data, len(data)))


class ConversationTests(SynchronousTestCase):
    """Many requests of one client, each treated like its first."""

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.tuples(ASKED, EXTRAS), min_size=2, max_size=6))
    def test_like_the_first(self, asked: list[tuple[tuple[bytes, bytes], list[bytes]]]) -> None:
        """Servers and clients get of each request and answer what they would get of a first one."""
        marker = strategy()
        kept = Talk(marker=marker)
        for (method, path), fields in asked:
            data = asking(*fields, method=method, path=path)
            said = b"" if method == b"HEAD" else b"hello"
            reply = answer()[: -5 or None] + said
            alone = Talk(marker=marker)
            results = []
            for talk in (kept, alone):
                [*_, pick] = talk.says(data)
                assert isinstance(pick, Pick)
                opened = to_backend(talk.meets())
                closed = talk.answers(reply)
                head = pick.facts.get(type(parse_request(data)))
                results.append(
                    (
                        without_id(opened),
                        to_client(closed),
                        marker.candidates(pick.facts),
                        marker.remember(pick.facts),
                        pick.facts.get(User),
                        basic_user(head),
                        {**recorded(closed), "request_id": None},
                    )
                )
            self.assertEqual(results[0], results[1])
            if b"Connection: close" in fields:
                return

    def test_another_cookie(self) -> None:
        """A client that comes back with its cookie, or loses it, is seen at once."""
        marker = strategy()
        talk = Talk(marker=marker)
        self.assertIn(b"Set-Cookie", to_client(talk.exchanges(asking(), answer())))
        shown = asking(cookie(TOKEN))
        for _ in range(3):
            self.assertNotIn(b"Set-Cookie", to_client(talk.exchanges(shown, answer())))
        self.assertIn(b"Set-Cookie", to_client(talk.exchanges(asking(), answer())))
        self.assertIn(b"Set-Cookie", to_client(talk.exchanges(asking(cookie(b"forged")), answer())))

    def test_another_server(self) -> None:
        """The same lines with another server behind get that server's cookie."""
        talk = Talk(marker=strategy())
        shown = asking(cookie(keys().token("super-http", "exch2")))
        for _ in range(2):
            self.assertIn(b"Set-Cookie", to_client(talk.exchanges(shown, answer())))

    def test_another_user(self) -> None:
        """Other credentials are another user, and a log-in of the connection pins it."""
        talk = Talk()
        for name in ("ann", "bob", "ann"):
            pick = only(Pick, talk.says(asking(basic(name))))
            assert isinstance(pick, Pick)
            self.assertEqual(pick.facts[User].name, name)
            talk.meets()
            talk.answers(answer())
        talk.says(asking(b"Authorization: NTLM AAAA"))
        self.assertEqual(talk.meets(ONE, reused=True)[0], Pin(ONE))


class AnswerTests(SynchronousTestCase):
    """Answers like the one before."""

    def setUp(self) -> None:
        self.talk = Talk()
        self.first = to_client(self.talk.exchanges(asking(), answer()))

    def test_again(self) -> None:
        """The same head and another body of that length go on as before, and are recorded."""
        actions = self.talk.exchanges(asking(), answer(body=b"world"))
        self.assertEqual(to_client(actions), self.first.replace(b"hello", b"world"))
        alone = Talk()
        other = recorded(alone.exchanges(asking(), answer(body=b"world")))
        self.assertEqual({**recorded(actions), "request_id": b""}, {**other, "request_id": b""})
        self.assertEqual([type(each) for each in actions][1:], [type(e) for e in alone.steps[-1][1]][1:])

    def test_others(self) -> None:
        """An answer that differs in anything is read: length, status, one field, the place of a cut."""
        for reply in (
            answer(body=b"longer than that"),
            answer(status=b"404 Not"),
            answer(b"Set-Cookie: a=1"),
            answer(body=b""),
            b"HTTP/1.1 204 No\r\n\r\n",
            answer(b"X: 1", body=b"hell"),
        ):
            for _ in range(2):
                alone = Talk()
                self.assertEqual(
                    to_client(self.talk.exchanges(asking(), reply)),
                    to_client(alone.exchanges(asking(), reply)),
                )

    def test_in_pieces(self) -> None:
        """It may come in any two pieces."""
        reply = answer()
        for cut in range(1, len(reply)):
            self.talk.says(asking())
            self.talk.meets(ONE, reused=True)
            got = to_client(self.talk.answers(reply[:cut])) + to_client(self.talk.answers(reply[cut:]))
            self.assertEqual(got, self.first, cut)

    def test_more_than_the_answer(self) -> None:
        """Bytes behind it are no answer to anybody: that link is used no more."""
        actions = self.talk.exchanges(asking(), answer() + b"HTTP/1.1 200 OK\r\n")
        self.assertEqual(to_client(actions), self.first)
        self.assertIn("Close", [type(each).__name__ for each in actions])

    def test_head(self) -> None:
        """The answer to HEAD has no body, whatever its length says; the next one has."""
        head_only = answer().removesuffix(b"hello")
        for _ in range(2):
            self.assertEqual(
                to_client(self.talk.exchanges(asking(method=b"HEAD"), head_only)),
                self.first.removesuffix(b"hello"),
            )
            self.assertEqual(to_client(self.talk.exchanges(asking(), answer())), self.first)

    def test_last(self) -> None:
        """A client that says close, or is to go since we are draining, is told so."""
        self.talk.says(asking())
        self.talk.meets(ONE, reused=True)
        self.talk.on(Draining(5.0))
        self.assertIn(b"Connection: close", to_client(self.talk.answers(answer())))
        talk = Talk()
        talk.exchanges(asking(), answer())
        talk.says(asking(b"Connection: close"))
        talk.meets(ONE, reused=True)
        self.assertIn(b"Connection: close", to_client(talk.answers(answer())))

    def test_old_client(self) -> None:
        """HTTP/1.0 is answered in its own way."""
        self.talk.says(asking(b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"))
        self.talk.meets(ONE, reused=True)
        self.assertIn(b"Connection: keep-alive", to_client(self.talk.answers(answer())))

    def test_sent_ahead(self) -> None:
        """What a client sent ahead is asked as soon as its answer is there."""
        self.talk.says(asking() + asking(path=b"/second"))
        self.talk.meets(ONE, reused=True)
        pick = only(Pick, self.talk.answers(answer()))
        assert isinstance(pick, Pick)
        self.assertIn(b"/second", to_backend(self.talk.meets(ONE, reused=True)))
        self.assertEqual(to_client(self.talk.answers(answer())), self.first)
