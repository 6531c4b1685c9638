"""The last words of a connection that nobody wants any more."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from exproxy.interfaces import IWire, IWireUser
from exproxy.model import TLS

# A refused client may still be sending; reading on for so many seconds lets it see the refusal instead of a
# reset (RFC 9112 9.6).
LINGERING_READ = 2.0


@implementer(IWireUser)
class Farewell:
    """Closes a wire after what was written to it; drops it where that takes longer than ``seconds``."""

    def __init__(self, clock: IReactorTime, wire: IWire, seconds: float) -> None:
        self._timer = clock.callLater(seconds, wire.abort)
        wire.attach(self)
        wire.resume()
        wire.close()

    def lost(self, wire: IWire, reason: str) -> None:
        """It is gone."""
        if self._timer.active():
            self._timer.cancel()

    def received(self, wire: IWire, data: bytes) -> None:
        """Nobody is interested any more."""

    def ended(self, wire: IWire) -> None:
        """See received."""

    def secured(self, wire: IWire, tls: TLS) -> None:
        """See received."""

    def filled(self, wire: IWire) -> None:
        """See received."""

    def drained(self, wire: IWire) -> None:
        """See received."""
