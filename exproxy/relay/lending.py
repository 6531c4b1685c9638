"""The bounded relay between two plain streams: bytes pass in the kernel, or through the shared buffer.

Nothing is told of a piece that passes, and none of it becomes an object. Everything else (who is attached to
the wire, how it is given back, ends, losses, a full sink) is the bounded relay's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from errno import EINVAL, ENOSYS
from typing import TYPE_CHECKING

from exproxy.interfaces import IWire, IWireUser
from exproxy.relay.bounded import BoundedRelay
from exproxy.relay.pipes import Pipe

if TYPE_CHECKING:
    from exproxy.poller import Poller
    from exproxy.stream import Stream

# Bytes moved at a time: what waits in memory where the sink is suddenly full.
PIECE = 256 * 1024
# Bytes moved before others have their turn.
SHARE = 1024 * 1024

_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)


class StreamLoan(BoundedRelay):
    """A bounded relay that has the source's socket on loan; see exproxy.stream.Stream.lent."""

    def __init__(
        self,
        source: IWire,
        sink: IWire,
        limit: int,
        heir: IWireUser,
        done: Callable[[int], None],
        streams: tuple[Stream, Stream],
    ) -> None:
        """``streams``: the transports of both wires, each plain."""
        self._from, self._to = streams
        # What the wire has kept comes first, as to any new user.
        super().__init__(source, sink, limit, heir, done)
        if self._done is not None:
            self._from.lent = self

    def move(self, poller: Poller) -> bool:
        """Move what there is, at most one's share; True where the source says no more. Raises
        BlockingIOError where nothing is left to read now, and OSError where the source is lost."""
        share = SHARE
        while self._done is not None and share > 0 and self._from.reading:
            count = self._piece(poller)
            if not count:
                return True
            share -= count
            poller.share -= count
            self.count += count
            self._left -= count
            if not self._left:
                self._give_back()
        return False

    def _piece(self, poller: Poller) -> int:
        assert self._from.socket is not None
        number, most = self._from.socket.fileno(), min(self._left, PIECE)
        # Where bytes are queued for the sink these come after them.
        sink = self._to.socket if self._to.free else None
        pipe = poller.pipes.take() if sink is not None and most > 1 else None
        if pipe is None or sink is None:
            return self._copy(poller, most)
        try:
            count = os.splice(number, pipe[1], most, flags=_FLAGS)
        except OSError as error:
            poller.pipes.give(pipe)
            if error.errno not in (EINVAL, ENOSYS):
                raise
            # Not these sockets, or not this system.
            poller.pipes.refuse()
            return self._copy(poller, most)
        self._drain(pipe, sink, count)
        poller.pipes.give(pipe)
        return count

    def _copy(self, poller: Poller, most: int) -> int:
        count = self._from.channel.recv_into(poller.buffer, most)
        if count:
            self._sink.write(bytes(poller.buffer[:count]))
        return count

    def _drain(self, pipe: Pipe, sink: socket.socket, count: int) -> None:
        """Out of the pipe into the sink; what that does not take now is queued for it, and where it is
        broken it finds that out by itself."""
        try:
            while count:
                count -= os.splice(pipe[0], sink.fileno(), count, flags=_FLAGS)
        except OSError:
            rest = []
            while count:
                rest.append(os.read(pipe[0], count))
                count -= len(rest[-1])
            self._sink.write(b"".join(rest))

    def _give_back(self) -> None:
        if self._from.lent is self:
            self._from.lent = None
        super()._give_back()
