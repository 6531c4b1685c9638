"""The one thing that touches a transport: a Twisted protocol that provides IWire.

Twisted's habits are put right here, once: a paused TLS transport goes on delivering what it has
decrypted, so bytes are kept; ``loseWriteConnection`` under TLS would cut the TCP stream below it;
a registered producer keeps a TLS transport from closing; after both FINs nothing more is called.
"""

from __future__ import annotations

import socket as sockets
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy import detaching
from exproxy.detaching import Detached
from exproxy.interfaces import IWire, IWireUser
from exproxy.model import TLS, Destination, Source
from exproxy.settings import TcpOptions
from exproxy.tls.binding import resumed

# Twisted reads 64 KiB at a time by default; larger reads halve the calls of a bulk stream.
BUFFER_SIZE = 256 * 1024
# Linux refuses anything longer: seconds, and milliseconds.
LONGEST_KEEPALIVE = 32767
LONGEST_TIMEOUT = 2**31 - 1
_TCP_INFO = getattr(sockets, "TCP_INFO", 11)
# Keeps nothing, whatever is put in.
_NOTHING: deque[tuple[str, Any]] = deque(maxlen=0)
CLOSED: Failure = Failure(ConnectionDone())  # type: ignore[no-untyped-call]


def plain(address: Any) -> tuple[str, int]:
    """Host and port of a Twisted address; v4-mapped IPv6 hosts become IPv4, scopes go."""
    host = getattr(address, "host", "") or ""
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return host.partition("%")[0], getattr(address, "port", 0) or 0


