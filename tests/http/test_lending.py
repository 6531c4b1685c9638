"""Long bodies whose bytes pass unseen: what is still counted, timed and told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Action, Hangup, Pick, Record, Relay, SetDeadline, StopRelay, ToBackend
from exproxy.events import Eof, Lost, Relayed
from exproxy.model import BACKEND, CLIENT
from exproxy.settings import Limits, Timeouts
from protocols.http.exchange import AWAITED, PACE
from protocols.http.lending import LENT, LOOKS
from tests.http.support import GET, OK, ONE, Talk, kinds, only, post, recorded, to_backend, to_client

LONG = LENT + 10
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def lent(actions: list[Action]) -> tuple[object, ...]:
    """Whose wire is lent, and for how many bytes; () where none is."""
    found = [(each.sides, each.limit) for each in actions if isinstance(each, Relay)]
    return found[0] if found else ()


class DownTests(SynchronousTestCase):
    """An answer's body."""

    def setUp(self) -> None:
        self.talk = Talk(timeouts=Timeouts(idle=100.0))
        self.talk.says(GET)
        self.talk.meets()

    def begin(self, length: int = LONG, body: bytes = b"begin") -> list[Action]:
        return self.talk.answers(HEAD % length + body)

    def test_long(self) -> None:
        """The rest of a long body is lent out, and its end completes the exchange and its record."""
        actions = self.begin()
        self.assertEqual(lent(actions), ((BACKEND,), LONG - 5))
        self.assertTrue(to_client(actions).endswith(b"begin"))
        actions = self.talk.on(Relayed(BACKEND, LONG - 5))
        fields = recorded(actions)
        self.assertEqual(fields["bytes_out"], len(to_client(self.talk.steps[-2][1])) + LONG - 5)
        self.assertIn("Idle", kinds(actions))
        self.assertIn(b"hello", to_client(self.talk.exchanges(GET, OK)))

    def test_short_or_unknown(self) -> None:
        """A short body, chunks, and one that only the end ends are seen."""
        for head, body in (
            (HEAD % (LENT + 4), b"begin"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"fffff\r\nabc"),
            (b"HTTP/1.1 200 OK\r\n\r\n", b"a" * LONG),
        ):
            talk = Talk()
            talk.says(GET)
            talk.meets()
            self.assertEqual(lent(talk.answers(head + body)), (), head)

    def test_ends_too_early(self) -> None:
        """A server that stops in the middle: what has moved is counted, and the client hears of the end."""
        for end in (Eof(BACKEND, ONE), Lost(BACKEND, "reset", ONE)):
            self.setUp()
            self.begin()
            self.talk.on(Relayed(BACKEND, 100))
            actions = self.talk.on(end)
            self.assertIsInstance(actions[-1], Hangup)

    def test_silence(self) -> None:
        """It is looked at from time to time; without a byte in all of them it is given up as ever."""
        self.begin()
        for _ in range(LOOKS - 1):
            self.assertEqual(self.talk.deadlines[AWAITED], 100.0 / LOOKS)
            self.assertEqual(self.talk.expire(AWAITED), [StopRelay(BACKEND)])
            self.assertEqual(lent(self.talk.on(Relayed(BACKEND, 0))), ((BACKEND,), LONG - 5))
        self.talk.expire(AWAITED)
        hangup = only(Hangup, self.talk.on(Relayed(BACKEND, 0)))
        self.assertEqual(hangup, Hangup("idle timeout"))

    def test_slow(self) -> None:
        """As long as something moves it goes on, however long that takes."""
        self.begin()
        left = LONG - 5
        for _ in range(3 * LOOKS):
            self.talk.expire(AWAITED)
            left -= 1
            actions = self.talk.on(Relayed(BACKEND, 1))
            if left >= LENT:
                self.assertEqual(lent(actions), ((BACKEND,), left))
            else:
                self.assertEqual(lent(actions), ())
                return

    def test_little_left(self) -> None:
        """What is left after a look, being short, is seen again to its end."""
        self.begin()
        self.talk.expire(AWAITED)
        actions = self.talk.on(Relayed(BACKEND, LONG - 10))
        self.assertEqual((lent(actions), self.talk.deadlines[AWAITED]), ((), 100.0))
        self.assertEqual(to_client(self.talk.answers(b"12345")), b"12345")
        self.assertIsInstance(self.talk.steps[-1][1][1], Record)

    def test_sent_ahead(self) -> None:
        """What the client sends meanwhile waits for its turn."""
        self.begin()
        self.assertEqual(kinds(self.talk.says(GET)), ["Hold"])
        self.assertIn("Pick", kinds(self.talk.on(Relayed(BACKEND, LONG - 5))))

    def test_client_goes(self) -> None:
        """A client that goes in the middle leaves a record."""
        self.begin()
        self.assertEqual(recorded(self.talk.on(Lost(CLIENT, "reset")))["status"], 200)


