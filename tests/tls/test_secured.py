"""Streams whose bytes are TLS, turn by turn: handshakes, pauses, queues, both sides' ends."""

from __future__ import annotations

import contextlib
import gc
import select
import socket
import ssl
import struct
import weakref
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, ISSLTransport
from zope.interface import implementer
from zope.interface.verify import verifyObject

from exproxy.channel import LOST
from exproxy.model import Destination, Source
from exproxy.stream import HIGH, Stream
from exproxy.tls.channel import TLSChannel
from exproxy.tls.client import ClientTLS
from exproxy.tls.handshakes import PER_TURN
from exproxy.tls.secured import SecuredStream
from exproxy.tls.server import ServerTLS
from exproxy.wire import Wire, reason_text
from tests.loopback.pairs import Recorder
from tests.relay.sockets import Hand, descriptors
from tests.tls.channels import AGAIN, ChannelTestCase, asking, connected, far_client, far_server, serving

BLOCK = bytes(range(256)) * 4096


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class Hearing:
    """A protocol that keeps what it hears, and a producer that knows whether it may go on."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.data = b""
        self.heard: list[str] = []
        self.full = False

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        transport.registerProducer(self, True)

    def handshakeCompleted(self) -> None:
        self.heard.append("secured")

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def readConnectionLost(self) -> None:
        self.heard.append("ended")

    def writeConnectionLost(self) -> None:
        self.heard.append("said all")

    def connectionLost(self, reason: Any) -> None:
        self.heard.append(reason_text(reason))

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full = False

    def stopProducing(self) -> None:
        pass


class SecuredTestCase(ChannelTestCase):
    """Streams of a poller that turns by hand."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    def setUp(self) -> None:
        super().setUp()
        self.hand = Hand(self)

    def stream(self) -> tuple[Hearing, socket.socket]:
        """A plain one's protocol, and the other end's socket."""
        ours, theirs = connected()
        for sock in (ours, theirs):
            sock.setblocking(False)
        self.addCleanup(theirs.close)
        hearing = Hearing()
        Stream(self.hand.poller, ours, Source("192.0.2.1", 1), Destination("192.0.2.2", 2)).begin(hearing)
        return hearing, theirs

    def started(
        self, maker: ServerTLS | ClientTLS | None = None, context: ssl.SSLContext | None = None
    ) -> tuple[Hearing, ssl.SSLSocket]:
        """One that has begun TLS, before its handshake."""
        maker = maker or serving()
        hearing, theirs = self.stream()
        SecuredStream(hearing.transport, maker)
        other = far_client() if isinstance(maker, ServerTLS) else far_server()
        return hearing, self.far(theirs, context or other)

    def secured(
        self, maker: ServerTLS | ClientTLS | None = None, context: ssl.SSLContext | None = None
    ) -> tuple[Hearing, ssl.SSLSocket]:
        """One whose handshake is done."""
        hearing, far = self.started(maker, context)
        self.shake(hearing, far)
        return hearing, far

    def shake(self, hearing: Hearing, far: ssl.SSLSocket) -> None:
        for _ in range(20):
            with contextlib.suppress(*AGAIN):
                far.do_handshake()
            self.hand.turn()
            if hearing.heard:
                break
        with contextlib.suppress(*AGAIN):
            far.do_handshake()
        self.assertEqual(hearing.heard, ["secured"])

    def read(self, far: ssl.SSLSocket, count: int = 1 << 20) -> bytes:
        """What is there for the other end; turns are taken as long as more comes."""
        found = b""
        for _ in range(1000):
            try:
                part = far.recv(min(count - len(found), 65536))
            except AGAIN:
                self.hand.turn(1)
                try:
                    part = far.recv(min(count - len(found), 65536))
                except AGAIN:
                    return found
            if not part:
                return found
            found += part
        return found


