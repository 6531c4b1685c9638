"""The two channels of RPC over HTTP, and the pace of other bodies."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Hangup, Learn, Pick, SetDeadline, ToClient
from exproxy.events import Lost
from exproxy.model import BACKEND, Together
from exproxy.settings import Limits, Timeouts
from protocols.http.conversation import AWAITED
from protocols.http.exchange import PACE
from tests.http.support import OK, ONE, Talk, kinds, only, post, to_backend, to_client
from tests.http.test_login import CHALLENGED, showing
from tests.http.test_ntlm import type_1, type_3
from tests.http.test_rts import A1, B1, COOKIE

GIGABYTE = 1 << 30
EXPECT = b"Expect: 100-continue"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OUT_ANSWER = b"HTTP/1.1 200 Success\r\nContent-Type: application/rpc\r\nContent-Length: %d\r\n\r\n" % GIGABYTE


def inbound(*fields: bytes, body: bytes = b"", length: int = GIGABYTE) -> bytes:
    """The request of an IN channel."""
    return post(body, *fields, length=length, method=b"RPC_IN_DATA")


def outbound(*fields: bytes, body: bytes = b"") -> bytes:
    """The request of an OUT channel."""
    return post(body, *fields, length=len(A1), method=b"RPC_OUT_DATA")


def chosen(talk: Talk) -> Together | None:
    """By what the last Pick was to be decided; AssertionError where there was none."""
    picks = [action for _, said in talk.steps for action in said if isinstance(action, Pick)]
    return picks[-1].facts.get(Together)


class ChoiceTests(SynchronousTestCase):
    """What the server of a channel follows from."""

    def test_cookie(self) -> None:
        """Both halves are chosen by the same cookie, once it is there, and nothing is lost of it."""
        for request, opening in ((inbound(), B1), (outbound(), A1)):
            talk = Talk()
            self.assertEqual(talk.says(request), [SetDeadline(AWAITED, 5.0)])
            self.assertEqual(talk.says(opening[:20]), [])
            self.assertEqual(kinds(talk.says(opening[20:])), ["SetDeadline", "Pick"])
            self.assertEqual(chosen(talk), Together("rpc", COOKIE))
            self.assertTrue(to_backend(talk.meets()).endswith(b"\r\n\r\n" + opening))

    def test_all_at_once(self) -> None:
        """Where it comes with the head there is nothing to wait for."""
        talk = Talk()
        talk.says(outbound(body=A1))
        self.assertEqual(chosen(talk), Together("rpc", COOKIE))

    def test_expect(self) -> None:
        """A client that waits to be asked is asked once, here; the server is not told of it."""
        talk = Talk()
        actions = talk.says(inbound(EXPECT))
        self.assertEqual(actions, [ToClient(CONTINUE), SetDeadline(AWAITED, 5.0)])
        talk.says(B1)
        self.assertNotIn(b"xpect", to_backend(talk.meets()))
        talk.answers(CONTINUE)
        self.assertEqual(talk.client, CONTINUE)

    def test_expect_but_no_waiting(self) -> None:
        """A client that sends at once what it could have waited with gets its 100 all the same."""
        talk = Talk()
        self.assertEqual(to_client(talk.says(inbound(EXPECT, body=B1))), CONTINUE)
        self.assertEqual(chosen(talk), Together("rpc", COOKIE))

    def test_never_comes(self) -> None:
        """Without it in time the choice is made by the client's address, and verified later."""
        talk = Talk(timeouts=Timeouts(rts=2.0))
        talk.says(inbound())
        actions = talk.expire(AWAITED)
        self.assertEqual(kinds(actions), ["SetDeadline", "Pick"])
        self.assertEqual(chosen(talk), Together("rpc-source", b"192.0.2.1", first=False))
        talk.meets()
        self.assertIn(Learn(Together("rpc", COOKIE)), talk.says(B1))
        self.assertNotIn("Learn", kinds(talk.says(b"more")))

    def test_no_rts(self) -> None:
        """A body of something else is chosen for by the address too."""
        talk = Talk()
        talk.says(inbound(body=b"x" * 60))
        self.assertEqual(chosen(talk), Together("rpc-source", b"192.0.2.1", first=False))

    def test_without_body(self) -> None:
        """A first leg and an echo of four bytes are short requests, by the client's address, at once."""
        for request in (inbound(length=0), inbound(body=b"\xf8\xe8\x18\x08", length=4)):
            talk = Talk()
            talk.says(request)
            self.assertEqual(chosen(talk), Together("rpc-source", b"192.0.2.1", first=False))
            self.assertIn("Idle", kinds(talk.meets() + talk.answers(OK)))

    def test_pinned(self) -> None:
        """After a log-in there is nothing to choose: no waiting, Expect goes on, the cookie is verified."""
        for field in (b"X-A: b", EXPECT):
            talk = Talk()
            leg = showing(type_1()).partition(b"\r\n")[2].partition(b"Authorization")[2].rstrip()
            talk.exchanges(inbound(b"Authorization" + leg, length=0), CHALLENGED)
            last = showing(type_3()).partition(b"Authorization")[2].rstrip()
            actions = talk.says(inbound(b"Authorization" + last, field))
            self.assertEqual(kinds(actions), ["SetDeadline", "Pick"])
            self.assertEqual(b"Expect" in to_backend(talk.meets(ONE, reused=True)), field == EXPECT)
            self.assertIn(Learn(Together("rpc", COOKIE)), talk.says(B1))

    def test_ordinary_request(self) -> None:
        """Others know nothing of all this."""
        talk = Talk()
        talk.says(post(b"", length=100))
        self.assertIsNone(chosen(talk))


