"""Streams, turn by turn: fair shares, marks of the queue, channels, ends, and nothing left behind."""

from __future__ import annotations

import gc
import select
import socket
import weakref
from typing import Any
from unittest import mock

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy import stream
from exproxy.channel import ChannelLost
from exproxy.model import Destination, Source
from exproxy.stream import HIGH, LOW, Stream
from tests.relay.sockets import Hand, descriptors, read, tcp


class Ears(Protocol):
    """Keeps what it hears; half-closes are the end for it."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = mock.sentinel.none) -> None:
        self.lost.append(reason)


class Faucet:
    """A push producer that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class StreamTests(SynchronousTestCase):
    """Over socket pairs, on a poller whose turns are taken by hand."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    def setUp(self) -> None:
        self.hand = Hand(self)

    def made(self, protocol: Any = None) -> tuple[Any, Any, socket.socket]:
        """A stream, its protocol, and the other end."""
        near, far = tcp()
        self.addCleanup(far.close)
        ears = protocol or Ears()
        made = Stream(self.hand.poller, near, Source(*near.getpeername()), Destination(*near.getsockname()))
        made.begin(ears)
        return made, ears, far

    def fill(self, made: Stream, data: bytes = b"x" * 100_000) -> None:
        """Write until something has to be queued."""
        while made._queue is None:
            made.write(data)

    def test_interfaces(self) -> None:
        """It is a TCP transport, a producer and a consumer of Twisted's."""
        made, _, far = self.made()
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            self.assertTrue(verifyObject(interface, made))
        self.assertEqual(made.getPeer().port, far.getsockname()[1])
        self.assertEqual(made.getHost().port, far.getpeername()[1])
        self.assertIn("open", repr(made))

    def test_renamed(self) -> None:
        """Whoever takes the connection over hears of the addresses that a proxy told."""
        made, _, _ = self.made()
        made.rename(Source("2001:db8::1", 5), Destination("192.0.2.1", 25))
        self.assertEqual((made.getPeer().host, made.getHost().host), ("2001:db8::1", "192.0.2.1"))

    def test_no_half_close(self) -> None:
        """A protocol that knows no half-close hears of the end when the other side has said all."""
        made, ears, far = self.made()
        far.send(b"all")
        far.shutdown(socket.SHUT_WR)
        self.hand.turn()
        self.assertEqual(ears.data, b"all")
        self.assertTrue(ears.lost[0].check(ConnectionDone))
        self.assertIsNone(made.getHandle())

    def test_marks(self) -> None:
        """A producer is paused when much is queued and goes on when little is, not before."""
        made, _, far = self.made()
        faucet = Faucet()
        made.registerProducer(faucet, True)
        self.fill(made)
        while made._queued < HIGH:
            self.assertEqual(faucet.told, [])
            made.write(b"x" * 50_000)
        made.write(b"x" * 500_000)
        self.assertEqual(faucet.told, ["pause"])
        while faucet.told == ["pause"]:
            self.assertGreater(made._queued, LOW)
            read(far)
            self.hand.turn(1)
        self.assertEqual(faucet.told, ["pause", "resume"])

    def test_producers(self) -> None:
        """One push producer at a time; none where the connection is gone already."""
        made, _, _ = self.made()
        self.assertRaises(ValueError, made.registerProducer, Faucet(), False)
        made.registerProducer(Faucet(), True)
        self.assertRaises(RuntimeError, made.registerProducer, Faucet(), True)
        made.abortConnection()
        late = Faucet()
        made.registerProducer(late, True)
        self.assertEqual(late.told, ["stop"])

    def test_close_waits_for_the_producer(self) -> None:
        """The connection stays until nobody is registered to write any more."""
        made, ears, _ = self.made()
        made.registerProducer(Faucet(), True)
        made.loseConnection()
        self.hand.turn()
        self.assertEqual(ears.lost, [])
        made.unregisterProducer()
        self.hand.turn()
        self.assertEqual(len(ears.lost), 1)

    def test_fair_shares(self) -> None:
        """A stream that has much to read stops after its share, and goes on in the next turn."""
        made, ears, far = self.made()
        with mock.patch.object(stream, "SHARE", 64 * 1024):
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            sent = far.send(b"x" * 1_000_000)
            self.hand.poller.doRead()
            self.assertLessEqual(len(ears.data), 2 * (64 + 256) * 1024)
            self.hand.turn(20)
        self.assertEqual(len(ears.data), sent)
        self.assertFalse(made._ready)

    def test_a_turn_has_an_end(self) -> None:
        """When the turn's bytes are used up a stream that is resumed waits for the next one."""
        made, ears, far = self.made()
        made.pauseProducing()
        far.send(b"ping")
        self.hand.turn()
        self.hand.poller.share = 0
        made.resumeProducing()
        made._go_on()
        self.assertEqual(ears.data, b"")
        self.hand.turn()
        self.assertEqual(ears.data, b"ping")

    def test_paused_and_gone_on_twice(self) -> None:
        """Resuming twice, or resuming and pausing, delivers nothing twice and nothing too early."""
        made, ears, far = self.made()
        made.pauseProducing()
        far.send(b"ping")
        self.hand.turn()
        made.resumeProducing()
        made.resumeProducing()
        made.pauseProducing()
        self.hand.turn()
        self.assertEqual(ears.data, b"")
        made.resumeProducing()
        self.hand.turn()
        self.assertEqual(ears.data, b"ping")

    def test_a_mistake_when_it_goes_on(self) -> None:
        """An error in the protocol outside of its socket's own turn ends that connection too."""
        made, ears, far = self.made()
        made.pauseProducing()
        far.send(b"ping")
        self.hand.turn()
        made.resumeProducing()
        with mock.patch.object(ears, "dataReceived", side_effect=ValueError("a mistake")):
            self.hand.turn()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(len(ears.lost), 1)

    def test_a_channel(self) -> None:
        """What is read and written goes through the channel, which may keep bytes of its own."""
        made, ears, far = self.made()
        sock = made.socket

        class Upper:
            kept = b""

            def recv_into(self, buffer: memoryview, size: int) -> int:
                if not self.kept:
                    self.kept = sock.recv(size).upper()
                count = min(3, len(self.kept))
                buffer[:count] = self.kept[:count]
                self.kept = self.kept[count:]
                return count

            def send(self, data: bytes) -> int:
                return int(sock.send(bytes(data).upper()))

        made.channel = Upper()
        made.thorough = True
        self.assertFalse(made.detachable)
        far.send(b"hello")
        made.write(b"world")
        self.hand.turn()
        self.assertEqual((ears.data, read(far)), (b"HELLO", b"WORLD"))

    def test_why_a_channel_is_lost(self) -> None:
        """The reason that a channel gives is what the protocol hears, from reading and from writing."""
        for verb in ("recv_into", "send"):
            made, ears, far = self.made()
            why = Failure(ValueError("bad record"))
            made.channel = mock.Mock()
            for name in ("recv_into", "send"):
                broken = ChannelLost(why) if name == verb else BlockingIOError()
                getattr(made.channel, name).side_effect = broken
            far.send(b"x")
            if verb == "send":
                made.write(b"y")
                made.channel.recv_into.side_effect = ChannelLost(why)
            self.hand.turn()
            self.assertEqual(ears.lost, [why])

    def test_the_socket_is_taken_while_bytes_are_told(self) -> None:
        """Whoever takes the socket when it hears bytes is told whether there may be more."""
        made, ears, far = self.made()
        given: list[Any] = []
        with mock.patch.object(ears, "dataReceived", side_effect=lambda data: given.append(made.detach())):
            far.send(b"ping")
            self.hand.turn()
        [detached] = given
        self.addCleanup(detached.socket.close)
        self.assertTrue(detached.watched)
        self.assertFalse(detached.ready)
        self.assertEqual(len(self.hand.poller), 0)

    def test_urgent_data(self) -> None:
        """Reads stop at the mark of urgent data; what comes after it is not left lying."""
        _, ears, far = self.made()
        far.send(b"before")
        far.send(b"!", socket.MSG_OOB)
        far.send(b"after")
        self.hand.turn()
        self.assertEqual(ears.data, b"beforeafter")

    def test_the_reactor_stops(self) -> None:
        """Streams that are open then tell of their loss at once, and those that were closing too."""
        made, ears, _ = self.made()
        _, other, _ = self.made()
        made.loseConnection()
        self.hand.poller.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((len(ears.lost), len(other.lost)), (1, 1))
        self.assertEqual(self.hand.reactor.getDelayedCalls(), [])

    def test_nothing_is_left(self) -> None:
        """Streams that ended in every way leave no descriptor, and are freed without the collector."""
        before = descriptors()
        gone = []
        gc.disable()
        self.addCleanup(gc.enable)
        for way in range(10):
            made, ears, far = self.made()
            self.fill(made)
            if way % 5 == 1:
                made.loseConnection()
            elif way % 5 == 2:
                made.loseWriteConnection()
            elif way % 5 == 3:
                made.abortConnection()
            elif way % 5 == 4:
                made.pauseProducing()
            far.close()
            self.hand.turn()
            if way % 5 == 4:
                made.resumeProducing()
            self.hand.turn()
            self.assertEqual(len(ears.lost), 1, way)
            ears.transport = None
            gone.append(weakref.ref(ears))
            del made, ears, far
            self._cleanups.pop()
        self.assertEqual(descriptors(), before)
        self.assertEqual([ref() for ref in gone], [None] * 10)
        self.assertEqual(len(self.hand.poller), 0)
