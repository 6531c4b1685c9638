"""Connecting to backends: every way to fail has its code and reason, and leaves nothing."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import defer, reactor, task
from twisted.internet.defer import CancelledError
from twisted.internet.error import NoRouteError, TimeoutError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from exproxy.connect import ConnectFailed, connect
from exproxy.model import TLSOptions
from exproxy.settings import TcpOptions
from exproxy.tls.client import ClientTLS
from tests.certificates import ca_file, pem
from tests.loopback.pairs import Far, Recorder, client_tls, server_tls


class PureConnectTests(SynchronousTestCase):
    """On a reactor in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def test_asks_as_it_is_told(self) -> None:
        """Address, timeout and source address go to the reactor."""
        connect(self.reactor, "192.0.2.1", 993, timeout=7, bind=("192.0.2.9", 0))
        [(host, port, _, timeout, bind)] = self.reactor.tcpClients
        self.assertEqual((host, port, timeout, bind), ("192.0.2.1", 993, 7, ("192.0.2.9", 0)))

    def failed(self, error: Exception) -> tuple[str, str, str]:
        waiting = connect(self.reactor, "192.0.2.1", 993, timeout=7)
        factory = self.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(self.reactor.connectors[-1], Failure(error))
        failure = self.failureResultOf(waiting, ConnectFailed).value
        return failure.code, failure.phase, failure.reason

    def test_reasons(self) -> None:
        """A timeout is L4TOUT, everything else L4CON in the system's words."""
        self.assertEqual(self.failed(TimeoutError()), ("L4TOUT", "connect", "no answer"))
        self.assertEqual(
            self.failed(NoRouteError(113, "No route to host")), ("L4CON", "connect", "No route to host")
        )

    def test_no_descriptor(self) -> None:
        """A system that has no socket left fails the attempt and not the caller."""

        def refuse(*args: Any) -> None:
            raise OSError(24, "Too many open files")

        self.reactor.connectTCP = refuse  # type: ignore[method-assign, assignment]
        waiting = connect(self.reactor, "192.0.2.1", 1, timeout=1)
        self.assertNoResult(waiting)
        self.reactor.advance(0)
        failure = self.failureResultOf(waiting, ConnectFailed)
        self.assertEqual(failure.value.code, "L4CON")
        self.assertTrue(failure.value.ours)
        self.assertIn("Too many open files", failure.value.reason)


class Silent(Protocol):
    """Accepts and says nothing."""

    def connectionMade(self) -> None:
        self.factory.there.append(self)

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.gone.append(self)