class StreamTests(SynchronousTestCase):
    """A channel at work."""

    def test_streams(self) -> None:
        """What comes on either side goes on in the same turn, before either message has ended."""
        talk = Talk()
        talk.says(outbound(body=A1))
        talk.meets()
        self.assertEqual(to_client(talk.answers(OUT_ANSWER)), OUT_ANSWER)
        self.assertEqual(to_client(talk.answers(b"\x05")), b"\x05")
        talk = Talk()
        talk.says(inbound(body=B1))
        talk.meets()
        for piece in (b"a", b"b" * 5000):
            self.assertEqual(to_backend(talk.says(piece)), piece)

    def test_answer_before_the_end(self) -> None:
        """An IN channel may be answered while its gigabyte is far from complete: both go on."""
        talk = Talk()
        talk.says(inbound(body=B1))
        talk.meets()
        actions = talk.answers(OK)
        self.assertEqual(to_client(actions), OK)
        self.assertNotIn("Hangup", kinds(actions))
        self.assertEqual(to_backend(talk.says(b"more")), b"more")

    def test_long_silence(self) -> None:
        """Neither half is idle within the tunnel's time, and no pace is asked of them."""
        talk = Talk(timeouts=Timeouts(tunnel=2000.0))
        talk.says(inbound(body=B1))
        talk.meets()
        self.assertEqual(talk.deadlines, {AWAITED: 2000.0})

    def test_broken(self) -> None:
        """The end of one side is the end of the other."""
        talk = Talk()
        talk.says(inbound(body=B1))
        talk.meets()
        self.assertIn("Hangup", kinds(talk.on(Lost(BACKEND, "closed", ONE))))


class PaceTests(SynchronousTestCase):
    """A body that trickles holds a server's place for others."""

    def talk(self) -> Talk:
        return Talk(timeouts=Timeouts(request_body=10.0), limits=Limits(body_rate=100))

    def test_too_slow(self) -> None:
        """A body that brings less than the rate is cut with 408."""
        talk = self.talk()
        talk.says(post(b"x", length=5000))
        talk.meets()
        self.assertEqual(talk.deadlines[PACE], 10.0)
        for _ in range(9):
            talk.says(b"x")
        actions = talk.expire(PACE)
        self.assertTrue(to_client(actions).startswith(b"HTTP/1.1 408 "))
        self.assertEqual(only(Hangup, actions), Hangup("408: slow request body"))

    def test_fast_enough(self) -> None:
        """What came early counts later; the end of the body is the end of the watch."""
        talk = self.talk()
        talk.says(post(b"x" * 2500, length=3000))
        talk.meets()
        self.assertEqual(talk.expire(PACE), [SetDeadline(PACE, 10.0)])
        self.assertEqual(talk.expire(PACE), [SetDeadline(PACE, 10.0)])
        talk.says(b"x" * 500)
        self.assertNotIn(PACE, talk.deadlines)

    def test_whole_body(self) -> None:
        """A body that is there at once needs no watch."""
        talk = self.talk()
        talk.says(post(b"x" * 100))
        talk.meets()
        self.assertNotIn(PACE, talk.deadlines)

    def test_after_the_answer(self) -> None:
        """Where the answer has begun there is no page to send: only the end."""
        talk = self.talk()
        talk.says(post(b"", length=5000))
        talk.meets()
        talk.answers(OK)
        self.assertEqual(kinds(talk.expire(PACE))[-1], "Hangup")

    def test_not_before_it_is_asked_for(self) -> None:
        """A client that waits for 100 is not slow; from the 100 on it may be."""
        for event in (CONTINUE, None):
            talk = self.talk()
            talk.says(post(b"", EXPECT, length=5000))
            talk.meets()
            self.assertNotIn(PACE, talk.deadlines)
            if event is None:
                talk.says(b"x")
            else:
                talk.answers(event)
            self.assertEqual(talk.deadlines[PACE], 10.0)
