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
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IPushProducer,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy.channel import CLOSED
from exproxy.detaching import Detached
from exproxy.endpoints import bare
from exproxy.interfaces import IWire, IWireUser
from exproxy.model import TLS, Destination, Source
from exproxy.settings import TcpOptions
from exproxy.socket_options import set_options
from exproxy.stream import Stream
from exproxy.tls.description import describe
from exproxy.tls.secured import SecuredStream

# Twisted reads 64 KiB at a time by default; larger reads halve the calls of a bulk stream.
BUFFER_SIZE = 256 * 1024
_TCP_INFO = getattr(sockets, "TCP_INFO", 11)
_NOWHERE, _NOBODY = Destination("", 0), Source("", 0)


def plain(address: Any) -> tuple[str, int]:
    """Host and port of a Twisted address; v4-mapped IPv6 hosts become IPv4, scopes go."""
    return bare(getattr(address, "host", "") or ""), getattr(address, "port", 0) or 0


@implementer(IWire, IProtocol, IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class Wire:
    """A connection, of a client or to a backend; ``made(wire)`` is called when it is there.

    ``via`` and ``listener`` are set before that where a trusted proxy told of the client: who did, and the
    port on which it came to us.
    """

    __slots__ = (
        "__weakref__",
        "_closing",
        "_delivering",
        "_ended",
        "_halved",
        "_kept",
        "_local",
        "_made",
        "_paused",
        "_secure",
        "_socket",
        "_user",
        # Twisted's factories set it.
        "factory",
        "full",
        "gone",
        "listener",
        "peer",
        "tls",
        "transport",
        "via",
    )

    def __init__(self, made: Callable[[Wire], None]) -> None:
        self.peer = _NOBODY
        self._local: Destination | None = _NOWHERE
        self.tls: TLS | None = None
        self.via: Source | None = None
        self.listener = 0
        self.transport: Any = None
        self.factory: Any = None
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
        self._kept: deque[tuple[str, Any]] | None = None

    def __repr__(self) -> str:
        state = "gone" if self.gone else "closing" if self._closing else "paused" if self._paused else "open"
        return f"<Wire {self.peer.host}:{self.peer.port} {'tls ' if self._secure else ''}{state}>"

    # -- IWire -----------------------------------------------------------------------

    @property
    def local(self) -> Destination:
        """See IWire."""
        if self._local is None:
            here = self.transport.here if self.transport is not None else _NOWHERE
            self._local = Destination(here.host, here.port, self.listener) if self.listener else here
        return self._local

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
        kept = self._kept or ()
        dropped = sum(len(argument) for name, argument in kept if name == "received")
        self._kept = deque(item for item in kept if item[0] != "received")
        self._secure = True
        self.resume()
        if not self.gone:
            if not isinstance(self.transport, Stream):
                self.transport.startTLS(context)
            elif self.transport.socket is not None:
                SecuredStream(self.transport, context)
            # Else it has ended just now, and will say so.
        return dropped

    def close(self, half: bool = False) -> None:
        """See IWire."""
        if self.gone or self.transport is None:
            return
        if half:
            if not self._secure and not self._closing and not self._halved:
                self._halved = True
                self.transport.loseWriteConnection()
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
            self.transport.abortConnection()

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
        transport = self.transport
        if self.gone or self._secure or self._closing or self._halved:
            return False
        return isinstance(transport, Stream) and transport.detachable

    def detach(self) -> Detached | None:
        """See IWire. A FIN that came already is not lost: the socket tells it to whoever reads it next."""
        if not self.detachable:
            return None
        transport, kept = self.transport, self._kept
        given: Detached = transport.detach()
        if kept:
            given = given._replace(unread=b"".join(data for name, data in kept if name == "received"))
        # For good, and at no cost: thousands of relayed connections keep their wires.
        self._kept = None
        self.gone, self.full = True, False
        self.transport = self._socket = self._user = None
        return given

    def tune(self, options: TcpOptions) -> None:
        """Set socket options, where the socket has not got them already."""
        if self._socket is not None and not (isinstance(self.transport, Stream) and self.transport.tuned):
            set_options(self._socket, options)

    # -- what Twisted calls ----------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """The transport is there."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """See makeConnection."""
        transport = self.transport
        if isinstance(transport, Stream):
            self.peer = transport.peer
            self._local = None
            self._socket = transport.socket
        else:
            self._meet(transport)
        transport.registerProducer(self, True)
        made, self._made = self._made, _nobody
        made(self)

    def _meet(self, transport: Any) -> None:
        """A transport of Twisted's."""
        self.peer = Source(*plain(transport.getPeer()))
        self._local = Destination(*plain(transport.getHost()), self.listener)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        if hasattr(transport, "bufferSize"):
            transport.bufferSize = BUFFER_SIZE
        handle = transport.getHandle() if hasattr(transport, "getHandle") else None
        self._socket = handle if isinstance(handle, sockets.socket) else None

    def dataReceived(self, data: bytes) -> None:
        """Bytes: straight to the user where nothing waits before them."""
        if self._paused or self._kept or self._user is None or self._delivering:
            self._keep("received", data)
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
            self._kept = None
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
            self.transport.loseWriteConnection()
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

    def _keep(self, name: str, argument: Any) -> None:
        if self._kept is None:
            self._kept = deque()
        self._kept.append((name, argument))

    def _tell(self, name: str, argument: Any) -> None:
        self._keep(name, argument)
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
                elif name == "lost":
                    # Nothing comes after it, and each would keep the other.
                    user, self._user = self._user, None
                    user.lost(self, argument)
                elif not (name == "received" and self._closing):
                    getattr(self._user, name)(self, argument)
        finally:
            self._delivering = False


def _nobody(wire: Wire) -> None:
    """Nobody waits for it any more, and nobody's memory is kept."""


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
