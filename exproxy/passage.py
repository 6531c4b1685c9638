"""A client whose protocol reads nothing: chosen for, connected and relayed from socket to socket.

What a session with such a conversation (IPassing) would come to, without wires, streams and events: the
client's bytes stay in its socket until they can be moved, and the record says the same.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from exproxy.connect import Connecting
from exproxy.detaching import Detached
from exproxy.dialling import Dial
from exproxy.dispatch import Attempts
from exproxy.farewell import LINGERING_READ
from exproxy.interfaces import IBackend, ILease
from exproxy.model import CLIENT, Choice, Destination, Facts, Side, Source
from exproxy.poller import Poller
from exproxy.proxy_protocol import build
from exproxy.readiness import BROKEN, REST
from exproxy.record import AccessRecord
from exproxy.relay.joined import LOST
from exproxy.relay.sockets import SocketRelay

if TYPE_CHECKING:
    from exproxy.pool import Pool
    from exproxy.virtual import VirtualService


class Passage(Attempts):
    """One client. ``peer``, ``local`` and ``record`` are for reading by others."""

    __slots__ = (
        "_lease",
        "_poller",
        "_ready",
        "_refused",
        "_socket",
        "_thorough",
        "began",
        "local",
        "number",
        "peer",
        "record",
        "relay",
    )

    def __init__(
        self,
        service: VirtualService,
        poller: Poller,
        pool: Pool,
        sock: socket.socket,
        peer: Source,
        local: Destination,
    ) -> None:
        """``sock`` is connected and does not block."""
        super().__init__(service, pool, Facts(peer, local))
        self.peer = peer
        self.local = local
        self.record = AccessRecord(service, peer)
        self.relay: SocketRelay | None = None
        self._poller = poller
        self._socket: socket.socket | None = sock
        self._lease: ILease | None = None
        self._ready = self._thorough = self._refused = False
        # Its service gives it one of its own.
        self.number, self.began = 0, service.clock.seconds()

    def __repr__(self) -> str:
        state = "relaying" if self.relay else "refused" if self._refused else "choosing"
        return f"<Passage {self._service.name} {self.peer.host}:{self.peer.port} {state}>"

    def begin(self) -> None:
        """Choose a server."""
        self._service.opened(self)
        try:
            assert self._socket is not None
            self._poller.watch(self._socket.fileno(), self)
            self.record.picking()
            self.attempt()
        except Exception:
            self._service.log.failure("{session} failed", session=self)
            self.cut("internal error")

    def drain(self, until: float) -> None:
        """The service is being emptied: a relayed connection goes on."""

    # -- for those who look on -----------------------------------------------------------

    @property
    def service(self) -> VirtualService:
        """Whose client it is."""
        return self._service

    @property
    def state(self) -> str:
        """See Session."""
        return "closing" if self._refused else "relaying" if self.relay is not None else "open"

    @property
    def tls(self) -> None:
        """A passage has none of ours."""

    @property
    def moved(self) -> tuple[int, int]:
        """See Session."""
        return self.relay.moved if self.relay is not None else (0, 0)

    @property
    def backends(self) -> tuple[IBackend, ...]:
        """See Session."""
        return (self._lease.backend,) if self._lease is not None else ()

    @property
    def asked(self) -> Attempts:
        """See Session."""
        return self

    @property
    def pinned(self) -> None:
        """There is no other connection that it might have."""

    # -- the end ---------------------------------------------------------------------

    def cut(self, reason: str) -> None:
        """Drop everything now."""
        self.record.ended_by(reason)
        if self.relay is not None:
            self.relay.cut(reason)
        else:
            self._end()

    # -- the choice ------------------------------------------------------------------

    def connect(self, choice: Choice) -> Connecting:
        """See Attempts."""
        service, backend = self._service, choice.backend
        seen = backend.client_address.transparent
        where = (backend.host, backend.port)
        dial = Dial(self._poller, self, where, service.timeouts.connect, None, bare=True)
        dial.start(service.numbers, (self.peer.host, 0) if seen else None, seen)
        return dial

    def linked(self, connection: socket.socket, choice: Choice) -> None:
        """See Attempts."""
        client = self._socket
        assert client is not None
        self.record.tried(self.tries)
        self.record.connected(choice)
        version = choice.backend.client_address.send_proxy
        header = build(version, self.peer, self.local) if version is not None else b""
        here = Detached(client, b"", b"", True, self._ready, self._thorough)
        there = Detached(connection, b"", header, True)
        service = self._service
        relay = SocketRelay(here, there, self, self._poller, service.timeouts.idle)
        relay.start(here, there)
        self.relay = relay
        self._socket = None
        lease = self._lease = choice.lease
        if lease is not None:
            lease.take_over(self.cut, self.drain)
            # It may have been cut, or asked to leave, while it was being made.
            lease.overdue()

    def reused(self, choice: Choice) -> None:
        """See Attempts; there is never another link."""
        raise RuntimeError("a passage has no link to be used again")

    def unwanted(self, connection: socket.socket) -> None:
        """See Attempts."""
        self._poller.forget(connection.fileno())
        connection.close()

    def unavailable(self, reason: str, full: bool) -> None:
        """See Attempts."""
        self.record.tried(self.tries)
        self.record.unavailable(reason)
        sock = self._socket
        if sock is None:
            self._end()
            return
        self._refused = True
        with suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        self._poller.alarms.set(self, LINGERING_READ)
        if self._ready:
            self._poller.later(self._drop_bytes)

    # -- in the poller ---------------------------------------------------------------

    def serve(self, poller: Poller, events: int) -> None:
        """See Served: the client has said something, or has gone. It is read when there is somebody to
        hear it."""
        self._ready = True
        if events & REST:
            self._thorough = True
        if self._refused:
            self._drop_bytes()
        elif events & BROKEN:
            self.record.ended_by(f"client lost: {LOST}")
            self._end()

    def _drop_bytes(self) -> None:
        """Of a refused client, until its end."""
        sock = self._socket
        if sock is None:
            return
        try:
            while sock.recv_into(self._poller.buffer):
                pass
        except BlockingIOError:
            return
        except OSError:
            pass
        self._end()

    def too_late(self) -> None:
        """See Late."""
        self._end()

    def fail(self) -> None:
        """See Served."""
        self.cut("internal error")

    def stop(self) -> None:
        """See Served."""
        self.cut("the reactor was stopped")

    # -- the end ---------------------------------------------------------------------

    def finished(self, side: Side | None, reason: str) -> None:
        """See RelayUser."""
        if side is None:
            self.record.ended_by(reason)
        elif reason == "closed":
            self.record.ended_by("client closed" if side is CLIENT else "backend closed")
        else:
            self.record.ended_by(f"{side.value} lost: {reason}")
        self._end()

    def _end(self) -> None:
        sock, self._socket = self._socket, None
        lease, self._lease = self._lease, None
        relay, self.relay = self.relay, None
        self.cancel()
        if sock is not None:
            self._poller.alarms.unset(self, LINGERING_READ)
            self._poller.forget(sock.fileno())
            os.close(sock.detach())
        if lease is not None:
            lease.release()
        if sock is None and relay is None:
            # Over already.
            return
        try:
            moved = relay.moved if relay is not None else (0, 0)
            self.record.write(*moved, final=True)
        finally:
            self._service.closed(self)
