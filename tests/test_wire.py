"""The wire: order, back-pressure and ends, on a transport of ours and on real connections."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor, task
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from exproxy.farewell import Farewell
from exproxy.interfaces import IWire
from exproxy.model import Destination, Source
from exproxy.settings import TcpOptions
from exproxy.wire import Wire, plain, reason_text
from tests.loopback.pairs import Recorder, client_tls, pair, server_tls


class Transport(StringTransport):
    """A transport in memory, with half-close and a memory of what was asked of it."""

    def __init__(self, peer: Any = None) -> None:
        super().__init__(IPv4Address("TCP", "127.0.0.1", 443), peer or IPv4Address("TCP", "192.0.2.1", 1234))
        self.asked: list[str] = []

    def loseWriteConnection(self) -> None:
        self.asked.append("half")

    def loseConnection(self) -> None:
        super().loseConnection()
        self.asked.append("close")

    def abortConnection(self) -> None:
        self.asked.append("abort")

    def unregisterProducer(self) -> None:
        self.producer = None

    def getHandle(self) -> None:
        return None


class WireTests(SynchronousTestCase):
    """A wire on a transport in memory."""

    def setUp(self) -> None:
        self.made: list[Wire] = []
        self.wire = Wire(self.made.append)
        self.transport = Transport()
        self.user = Recorder()
        self.wire.makeConnection(self.transport)
        self.wire.attach(self.user)

    def end(self, error: Exception | None = None) -> None:
        self.wire.connectionLost(Failure(error or ConnectionDone()))

    def test_made(self) -> None:
        """It provides IWire, tells its maker once, and knows both addresses."""
        self.assertTrue(verifyObject(IWire, self.wire))
        self.assertEqual(self.made, [self.wire])
        self.assertEqual(self.wire.peer, Source("192.0.2.1", 1234))
        self.assertEqual(self.wire.local, Destination("127.0.0.1", 443))
        self.assertIsNone(self.wire.tls)
        self.assertIsNone(self.wire.detach())

    def test_addresses(self) -> None:
        """Mapped IPv4 is IPv4, scopes are dropped, an address without a host is empty."""
        self.assertEqual(plain(IPv6Address("TCP", "::ffff:192.0.2.1", 5)), ("192.0.2.1", 5))
        self.assertEqual(plain(IPv6Address("TCP", "fe80::1%eth0", 5)), ("fe80::1", 5))
        self.assertEqual(plain(object()), ("", 0))

    def test_straight_through(self) -> None:
        """Bytes go straight to the user, and writes to the transport."""
        self.wire.dataReceived(b"in")
        self.wire.write(b"out")
        self.assertEqual(self.user.heard, [("received", b"in")])
        self.assertEqual(self.transport.value(), b"out")

    def test_before_a_user_is_there(self) -> None:
        """What comes before anybody listens is kept for the first who does."""
        wire = Wire(lambda wire: None)
        wire.makeConnection(Transport())
        wire.dataReceived(b"one")
        wire.readConnectionLost()
        wire.connectionLost(Failure(ConnectionDone()))
        wire.attach(self.user)
        self.assertEqual(self.user.heard, [("received", b"one"), ("ended", None), ("lost", "closed")])

    def test_pause_keeps_bytes_in_order(self) -> None:
        """What a paused transport goes on delivering is kept, and told in order at resume()."""
        self.wire.pause()
        self.assertEqual(self.transport.producerState, "paused")
        for data in (b"one", b"two"):
            self.wire.dataReceived(data)
        self.assertEqual(self.user.heard, [])
        self.wire.resume()
        self.assertEqual(self.transport.producerState, "producing")
        self.wire.dataReceived(b"three")
        self.assertEqual([value for _, value in self.user.heard], [b"one", b"two", b"three"])

    def test_bytes_before_the_end(self) -> None:
        """A paused wire tells its FIN and its loss after the bytes that came before them."""
        self.wire.pause()
        self.wire.dataReceived(b"last words")
        self.wire.readConnectionLost()
        self.end(ConnectionLost())
        self.assertEqual(self.user.heard, [])
        self.wire.resume()
        self.assertEqual(self.user.words(), ["received", "ended", "lost"])

    def test_paused_again_while_kept_bytes_are_told(self) -> None:
        """A user that pauses at the first of several kept pieces gets the others later."""
        self.wire.pause()
        for data in (b"one", b"two", b"three"):
            self.wire.dataReceived(data)
        received = self.user.received

        def once(wire: Any, data: bytes) -> None:
            received(wire, data)
            wire.pause()

        self.user.received = once  # type: ignore[method-assign]
        for count in (1, 2, 3):
            self.wire.resume()
            self.assertEqual(len(self.user.heard), count)
            self.assertEqual(self.transport.producerState, "paused")
        self.assertEqual(self.user.bytes(), b"onetwothree")

    def test_another_user_while_kept_bytes_are_told(self) -> None:
        """Who is attached in the middle gets the rest, in order."""
        heir = Recorder()
        self.wire.pause()
        for data in (b"one", b"two", b"three"):
            self.wire.dataReceived(data)
        received = self.user.received

        def hand_over(wire: Any, data: bytes) -> None:
            received(wire, data)
            wire.attach(heir)
            wire.dataReceived(b"four")

        self.user.received = hand_over  # type: ignore[method-assign]
        self.wire.resume()
        self.assertEqual(self.user.bytes(), b"one")
        self.assertEqual(heir.bytes(), b"twothreefour")

    def test_pause_and_resume_are_idempotent(self) -> None:
        """The transport hears of each change once."""
        for verb in ("pause", "pause", "resume", "resume"):
            getattr(self.wire, verb)()
        self.wire.dataReceived(b"x")
        self.assertEqual(self.user.bytes(), b"x")

    def test_one_end_of_input(self) -> None:
        """The peer's FIN is told once, though a transport that is resumed after it finds it again."""
        self.wire.readConnectionLost()
        self.wire.pause()
        self.wire.resume()
        self.wire.readConnectionLost()
        self.assertEqual(self.user.words(), ["ended"])

    def test_full_and_drained(self) -> None:
        """The transport's long queue is told, and its end."""
        self.wire.pauseProducing()
        self.assertTrue(self.wire.full)
        self.wire.resumeProducing()
        self.assertFalse(self.wire.full)
        self.assertEqual(self.user.words(), ["filled", "drained"])

    def test_lost_while_full(self) -> None:
        """A full wire that is lost has room first: nobody waits for it any more."""
        self.wire.pauseProducing()
        self.end(ConnectionLost())
        self.assertEqual(self.user.words(), ["filled", "drained", "lost"])

    def test_close(self) -> None:
        """close() unregisters the producer, which would keep a TLS transport open, and closes once."""
        self.wire.close()
        self.wire.close()
        self.assertIsNone(self.transport.producer)
        self.assertEqual(self.transport.asked, ["close"])

    def test_nothing_is_told_after_close_but_the_end(self) -> None:
        """After close() bytes are of no interest; the end is, even where the wire is paused."""
        self.wire.close()
        self.wire.pause()
        self.wire.dataReceived(b"late")
        self.end()
        self.assertEqual(self.user.heard, [("lost", "closed")])

    def test_kept_bytes_vanish_at_close(self) -> None:
        """Bytes kept before close() are not told after it."""
        self.wire.pause()
        self.wire.dataReceived(b"kept")
        self.wire.close()
        self.wire.resume()
        self.end()
        self.assertEqual(self.user.heard, [("lost", "closed")])

    def test_abort(self) -> None:
        """abort() drops the connection, also after close(); the end is told once."""
        self.wire.close()
        self.wire.abort()
        self.assertEqual(self.transport.asked, ["close", "abort"])
        self.end()
        self.end()
        self.assertEqual(self.user.words(), ["lost"])

    def test_after_the_end(self) -> None:
        """A wire that is gone takes every call and does nothing."""
        self.end()
        for verb in ("close", "abort", "pause", "resume"):
            getattr(self.wire, verb)()
        self.wire.close(half=True)
        self.wire.write(b"late")
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual(self.transport.asked, [])
        self.assertEqual(self.user.words(), ["lost"])

    def test_half_close(self) -> None:
        """A half-close goes to the transport, once; after close() there is nothing to halve."""
        self.wire.close(half=True)
        self.wire.close(half=True)
        self.assertEqual(self.transport.asked, ["half"])
        self.wire.close()
        self.wire.close(half=True)
        self.assertEqual(self.transport.asked, ["half", "close"])

    def test_half_close_of_a_full_wire(self) -> None:
        """A transport with a long queue forgets a half-close: it is asked again when there is room."""
        self.wire.pauseProducing()
        self.wire.close(half=True)
        self.wire.resumeProducing()
        self.assertEqual(self.transport.asked[-1], "half")
        self.assertEqual(len(self.transport.asked), 2)

    def test_lost_while_full_and_disconnecting(self) -> None:
        """A wire whose transport was ending by itself, and is lost with a long queue, tells its end."""
        self.wire.pauseProducing()
        self.transport.disconnecting = True

        def broken() -> None:
            raise AttributeError("protocol")

        self.transport.unregisterProducer = broken  # type: ignore[method-assign]
        self.end(ConnectionLost())
        self.assertEqual(self.user.words(), ["filled", "drained", "lost"])

    def test_reasons(self) -> None:
        """Reasons are short texts on one line."""
        self.assertEqual(reason_text(Failure(ConnectionDone())), "closed")
        self.assertEqual(reason_text(Failure(ValueError("two\nlines"))), "two lines")
        self.assertEqual(reason_text(Failure(ValueError())), "ValueError")
        self.assertEqual(len(reason_text(Failure(ValueError("x" * 1000)))), 200)

    def test_repr(self) -> None:
        """Its state can be read."""
        self.assertEqual(repr(self.wire), "<Wire 192.0.2.1:1234 open>")
        self.wire.pause()
        self.assertIn("paused", repr(self.wire))
        self.wire.close()
        self.assertIn("closing", repr(self.wire))
        self.end()
        self.assertIn("gone", repr(self.wire))


