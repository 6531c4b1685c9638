"""A listening socket in the poller: clients are taken in batches, and wait outside while there is no room.

Where a service has all the connections that it may have, or the system has no descriptor left, nothing is
accepted: clients wait in the system's queue, and the socket is silent until there is room again. It never
turns in a circle.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.logger import Logger
from zope.interface import implementer

from exproxy.endpoints import address_of, bare
from exproxy.interfaces import IProtocolFactory
from exproxy.model import Destination, Source
from exproxy.poller import Poller
from exproxy.settings import TcpOptions
from exproxy.socket_options import set_options
from exproxy.stream import Stream

# Clients accepted in one turn; then the others have theirs.
BATCH = 64
# Seconds after which it is tried again where the system had nothing left.
PAUSE = 1.0
# Only this one client could not be had (accept(2)).
_PASSING = (
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
    errno.ETIMEDOUT,
)


class Doorkeeper(Protocol):
    """Who says whether there is room: a service."""

    name: str

    @property
    def full(self) -> bool:
        """Whether nobody may come in now."""

    def wait(self, port: Accepting) -> None:
        """Call ``port.resume()`` when somebody has left."""


class _Listening(socket.socket):
    """Knows of what kind it is without asking each time."""

    __slots__ = ()
    family = socket.AF_INET
    type = socket.SOCK_STREAM


class _Listening6(_Listening):
    __slots__ = ()
    family = socket.AF_INET6


@implementer(IListeningPort)
class Accepting:
    """See the module. ``factory`` makes the protocols, and gets the address of each client as a Source."""

    log = Logger()

    def __init__(
        self,
        poller: Poller,
        sock: socket.socket,
        factory: IProtocolFactory,
        keeper: Doorkeeper,
        tcp: TcpOptions = TcpOptions(),
    ) -> None:
        """``sock`` listens already; it is taken over, and closed by stopListening(). Its options are those of
        all connections that it accepts."""
        self._poller = poller
        kind = _Listening6 if sock.family == socket.AF_INET6 else _Listening
        self._socket: socket.socket | None = kind(kind.family, kind.type, sock.proto, sock.detach())
        self._factory = factory
        # A factory of sessions may do without protocols.
        self._pass_on: Any = getattr(factory, "pass_on", None)
        self._keeper = keeper
        self._paused = False
        # A shortage is said once, until it is over.
        self._short = False
        self._retry: IDelayedCall | None = None
        sock = self._socket
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_options(sock, tcp)
        host, port = sock.getsockname()[:2]
        self._at = Destination(bare(host), port)
        # At a wildcard address each connection has to be asked where it came to.
        self._here = None if host in ("0.0.0.0", "::") else self._at  # noqa: S104

    def __repr__(self) -> str:
        state = "closed" if self._socket is None else "paused" if self._paused else "open"
        return f"<Accepting {self._keeper.name} {self._at.host}:{self._at.port} {state}>"

    # -- IListeningPort --------------------------------------------------------------

    def startListening(self) -> None:
        """Begin to accept. Raises OSError where the poller cannot have the socket."""
        assert self._socket is not None
        self._poller.watch(self._socket.fileno(), self)
        self._factory.doStart()

    def stopListening(self) -> None:
        """Accept nobody any more, and close; who is in the system's queue is reset. Idempotent."""
        sock, self._socket = self._socket, None
        if sock is None:
            return
        self._cancel()
        self._poller.forget(sock.fileno())
        sock.close()
        self._factory.doStop()

    def getHost(self) -> IPv4Address | IPv6Address:
        """Where it listens."""
        return address_of(self._at.host, self._at.port)

    # -- in the poller ---------------------------------------------------------------

    def serve(self, poller: Poller, events: int) -> None:
        """See Served: somebody is waiting."""
        for _ in range(BATCH):
            sock = self._socket
            if sock is None or self._paused:
                return
            if self._keeper.full:
                self._pause()
                return
            try:
                connection, address = sock.accept()
            except BlockingIOError:
                self._short = False
                return
            except OSError as error:
                if error.errno in _PASSING:
                    continue
                self._shortage(error)
                return
            self._take(connection, address)
        if self._socket is not None:
            poller.again(self._socket.fileno())

    def _take(self, connection: socket.socket, address: Any) -> None:
        made = None
        try:
            connection.setblocking(False)
            peer = Source(bare(address[0]), address[1])
            here = self._here
            if here is None:
                host, port = connection.getsockname()[:2]
                here = Destination(bare(host), port)
            if self._pass_on is not None and self._pass_on(self._poller, connection, peer, here):
                return
            protocol = self._factory.buildProtocol(peer)
            if protocol is None:
                connection.close()
                return
            made = Stream(self._poller, connection, peer, here, tuned=True)
            made.begin(protocol)
        except Exception:
            self.log.failure("{port} cannot take a connection", port=self)
            if made is None or made.protocol is None:
                connection.close()
            else:
                made.abortConnection()

    def fail(self) -> None:
        """See Served: try again later."""
        self._pause()
        self._try_later()

    def stop(self) -> None:
        """See Served."""
        self.stopListening()

    # -- pauses ----------------------------------------------------------------------

    def resume(self) -> None:
        """There may be room again; idempotent. Whoever waits is accepted in the poller's next turn."""
        self._cancel()
        if self._paused and self._socket is not None:
            self._paused = False
            self._poller.again(self._socket.fileno())

    def _pause(self) -> None:
        if not self._paused and self._socket is not None:
            self._paused = True
            self._poller.quiet(self._socket.fileno())
            self._keeper.wait(self)

    def _shortage(self, error: OSError) -> None:
        self._pause()
        self._try_later()
        if not self._short:
            self._short = True
            self.log.error(
                "{service} accepts nobody for a while: {why}; clients wait. Where it is files that are too "
                "few, raise `ulimit -n` (LimitNOFILE= in the systemd unit)",
                service=self._keeper.name,
                why=error.strerror,
            )

    def _try_later(self) -> None:
        if self._retry is None:
            self._retry = self._poller.reactor.callLater(PAUSE, self._over)

    def _over(self) -> None:
        self._retry = None
        self.resume()

    def _cancel(self) -> None:
        retry, self._retry = self._retry, None
        if retry is not None:
            retry.cancel()