class SecuredTests(SecuredTestCase):
    """A connection's life."""

    def test_interfaces(self) -> None:
        """It is a TLS transport, whose handle and certificate are OpenSSL's, and None when it is gone."""
        hearing, _ = self.secured(asking())
        transport = hearing.transport
        self.assertTrue(verifyObject(ISSLTransport, transport))
        self.assertEqual(transport.getHandle().get_protocol_version_name(), "TLSv1.3")
        self.assertIsNotNone(transport.getPeerCertificate())
        self.assertEqual(transport.getPeer().host, "192.0.2.1")
        self.assertFalse(transport.detachable)
        transport.abortConnection()
        self.assertIsNone(transport.getHandle())
        self.assertIsNone(transport.getPeerCertificate())

    def test_both_ways(self) -> None:
        """Bytes go both ways, on either side of the handshake."""
        for maker in (serving(), asking()):
            hearing, far = self.secured(maker)
            hearing.transport.write(b"hello")
            self.assertEqual(far.recv(10), b"hello")
            far.send(b"world!")
            self.hand.turn()
            self.assertEqual(hearing.data, b"world!")

    def test_written_before_and_during_the_handshake(self) -> None:
        """Plain text that was queued goes before the handshake; what is written meanwhile comes after it."""
        hearing, theirs = self.stream()
        hearing.transport.write(b"220 ready\r\n" + BLOCK * 8)
        SecuredStream(hearing.transport, serving())
        hearing.transport.write(b"secret")
        plain = b""
        while len(plain) < 11 + len(BLOCK) * 8:
            with contextlib.suppress(BlockingIOError):
                plain += theirs.recv(65536)
            self.hand.turn(1)
        self.assertEqual(plain, b"220 ready\r\n" + BLOCK * 8)
        far = self.far(theirs, far_client())
        self.shake(hearing, far)
        self.assertEqual(self.read(far), b"secret")

    def test_with_the_handshakes_last_bytes(self) -> None:
        """What a client sends together with the end of its handshake is heard at once."""
        hearing, far = self.started()
        with contextlib.suppress(*AGAIN):
            far.do_handshake()
        self.hand.turn()
        far.do_handshake()
        far.send(b"early")
        self.hand.turn()
        self.assertEqual((hearing.heard, hearing.data), (["secured"], b"early"))

    def test_a_hello_that_was_there_before(self) -> None:
        """A ClientHello that came before TLS began, and was not read, is not lost."""
        hearing, theirs = self.stream()
        hearing.transport.pauseProducing()
        far = self.far(theirs, far_client())
        with contextlib.suppress(*AGAIN):
            far.do_handshake()
        self.hand.turn()
        SecuredStream(hearing.transport, serving())
        hearing.transport.resumeProducing()
        self.shake(hearing, far)

    def test_paused(self) -> None:
        """Nothing is delivered while it is paused, decrypted or not; then all of it."""
        hearing, far = self.secured()
        hearing.transport.pauseProducing()
        for _ in range(3):
            far.send(b"one")
            self.hand.turn()
        self.assertEqual(hearing.data, b"")
        hearing.transport.resumeProducing()
        self.hand.turn()
        self.assertEqual(hearing.data, b"oneoneone")

    def test_paused_while_delivering(self) -> None:
        """A protocol that pauses within a delivery gets no more until it resumes."""
        hearing, far = self.secured()
        hearing.dataReceived = self.pausing(hearing)  # type: ignore[method-assign]
        sent = 0
        with contextlib.suppress(*AGAIN):
            while sent < len(BLOCK):
                sent += far.send(BLOCK[sent : sent + 16384])
        self.hand.turn()
        count = len(hearing.data)
        self.hand.turn()
        self.assertEqual(len(hearing.data), count)
        while len(hearing.data) < sent:
            hearing.transport.resumeProducing()
            self.hand.turn()
        self.assertEqual(hearing.data, BLOCK[:sent])

    def pausing(self, hearing: Hearing) -> Any:
        def received(data: bytes) -> None:
            hearing.data += data
            hearing.transport.pauseProducing()

        return received

    def test_a_slow_reader(self) -> None:
        """The producer is stopped while much is queued, and all of it arrives."""
        hearing, far = self.secured()
        sent = 0
        while not hearing.full:
            hearing.transport.write(BLOCK)
            sent += 1
        self.assertGreaterEqual(sent * len(BLOCK), HIGH)
        found = bytearray()
        while len(found) < sent * len(BLOCK):
            found += self.read(far)
        self.assertEqual(bytes(found), BLOCK * sent)
        self.assertFalse(hearing.full)

    def test_bulk_is_fair(self) -> None:
        """A stream that brings megabytes leaves the turn to another after its share."""
        hearing, far = self.secured()
        other, other_far = self.secured()
        sent = 0
        while sent < len(BLOCK) * 4:
            with contextlib.suppress(*AGAIN):
                sent += far.send(BLOCK[sent % len(BLOCK) :][:16384])
            other_far.send(b"p")
            before = len(other.data)
            self.hand.turn(1)
            self.assertEqual(len(other.data), before + 1)
        self.hand.turn()
        self.assertEqual(hearing.data, (BLOCK * 5)[:sent])

    # -- ends ------------------------------------------------------------------------

    def test_their_goodbye(self) -> None:
        """close_notify is an orderly end, told after the bytes before it; ours is said too."""
        for maker in (serving(), asking()):
            hearing, far = self.secured(maker)
            far.send(b"last")
            with contextlib.suppress(*AGAIN):
                far.unwrap()
            self.hand.turn()
            self.assertEqual((hearing.data, hearing.heard), (b"last", ["secured", "closed"]))
            far.unwrap()

    def test_their_goodbye_while_paused(self) -> None:
        """A stream that is paused tells of the end when it is read again."""
        hearing, far = self.secured()
        hearing.transport.pauseProducing()
        far.send(b"last")
        with contextlib.suppress(*AGAIN):
            far.unwrap()
        self.hand.turn()
        self.assertEqual(hearing.heard, ["secured"])
        hearing.transport.resumeProducing()
        self.hand.turn()
        self.assertEqual((hearing.data, hearing.heard), (b"last", ["secured", "closed"]))

    def test_their_goodbye_before_they_have_read(self) -> None:
        """Whoever says goodbye and reads on gets all that was queued, though a producer is registered."""
        hearing, far = self.secured()
        hearing.transport.write(BLOCK * 12)
        with contextlib.suppress(ssl.SSLError):
            far.unwrap()
        raw = bytearray()
        while hearing.heard == ["secured"]:
            self.hand.turn(1)
            with contextlib.suppress(BlockingIOError):
                raw += socket.socket.recv(far, 1 << 20)
        self.assertEqual(hearing.heard, ["secured", "closed"])
        while found := socket.socket.recv(far, 1 << 20):
            raw += found
        # Encrypted it is more.
        self.assertGreater(len(raw), len(BLOCK) * 12)

    def test_our_end(self) -> None:
        """Ours is after what was written, with close_notify, and told when the other side has ended too."""
        hearing, far = self.secured()
        hearing.transport.write(BLOCK)
        hearing.transport.loseConnection()
        hearing.transport.write(b"too late")
        hearing.transport.unregisterProducer()
        found = self.read(far, 1 << 22)
        self.assertEqual(found, BLOCK)
        self.assertEqual(far.recv(1), b"")
        self.assertEqual(hearing.heard, ["secured"])
        far.close()
        self.hand.turn()
        self.assertEqual(hearing.heard, ["secured", "closed"])

    def test_our_end_does_not_reset(self) -> None:
        """What the other side has sent and nobody read does not turn our last words into a reset."""
        hearing, far = self.secured()
        hearing.transport.pauseProducing()
        far.send(b"x" * 10000)
        hearing.transport.write(b"413 too much")
        hearing.transport.unregisterProducer()
        hearing.transport.loseConnection()
        self.hand.turn()
        far.send(b"x" * 10000)
        self.hand.turn()
        self.assertEqual(self.read(far), b"413 too much")
        self.assertEqual(far.recv(1), b"")

    def test_our_end_with_a_full_socket(self) -> None:
        """A goodbye that does not fit waits until it does."""
        hearing, far = self.secured()
        hearing.transport.write(BLOCK * 16)
        hearing.transport.unregisterProducer()
        hearing.transport.loseConnection()
        self.hand.turn()
        found = b""
        while len(found) < 16 * len(BLOCK):
            found += self.read(far)
        self.assertEqual(found, BLOCK * 16)
        self.assertEqual(far.recv(1), b"")

    def test_no_half_close(self) -> None:
        """TLS has none: asking for it cuts nothing."""
        hearing, far = self.secured()
        hearing.transport.loseWriteConnection()
        hearing.transport.write(b"still here")
        self.assertEqual(far.recv(100), b"still here")

    def test_a_truncation(self) -> None:
        """TCP's end without a goodbye is a loss, not an end, after the bytes before it."""
        hearing, far = self.secured()
        far.send(b"half")
        far.shutdown(socket.SHUT_WR)
        self.hand.turn()
        self.assertEqual(hearing.data, b"half")
        self.assertEqual(hearing.heard[1:], [reason_of_a_loss()])

    def test_a_reset(self) -> None:
        """A reset is a loss."""
        hearing, far = self.secured()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        self.hand.turn()
        self.assertEqual(hearing.heard[1:], [reason_of_a_loss()])

    def test_an_alert(self) -> None:
        """What OpenSSL says of a broken record is the reason that is told."""
        hearing, far = self.secured()
        socket.socket.send(far, b"\x17\x03\x03\x00\x20" + b"x" * 32)
        self.hand.turn()
        self.assertEqual(len(hearing.heard), 2)
        self.assertIn("bad record mac", hearing.heard[1])

    def test_dropped(self) -> None:
        """A connection that is dropped is told of once, and takes every call without doing anything."""
        hearing, far = self.secured()
        transport = hearing.transport
        transport.abortConnection()
        transport.abortConnection()
        transport.loseConnection()
        transport.write(b"x")
        self.hand.turn()
        self.assertEqual(len(hearing.heard), 2)
        self.assertRaises(OSError, far.recv, 1)

    def test_begun_too_late(self) -> None:
        """TLS that begins on a wire whose connection has just ended waits for nothing: the end is told."""
        made: list[Wire] = []
        ours, theirs = connected()
        self.addCleanup(theirs.close)
        ours.setblocking(False)
        wire = Wire(made.append)
        Stream(self.hand.poller, ours, Source("192.0.2.1", 1), Destination("192.0.2.2", 2)).begin(wire)
        heard = Recorder()
        wire.attach(heard)
        wire.abort()
        wire.start_tls(serving())
        self.hand.turn()
        self.assertEqual(heard.words(), ["lost"])

    def test_a_maker_that_fails(self) -> None:
        """Where no TLS can be had the plain stream is as it was."""
        hearing, theirs = self.stream()
        plain = hearing.transport
        with self.assertRaises(ZeroDivisionError):
            SecuredStream(plain, Unable())
        self.assertIs(hearing.transport, plain)
        theirs.send(b"plain")
        self.hand.turn()
        self.assertEqual(hearing.data, b"plain")

    def test_a_server_that_is_gone(self) -> None:
        """A client that begins with somebody who has reset the connection meanwhile hears of a loss."""
        hearing, theirs = self.stream()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        SecuredStream(hearing.transport, asking())
        self.hand.turn()
        self.assertEqual(hearing.heard, [reason_of_a_loss()])

    # -- handshakes that fail --------------------------------------------------------

    def test_rubbish(self) -> None:
        """A client that speaks something else is told of with OpenSSL's reason."""
        for rubbish in (b"GET / HTTP/1.1\r\n\r\n", b"EHLO there\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 70000):
            hearing, theirs = self.stream()
            SecuredStream(hearing.transport, serving())
            with contextlib.suppress(OSError):
                theirs.send(rubbish)
            self.hand.turn()
            self.assertEqual(len(hearing.heard), 1)
            self.assertNotEqual(hearing.heard[0], reason_of_a_loss())

    def test_gone_in_the_middle(self) -> None:
        """A client that goes within its handshake is a loss."""
        hearing, theirs = self.stream()
        SecuredStream(hearing.transport, serving())
        theirs.send(b"\x16\x03\x01")
        self.hand.turn()
        theirs.close()
        self.hand.turn()
        self.assertEqual(hearing.heard, [reason_of_a_loss()])

    def test_silent(self) -> None:
        """A client that stops in the middle costs no turn; whoever drops it is not kept waiting."""
        hearing, theirs = self.stream()
        SecuredStream(hearing.transport, serving())
        theirs.send(b"\x16\x03\x01")
        self.hand.turn()
        self.assertEqual(self.hand.reactor.getDelayedCalls(), [])
        hearing.transport.loseConnection()
        hearing.transport.unregisterProducer()
        self.hand.turn()
        self.assertEqual(len(hearing.heard), 1)

    def test_a_wrong_certificate(self) -> None:
        """A server that is not the right one: why is told in words."""
        hearing, far = self.started(asking("ex2.litware.test"))
        for _ in range(5):
            with contextlib.suppress(ssl.SSLError, *AGAIN):
                far.do_handshake()
            self.hand.turn()
        self.assertEqual(len(hearing.heard), 1)
        self.assertIn("ex2.litware.test", hearing.heard[0])

    def test_a_protocol_that_fails(self) -> None:
        """An error in whoever hears that the handshake is done drops this connection, and is logged."""
        hearing, far = self.started()
        hearing.handshakeCompleted = lambda: 1 / 0  # type: ignore[assignment,method-assign,return-value]
        for _ in range(5):
            with contextlib.suppress(OSError):
                far.do_handshake()
            self.hand.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(hearing.heard), 1)

    def test_the_reactor_stops(self) -> None:
        """Connections before and after the handshake are dropped and told of."""
        hearings = [self.secured()[0], self.started()[0], self.started(asking())[0]]
        self.hand.poller.close()
        for hearing in hearings:
            self.assertEqual(hearing.heard[-1], reason_of_a_loss())
        self.assertEqual(len(self.hand.poller.handshakes), 0)

    # -- many ------------------------------------------------------------------------

    def test_a_flood(self) -> None:
        """A flood of handshakes does not stop a ping-pong: it has its answer in every turn."""
        there, far = self.secured()
        flood = [self.started() for _ in range(6 * PER_TURN)]
        done = 0
        for turn in range(1, 1000):
            for _, each in flood:
                with contextlib.suppress(*AGAIN):
                    each.do_handshake()
            far.send(b"ping")
            self.hand.poller.doRead()
            self.assertEqual(len(there.data), 4 * turn)
            there.transport.write(b"pong")
            self.assertEqual(far.recv(10), b"pong")
            before, done = done, sum(hearing.heard == ["secured"] for hearing, _ in flood)
            self.assertLessEqual(done - before, PER_TURN)
            if done == len(flood):
                break
        # Two steps each: the ClientHello, and the end.
        self.assertGreaterEqual(turn, 2 * len(flood) // PER_TURN)

    def test_nothing_stays(self) -> None:
        """Descriptors and memory come back, without a search for cycles."""
        self.secured()[0].transport.abortConnection()
        self.hand.turn()
        gc.collect()
        before = descriptors()
        gc.disable()
        self.addCleanup(gc.enable)
        kept = []
        for maker in (serving(), asking()):
            for end in ("theirs", "truncated", "broken", "ours", "dropped", "handshake"):
                hearing, far = self.started(maker)
                if end != "handshake":
                    self.shake(hearing, far)
                kept += [weakref.ref(hearing), weakref.ref(hearing.transport.getHandle())]
                if end in ("ours", "handshake"):
                    hearing.transport.unregisterProducer()
                    hearing.transport.loseConnection()
                elif end == "dropped":
                    hearing.transport.abortConnection()
                elif end == "theirs":
                    with contextlib.suppress(*AGAIN):
                        far.unwrap()
                elif end == "broken":
                    socket.socket.send(far, b"\x17\x03\x03\x00\x20" + b"x" * 32)
                    self.hand.turn()
                far.close()
                self.hand.turn()
                self.assertEqual(len(hearing.heard), 1 + (end != "handshake"))
                hearing.transport = None
        del hearing, far
        self.assertEqual(descriptors(), before)
        self.assertEqual([each() for each in kept], [None] * len(kept))


class PublicSecuredTests(SecuredTests):
    """The same by pyOpenSSL's public methods."""

    direct = False


class Unable:
    """A maker that makes nothing."""

    def channel(self, sock: socket.socket) -> TLSChannel:
        raise ZeroDivisionError


def reason_of_a_loss() -> str:
    """What is told of a connection that was lost."""
    return reason_text(LOST)