class ConnectTests(TestCase):
    """On loopback."""

    timeout = 15

    def listen(self, build: Any) -> int:
        factory = Factory.forProtocol(build)
        factory.noisy = False
        factory.there, factory.gone = [], []
        self.factory = factory
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return port.getHost().port

    async def failed(self, port: int, **words: Any) -> tuple[str, str, str]:
        try:
            await connect(reactor, "127.0.0.1", port, timeout=words.pop("timeout", 5), **words)
        except ConnectFailed as error:
            return error.code, error.phase, error.reason
        raise AssertionError("connected")

    async def until_gone(self, count: int = 1) -> None:
        while len(self.factory.gone) < count:
            await task.deferLater(reactor, 0.001, lambda: None)

    async def test_connects(self) -> None:
        """A wire, tuned, with both addresses, and nothing of the attempt left."""
        port = self.listen(Silent)
        wire = await connect(reactor, "127.0.0.1", port, timeout=5, tcp=TcpOptions(60, 30))
        self.assertEqual((wire.peer.host, wire.peer.port), ("127.0.0.1", port))
        sock = wire.transport.getHandle()
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        wire.attach(Recorder())
        wire.abort()
        await self.until_gone()

    async def test_refused(self) -> None:
        """Nobody listens: L4CON."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.assertEqual(
                await self.failed(sock.getsockname()[1]), ("L4CON", "connect", "Connection refused")
            )

    async def test_timeout(self) -> None:
        """A full queue of connections that nobody takes: L4TOUT."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(sock.getsockname())
            self.assertEqual(
                await self.failed(sock.getsockname()[1], timeout=0.1), ("L4TOUT", "connect", "no answer")
            )
            for filler in fillers:
                filler.close()

    def tls_server(self, *names: str) -> int:
        from exproxy.tls.server import ServerTLS

        tls = ServerTLS([(pem(*names), pem(*names))]) if names else server_tls()
        return self.listen(lambda: self.far(tls))

    def far(self, tls: Any) -> Far:
        far = Far(tls)
        far.ready.addErrback(lambda failure: None)
        self.factory.there.append(far)
        lost = far.connectionLost

        def gone(reason: Any = None) -> None:
            lost(reason)
            self.factory.gone.append(far)

        self.patch(far, "connectionLost", gone)
        return far

    async def test_tls(self) -> None:
        """The wire comes when the handshake is done, and knows what was agreed."""
        wire = await connect(reactor, "127.0.0.1", self.tls_server(), timeout=5, tls=client_tls())
        assert wire.tls is not None
        self.assertEqual(wire.tls.version, "TLSv1.3")
        wire.attach(Recorder())
        wire.abort()
        await self.until_gone()

    async def test_wrong_name(self) -> None:
        """A certificate for another name: L6RSP, the reason says which name was wanted."""
        tls = ClientTLS(TLSOptions(str(ca_file())), "ex1.litware.test")
        code, phase, reason = await self.failed(self.tls_server("ex2.litware.test"), tls=tls)
        self.assertEqual((code, phase), ("L6RSP", "TLS handshake"))
        self.assertIn("ex1.litware.test", reason)
        await self.until_gone()

    async def test_untrusted(self) -> None:
        """An unknown authority: L6RSP with OpenSSL's reason in words."""
        tls = ClientTLS(TLSOptions("system"), "localhost")
        code, phase, reason = await self.failed(self.tls_server(), tls=tls)
        self.assertEqual((code, phase, reason), ("L6RSP", "TLS handshake", "certificate verify failed"))
        await self.until_gone()

    async def test_no_tls_there(self) -> None:
        """A server that speaks something else: L6RSP in words."""

        class Banner(Silent):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.write(b"220 mail.litware.test ESMTP\r\n")

        code, phase, reason = await self.failed(self.listen(Banner), tls=client_tls())
        self.assertEqual((code, phase), ("L6RSP", "TLS handshake"))
        self.assertIn("wrong version number", reason)
        await self.until_gone()

    async def test_closes_in_the_handshake(self) -> None:
        """A server that hangs up at the ClientHello: L6RSP."""

        class Closing(Silent):
            def dataReceived(self, data: bytes) -> None:
                self.transport.loseConnection()

        code, phase, _ = await self.failed(self.listen(Closing), tls=client_tls())
        self.assertEqual((code, phase), ("L6RSP", "TLS handshake"))
        await self.until_gone()

    async def test_silent_tls(self) -> None:
        """A server that never answers the ClientHello: L6TOUT, and the connection is dropped."""
        port = self.listen(Silent)
        self.assertEqual(
            await self.failed(port, tls=client_tls(), handshake=0.05),
            ("L6TOUT", "TLS handshake", "no answer"),
        )
        await self.until_gone()

    async def cancelled(self, waiting: defer.Deferred[Any]) -> None:
        waiting.cancel()
        try:
            await waiting
        except CancelledError:
            return
        raise AssertionError("not cancelled")

    async def test_cancel_at_once(self) -> None:
        """Cancelled before anything happened: the server never hears of it."""
        port = self.listen(Silent)
        await self.cancelled(connect(reactor, "127.0.0.1", port, timeout=5))
        await self.cancelled(connect(reactor, "127.0.0.1", port, timeout=5, tls=client_tls()))

    async def test_cancel_in_the_handshake(self) -> None:
        """Cancelled during TLS: the connection is dropped, no timer is left."""
        port = self.listen(Silent)
        waiting = connect(reactor, "127.0.0.1", port, timeout=5, tls=client_tls())
        while not self.factory.there:
            await task.deferLater(reactor, 0.001, lambda: None)
        await self.cancelled(waiting)
        await self.until_gone()

    async def test_cancel_after_the_end(self) -> None:
        """Cancelled when it is there already: the wire stays its owner's."""
        waiting = connect(reactor, "127.0.0.1", self.listen(Silent), timeout=5)
        wire = await waiting
        waiting.cancel()
        self.assertFalse(wire.gone)
        wire.attach(Recorder())
        wire.abort()
        await self.until_gone()
