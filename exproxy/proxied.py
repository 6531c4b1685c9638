"""Listening behind proxies: the PROXY protocol header is read before anybody hears of the client.

Then the protocol of the service takes the connection over, and whatever it asks its transport, the
addresses are those of the header. So the header stands before TLS, before the rules of who may come
in, and before the first byte of a greeting, and no protocol need know of it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy.channel import CLOSED
from exproxy.endpoints import address_of
from exproxy.interfaces import IProtocolFactory
from exproxy.model import Destination, Source
from exproxy.proxy_protocol import Header, Malformed, parse
from exproxy.stream import Stream
from exproxy.wire import Wire, plain

if TYPE_CHECKING:
    from exproxy.virtual import VirtualService


@implementer(IProtocolFactory)
class ProxiedFactory(Factory):
    """In front of the factory of a service, for a listening address with ``accept-proxy``."""

    noisy = False

    def __init__(self, service: VirtualService, factory: IProtocolFactory) -> None:
        self.service = service
        self.factory = factory
        # Connections whose header is not complete yet.
        self.waiting: set[Introduction] = set()

    def doStart(self) -> None:
        """See IProtocolFactory."""
        self.factory.doStart()

    def doStop(self) -> None:
        """See IProtocolFactory. Who has not even said who is there is dropped."""
        for each in list(self.waiting):
            each.drop()
        self.factory.doStop()

    def buildProtocol(self, addr: Any) -> Introduction | None:
        """A reader of the header, for a trusted proxy; None for everybody else."""
        host, _ = plain(addr)
        reason = self._objection(host)
        if reason is None:
            return Introduction(self)
        self.service.refused(host, reason)
        return None

    def _objection(self, host: str) -> str | None:
        if host not in self.service.trusted_proxies:
            return "a port with `accept-proxy` is for `trusted-proxies` alone, and it is none"
        most = self.service.limits.connections
        if len(self.waiting) >= most:
            return f"limits.connections ({most}) wait for a PROXY header"
        return None


class HeaderChannel:
    """What a stream reads through at first: the header comes out of the socket, and what follows stays in it.

    It may be a ClientHello, and TLS reads for itself.
    """

    def __init__(self, stream: Stream) -> None:
        assert stream.socket is not None
        self._stream = stream
        self._socket = stream.socket
        self._header = b""
        self.send = stream.socket.send

    def recv_into(self, buffer: memoryview, size: int, /) -> int:
        """See Channel."""
        there = self._socket.recv_into(buffer, size, socket.MSG_PEEK)
        if not there:
            return 0
        mine = there
        try:
            header = parse(self._header + bytes(buffer[:there]))
        except Malformed:
            header = None
        if header is not None:
            mine = header.length - len(self._header)
        if mine < there:
            self._stream.look()
        count = self._socket.recv_into(buffer, mine)
        self._header += bytes(buffer[:count])
        return count


class Introduction(Protocol):
    """Reads the header of one connection, and hands the transport over."""

    def __init__(self, factory: ProxiedFactory) -> None:
        self._owner = factory
        self._received = b""
        self._over = False

    def connectionMade(self) -> None:
        """The proxy is there, and has so long to say for whom."""
        service = self._owner.service
        self._owner.waiting.add(self)
        service.introducing += 1
        self._timer = service.clock.callLater(service.timeouts.proxy_header, self._late)
        transport = self._transport
        if isinstance(transport, Stream):
            transport.channel = HeaderChannel(transport)

    def dataReceived(self, data: bytes) -> None:
        """A part of the header, perhaps with the client's first bytes behind it."""
        if self._over:
            return
        self._received += data
        try:
            header = parse(self._received)
        except Malformed as error:
            self._refuse(str(error))
            return
        if header is not None:
            self._hand_over(header)

    def connectionLost(self, reason: Failure = CLOSED) -> None:
        """The proxy went away; one that had said nothing was only looking whether we are there."""
        if not self._over:
            self._finish()
            self._owner.service.left()
            if self._received:
                self._tell("the connection ended within the PROXY header")

    def drop(self) -> None:
        """Drop the connection."""
        self._finish()
        self._transport.abortConnection()
        self._owner.service.left()

    @property
    def _transport(self) -> Any:
        return self.transport

    def _late(self) -> None:
        seconds = self._owner.service.timeouts.proxy_header
        self._refuse(f"no whole PROXY header within {seconds:g} s (timeouts.proxy-header)")

    def _refuse(self, reason: str) -> None:
        self._tell(reason)
        self.drop()

    def _tell(self, reason: str) -> None:
        self._owner.service.refused(plain(self._transport.getPeer())[0], reason)

    def _finish(self) -> None:
        self._over = True
        self._owner.waiting.discard(self)
        self._owner.service.introducing -= 1
        if self._timer.active():
            self._timer.cancel()

    def _hand_over(self, header: Header) -> None:
        self._finish()
        transport = self._transport
        proxy, here = transport.getPeer(), transport.getHost()
        client = header.source if header.source is not None else Source(*plain(proxy))
        protocol: Any = self._owner.factory.buildProtocol(client)
        if protocol is None:
            transport.abortConnection()
            self._owner.service.left()
            return
        if header.destination is not None:
            _rename(transport, client, header.destination)
            if isinstance(protocol, Wire):
                protocol.via, protocol.listener = Source(*plain(proxy)), plain(here)[1]
        if isinstance(transport, Stream) and transport.socket is not None:
            transport.channel = transport.socket
        transport.protocol = protocol
        protocol.makeConnection(transport)
        rest, self._received = self._received[header.length :], b""
        if rest and not transport.disconnecting:
            # Not to `protocol`: it may have begun TLS, which is the transport's protocol then.
            transport.protocol.dataReceived(rest)


def _rename(transport: Any, client: Source, reached: Destination) -> None:
    if isinstance(transport, Stream):
        transport.rename(client, reached)
    else:
        peer, host = address_of(client.host, client.port), address_of(reached.host, reached.port)
        transport.getPeer, transport.getHost = (lambda: peer), (lambda: host)
