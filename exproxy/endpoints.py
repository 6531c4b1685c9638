"""The part of a stream that has no state of its own: addresses and options of its socket."""

from __future__ import annotations

import socket

from twisted.internet.address import IPv4Address, IPv6Address

from exproxy.model import Destination, Source


class Endpoints:
    """The getters and setters of ITCPTransport, over ``socket``, which is None when it is gone."""

    __slots__ = ("_here", "peer", "socket")

    def __init__(self, sock: socket.socket, peer: Source, here: Destination | None) -> None:
        """``here`` None: asked of the system when somebody wants to know."""
        self.socket: socket.socket | None = sock
        self.peer = peer
        self._here = here

    @property
    def here(self) -> Destination:
        """Our address."""
        if self._here is None:
            host, port = self.socket.getsockname()[:2] if self.socket is not None else ("", 0)
            self._here = Destination(bare(host), port)
        return self._here

    def rename(self, peer: Source, here: Destination) -> None:
        """Give these addresses out from now on: those that a trusted proxy told."""
        self.peer, self._here = peer, here

    def getPeer(self) -> IPv4Address | IPv6Address:
        """See ITransport."""
        return address_of(self.peer.host, self.peer.port)

    def getHost(self) -> IPv4Address | IPv6Address:
        """See ITransport."""
        return address_of(self.here.host, self.here.port)

    def getHandle(self) -> socket.socket | None:
        """The socket, None when it is gone."""
        return self.socket

    def getTcpNoDelay(self) -> bool:
        """See ITCPTransport."""
        return bool(self._option(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See ITCPTransport."""
        if self.socket is not None:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """See ITCPTransport."""
        return bool(self._option(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See ITCPTransport."""
        if self.socket is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    def _option(self, level: int, number: int) -> int:
        return self.socket.getsockopt(level, number) if self.socket is not None else 0


def address_of(host: str, port: int) -> IPv4Address | IPv6Address:
    """That of Twisted's."""
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)


def bare(host: str) -> str:
    """The address without a scope; IPv4 that is mapped into IPv6 is IPv4."""
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return host.partition("%")[0] if "%" in host else host
