"""The fast relay: two sockets without transports, two flows, one poller for all of them."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from exproxy.detaching import Detached
from exproxy.model import BACKEND, CLIENT, Side
from exproxy.relay.flow import Flow
from exproxy.relay.joined import CLOSED, LINGER, LOST, RelayUser, other
from exproxy.socket_options import RESET

if TYPE_CHECKING:
    from exproxy.poller import Poller


class SocketRelay:
    """An endless relay at work; see exproxy.relay.joined.Relay.

    ``last`` and ``idle`` are read by the sweep, and ``last`` is set by the flows.
    """

    __slots__ = ("_counts", "_down", "_first", "_gone", "_up", "_user", "idle", "last", "poller")

    def __init__(
        self, client: Detached, backend: Detached, user: RelayUser, poller: Poller, idle: float
    ) -> None:
        self.idle = idle
        self.last = poller.sweep.clock.seconds()
        self.poller = poller
        self._user: RelayUser | None = user
        self._first: tuple[Side | None, str] | None = None
        self._gone: Side | None = None
        up = Flow(self, CLIENT, client.socket, backend.socket, backend.unsent + client.unread)
        down = Flow(self, BACKEND, backend.socket, client.socket, client.unsent + backend.unread)
        up.count, down.count = len(client.unread), len(backend.unread)
        up.back, down.back = down, up
        self._up, self._down = up, down
        # Once it is over.
        self._counts: tuple[int, int] | None = None

    def start(self, client: Detached, backend: Detached) -> None:
        """Begin; nothing moves before the poller's next turn, so nobody is called from here."""
        poller = self.poller
        poller.sweep.add(self)
        try:
            for flow, end in ((self._up, client), (self._down, backend)):
                poller.watch(flow.source.fileno(), flow, end.watched)
                flow.thorough = end.thorough
                if flow.blocked or end.ready:
                    poller.later(flow.look)
        except OSError as error:
            # Linux's fs.epoll.max_user_watches, or no memory.
            self.cut(f"cannot be relayed: {error}")

    @property
    def counts(self) -> dict[Side, int]:
        """See Relay."""
        up, down = self.moved
        return {CLIENT: up, BACKEND: down}

    @property
    def moved(self) -> tuple[int, int]:
        """The bytes that came from the client, and from the server."""
        return (self._up.count, self._down.count) if self._counts is None else self._counts

    def cut(self, reason: str) -> None:
        """See Relay. The connections are reset now; the user hears of it in the next turn."""
        if self._counts is None:
            self._first = self._first or (None, reason)
            self._close(reset=True)
            self.poller.reactor.callLater(0, self._tell)

    def fell_idle(self) -> None:
        """Nothing moved for too long: drop both."""
        self.cut("idle")

    def drop(self) -> None:
        """The reactor is at its end: drop both, and say so now, since it has no next turn."""
        self._first = self._first or (None, "the reactor was stopped")
        self._finish(reset=True)

    # -- for the flows ---------------------------------------------------------------

    def ended(self, side: Side) -> None:
        """A side has sent all, and the other one has been told so; the second one ends it all."""
        self._first = self._first or (side, CLOSED)
        if self._flow(side).back.done:
            self._finish()

    def lost(self, side: Side) -> None:
        """A side is broken: the other one gets what waits for it, and is closed."""
        if self._counts is not None:
            return
        self._first = self._first or (side, LOST)
        here = self._flow(side)
        there = here.back
        there.drop(self.poller)
        here.done = True
        if self._gone is not None or not here.blocked:
            self._finish()
            return
        self._gone = side
        self.idle = min(self.idle, LINGER)
        self.poller.forget(here.source.fileno())
        here.source.close()

    def unsendable(self, side: Side) -> None:
        """What comes from a side cannot be sent on: the other one is broken. What it said before (a server's
        answer to an upload that it did not want) is read to its end first."""
        self._first = self._first or (other(side), LOST)
        here = self._flow(side)
        there = here.back
        here.drop(self.poller)
        if there.done:
            self._finish()
            return
        there.thorough = True
        self.idle = min(self.idle, LINGER)
        if not there.blocked:
            self.poller.again(there.source.fileno())

    def flushed(self) -> None:
        """What waited for the side that is left has been sent."""
        self._finish()

    def _flow(self, side: Side) -> Flow:
        return self._up if side is CLIENT else self._down

    # -- the end ---------------------------------------------------------------------

    def _finish(self, reset: bool = False) -> None:
        if self._counts is None:
            self._close(reset)
            self._tell()

    def _close(self, reset: bool) -> None:
        self._counts = (self._up.count, self._down.count)
        self.poller.sweep.remove(self)
        for flow in (self._up, self._down):
            flow.drop(self.poller)
            self.poller.forget(flow.source.fileno())
            if reset:
                with suppress(OSError):
                    flow.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            number = flow.source.detach()
            if number >= 0:
                os.close(number)
            # Each keeps the relay and the other, and the relay both.
            del flow.back
        del self._up, self._down

    def _tell(self) -> None:
        user, self._user = self._user, None
        if user is not None:
            user.finished(*(self._first or (None, CLOSED)))
