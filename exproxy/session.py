"""The factory of sessions: who comes in gets one, with a conversation of its own.

Session itself is in :mod:`exproxy.client_session`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from zope.interface import implementer

from exproxy.client_session import Session as Session
from exproxy.farewell import LINGERING_READ, Farewell
from exproxy.interfaces import IConversation, IPassing, IProtocolFactory, IService
from exproxy.model import Destination, Source
from exproxy.passage import Passage
from exproxy.wire import Wire

if TYPE_CHECKING:
    from socket import socket

    from exproxy.poller import Poller


@implementer(IProtocolFactory)
class SessionFactory(Factory):
    """Makes a session, with a conversation of its own, for every accepted connection of a service."""

    noisy = False

    def __init__(
        self,
        service: IService,
        conversation: Callable[[Any], IConversation],
        busy: Callable[[Any], bytes] | None = None,
    ) -> None:
        """``conversation(service)`` makes a new IConversation; ``busy(service)`` gives the words for a
        client that comes too often, where its protocol has such."""
        self._service: Any = service
        self._conversation = conversation
        self._busy = busy
        self._passing = (
            busy is None and isinstance(conversation, type) and IPassing.implementedBy(conversation)
        )

    def pass_on(self, poller: Poller, sock: socket, peer: Source, here: Destination) -> bool:
        """Take a client without making a protocol, where its bytes are nobody's concern; False where it needs
        a session. ``sock`` is its socket, ``here`` the address that it came to."""
        pool = self._service.passes(here.port) if self._passing else None
        if pool is None:
            return False
        if self._service.objection(peer) is not None:
            sock.close()
        else:
            Passage(self._service, poller, pool, sock, peer, here).begin()
        return True

    def buildProtocol(self, addr: Any) -> Wire | None:
        """A wire with a session; one that says why not, or None, where the service will not have that
        client."""
        room = self._service.door.more()
        if room is not None:
            return Wire(lambda wire: self._await(room, addr, wire))
        entrance = self._entrance(addr)
        return Wire(entrance) if entrance is not None else None

    def _await(self, room: Deferred[None], addr: Any, wire: Wire) -> None:
        """Another process may have a place for this one: let it in when that is known."""

        def known(_: None) -> None:
            room = self._service.door.more()
            if room is not None:
                # Others who waited as well were faster.
                self._await(room, addr, wire)
                return
            (self._entrance(addr) or Wire.abort)(wire)

        room.addCallback(known)

    def _entrance(self, addr: Any) -> Callable[[Wire], None] | None:
        reason = self._service.objection(addr)
        if reason is None:
            return self._begin
        # Whom no rule lets in is told nothing.
        return self._refuse if self._busy is not None and reason.startswith("limits.") else None

    def _refuse(self, wire: Wire) -> None:
        if self._busy is None or self._service.port_tls(wire.local.listening) not in ("none", "starttls"):
            wire.close()
            return
        wire.write(self._busy(self._service))
        Farewell(self._service.clock, wire, LINGERING_READ)

    def _begin(self, wire: Wire) -> None:
        try:
            self._service.tune(wire)
            session = Session(self._service, wire, self._conversation(self._service))
        except Exception:
            # A connection that nobody owns would stay until the client goes.
            self._service.log.failure("{service} cannot take a connection", service=self._service.name)
            wire.abort()
        else:
            session.begin()
