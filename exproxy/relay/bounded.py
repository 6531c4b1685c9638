"""The bounded relay: so many bytes from one side, then the wire goes back to whoever lent it."""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from exproxy.interfaces import IWire, IWireUser
from exproxy.model import TLS


@implementer(IWireUser)
class BoundedRelay:
    """Moves ``limit`` bytes from ``source`` to ``sink``.

    ``heir`` is attached to the source when they have moved, when the source ends or is lost
    before, or at stop(); ``done(count)`` is called just before anything else reaches the heir.
    Back-pressure of the sink is the heir's affair, whose wire it remains.
    """

    def __init__(
        self, source: IWire, sink: IWire, limit: int, heir: IWireUser, done: Callable[[int], None]
    ) -> None:
        self.count = 0
        self._source = source
        self._sink = sink
        self._left = limit
        self._heir = heir
        self._done: Callable[[int], None] | None = done
        source.attach(self)

    def stop(self) -> None:
        """Give the wire back now; idempotent."""
        self._give_back()

    def received(self, wire: IWire, data: bytes) -> None:
        """Bytes: on to the sink, as many as are meant for it."""
        if self._done is None:
            self._heir.received(wire, data)
            return
        moved = data if len(data) <= self._left else data[: self._left]
        self.count += len(moved)
        self._left -= len(moved)
        self._sink.write(moved)
        if not self._left:
            self._give_back()
            if len(moved) < len(data):
                self._heir.received(wire, data[len(moved) :])

    def ended(self, wire: IWire) -> None:
        """The source ended before its time: the heir decides."""
        self._give_back()
        self._heir.ended(wire)

    def lost(self, wire: IWire, reason: str) -> None:
        """The source is gone before its time: the heir decides."""
        self._give_back()
        self._heir.lost(wire, reason)

    def secured(self, wire: IWire, tls: TLS) -> None:
        """No handshake begins inside a relay."""

    def filled(self, wire: IWire) -> None:
        """The source's own queue (the other direction) is the heir's affair."""
        self._heir.filled(wire)

    def drained(self, wire: IWire) -> None:
        """See filled."""
        self._heir.drained(wire)

    def _give_back(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._source.attach(self._heir)
            done(self.count)
