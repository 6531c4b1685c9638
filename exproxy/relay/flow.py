"""One direction of a relay between two sockets: recv_into and send, or splice once it is bulk.

Readiness is edge-triggered: a flow reads until nothing more comes, its sink is full, or its share of the
turn is used up. While its sink is full it is ``blocked``: what could not be sent waits, and nothing more is
read, so that the system slows the sender.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from errno import EINVAL, ENOSYS
from typing import TYPE_CHECKING

from exproxy.model import Side
from exproxy.readiness import BROKEN, OUT, REST
from exproxy.relay.pipes import CAPACITY, Pipe

if TYPE_CHECKING:
    from exproxy.poller import Poller
    from exproxy.relay.sockets import SocketRelay

# Bytes read at a time, and so the most that waits here for a client that does not read ...
READ = 64 * 1024
# ... and where a direction is bulk and there is no pipe for it.
BULK_READ = 256 * 1024
# So many full reads in a row make a direction bulk; one that brings less makes it an ordinary one again.
BULK = 4
# Bytes that one direction moves before the others have their turn.
SHARE = 1024 * 1024

_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)


class Flow:
    """From ``source`` to ``sink``. ``count``: bytes that came so far; ``done``: nothing more is read;
    ``thorough``: it is read until nothing comes, whatever a read brings. ``back`` is the other direction,
    which writes to the source."""

    __slots__ = (
        "back",
        "blocked",
        "count",
        "done",
        "full",
        "pending",
        "pipe",
        "piped",
        "relay",
        "side",
        "sink",
        "source",
        "thorough",
    )

    def __init__(
        self, relay: SocketRelay, side: Side, source: socket.socket, sink: socket.socket, pending: bytes
    ) -> None:
        """``pending`` are bytes for the sink that come before all others."""
        self.relay = relay
        self.back: Flow = self
        self.side = side
        self.source = source
        self.sink = sink
        self.pending: bytes | memoryview = pending
        self.blocked = bool(pending)
        self.count = 0
        self.done = False
        self.thorough = False
        self.full = 0
        self.pipe: Pipe | None = None
        self.piped = 0

    # -- in the poller ---------------------------------------------------------------

    def serve(self, poller: Poller, events: int) -> None:
        """See Served: the source can be read, or written to."""
        if events & REST:
            self.thorough = True
        back = self.back
        if back.blocked and events & OUT:
            back.move(poller)
        if self.done:
            if events & BROKEN:
                self.relay.lost(self.side)
        elif events != OUT and not self.blocked:
            if self.full < BULK:
                self._copy(poller, READ)
                if self.full < BULK or self.blocked or self.done:
                    return
            self.move(poller)

    def fail(self) -> None:
        """See Served."""
        self.relay.cut("internal error")

    def stop(self) -> None:
        """See Served's drop."""
        self.relay.drop()

    def look(self) -> None:
        """What epoll has reported to whoever had the sockets before is not reported again."""
        if not self.done:
            self.move(self.relay.poller)

    # -- moving ----------------------------------------------------------------------

    def move(self, poller: Poller) -> None:
        """Send what waits, then move what there is."""
        if self.blocked:
            self._flush(poller)
            if self.blocked or self.done:
                return
        if self.full < BULK:
            self._copy(poller, READ)
            if self.full < BULK or self.blocked or self.done:
                return
        pipe = poller.pipes.take() if poller.share > 0 else None
        if pipe is not None:
            self._splice(poller, pipe)
        else:
            self._copy(poller, BULK_READ)

    def drop(self, poller: Poller) -> None:
        """Nothing more is read, and what waits is forgotten; idempotent."""
        self.done = True
        self.blocked = False
        self.pending = b""
        pipe, self.pipe = self.pipe, None
        if pipe is not None:
            poller.pipes.drop(pipe)

    # -- copying ---------------------------------------------------------------------

    def _copy(self, poller: Poller, size: int) -> None:
        buffer, last = poller.buffer, poller.share - SHARE
        while poller.share > last:
            try:
                count = self.source.recv_into(buffer, size)
            except BlockingIOError:
                self.full = 0
                return
            except OSError:
                self.relay.lost(self.side)
                return
            if not count:
                self._end()
                return
            poller.share -= count
            self.count += count
            self.relay.last = poller.now
            try:
                sent = self.sink.send(buffer[:count])
            except BlockingIOError:
                sent = 0
            except OSError:
                self.relay.unsendable(self.side)
                return
            if sent < count:
                self.pending = memoryview(bytes(buffer[sent:count]))
                self.blocked = True
                return
            if count == size:
                self.full += 1
                if self.full == BULK:
                    return
            else:
                if count < READ:
                    self.full = 0
                if not self.thorough:
                    # Less than was asked for was all there is; more will be news.
                    return
        poller.again(self.source.fileno())

    def _flush(self, poller: Poller) -> None:
        """Send what waits until all is gone or the sink is full again."""
        try:
            if self.pipe is not None:
                if not self._drain_pipe(self.pipe):
                    return
                poller.pipes.give(self.pipe)
                self.pipe = None
            elif not self._send_pending():
                return
        except OSError:
            self.relay.unsendable(self.side)
            return
        finally:
            self.relay.last = poller.now
        self.blocked = False
        if self.done:
            self.relay.flushed()

    def _send_pending(self) -> bool:
        while self.pending:
            try:
                self.pending = memoryview(self.pending)[self.sink.send(self.pending) :]
            except BlockingIOError:
                return False
        self.pending = b""
        return True

    # -- splicing --------------------------------------------------------------------

    def _splice(self, poller: Poller, pipe: Pipe) -> None:
        """Through the pipe, which is given back unless bytes stay in it."""
        moved = 0
        while moved < SHARE:
            try:
                count = os.splice(self.source.fileno(), pipe[1], CAPACITY, flags=_FLAGS)
            except BlockingIOError:
                break
            except OSError as error:
                self._unspliced(poller, pipe, error)
                return
            if not count:
                poller.pipes.give(pipe)
                self._end()
                return
            moved += count
            poller.share -= count
            self.count += count
            self.piped = count
            self.relay.last = poller.now
            try:
                empty = self._drain_pipe(pipe)
            except OSError:
                poller.pipes.drop(pipe)
                self.relay.unsendable(self.side)
                return
            if not empty:
                self.pipe = pipe
                self.blocked = True
                return
        poller.pipes.give(pipe)
        if moved < READ:
            self.full = 0
        if moved >= SHARE:
            poller.again(self.source.fileno())

    def _drain_pipe(self, pipe: Pipe) -> bool:
        sink = self.sink.fileno()
        while self.piped:
            try:
                self.piped -= os.splice(pipe[0], sink, self.piped, flags=_FLAGS)
            except BlockingIOError:
                return False
        return True

    def _unspliced(self, poller: Poller, pipe: Pipe, error: OSError) -> None:
        poller.pipes.give(pipe)
        if error.errno in (EINVAL, ENOSYS):
            # Not these sockets, or not this system: what there is will be copied.
            poller.pipes.refuse()
            poller.again(self.source.fileno())
        else:
            self.relay.lost(self.side)

    def _end(self) -> None:
        """The source has said all: so does the sink."""
        self.done = True
        if not self.back.done:
            # Else both are closed now, which says it too.
            with suppress(OSError):
                self.sink.shutdown(socket.SHUT_WR)
        self.relay.ended(self.side)
