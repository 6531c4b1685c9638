"""Doubles of a connection and of whoever hears of it."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from exproxy.interfaces import IWire, IWireUser
from exproxy.model import TLS, Destination, Source


@implementer(IWire)
class FakeWire:
    """An IWire that records what is done to it, and lets a test play the other end.

    ``written`` are the bytes sent; ``state`` is ``open``, ``half`` (our direction ended),
    ``closed``, ``aborted`` or ``gone``. What arrives while it is paused, or before it has a user,
    is kept and delivered in order.
    """

    def __init__(
        self, peer: Source | None = None, local: Destination | None = None, tls: TLS | None = None
    ) -> None:
        self.peer = peer or Source("192.0.2.1", 40000)
        self.local = local or Destination("203.0.113.1", 25)
        self.via: Source | None = None
        self.tls = tls
        self.written = b""
        self.state = "open"
        self.paused = False
        self.context: Any = None
        self.detached: Any = None
        self._user: IWireUser | None = None
        self._kept: list[tuple[str, Any]] = []

    def __repr__(self) -> str:
        return f"<FakeWire {self.state}{' paused' if self.paused else ''} written={self.written!r}>"

    # -- IWire -----------------------------------------------------------------------

    def attach(self, user: IWireUser) -> None:
        """See IWire."""
        self._user = user
        self._deliver()

    def write(self, data: bytes) -> None:
        """See IWire; what is written after the end is lost, as on a real one."""
        if self.state == "open":
            self.written += data

    def pause(self) -> None:
        """See IWire."""
        self.paused = True

    def resume(self) -> None:
        """See IWire."""
        self.paused = False
        self._deliver()

    def start_tls(self, context: Any) -> int:
        """See IWire. ``context`` is kept; secure() ends the handshake."""
        dropped = sum(len(argument) for word, argument in self._kept if word == "received")
        self._kept = [item for item in self._kept if item[0] != "received"]
        self.context = context
        return dropped

    def acknowledged(self) -> int:
        """See IWire: what was written is taken at once."""
        return len(self.written)

    def close(self, half: bool = False) -> None:
        """See IWire."""
        if self.state == "open" and half:
            self.state = "half"
        elif self.state in ("open", "half") and not half:
            self.state = "closed"

    def abort(self) -> None:
        """See IWire."""
        if self.state != "gone":
            self.state = "aborted"

    @property
    def detachable(self) -> bool:
        """See IWire: only where a test has set ``detached``."""
        return self.detached is not None

    def detach(self) -> Any:
        """See IWire: gives ``detached``, None unless a test sets it."""
        return self.detached

    # -- the other end ---------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes arrive."""
        self._tell("received", data)

    def end(self) -> None:
        """The other end sends no more."""
        self._tell("ended", None)

    def lose(self, reason: str = "closed") -> None:
        """The connection is gone."""
        if self.state != "gone":
            self.state = "gone"
            self._tell("lost", reason)

    def secure(self, tls: TLS | None = None) -> None:
        """The TLS handshake is done."""
        self.tls = tls or TLS("TLSv1.3")
        self._tell("secured", self.tls)

    def fill(self) -> None:
        """The queue to the other end is long: its user is told at once, paused or not."""
        if self._user is not None:
            self._user.filled(self)

    def empty(self) -> None:
        """The queue is short again."""
        if self._user is not None:
            self._user.drained(self)

    def _tell(self, word: str, argument: Any) -> None:
        self._kept.append((word, argument))
        self._deliver()

    def _deliver(self) -> None:
        while self._kept and self._user is not None and not self.paused:
            word, argument = self._kept.pop(0)
            if word == "ended":
                self._user.ended(self)
            else:
                getattr(self._user, word)(self, argument)


@implementer(IWireUser)
class FakeWireUser:
    """An IWireUser that notes what it hears: ``heard`` is a list of (method's name, argument)."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    @property
    def data(self) -> bytes:
        """All bytes received."""
        return b"".join(argument for word, argument in self.heard if word == "received")

    def received(self, wire: IWire, data: bytes) -> None:
        """See IWireUser."""
        self.heard.append(("received", data))

    def ended(self, wire: IWire) -> None:
        """See IWireUser."""
        self.heard.append(("ended", None))

    def lost(self, wire: IWire, reason: str) -> None:
        """See IWireUser."""
        self.heard.append(("lost", reason))

    def secured(self, wire: IWire, tls: TLS) -> None:
        """See IWireUser."""
        self.heard.append(("secured", tls))

    def filled(self, wire: IWire) -> None:
        """See IWireUser."""
        self.heard.append(("filled", None))

    def drained(self, wire: IWire) -> None:
        """See IWireUser."""
        self.heard.append(("drained", None))
