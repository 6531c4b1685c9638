"""What goes wrong: refusals, silence, servers that go, and who hears what of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Action, Hangup, Retry, SetDeadline
from exproxy.events import Connected, Eof, Lost, Unavailable
from exproxy.model import BACKEND, CLIENT
from exproxy.settings import Limits, Timeouts
from protocols.http.conversation import AWAITED
from tests.http.support import GET, OK, ONE, TWO, Talk, kinds, only, post, recorded, to_backend, to_client

CHUNKED = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")


def status(actions: list[Action]) -> int:
    """The status of the page in these actions."""
    return int(to_client(actions)[9:12])


class RefusalTests(SynchronousTestCase):
    """Clients that break the protocol."""

    def refused(self, talk: Talk, actions: list[Action], expected: int) -> None:
        self.assertEqual(status(actions), expected)
        self.assertEqual(kinds(actions), ["ToClient", "Record", "Hangup"])
        self.assertEqual(recorded(actions)["status"], expected)
        self.assertEqual(talk.says(GET), [])

    def test_statuses(self) -> None:
        """Each violation has its status, is recorded, and ends the connection; no backend hears of it."""
        for request, expected in (
            (b"\x16\x03\x01\x02\x00", 400),
            (GET.replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
            (GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
            (GET.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: zip, chunked\r\n\r\n"), 501),
            (b"GET /" + b"a" * 17_000, 414),
            (GET[:-2] + b"X: " + b"a" * 65_536, 431),
            (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
            (CHUNKED + b"zz\r\n", 400),
        ):
            talk = Talk()
            self.refused(talk, talk.says(request), expected)
            self.assertEqual(talk.server, b"")

    def test_own_limit(self) -> None:
        """The limit of a head is the service's."""
        talk = Talk(limits=Limits(head=100))
        self.refused(talk, talk.says(GET[:-2] + b"X: " + b"a" * 100), 431)

    def test_bad_chunk_later(self) -> None:
        """A body that breaks its framing half-way is not passed on any further."""
        talk = Talk()
        talk.says(CHUNKED + b"3\r\nabc\r\n")
        talk.meets()
        before = talk.server
        self.refused(talk, talk.says(b"3\r\nabcd\r\n0\r\n\r\n"), 400)
        self.assertEqual(talk.server, before)

    def test_bad_chunk_inside_the_answer(self) -> None:
        """Once the answer has begun no page can be sent any more: the connection just ends."""
        talk = Talk()
        talk.says(CHUNKED + b"3\r\nabc\r\n")
        talk.meets()
        talk.answers(OK[:-1])
        actions = talk.says(b"xx\r\n")
        self.assertEqual(kinds(actions), ["Record", "Hangup"])

    def test_nothing_of_the_reason(self) -> None:
        """The page says nothing of what was wrong."""
        actions = Talk().says(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        self.assertNotIn(b"Host", to_client(actions))
        hangup = only(Hangup, actions)
        assert isinstance(hangup, Hangup)
        self.assertEqual(hangup.reason, "400: host twice")

    def test_no_backend(self) -> None:
        """Where no server can be had the client is asked to come again, without a reason."""
        talk = Talk()
        talk.says(GET)
        actions = talk.on(Unavailable("exch1 down"))
        self.assertEqual(status(actions), 503)
        self.assertIn(b"\r\nRetry-After: 10\r\n", to_client(actions))
        self.assertNotIn(b"exch1", to_client(actions))
        self.assertEqual(recorded(actions)["path"], "/owa/")

    def test_page_for_head(self) -> None:
        """A refused HEAD gets no body."""
        talk = Talk()
        talk.says(GET.replace(b"GET", b"HEAD"))
        self.assertTrue(to_client(talk.on(Unavailable("down"))).endswith(b"\r\n\r\n"))


class SilenceTests(SynchronousTestCase):
    """Deadlines."""

    def test_slow_head(self) -> None:
        """A head must be whole a while after its first byte; 408 is the answer."""
        talk = Talk(timeouts=Timeouts(request_head=7.0))
        self.assertEqual(talk.says(GET[:1]), [SetDeadline(AWAITED, 7.0)])
        for at in range(1, 20):
            self.assertEqual(talk.says(GET[at : at + 1]), [])
        self.assertEqual(status(talk.expire(AWAITED)), 408)

    def test_nothing_said(self) -> None:
        """A client that never says anything is let go without a word."""
        talk = Talk()
        self.assertEqual(talk.expire(AWAITED), [Hangup("keep-alive timeout")])

    def test_slow_body(self) -> None:
        """A body that stops coming is 408, before the answer has begun."""
        talk = Talk()
        talk.says(post(b"a", length=9))
        talk.meets()
        self.assertEqual(talk.deadlines[AWAITED], 660.0)
        self.assertEqual(status(talk.expire(AWAITED)), 408)

    def test_slow_answer(self) -> None:
        """A backend that does not answer in time is 504."""
        talk = Talk(timeouts=Timeouts(answer=9.0))
        talk.says(post(b"a", length=2))
        talk.meets()
        talk.says(b"b")
        self.assertEqual(talk.deadlines[AWAITED], 9.0)
        self.assertEqual(status(talk.expire(AWAITED)), 504)

    def test_stalled_answer(self) -> None:
        """An answer that stops half-way ends the connection, and no page is put into it."""
        talk = Talk()
        talk.says(GET)
        talk.meets()
        talk.answers(OK[:-1])
        self.assertEqual(kinds(talk.expire(AWAITED)), ["Record", "Hangup"])

    def test_channels_are_patient(self) -> None:
        """The two requests of an RPC channel may be silent as long as a tunnel."""
        talk = Talk(timeouts=Timeouts(tunnel=5000.0))
        talk.says(post(b"x" * 60, length=76, method=b"RPC_OUT_DATA"))
        self.assertEqual(talk.deadlines[AWAITED], 5000.0)


class BackendTests(SynchronousTestCase):
    """Servers that fail."""

    def test_invalid_answer(self) -> None:
        """What is no answer becomes 502, and nothing of it gets through."""
        for answer in (
            b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ):
            actions = Talk().exchanges(GET, answer)
            self.assertEqual(status(actions), 502)
            self.assertEqual(recorded(actions)["status"], 502)

    def test_lost_on_a_fresh_link(self) -> None:
        """A new connection that ends without an answer: an idempotent request is sent once more, then 502."""
        for end in (Lost(BACKEND, "closed", ONE), Lost(BACKEND, "reset", ONE), Eof(BACKEND, ONE)):
            talk = Talk()
            talk.says(GET)
            talk.meets()
            [again] = talk.on(end)
            self.assertIsInstance(again, Retry)
            self.assertFalse(again.blame)
            talk.meets()
            self.assertEqual(status(talk.on(end)), 502)

    def test_repeated_on_a_kept_link(self) -> None:
        """A kept-alive connection that ends as the request goes out: the same bytes go out once more."""
        for end in (Lost(BACKEND, "closed", ONE), Lost(BACKEND, "reset", ONE), Eof(BACKEND, ONE)):
            talk = Talk()
            talk.exchanges()
            talk.says(GET)
            first = to_backend(talk.meets(ONE, reused=True))
            (retry,) = talk.on(end)
            assert isinstance(retry, Retry)
            self.assertFalse(retry.blame)
            self.assertEqual(to_backend(talk.meets(TWO)), first)
            self.assertIn("Idle", kinds(talk.answers(OK, TWO)))

    def test_repeated_once(self) -> None:
        """Not a second time, however the second link came about."""
        talk = Talk()
        talk.exchanges()
        talk.exchanges(link=TWO)
        talk.says(GET)
        talk.meets(ONE, reused=True)
        talk.on(Lost(BACKEND, "closed", ONE))
        talk.meets(TWO, reused=True)
        self.assertEqual(kinds(talk.on(Lost(BACKEND, "closed", TWO))), ["Record", "Hangup"])

    def test_repeat_leads_nowhere(self) -> None:
        """Where the second choice finds nobody the answer is 503."""
        talk = Talk()
        talk.exchanges()
        talk.says(GET)
        talk.meets(ONE, reused=True)
        talk.on(Lost(BACKEND, "closed", ONE))
        self.assertEqual(status(talk.on(Unavailable("down"))), 503)

    def test_small_body_repeated(self) -> None:
        """A kept body goes out again, and what arrives later follows it."""
        talk = Talk()
        talk.exchanges()
        talk.says(post(b"ab", length=6, method=b"PUT"))
        talk.meets(ONE, reused=True)
        talk.says(b"cd")
        talk.on(Lost(BACKEND, "closed", ONE))
        self.assertTrue(to_backend(talk.meets(TWO)).endswith(b"\r\n\r\nabcd"))
        self.assertEqual(to_backend(talk.says(b"ef")), b"ef")

    def test_not_repeated(self) -> None:
        """POST, and bodies too large to keep, are not sent twice: the client sees its connection end."""
        for request in (
            post(b"ab" * 30),
            post(b"x" * 101, method=b"PUT"),
            post(b"x", method=b"PUT", length=102) + b"x" * 101,
        ):
            talk = Talk(limits=Limits(retry_buffer=100))
            talk.exchanges()
            talk.says(request[:-50])
            talk.meets(ONE, reused=True)
            talk.says(request[-50:])
            self.assertEqual(kinds(talk.on(Lost(BACKEND, "closed", ONE))), ["Record", "Hangup"])
            self.assertEqual(talk.client, OK)

    def test_answer_has_begun_to_come(self) -> None:
        """Once any byte of an answer is there the request was heard: 502, no repetition."""
        for part in (b"HTTP/1.1 2", b"HTTP/1.1 100 Continue\r\n\r\n"):
            talk = Talk()
            talk.exchanges()
            talk.says(GET)
            talk.meets(ONE, reused=True)
            talk.answers(part)
            self.assertEqual(talk.on(Lost(BACKEND, "closed", ONE))[0].__class__.__name__, "ToClient")
            self.assertIn(b" 502 ", talk.client)

    def test_lost_inside_the_answer(self) -> None:
        """A body that breaks off ends the client's connection, so that it can tell."""
        for end in (Lost(BACKEND, "closed", ONE), Lost(BACKEND, "reset", ONE), Eof(BACKEND, ONE)):
            for answer in (OK[:-1], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"):
                talk = Talk()
                talk.exchanges(GET, answer)
                actions = talk.on(end)
                self.assertEqual(kinds(actions), ["Record", "Hangup"])
                self.assertEqual(recorded(actions)["status"], 200)

    def test_answer_before_the_body(self) -> None:
        """A backend that answers early and closes: the client gets the answer, then the end."""
        talk = Talk()
        talk.says(post(b"a", length=1000))
        talk.meets()
        actions = talk.answers(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.assertIn(b"\r\nConnection: close\r\n", to_client(actions))
        self.assertEqual(kinds(actions), ["ToClient", "Record", "Hangup"])

    def test_early_answer_then_lost(self) -> None:
        """After an early answer the link may end at any time: so does the client's connection."""
        talk = Talk()
        talk.says(post(b"a", length=1000))
        talk.meets()
        self.assertEqual(kinds(talk.answers(OK)), ["ToClient", "SetDeadline"])
        self.assertEqual(kinds(talk.on(Lost(BACKEND, "closed", ONE))), ["Record", "Hangup"])

    def test_other_links_do_not_matter(self) -> None:
        """A link that ends while another one carries the request changes nothing."""
        talk = Talk()
        talk.exchanges()
        talk.says(GET)
        talk.on(Connected(TWO))
        self.assertEqual(talk.on(Lost(BACKEND, "closed", ONE)), [])
        self.assertEqual(to_client(talk.answers(OK, TWO)), OK)

    def test_nothing_after_the_end(self) -> None:
        """After a hang-up nothing is asked for any more."""
        talk = Talk()
        talk.on(Eof(CLIENT))
        for event in (Lost(BACKEND, "x", ONE), Eof(BACKEND, ONE), Connected(ONE), Unavailable("x")):
            self.assertEqual(talk.on(event), [])
