"""One connection in the poller: a transport of our own.

To its protocol a Stream is a transport of Twisted's: ITCPTransport, a push producer of what it reads and a
consumer of what is written. Where it differs it promises more: nothing is delivered while it is paused, an
end or a loss is told outside of every call that is made to it, and a FIN of either side is never forgotten.

It reads and writes through a *channel*, which for plain TCP is the socket itself. Another one goes in by
assigning ``channel`` (over ``socket``) and setting ``thorough``; see Channel for what it owes. The Stream
queues, pauses, shares and ends alike for all of them; it calls ``recv_into`` when epoll has reported
anything but room to write, and ``send`` when there is something queued and room. A stream whose channel is
not its socket has no socket to give (``detachable``).
"""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy.channel import ABORTED, CLOSED, LOST, Channel, reason_of
from exproxy.detaching import Detached
from exproxy.endpoints import Endpoints
from exproxy.model import Destination, Source
from exproxy.readiness import BROKEN, ERR, OUT, REST
from exproxy.socket_options import RESET

if TYPE_CHECKING:
    from exproxy.poller import Poller
    from exproxy.relay.lending import StreamLoan

# Bytes read at a time: a first read, and those after one that was full.
READ = 64 * 1024
MORE = 256 * 1024
# Bytes that one stream reads before the others have their turn.
SHARE = 1024 * 1024
# Bytes queued for a slow reader at which the producer is paused, and at which it goes on.
HIGH = 256 * 1024
LOW = 64 * 1024