@implementer(IWire, IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class Wire(Protocol):
    """A connection, of a client or to a backend; ``made(wire)`` is called when it is there."""

    peer = Source("", 0)
    local = Destination("", 0)
    tls: TLS | None = None
    # Set before the connection is made where a trusted proxy told of the client: who did, and the port
    # on which it came to us.
    via: Source | None = None
    listener = 0

    def __init__(self, made: Callable[[Wire], None]) -> None:
        self._made = made
        self._user: IWireUser | None = None
        self._paused = False
        self._delivering = False
        self._secure = False
        self._closing = False
        self._halved = False
        self._ended = False
        self.gone = False
        self.full = False
        # Of plain TCP, also below TLS.
        self._socket: sockets.socket | None = None
        # What could not be delivered yet: (method name of IWireUser, argument).
        self._kept: deque[tuple[str, Any]] = deque()

    def __repr__(self) -> str:
        state = "gone" if self.gone else "closing" if self._closing else "paused" if self._paused else "open"
        return f"<Wire {self.peer.host}:{self.peer.port} {'tls ' if self._secure else ''}{state}>"

    # -- IWire -----------------------------------------------------------------------

    def attach(self, user: IWireUser) -> None:
        """See IWire."""
        self._user = user
        if self._kept and not self._paused:
            self._deliver()

    def write(self, data: bytes) -> None:
        """See IWire."""
        if not self.gone and self.transport is not None:
            self.transport.write(data)

    def pause(self) -> None:
        """See IWire."""
        if not self._paused:
            self._paused = True
            if not self.gone:
                self._producing("pauseProducing")

    def resume(self) -> None:
        """See IWire."""
        if not self._paused:
            return
        self._paused = False
        self._deliver()
        if not self._paused and not self.gone and not self._closing:
            self._producing("resumeProducing")

    def start_tls(self, context: Any) -> int:
        """See IWire."""
        dropped = sum(len(argument) for name, argument in self._kept if name == "received")
        self._kept = deque(item for item in self._kept if item[0] != "received")
        self._secure = True
        self.resume()
        if not self.gone:
            self.transport.startTLS(context)  # type: ignore[union-attr]  # ITCPTransport
        return dropped

    def close(self, half: bool = False) -> None:
        """See IWire."""
        if self.gone or self.transport is None:
            return
        if half:
            if not self._secure and not self._closing and not self._halved:
                self._halved = True
                self.transport.loseWriteConnection()  # type: ignore[attr-defined]
            return
        if not self._closing:
            self._closing = True
            self._unregister()
            self.transport.loseConnection()

    def abort(self) -> None:
        """See IWire."""
        if not self.gone and self.transport is not None:
            self._closing = True
            self._unregister()
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def acknowledged(self) -> int:
        """See IWire. Linux tells (tcpi_bytes_acked of TCP_INFO); elsewhere 0."""
        if self._socket is None or self.gone:
            return 0
        try:
            info = self._socket.getsockopt(sockets.IPPROTO_TCP, _TCP_INFO, 128)
        except OSError:
            return 0
        return int.from_bytes(info[120:128], sys.byteorder)

    @property
    def detachable(self) -> bool:
        """See IWire."""
        if self.gone or self._secure or self._closing or self._halved:
            return False
        return detaching.detachable(self.transport)

    def detach(self) -> Detached | None:
        """See IWire. A FIN that came already is not lost: the socket tells it to whoever reads it next."""
        if not self.detachable:
            return None
        sock, unsent = detaching.detach(self.transport)
        unread = b"".join(argument for name, argument in self._kept if name == "received")
        # For good, and at no cost: thousands of relayed connections keep their wires.
        self._kept = _NOTHING
        self.gone, self.full = True, False
        self.transport = self._socket = self._user = None
        return Detached(sock, unread, unsent)

    def tune(self, options: TcpOptions) -> None:
        """Set socket options; to be called before TLS. Where a system lacks one it goes without."""
        sock = self.transport.getHandle()  # type: ignore[union-attr]  # ITCPTransport
        if not isinstance(sock, sockets.socket):
            return
        if options.keepalive:
            sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1)
            _set(sock, "TCP_KEEPIDLE", int(options.keepalive), LONGEST_KEEPALIVE)
            _set(sock, "TCP_KEEPINTVL", int(options.keepalive / 4), LONGEST_KEEPALIVE)
        if options.user_timeout:
            _set(sock, "TCP_USER_TIMEOUT", int(options.user_timeout * 1000), LONGEST_TIMEOUT)

    # -- what Twisted calls ----------------------------------------------------------

    def connectionMade(self) -> None:
        """The transport is there."""
        transport: Any = self.transport
        self.peer = Source(*plain(transport.getPeer()))
        self.local = Destination(*plain(transport.getHost()), self.listener)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        if hasattr(transport, "bufferSize"):
            transport.bufferSize = BUFFER_SIZE
        transport.registerProducer(self, True)
        handle = transport.getHandle() if hasattr(transport, "getHandle") else None
        self._socket = handle if isinstance(handle, sockets.socket) else None
        made, self._made = self._made, _nobody
        made(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes: straight to the user where nothing waits before them."""
        if self._paused or self._kept or self._user is None or self._delivering:
            self._kept.append(("received", data))
        elif not self._closing:
            self._user.received(self, data)

    def handshakeCompleted(self) -> None:
        """A TLS handshake is done."""
        transport: Any = self.transport
        self.tls = describe(transport.getHandle())
        self._tell("secured", self.tls)

    def readConnectionLost(self) -> None:
        """The peer's FIN; under TLS it is a truncation, and the end."""
        if self._secure:
            self.abort()
        elif not self._ended:
            # A transport that is paused and resumed after it finds the same FIN again.
            self._ended = True
            self._tell("ended", None)

    def writeConnectionLost(self) -> None:
        """Our FIN is out, or could not be: connectionLost follows where it matters."""

    def connectionLost(self, reason: Failure = CLOSED) -> None:
        """The transport is gone."""
        if self.gone:
            return
        self.gone = True
        if self.full:
            # Whoever was stopped for its sake need not wait any more, and may have its own end to tell.
            self.resumeProducing()
        if self._closing:
            # Nobody wants what came after our close, but everybody wants to know of the end.
            self._kept.clear()
            self._paused = False
        self._tell("lost", reason_text(reason))

    def pauseProducing(self) -> None:
        """IPushProducer: the transport's queue is long."""
        self.full = True
        if self._user is not None:
            self._user.filled(self)

    def resumeProducing(self) -> None:
        """IPushProducer: the transport's queue is short again."""
        self.full = False
        if self._halved and not self._closing and not self.gone:
            # Twisted forgets a half-close that was asked for while its producer was paused ...
            self.transport.loseWriteConnection()  # type: ignore[union-attr]
        if not self.gone and getattr(self.transport, "disconnecting", False):
            # ... and the end of a connection too, whose peer said close_notify meanwhile.
            self._unregister()
        if self._user is not None:
            self._user.drained(self)

    def stopProducing(self) -> None:
        """IPushProducer: connectionLost says it too."""

    # -- inside ----------------------------------------------------------------------

    def _producing(self, verb: str) -> None:
        if not self._closing:
            getattr(self.transport, verb)()

    def _unregister(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.unregisterProducer()

    def _tell(self, name: str, argument: Any) -> None:
        self._kept.append((name, argument))
        if not self._paused:
            self._deliver()

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._kept and self._user is not None and not self._paused:
                name, argument = self._kept.popleft()
                if name == "ended":
                    self._user.ended(self)
                elif not (name == "received" and self._closing):
                    getattr(self._user, name)(self, argument)
        finally:
            self._delivering = False


@implementer(IWireUser)
class Farewell:
    """Closes a wire after what was written to it; drops it where that takes longer than ``seconds``."""

    def __init__(self, clock: IReactorTime, wire: Wire, seconds: float) -> None:
        self._timer = clock.callLater(seconds, wire.abort)
        wire.attach(self)
        wire.resume()
        wire.close()

    def lost(self, wire: IWire, reason: str) -> None:
        """It is gone."""
        if self._timer.active():
            self._timer.cancel()

    def received(self, wire: IWire, data: bytes) -> None:
        """Nobody is interested any more."""

    def ended(self, wire: IWire) -> None:
        """See received."""

    def secured(self, wire: IWire, tls: TLS) -> None:
        """See received."""

    def filled(self, wire: IWire) -> None:
        """See received."""

    def drained(self, wire: IWire) -> None:
        """See received."""


def _nobody(wire: Wire) -> None:
    """Nobody waits for it any more, and nobody's memory is kept."""


def _set(sock: sockets.socket, name: str, value: int, most: int) -> None:
    option = getattr(sockets, name, None)
    if option is not None:
        with suppress(OSError):
            sock.setsockopt(sockets.IPPROTO_TCP, option, max(1, min(value, most)))


def reason_text(reason: Failure) -> str:
    """A short text for logs: the error's own words, without Twisted's prefix."""
    value = reason.value
    if isinstance(value, ConnectionDone):
        return "closed"
    if isinstance(value, SSL.Error) and value.args and isinstance(value.args[0], list):
        # OpenSSL's queue of (library, function, reason); older entries are the deeper causes.
        text = ", ".join(entry[-1] for entry in value.args[0] if entry[-1])
    else:
        text = " ".join(str(value).split())
    return text[:200] or type(value).__name__


def describe(handle: Any) -> TLS:
    """The TLS fact of an ``OpenSSL.SSL.Connection``."""
    name = handle.get_servername()
    alpn = handle.get_alpn_proto_negotiated()
    certificate = handle.get_peer_certificate(as_cryptography=True)
    return TLS(
        version=handle.get_protocol_version_name(),
        cipher=handle.get_cipher_name() or "",
        server_name=name.decode("ascii", "replace").lower() if name else None,
        alpn=alpn.decode("ascii", "replace") if alpn else None,
        resumed=bool(resumed(handle)),
        certificate=certificate.public_bytes(Encoding.DER) if certificate is not None else None,
    )
