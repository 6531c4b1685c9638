"""One end of a channel: a socket pair in the reactor, that takes messages and gives messages, never blocking.

What is sent is in the system's hands when send() returns, unless the other end does not read: then it waits
here, up to WAITING bytes, and after that the channel counts as lost.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from zope.interface import implementer

from exproxy.workers.codec import Decoder, Garbled, encode
from exproxy.workers.messages import Message

# Bytes that may wait for an end that does not read.
WAITING = 16 * 1024 * 1024
# Bytes of one read, and reads of one turn.
_READ = 256 * 1024
_READS = 4


@implementer(IReadDescriptor, IWriteDescriptor)
class Channel:
    """``received(messages)`` hears what came, in order; ``lost(why)`` is called once, at the end."""

    def __init__(
        self,
        reactor: Any,
        sock: socket.socket,
        received: Callable[[list[Message]], None],
        lost: Callable[[str], None],
        decoder: Decoder | None = None,
    ) -> None:
        """``decoder``: where something was read before."""
        sock.setblocking(False)
        self._reactor = reactor
        self._socket: socket.socket | None = sock
        self._received = received
        self._lost = lost
        self._decoder = decoder or Decoder()
        self._waiting = bytearray()
        # Why it is over, found out while something else was done.
        self._broken: str | None = None

    def __repr__(self) -> str:
        state = "closed" if self._socket is None else f"{len(self._waiting)} bytes waiting"
        return f"<Channel {state}>"

    def start(self) -> None:
        """Begin to hear."""
        if self._socket is not None:
            self._reactor.addReader(self)

    def send(self, message: Message) -> None:
        """Send it; nothing happens where the channel is over."""
        if self._socket is None or self._broken is not None:
            return
        data = encode(message)
        if self._waiting:
            self._waiting += data
            if len(self._waiting) > WAITING:
                self._break(f"the other end does not read ({len(self._waiting)} bytes wait)")
            return
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._break(f"the other end has gone ({error.strerror})")
            return
        if sent < len(data):
            self._waiting += memoryview(data)[sent:]
            self._reactor.addWriter(self)

    def read(self) -> list[Message]:
        """What has come by now; the end is told later, by ``lost``."""
        found: list[Message] = []
        for _ in range(_READS):
            if self._socket is None or self._broken is not None:
                break
            try:
                data = self._socket.recv(_READ)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._break(f"the other end has gone ({error.strerror})")
                break
            if not data:
                self._break("the other end has gone")
                break
            try:
                found += self._decoder.feed(data)
            except Garbled as error:
                self._break(str(error))
                break
            if len(data) < _READ:
                break
        return found

    def close(self) -> None:
        """Let it go; ``lost`` is not called. Idempotent."""
        sock, self._socket = self._socket, None
        if sock is not None:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            sock.close()

    def _break(self, why: str) -> None:
        if self._broken is None:
            self._broken = why
            # Not from within whatever is being done: it may count on everything as it is.
            self._reactor.callLater(0, self._over)

    def _over(self) -> None:
        if self._socket is not None:
            self.close()
            self._lost(self._broken or "closed")

    # -- the reactor's ---------------------------------------------------------------

    def fileno(self) -> int:
        """See IReadDescriptor."""
        return self._socket.fileno() if self._socket is not None else -1

    def logPrefix(self) -> str:
        """See IReadDescriptor."""
        return "channel"

    def doRead(self) -> None:
        """See IReadDescriptor."""
        messages = self.read()
        if messages:
            self._received(messages)
        if self._broken is not None:
            self._over()

    def doWrite(self) -> None:
        """See IWriteDescriptor."""
        if self._socket is None:
            return
        try:
            while self._waiting:
                sent = self._socket.send(memoryview(self._waiting)[:_READ])
                del self._waiting[:sent]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._break(f"the other end has gone ({error.strerror})")
        self._reactor.removeWriter(self)

    def connectionLost(self, reason: Any) -> None:
        """See IReadDescriptor: the reactor gives up on it."""
        self._break("the reactor has given it up")
