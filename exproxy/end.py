"""One end of a session: a wire, what is held back from the conversation, and why it is not read."""

from __future__ import annotations

from collections.abc import Callable

from exproxy.events import Connected
from exproxy.interfaces import ILease, IWire
from exproxy.model import CLIENT, Link, Side


class End:
    """A wire in a session's hands.

    ``holds`` are the reasons (words) for which bytes are kept here instead of being told;
    ``stops`` those for which the wire is not read at all.
    """

    __slots__ = (
        "_idle",
        "again",
        "closing",
        "ended",
        "gone",
        "held",
        "holds",
        "lease",
        "limit",
        "link",
        "lost",
        "occupied",
        "received",
        "sent",
        "side",
        "stops",
        "unheard_end",
        "wire",
    )

    def __init__(
        self, wire: IWire, side: Side, limit: int, link: Link | None = None, lease: ILease | None = None
    ) -> None:
        self.wire = wire
        self.side = side
        self.limit = limit
        self.link = link
        self.lease = lease
        self.holds: set[str] = set()
        self.stops: set[str] = set()
        self.held = bytearray()
        self.ended = False
        self.unheard_end = False
        self.lost: str | None = None
        self.gone = False
        self.closing = False
        self.received = 0
        self.sent = 0
        # What is told when a Pick leads here once more.
        self.again: Connected | None = None
        # A request is on its way.
        self.occupied = False
        self._idle: Callable[[], None] | None = None

    def __repr__(self) -> str:
        name = "client" if self.side is CLIENT else f"link {self.link.number}" if self.link else "link"
        return f"<End {name} {self.wire!r} holds={sorted(self.holds)} held={len(self.held)}>"

    def keep(self, data: bytes) -> None:
        """Hold bytes back; at the limit the wire is stopped."""
        self.held += data
        if len(self.held) >= self.limit:
            self.stop("held")

    def take(self) -> bytes:
        """What was held, which is no longer; the wire is read on."""
        data = self.hand_over()
        self.go("held")
        return data

    def hand_over(self) -> bytes:
        """What was held, for whoever is attached to the wire next: read on only then, since a wire that
        was paused may have kept bytes of its own, which come after these."""
        data = bytes(self.held)
        self.held.clear()
        return data

    def stop(self, why: str) -> None:
        """Do not read the wire, for that reason."""
        self.stops.add(why)
        self.wire.pause()

    def go(self, why: str) -> None:
        """That reason is gone; read on when none is left."""
        if why in self.stops:
            self.stops.discard(why)
            if not self.stops:
                self.wire.resume()

    def busy(self) -> None:
        """A request is on its way over this link."""
        if not self.occupied and self.lease is not None:
            self.occupied = True
            self._idle = self.lease.busy()

    def idle(self) -> None:
        """No request is; idempotent."""
        self.occupied = False
        done, self._idle = self._idle, None
        if done is not None:
            done()

    def release(self) -> None:
        """Give the lease back; idempotent."""
        self.idle()
        if self.lease is not None:
            self.lease.release()
            self.lease = None
