"""A stream whose bytes are TLS: it takes a plain one's place, at once or when both sides agreed (STARTTLS).

Nothing is delivered while it is paused, and nothing keeps it from closing. A handshake goes on when its
turn comes (see exproxy.tls.handshakes). TLS has no half-close here: the peer's close_notify ends the
connection after what is queued for it, and ours waits for the peer's end, so that no reset overtakes our
last words.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from OpenSSL import SSL
from twisted.internet.interfaces import ISSLTransport
from zope.interface import implementer

from exproxy.channel import CLOSED, LOST, reason_of
from exproxy.readiness import IN, OUT
from exproxy.stream import SHARE, Stream
from exproxy.tls.channel import TLSChannel

if TYPE_CHECKING:
    from exproxy.poller import Poller


class Maker(Protocol):
    """ServerTLS or ClientTLS."""

    def channel(self, sock: socket.socket) -> TLSChannel:
        """TLS on a non-blocking socket, before its handshake."""


@implementer(ISSLTransport)
class SecuredStream(Stream):
    """See the module. ``tls`` is its channel."""

    __slots__ = ("_leaving", "_plain", "tls")

    def __init__(self, stream: Stream, maker: Maker) -> None:
        """Take over everything that ``stream`` has, whose protocol has this transport from now on.

        Raises what ``maker`` does; then nothing has changed.
        """
        assert stream.socket is not None
        tls = maker.channel(stream.socket)
        protocol, poller = stream.protocol, stream._poller
        paused, producer, waits = stream._paused, stream._producer, stream._waits
        given = stream.detach()
        super().__init__(poller, given.socket, stream.peer, stream.here, tuned=True)
        self.channel = self.tls = tls
        self.tls.later = self._later
        # What was written before has to be sent before the handshake; what is written now, after it.
        self._plain = given.unsent
        self._queue = deque()
        self._leaving = False
        self._paused, self._producer, self._waits = paused, producer, waits
        self.protocol, protocol.transport = protocol, self
        poller.watch(self._number, self, known=True)
        # Where nothing has come, a server has nothing to do; a client begins.
        if given.ready or self.tls.begins:
            poller.handshakes.put(self, poller.later, tls.begins)

    # -- in the poller ---------------------------------------------------------------

    def serve(self, poller: Poller, events: int) -> None:
        """See Served."""
        tls = self.tls
        if self._leaving:
            self._drain()
        elif not tls.secured:
            if events != OUT or tls.wants_write or self._plain:
                poller.handshakes.put(self, poller.later, tls.begins)
        else:
            if tls.wants_read or tls.wants_write:
                # Keys are agreed upon anew (TLS 1.2, by the server): each direction may wait for the other.
                events |= IN | OUT
            super().serve(poller, events)
            if self.disconnecting:
                self._maybe_close()

    def shake(self) -> None:
        """See Shaking."""
        if self.socket is None or self.tls.secured:
            return
        try:
            if (self._plain and not self._send_plain()) or not self.tls.handshake():
                return
        except OSError as error:
            self._lose(reason_of(error))
            return
        self.protocol.handshakeCompleted()
        if self._queue is not None:
            self._flush()
        # What came with the handshake's last bytes is news no more.
        self._ready = True
        self._go_on()

    def _send_plain(self) -> bool:
        assert self.socket is not None
        try:
            self._plain = self._plain[self.socket.send(self._plain) :]
        except BlockingIOError:
            return False
        return not self._plain

    def _later(self) -> None:
        """The channel found an end behind the bytes that it gives: the read goes on."""
        self.thorough = True

    # -- ends ------------------------------------------------------------------------

    def loseWriteConnection(self) -> None:
        """TLS has no such thing."""

    def _end(self) -> None:
        """close_notify: whatever is queued is still sent."""
        self._ended, self._ready = True, False
        if self._broken:
            self._lose(self._reason)
            return
        self.disconnecting = True
        self._producer, self._waits = None, False
        self._maybe_close()

    def _maybe_close(self) -> None:
        if not self.disconnecting or self._producer is not None or self.socket is None or self._leaving:
            return
        if not self.tls.secured:
            if not self._queue:
                self.abortConnection()
        elif self._queue is None and self.tls.shutdown():
            self._part()

    def _part(self) -> None:
        """Our close_notify is with the system."""
        assert self.socket is not None
        if self._ended:
            self._shut(CLOSED)
            return
        self._leaving = True
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._shut(LOST)
        else:
            self._poller.later(self._drain)

    def _drain(self) -> None:
        """Wait for the other side's end; what it says until then nobody wants to know."""
        buffer, left = self._poller.buffer, SHARE
        while self.socket is not None:
            try:
                count = self.socket.recv_into(buffer)
            except BlockingIOError:
                return
            except OSError:
                count = 0
            left -= count
            if not count:
                self._lose(CLOSED)
            elif left <= 0:
                self._poller.again(self._number)
                return

    def _close(self) -> None:
        self._poller.handshakes.drop(self)
        self.tls.close()
        super()._close()

    # -- ISSLTransport ---------------------------------------------------------------

    def getHandle(self) -> Any:
        """The SSL.Connection, None when it is gone."""
        return self.tls.connection

    def getPeerCertificate(self) -> Any:
        """See ISSLTransport."""
        connection: SSL.Connection | None = self.tls.connection
        return connection.get_peer_certificate() if connection is not None else None
