"""Sessions with servers: used once, for a while, with the peer that gave them, verified in the same way."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

from OpenSSL import SSL

from exproxy.tls import binding
from exproxy.tls.client import ClientTLS
from exproxy.tls.description import describe
from exproxy.tls.sessions import LIFETIME, PEERS, PER_PEER, Sessions
from tests.tls.channels import AGAIN, ChannelTestCase, asking, far_server, received, shake


class SessionsTests(ChannelTestCase):
    """The store, with a clock of the test's."""

    def setUp(self) -> None:
        super().setUp()
        self.now = 1000.0
        self.sessions = Sessions(lambda: self.now)

    def test_used_once(self) -> None:
        """The newest is taken first, and each only once."""
        first, second = session(), session()
        self.sessions.keep("a", first)
        self.sessions.keep("a", second)
        taken = [self.sessions.take("a") for _ in range(3)]
        self.assertEqual([kept and kept.session for kept in taken], [second, first, None])

    def test_peers(self) -> None:
        """One peer's sessions are nobody else's."""
        self.sessions.keep("a", session())
        self.assertIsNone(self.sessions.take("b"))

    def test_a_lifetime(self) -> None:
        """A certificate is asked for again after the lifetime, however often the session was renewed."""
        self.sessions.keep("a", session())
        for _ in range(2):
            self.now += LIFETIME / 2 - 1
            kept = self.sessions.take("a")
            assert kept is not None
            self.assertEqual(kept.verified, 1000.0)
            self.sessions.keep("a", session(), kept.verified)
        self.now += 2
        self.assertIsNone(self.sessions.take("a"))
        self.assertEqual(len(self.sessions), 0)

    def test_a_bound(self) -> None:
        """So many with a peer, so many peers: the oldest go."""
        kept = [session() for _ in range(PER_PEER + 2)]
        for each in kept:
            self.sessions.keep("a", each)
        self.assertEqual(len(self.sessions), PER_PEER)
        for number in range(PEERS):
            self.sessions.keep(number, session())
        self.assertEqual(len(self.sessions), PEERS)
        self.assertIsNone(self.sessions.take("a"))
        self.assertIsNotNone(self.sessions.take(0))

    def test_a_refusal(self) -> None:
        """A peer that does not know one knows none."""
        for peer in ("a", "a", "b"):
            self.sessions.keep(peer, session())
        self.sessions.refuse("a")
        self.sessions.refuse("nobody")
        self.assertIsNone(self.sessions.take("a"))
        self.assertIsNotNone(self.sessions.take("b"))


class ResumingTests(ChannelTestCase):
    """ClientTLS against servers of the standard library."""

    def visit(self, maker: ClientTLS, context: ssl.SSLContext) -> bool:
        """Connect, hear a word, and go; whether the server knew us."""
        channel, far = self.pair(maker, context, tcp=True)
        far.send(b"word")
        self.assertEqual(received(channel), b"word")
        known = far.session_reused
        self.assertEqual(describe(channel.connection).resumed, known)
        self.assertIsNotNone(describe(channel.connection).certificate)
        # As badly as a connection can end.
        channel.close()
        far.close()
        return bool(known)

    def setUp(self) -> None:
        super().setUp()
        self.patch(ClientTLS, "peer_of", lambda maker, sock: "server")

    def test_again_and_again(self) -> None:
        """Every connection after the first resumes, with TLS 1.2 and 1.3."""
        for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            maker, context = asking(), far_server(most=most)
            self.assertEqual([self.visit(maker, context) for _ in range(4)], [False, True, True, True])
            self.assertEqual(len(maker.sessions), 1)

    def test_at_the_same_time(self) -> None:
        """Two connections at once do not share a session."""
        maker, context = asking(), far_server()
        self.visit(maker, context)
        pairs = [self.pair(maker, context, tcp=True) for _ in range(2)]
        self.assertEqual([far.session_reused for _, far in pairs], [True, False])
        for channel, far in pairs:
            far.send(b"word")
            received(channel)
        self.assertEqual(len(maker.sessions), 2)

    def test_a_server_that_was_restarted(self) -> None:
        """A session that is refused costs a full handshake, nothing else, and the others are dropped."""
        maker = asking()
        context = far_server()
        pairs = [self.pair(maker, context, tcp=True) for _ in range(3)]
        for channel, far in pairs:
            far.send(b"word")
            received(channel)
        self.assertEqual(len(maker.sessions), 3)
        restarted = far_server()
        self.assertEqual([self.visit(maker, restarted) for _ in range(3)], [False, True, True])

    def test_other_ways_to_verify(self) -> None:
        """A session of one way to verify is never used by another, whatever they have in common."""
        context = far_server()
        unverified = asking(verify="none")
        self.visit(unverified, context)
        for maker in (asking(), asking(verify="none", legacy=True), ClientTLS(options_of(), "other.test")):
            self.assertEqual(len(maker.sessions), 0)
        self.assertFalse(self.visit(asking(), context))

    def test_another_name_is_refused_still(self) -> None:
        """A server whose certificate is wrong is refused each time: a failed handshake leaves no session."""
        maker, context = asking("ex2.litware.test"), far_server()
        for _ in range(3):
            ours, theirs = self.sockets(tcp=True)
            channel = maker.channel(ours)
            self.assertRaises(OSError, shake, channel, self.far(theirs, context))
            channel.close()
        self.assertEqual(len(maker.sessions), 0)

    def test_full_handshakes_only(self) -> None:
        """Where the certificate of today is wanted, nothing is resumed and nothing kept."""
        maker, context = ClientTLS(options_of(), "ex1.litware.test", resume=False), far_server()
        self.assertEqual([self.visit(maker, context) for _ in range(2)], [False, False])
        self.assertEqual(len(maker.sessions), 0)

    def test_a_server_without_tickets(self) -> None:
        """One that gives no tickets is met anew each time."""
        maker, context = asking(), far_server()
        context.num_tickets = 0
        self.assertEqual([self.visit(maker, context) for _ in range(3)], [False] * 3)

    def test_nothing_said(self) -> None:
        """A connection on which nothing came leaves no session."""
        maker = asking()
        channel, far = self.pair(maker, tcp=True)
        with contextlib.suppress(*AGAIN):
            far.unwrap()
        received(channel)
        self.assertEqual(len(maker.sessions), 0)


class PublicResumingTests(ResumingTests):
    """Where pyOpenSSL's binding does not tell whether a session was used."""

    direct = False

    def setUp(self) -> None:
        super().setUp()
        self.patch(binding, "resumed", lambda connection: None)

    def visit(self, maker: ClientTLS, context: ssl.SSLContext) -> bool:
        """See ResumingTests; our own side does not know."""
        channel, far = self.pair(maker, context, tcp=True)
        far.send(b"word")
        self.assertEqual(received(channel), b"word")
        channel.close()
        return bool(far.session_reused)

    def test_a_server_that_was_restarted(self) -> None:
        """A session that is refused costs a full handshake, nothing else."""
        maker = asking()
        self.visit(maker, far_server())
        restarted = far_server()
        self.assertEqual([self.visit(maker, restarted) for _ in range(3)], [False, True, True])


def session() -> SSL.Session:
    """A session of no connection."""
    return SSL.Session.__new__(SSL.Session)


def options_of() -> Any:
    """The options of asking()."""
    from exproxy.model import TLSOptions
    from tests.certificates import ca_file

    return TLSOptions(str(ca_file()))
