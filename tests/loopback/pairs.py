"""Real connections on loopback: our Wire at one end, a recording protocol at the other."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import defer, reactor
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from exproxy.connect import connect
from exproxy.model import Destination, Source, TLSOptions
from exproxy.poller import Poller
from exproxy.relay import Sweep
from exproxy.stream import Stream
from exproxy.tls.client import ClientTLS
from exproxy.tls.server import ServerTLS
from exproxy.wire import Wire
from tests.certificates import ca_file, pem


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class Far(Protocol):
    """The other end of a wire: records, and can be waited for."""

    def __init__(self, tls: Any = None) -> None:
        self._tls = tls
        # Whether it closes when the other end does, as servers do.
        self.closes = False
        self.data = bytearray()
        self.eof = False
        self.gone = False
        self.ready: defer.Deferred[Far] = defer.Deferred()
        self._waiting: list[tuple[Any, defer.Deferred[None]]] = []

    def connectionMade(self) -> None:
        if self._tls is not None:
            self.transport.startTLS(self._tls)
        else:
            self.ready.callback(self)

    def handshakeCompleted(self) -> None:
        if not self.ready.called:
            self.ready.callback(self)

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._look()

    def readConnectionLost(self) -> None:
        self.eof = True
        self._look()
        if self.closes:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Any = None) -> None:
        self.gone = self.eof = True
        self._look()

    def until(self, condition: Any) -> defer.Deferred[None]:
        """A Deferred that fires when ``condition()`` holds."""
        done: defer.Deferred[None] = defer.Deferred()
        self._waiting.append((condition, done))
        self._look()
        return done

    def _look(self) -> None:
        for item in list(self._waiting):
            if item[0]():
                self._waiting.remove(item)
                item[1].callback(None)


class Recorder:
    """An IWireUser that keeps what it hears as (word, value)."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self._waiting: list[tuple[Any, defer.Deferred[None]]] = []

    def _note(self, word: str, value: Any = None) -> None:
        self.heard.append((word, value))
        for item in list(self._waiting):
            if item[0]():
                self._waiting.remove(item)
                item[1].callback(None)

    def until(self, condition: Any) -> defer.Deferred[None]:
        done: defer.Deferred[None] = defer.Deferred()
        self._waiting.append((condition, done))
        if condition():
            self._waiting.pop()
            done.callback(None)
        return done

    def words(self) -> list[str]:
        return [word for word, _ in self.heard]

    def bytes(self) -> bytes:
        return b"".join(value for word, value in self.heard if word == "received")

    def received(self, wire: Any, data: bytes) -> None:
        self._note("received", data)

    def ended(self, wire: Any) -> None:
        self._note("ended")

    def lost(self, wire: Any, reason: str) -> None:
        self._note("lost", reason)

    def secured(self, wire: Any, tls: Any) -> None:
        self._note("secured", tls)

    def filled(self, wire: Any) -> None:
        self._note("filled")

    def drained(self, wire: Any) -> None:
        self._note("drained")


def server_tls() -> ServerTLS:
    return ServerTLS([(pem("localhost", "127.0.0.1"), pem("localhost", "127.0.0.1"))])


def client_tls() -> ClientTLS:
    return ClientTLS(TLSOptions(verify=str(ca_file())), "localhost")


async def pair(test: Any, tls: bool) -> tuple[Wire, Far]:
    """A connected (Wire, Far); both are closed at the test's end."""
    far = Far(server_tls() if tls else None)
    factory = Factory.forProtocol(lambda: far)
    factory.noisy = False
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    wire = await connect(
        reactor, "127.0.0.1", port.getHost().port, timeout=5, tls=client_tls() if tls else None
    )
    await far.ready
    await port.stopListening()

    test.addCleanup(lambda: defer.Deferred.fromCoroutine(_end(wire, far)))
    return wire, far


async def stream_pair(test: Any, tls: bool = False, shared: Poller | None = None) -> tuple[Wire, Far]:
    """The same, the wire being on a stream in a poller of its own, or in a shared one."""
    far = Far(server_tls() if tls else None)
    factory = Factory.forProtocol(lambda: far)
    factory.noisy = False
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    sock = socket.create_connection(("127.0.0.1", port.getHost().port))
    sock.setblocking(False)
    poller = Poller(reactor, Sweep(reactor)) if shared is None else shared
    assert poller.ready()
    wire = Wire(lambda wire: None)
    here, there = sock.getsockname(), sock.getpeername()
    Stream(poller, sock, Source(*there), Destination(*here)).begin(wire)
    if tls:
        heard = Recorder()
        wire.attach(heard)
        wire.start_tls(client_tls())
        await heard.until(lambda: heard.words() == ["secured"])
    await far.ready
    await port.stopListening()

    async def clean() -> None:
        await _end(wire, far)
        if shared is None:
            poller.close()

    test.addCleanup(lambda: defer.Deferred.fromCoroutine(clean()))
    return wire, far


async def _end(wire: Wire, far: Far) -> None:
    if not wire.gone:
        wire.attach(Recorder())
        wire.resume()
        wire.abort()
    if not far.gone:
        far.transport.abortConnection()
        await far.until(lambda: far.gone)
