"""A PROXY header on a stream: it is taken out of the socket, and nothing else."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from exproxy.model import Destination, Source
from exproxy.proxied import HeaderChannel
from exproxy.proxy_protocol import build
from exproxy.stream import Stream
from exproxy.tls.secured import SecuredStream
from tests.relay.sockets import Hand, tcp
from tests.tls.channels import AGAIN, ChannelTestCase, far_client, serving

HEADERS = [
    build(version, Source("198.51.100.7", 40000), Destination("203.0.113.25", 25)) for version in ("v1", "v2")
]


@implementer(IHalfCloseableProtocol)
class Reading:
    """Keeps what it hears; at a whole header of ``length`` it gives the stream back to the socket."""

    def __init__(self, length: int, then: Any = None) -> None:
        self.transport: Any = None
        self.length = length
        self.then = then
        self.data = b""
        self.heard: list[str] = []

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        transport.channel = HeaderChannel(transport)

    def dataReceived(self, data: bytes) -> None:
        before = len(self.data)
        self.data += data
        if before < self.length <= len(self.data):
            self.heard.append(f"header {len(self.data)}")
            self.transport.channel = self.transport.socket
            if self.then is not None:
                self.then(self.transport)

    def handshakeCompleted(self) -> None:
        self.heard.append("secured")

    def readConnectionLost(self) -> None:
        self.heard.append("ended")

    def connectionLost(self, reason: Any) -> None:
        self.heard.append("lost")


class HeaderChannelTests(ChannelTestCase, SynchronousTestCase):
    """The header, and what stands behind it."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    def setUp(self) -> None:
        super().setUp()
        self.hand = Hand(self)

    def reading(self, header: bytes, then: Any = None) -> tuple[Reading, socket.socket]:
        near, far = tcp()
        self.addCleanup(far.close)
        reading = Reading(len(header), then)
        Stream(self.hand.poller, near, Source("192.0.2.1", 1), Destination("192.0.2.2", 2)).begin(reading)
        return reading, far

    def test_behind_it(self) -> None:
        """What comes with the header is heard after it, from the socket itself."""
        for header in HEADERS:
            for rest in (b"", b"EHLO", b"x" * 70_000):
                reading, far = self.reading(header)
                far.send(header + rest)
                self.hand.turn()
                self.assertEqual(reading.heard, [f"header {len(header)}"])
                self.assertEqual(reading.data, header + rest)

    def test_in_pieces(self) -> None:
        """Each piece of a header is taken, so that its end is seen; turns are taken for news only."""
        for header in HEADERS:
            reading, far = self.reading(header)
            for at in range(len(header)):
                far.send(header[at : at + 1])
                self.hand.turn()
                self.assertEqual(reading.data, header[: at + 1])
            far.send(b"EHLO")
            self.hand.turn()
            self.assertEqual(reading.data, header + b"EHLO")

    def test_an_end_within(self) -> None:
        """A FIN after a part of a header is an end."""
        for begin in (b"", b"PROXY", HEADERS[1][:-1]):
            reading, far = self.reading(HEADERS[1])
            far.send(begin)
            far.shutdown(socket.SHUT_WR)
            self.hand.turn()
            self.assertEqual((reading.data, reading.heard), (begin, ["ended"]))

    def test_an_end_behind(self) -> None:
        """So is one that came with the header and more."""
        reading, far = self.reading(HEADERS[0])
        far.send(HEADERS[0] + b"QUIT")
        far.shutdown(socket.SHUT_WR)
        self.hand.turn()
        self.assertEqual(reading.data, HEADERS[0] + b"QUIT")
        self.assertEqual(reading.heard[-1], "ended")

    def test_no_header(self) -> None:
        """What can be no header is handed over to be refused."""
        reading, far = self.reading(HEADERS[0])
        far.send(b"EHLO me")
        self.hand.turn()
        self.assertEqual(reading.data, b"EHLO me")

    def test_before_tls(self) -> None:
        """A ClientHello in the header's own segment is not lost, whole or cut."""
        for header in HEADERS:
            for cut in (0, 1, 100, 10_000):
                maker = serving()
                reading, theirs = self.reading(
                    header, lambda stream, maker=maker: SecuredStream(stream, maker)
                )
                near, relay = socket.socketpair()
                self.addCleanup(relay.close)
                near.setblocking(False)
                far = self.far(near, far_client())
                with contextlib.suppress(*AGAIN):
                    far.do_handshake()
                hello = relay.recv(65536)
                theirs.send(header + hello[:cut])
                self.hand.turn()
                theirs.send(hello[cut:])
                for _ in range(5):
                    self.hand.turn()
                    with contextlib.suppress(BlockingIOError):
                        relay.send(theirs.recv(65536))
                    with contextlib.suppress(*AGAIN):
                        far.do_handshake()
                    relay.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        theirs.send(relay.recv(65536))
                self.assertEqual(reading.heard[-1], "secured")