@implementer(ITCPTransport, IConsumer, IPushProducer)
class Stream(Endpoints):
    """See the module. ``peer`` and ``here`` are the addresses at both ends; ``tuned``: the socket has all
    its options already; ``thorough``: see Channel. ``protocol`` may be replaced (by TLS, or whoever takes the
    connection over). ``lent``: who moves what is read while it has the socket on loan, for so many bytes."""

    __slots__ = (
        "_broken",
        "_ended",
        "_halved",
        "_halving",
        "_number",
        "_paused",
        "_poller",
        "_producer",
        "_queue",
        "_queued",
        "_ready",
        "_reason",
        "_waits",
        "channel",
        "disconnecting",
        "lent",
        "protocol",
        "thorough",
        "tuned",
    )

    def __init__(
        self, poller: Poller, sock: socket.socket, peer: Source, here: Destination | None, tuned: bool = False
    ) -> None:
        """``sock`` is connected and does not block; ``here``: see Endpoints."""
        self._poller = poller
        self._number = sock.fileno()
        super().__init__(sock, peer, here)
        self.channel: Channel = sock
        self.tuned = tuned
        self.protocol: Any = None
        self.disconnecting = False
        self.lent: StreamLoan | None = None
        self.thorough = False
        self._paused = False
        # Epoll has reported something to read that was not read to its end.
        self._ready = False
        # The other side has said all; we are to say nothing more; that has been told.
        self._ended = self._halving = self._halved = False
        # A write has found out that the connection is lost.
        self._broken = False
        self._queue: deque[bytes | memoryview] | None = None
        self._queued = 0
        self._producer: Any = None
        # The producer is paused for our sake.
        self._waits = False
        self._reason = CLOSED

    def __repr__(self) -> str:
        state = "gone" if self.socket is None else "closing" if self.disconnecting else "open"
        return f"<Stream {self.peer.host}:{self.peer.port} {state}, {self._queued} bytes queued>"

    def begin(self, protocol: Any, known: bool = False) -> None:
        """Serve ``protocol`` from now on. ``known``: see Poller.watch, which may raise OSError."""
        self._poller.watch(self._number, self, known)
        self.protocol = protocol
        protocol.makeConnection(self)

    # -- in the poller ---------------------------------------------------------------

    def serve(self, poller: Poller, events: int) -> None:
        """See Served."""
        if events & REST:
            self.thorough = True
        if self._queue is not None and events & OUT:
            self._flush()
            if self.socket is None:
                return
        if events == OUT:
            return
        if self.disconnecting or self._ended:
            # Once both sides have said all the system reports a hang-up, which is none.
            if events & BROKEN and (events & ERR or not self._halved):
                self._lose(LOST)
        elif self._paused:
            self._ready = True
        else:
            self._read(poller)

    def fail(self) -> None:
        """See Served."""
        self.abortConnection()

    def stop(self) -> None:
        """See Served."""
        self._lose(LOST)

    def _read(self, poller: Poller) -> None:
        if self.lent is not None:
            self._lend(poller, self.lent)
            return
        receive, buffer, size, left = self.channel.recv_into, poller.buffer, READ, SHARE
        while True:
            try:
                count = receive(buffer, size)
            except BlockingIOError:
                self._ready = False
                return
            except OSError as error:
                self._lose(reason_of(error))
                return
            if not count:
                self._end()
                return
            # Said before it is told, since whoever hears the bytes may take the socket.
            self._ready = more = count == size or self.thorough
            self.protocol.dataReceived(bytes(buffer[:count]))
            left -= count
            poller.share -= count
            if not more or not self.reading:
                return
            if left <= 0:
                poller.later(self._go_on)
                return
            receive, size = self.channel.recv_into, MORE

    def _lend(self, poller: Poller, loan: StreamLoan) -> None:
        self._ready = True
        try:
            ended = loan.move(poller)
        except BlockingIOError:
            self._ready = False
        except OSError as error:
            self._lose(reason_of(error))
        else:
            self._end() if ended else poller.later(self._go_on)

    def _go_on(self) -> None:
        """Read what epoll has reported and nobody has read, when others have had their turn."""
        if not self._ready or self._ended or not self.reading:
            return
        poller = self._poller
        if poller.share <= 0:
            poller.later(self._go_on)
            return
        try:
            self._read(poller)
        except Exception:
            poller.failed(self)

    def look(self) -> None:
        """There may be something to read of which epoll has told before: it tells again."""
        self._poller.again(self._number)

    def _end(self) -> None:
        self._ended, self._ready = True, False
        if self._broken:
            # The system tells of the error once, and the write has heard it.
            self._lose(self._reason)
        elif IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self._lose(CLOSED)

    # -- IPushProducer ---------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Deliver nothing until resumeProducing(), and no end either: what came before it is first."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Deliver again."""
        self._paused = False
        if self._ready:
            self._poller.later(self._go_on)

    def stopProducing(self) -> None:
        """See IPushProducer."""
        self.loseConnection()

    # -- writing ---------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send at once what goes, and queue the rest; nothing after an end that was asked for."""
        if self.socket is None or self.disconnecting or self._halving or not data:
            return
        queue = self._queue
        if queue is None:
            try:
                sent = self.channel.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._unsendable(error)
                return
            if sent == len(data):
                return
            self._queue = deque((memoryview(data)[sent:],))
            self._queued = len(data) - sent
        else:
            queue.append(data)
            self._queued += len(data)
        if self._queued >= HIGH and self._producer is not None and not self._waits:
            self._waits = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        """See ITransport."""
        self.write(b"".join(data))

    def _flush(self) -> None:
        queue = self._queue
        assert queue is not None
        send = self.channel.send
        try:
            while queue:
                data = queue[0]
                sent = send(data)
                self._queued -= sent
                if sent == len(data):
                    queue.popleft()
                else:
                    queue[0] = memoryview(data)[sent:]
        except BlockingIOError:
            pass
        except OSError as error:
            self._unsendable(error)
            return
        if not queue:
            self._queue = None
            if self._halving and not self._halved:
                self._halve()
            self._maybe_close()
        if self._waits and self._queued <= LOW and self._producer is not None:
            self._waits = False
            self._producer.resumeProducing()

    def _unsendable(self, error: OSError) -> None:
        """The connection is broken. What the other side said before is read first, as far as it is wanted."""
        self._queue, self._queued = None, 0
        self._halving = self._broken = True
        self._reason = reason_of(error)
        if self._waits and self._producer is not None:
            # Whoever was stopped for its sake need not wait any more.
            self._waits = False
            self._poller.later(self._producer.resumeProducing)
        if self._ended or self.disconnecting:
            self._shut(self._reason)
        else:
            self._ready = self.thorough = True
            self._poller.later(self._go_on)

    # -- IConsumer -------------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause ``producer``, a push producer, while much is queued."""
        if not streaming:
            raise ValueError("a Stream has no use for a pull producer")
        if self._producer is not None:
            raise RuntimeError("a Stream has one producer at a time")
        if self.socket is None:
            producer.stopProducing()
        else:
            self._producer = producer

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        self._producer = None
        self._waits = False
        self._maybe_close()

    # -- ends ------------------------------------------------------------------------

    def loseConnection(self) -> None:
        """Close when what was written is sent, and no producer is registered any more."""
        if self.socket is not None and not self.disconnecting:
            self.disconnecting = True
            self._maybe_close()

    def abortConnection(self) -> None:
        """Reset the connection now."""
        if self.socket is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._shut(ABORTED)

    def loseWriteConnection(self) -> None:
        """Say no more after what was written; what the other side says is still read."""
        if self.socket is not None and not self._halving:
            self._halving = True
            if self._queue is None:
                self._halve()

    def _halve(self) -> None:
        assert self.socket is not None
        self._halved = True
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._unsendable(error)
            return
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self._poller.later(self.protocol.writeConnectionLost)

    def _maybe_close(self) -> None:
        if self.disconnecting and self._queue is None and self._producer is None and self.socket is not None:
            self._shut(CLOSED)

    def _close(self) -> None:
        sock, self.socket = self.socket, None
        self._queue, self._queued, self._producer = None, 0, None
        self._poller.forget(self._number)
        if sock is not None:
            sock.close()

    def _shut(self, reason: Failure) -> None:
        """Close now, and say so when nobody is being called any more."""
        self._close()
        self._reason = reason
        self._poller.later(self._tell)

    def _lose(self, reason: Failure) -> None:
        """Close, and say so."""
        self._close()
        self._reason = reason
        self._tell()

    def _tell(self) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(self._reason)

    @property
    def reading(self) -> bool:
        """Whether anything may be read now."""
        return self.socket is not None and not self._paused and not self.disconnecting

    @property
    def free(self) -> bool:
        """Whether what is written now goes straight to the socket, which is plain."""
        return self._queue is None and self.detachable

    # -- giving the socket up --------------------------------------------------------

    @property
    def detachable(self) -> bool:
        """Whether detach() would give the socket: it is plain, and no end of ours has begun."""
        return self.channel is self.socket and not self.disconnecting and not self._halving

    def detach(self) -> Detached:
        """Give the socket up, where ``detachable``; nobody is told anything any more, not even of the end."""
        sock = self.socket
        assert sock is not None
        unsent = b"".join(self._queue) if self._queue is not None else b""
        given = Detached(sock, b"", unsent, True, self._ready or self._ended, self.thorough)
        self._poller.forget(self._number)
        self.socket = self.protocol = self._producer = self._queue = None
        self._queued = 0
        return given
