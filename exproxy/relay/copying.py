"""The plain relay: what one wire receives is written to the other, with back-pressure.

Half-close is passed on where the other wire has such a thing (TCP). Under TLS it has not: a backend
that ends then closes its client's wire after what is queued, and a client's end is not passed on (its
answer may be under way; the backend's end or the idle time ends it). A wire that is lost closes the
other one after what is queued for it.
"""

from __future__ import annotations

from zope.interface import implementer

from exproxy.interfaces import IWire, IWireUser
from exproxy.model import BACKEND, BOTH, CLIENT, TLS, Side
from exproxy.relay.joined import CLOSED, LINGER, RelayUser, other
from exproxy.relay.sweep import Sweep


@implementer(IWireUser)
class CopyingRelay:
    """An endless relay at work; see exproxy.relay.joined.Relay."""

    def __init__(self, wires: dict[Side, IWire], user: RelayUser, sweep: Sweep, idle: float) -> None:
        self.counts = {CLIENT: 0, BACKEND: 0}
        self.idle = idle
        self.last = sweep.clock.seconds()
        self._wires = wires
        self._user: RelayUser | None = user
        self._sweep = sweep
        self._ended: set[Side] = set()
        self._lost: set[Side] = set()
        self._first: tuple[Side | None, str] | None = None
        sweep.add(self)
        # Attached before anything is resumed: a paused wire delivers what it kept then.
        for side in BOTH:
            wires[side].attach(self)
        for side in BOTH:
            # The sink may be full already from what was written before the relay began.
            if getattr(wires[other(side)], "full", False):
                wires[side].pause()
            else:
                wires[side].resume()

    # -- IWireUser -------------------------------------------------------------------

    def received(self, wire: IWire, data: bytes) -> None:
        """Bytes: on to the other side."""
        side = self._side(wire)
        self.last = self._sweep.clock.seconds()
        self.counts[side] += len(data)
        self._wires[other(side)].write(data)

    def ended(self, wire: IWire) -> None:
        """A FIN: pass it on; the second one ends it all."""
        side = self._side(wire)
        self._ended.add(side)
        self._first = self._first or (side, CLOSED)
        sink = self._wires[other(side)]
        # TLS has no half-close here. A server that ends has said all; a client may still wait for its answer.
        if sink.tls is None or side is BACKEND:
            sink.close(half=sink.tls is None)
        if len(self._ended) == 2:
            for each in self._wires.values():
                each.close()

    def lost(self, wire: IWire, reason: str) -> None:
        """A wire is gone: close the other after what it still has to send."""
        side = self._side(wire)
        self._lost.add(side)
        self._first = self._first or (side, reason)
        if len(self._lost) == 2:
            self._finish()
        else:
            self.idle = min(self.idle, LINGER)
            rest = self._wires[other(side)]
            rest.resume()
            rest.close()

    def secured(self, wire: IWire, tls: TLS) -> None:
        """No handshake begins inside a relay."""

    def filled(self, wire: IWire) -> None:
        """The sink is full: stop its source."""
        self._wires[other(self._side(wire))].pause()

    def drained(self, wire: IWire) -> None:
        """The sink has room: its source goes on."""
        self.last = self._sweep.clock.seconds()
        self._wires[other(self._side(wire))].resume()

    def has_lost(self, side: Side) -> bool:
        """Whether that wire is gone."""
        return side in self._lost

    # -- the end ---------------------------------------------------------------------

    def fell_idle(self) -> None:
        """Nothing moved for too long: drop both."""
        self._first = self._first or (None, "idle")
        for wire in tuple(self._wires.values()):
            wire.abort()

    def cut(self, reason: str) -> None:
        """Drop both wires now (an operator, a server that went down)."""
        self._first = self._first or (None, reason)
        for wire in tuple(self._wires.values()):
            wire.abort()

    def _finish(self) -> None:
        self._sweep.remove(self)
        user, self._user = self._user, None
        if user is not None:
            user.finished(*(self._first or (None, CLOSED)))

    def _side(self, wire: IWire) -> Side:
        return CLIENT if wire is self._wires[CLIENT] else BACKEND