class UpTests(SynchronousTestCase):
    """A request's body."""

    def setUp(self) -> None:
        self.talk = Talk(timeouts=Timeouts(request_body=30.0, idle=100.0), limits=Limits(body_rate=10))

    def begin(self, data: bytes = b"") -> list[Action]:
        self.talk.says(data or post(b"begin", length=LONG))
        self.talk.meets()
        return self.talk.says(b"more")

    def test_long(self) -> None:
        """The rest of a long body is lent out once its begin has gone; its end is waited after as ever."""
        actions = self.begin()
        self.assertEqual(to_backend(actions), b"more")
        self.assertEqual(lent(actions), ((CLIENT,), LONG - 9))
        self.talk.on(Relayed(CLIENT, LONG - 9))
        self.assertEqual(self.talk.deadlines, {AWAITED: 1000.0})
        fields = recorded(self.talk.answers(OK))
        self.assertEqual(fields["bytes_in"], len(post(b"begin", length=LONG)) - 5 + LONG)

    def test_sent_ahead(self) -> None:
        """Bytes behind the body are the next request."""
        self.begin()
        self.talk.on(Relayed(CLIENT, LONG - 9))
        self.assertEqual(kinds(self.talk.says(GET)), ["Hold"])
        self.assertIsInstance(only(Pick, self.talk.answers(OK)), Pick)

    def test_may_be_sent_again(self) -> None:
        """A body that may have to be sent once more is seen while it is kept."""
        actions = self.begin(post(b"begin", length=LONG, method=b"PUT"))
        self.assertEqual(lent(actions), ())
        self.assertEqual(lent(self.talk.says(b"a" * 70_000)), ())
        self.talk = Talk()
        self.talk.says(post(b"begin", length=2 * LONG, method=b"PUT"))
        self.talk.meets()
        self.assertEqual(lent(self.talk.says(b"a" * 70_000)), ((CLIENT,), 2 * LONG - 70_005))

    def test_pace(self) -> None:
        """It must still arrive at the rate that is asked for."""
        self.begin()
        self.assertEqual(self.talk.expire(PACE), [StopRelay(CLIENT)])
        actions = self.talk.on(Relayed(CLIENT, 300))
        self.assertEqual(lent(actions), ())
        self.talk = Talk(timeouts=Timeouts(request_body=30.0), limits=Limits(body_rate=10))
        self.talk.says(post(b"begin", length=3 * LONG))
        self.talk.meets()
        self.talk.says(b"more")
        self.talk.expire(PACE)
        actions = self.talk.on(Relayed(CLIENT, 300))
        self.assertEqual(actions[0], SetDeadline(PACE, 30.0))
        self.assertEqual(lent(actions), ((CLIENT,), 3 * LONG - 309))
        self.talk.expire(PACE)
        self.assertIn(b"408", to_client(self.talk.on(Relayed(CLIENT, 1))))

    def test_silence(self) -> None:
        """Where no rate is asked for, silence ends it all the same."""
        self.talk = Talk(timeouts=Timeouts(request_body=30.0, idle=100.0), limits=Limits(body_rate=0))
        self.begin()
        for _ in range(LOOKS):
            self.assertEqual(self.talk.expire(PACE), [StopRelay(CLIENT)])
            actions = self.talk.on(Relayed(CLIENT, 0))
            self.assertEqual([type(each) for each in actions], [SetDeadline, Relay])
            self.assertEqual(self.talk.expire(AWAITED), [StopRelay(CLIENT)])
            actions = self.talk.on(Relayed(CLIENT, 0))
        self.assertIn(b"408", to_client(actions))

    def test_answered_before_the_end(self) -> None:
        """A server may answer while the body is on its way; the rest goes on to it."""
        self.begin()
        self.assertIn(b"hello", to_client(self.talk.answers(OK)))
        actions = self.talk.on(Relayed(CLIENT, LONG - 9))
        self.assertIn("Idle", kinds(actions))
        self.assertNotIn(ToBackend, [type(each) for each in actions])

    def test_ends_too_early(self) -> None:
        """A client that ends in the middle is hung up on."""
        self.begin()
        self.talk.on(Relayed(CLIENT, 50))
        self.assertEqual(only(Hangup, self.talk.on(Eof(CLIENT))), Hangup("client closed"))

    def test_channels(self) -> None:
        """The channels of RPC over HTTP are seen as long as they may tell where they belong."""
        self.talk.says(post(b"", length=1 << 30, method=b"RPC_IN_DATA"))
        self.talk.expire(AWAITED)
        self.talk.meets()
        self.assertEqual(lent(self.talk.says(b"a" * 200_000)), ())