class FarewellTests(SynchronousTestCase):
    """A last word."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = Transport()
        self.wire = Wire(lambda wire: None)
        self.wire.makeConnection(self.transport)
        self.wire.pause()
        self.wire.dataReceived(b"of no interest")
        Farewell(self.clock, self.wire, 1.0)

    def test_in_time(self) -> None:
        """A wire that closes in time leaves no timer."""
        self.assertEqual(self.transport.asked, ["close"])
        self.wire.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_late(self) -> None:
        """One that does not is dropped."""
        self.clock.advance(1.0)
        self.assertEqual(self.transport.asked, ["close", "abort"])


class RealWireTests(TestCase):
    """What Twisted's own transports do with it."""

    timeout = 15

    async def test_half_close_over_tcp(self) -> None:
        """The far end sees our FIN and may still send."""
        wire, far = await pair(self, False)
        user = Recorder()
        wire.attach(user)
        wire.close(half=True)
        await far.until(lambda: far.eof)
        far.transport.write(b"answer")
        await user.until(lambda: user.bytes() == b"answer")

    async def test_half_close_after_much(self) -> None:
        """A FIN behind a long queue is sent when the queue is."""
        wire, far = await pair(self, False)
        wire.attach(Recorder())
        far.transport.pauseProducing()
        wire.write(b"x" * 12_000_000)
        await task.deferLater(reactor, 0.05, lambda: None)
        self.assertTrue(wire.full)
        wire.close(half=True)
        far.transport.resumeProducing()
        await far.until(lambda: far.eof)
        self.assertEqual(len(far.data), 12_000_000)
        self.assertFalse(far.gone)

    async def test_half_close_over_tls_is_ignored(self) -> None:
        """TLS has no half-close here: the connection goes on both ways."""
        wire, far = await pair(self, True)
        user = Recorder()
        wire.attach(user)
        wire.close(half=True)
        wire.write(b"still here")
        await far.until(lambda: far.data == b"still here")
        far.transport.write(b"and here")
        await user.until(lambda: user.bytes() == b"and here")

    async def test_fin_is_told_once(self) -> None:
        """Pausing and resuming after the peer's FIN does not tell it again."""
        wire, far = await pair(self, False)
        user = Recorder()
        wire.attach(user)
        far.transport.loseWriteConnection()
        await user.until(lambda: "ended" in user.words())
        for _ in range(3):
            wire.pause()
            wire.resume()
            await task.deferLater(reactor, 0.01, lambda: None)
        wire.write(b"still here")
        await far.until(lambda: far.data == b"still here")
        self.assertEqual(user.words(), ["ended"])

    async def test_truncated_tls_is_the_end(self) -> None:
        """A FIN without close_notify under TLS is a loss and no half-close."""
        wire, far = await pair(self, True)
        user = Recorder()
        wire.attach(user)
        far.transport.socket.shutdown(socket.SHUT_WR)
        await user.until(lambda: "lost" in user.words())
        self.assertNotIn("ended", user.words())

    async def test_close_sends_what_is_queued(self) -> None:
        """close() comes after megabytes that were written before it, over TCP and TLS."""
        for tls in (False, True):
            wire, far = await pair(self, tls)
            wire.attach(Recorder())
            wire.write(b"x" * 3_000_000)
            wire.close()
            far.closes = True
            await far.until(lambda far=far: far.gone or far.eof)
            self.assertEqual(len(far.data), 3_000_000)

    async def test_filled_and_drained(self) -> None:
        """A far end that does not read fills the wire; when it reads the wire drains."""
        for tls in (False, True):
            wire, far = await pair(self, tls)
            user = Recorder()
            wire.attach(user)
            far.transport.pauseProducing()
            wire.write(b"x" * 12_000_000)
            await user.until(lambda user=user: "filled" in user.words())
            far.transport.resumeProducing()
            await user.until(lambda user=user: user.words()[-1] == "drained")
            await far.until(lambda far=far: len(far.data) == 12_000_000)

    async def test_the_peer_closes_tls_while_we_are_full(self) -> None:
        """A close_notify that comes while our queue is long ends the connection when the queue is sent."""
        wire, far = await pair(self, True)
        user = Recorder()
        wire.attach(user)
        far.transport.pauseProducing()
        wire.write(b"x" * 12_000_000)
        await user.until(lambda: "filled" in user.words())
        far.transport.loseConnection()
        await task.deferLater(reactor, 0.05, lambda: None)
        far.transport.startReading()
        await user.until(lambda: "lost" in user.words())

    async def test_paused_tls_is_bounded(self) -> None:
        """A paused TLS wire keeps what was decrypted, and the rest stays with the sender."""
        wire, far = await pair(self, True)
        user = Recorder()
        wire.attach(user)
        wire.pause()
        far.transport.write(b"x" * 12_000_000)
        await task.deferLater(reactor, 0.1, lambda: None)
        self.assertEqual(user.heard, [])
        self.assertLess(sum(len(data) for _, data in wire._kept), 600_000)
        wire.resume()
        await user.until(lambda: len(user.bytes()) == 12_000_000)

    async def test_start_tls(self) -> None:
        """A handshake that begins later: plain text that was kept is dropped and counted."""
        wire, far = await pair(self, False)
        user = Recorder()
        wire.attach(user)
        wire.pause()
        wire.dataReceived(b"smuggled")
        far.transport.startTLS(server_tls())
        self.assertEqual(wire.start_tls(client_tls()), 8)
        await user.until(lambda: "secured" in user.words())
        far.transport.write(b"inside")
        await user.until(lambda: user.bytes() == b"inside")
        self.assertEqual(user.words(), ["secured", "received"])
        assert wire.tls is not None
        self.assertEqual(wire.tls.version, "TLSv1.3")

    async def test_start_tls_on_a_wire_that_is_gone(self) -> None:
        """A wire whose end is kept back tells it when TLS is to begin, and begins nothing."""
        wire, far = await pair(self, False)
        user = Recorder()
        wire.attach(user)
        wire.pause()
        wire.write(b"x" * 12_000_000)
        far.transport.abortConnection()
        while not wire.gone:
            await task.deferLater(reactor, 0.001, lambda: None)
        self.assertEqual([word for word in user.words() if word == "lost"], [])
        wire.start_tls(client_tls())
        self.assertIn("lost", user.words())

    async def test_tune(self) -> None:
        """Keep-alive and the user timeout are set as configured, however long; 0 leaves them."""
        wire, _ = await pair(self, False)
        sock = wire.transport.getHandle()
        wire.tune(TcpOptions(0, 0))
        self.assertFalse(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        wire.tune(TcpOptions(60, 30))
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 60)
        self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), 15)
        self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 30000)
        wire.tune(TcpOptions(86400 * 7, 0.5))
        wire.tune(TcpOptions(0.5, 86400 * 7))
