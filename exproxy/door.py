"""Whether there is room for another client of a service, and who is told when there is."""

from __future__ import annotations

from collections.abc import Sized
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from exproxy.backend import Places

# Seconds between two lines about a service that is full.
QUIET = 60.0


class Resuming(Protocol):
    """A listening socket that accepts nobody for a while."""

    def resume(self) -> None:
        """There may be room again."""


class Door:
    """Counts the clients of one service against ``limits.connections``: those beyond wait outside.

    ``introducing``: connections that have not said yet for whom they come (exproxy.proxied). ``places``:
    this process's part of the limit where several carry traffic.
    """

    log = Logger()

    def __init__(self, name: str, clock: IReactorTime, inside: Sized, most: int) -> None:
        """``inside``: who is in; ``most``: how many may be, those who introduce themselves included."""
        self.name = name
        self.introducing = 0
        self.places: Places | None = None
        self._clock = clock
        self._inside = inside
        self._most = most
        self._waiting: set[Resuming] = set()
        self._quiet_until = 0.0

    def __repr__(self) -> str:
        return f"<Door {self.name} {self._count} of {self._most}>"

    @property
    def _count(self) -> int:
        return len(self._inside) + self.introducing

    @property
    def full(self) -> bool:
        """Whether nobody may come in now, as far as is known here."""
        count = self._count
        return count >= self._most if self.places is None else self.places.full(count)

    def more(self) -> Deferred[None] | None:
        """Where it is full here, and another process may have places left: fires when that is known."""
        return self.places.more(self._count) if self.places is not None else None

    def wait(self, port: Resuming) -> None:
        """Call ``port.resume()`` when there is room."""
        self._waiting.add(port)
        asked = self.more() if self.full else None
        if asked is not None:
            asked.addCallback(lambda _: self.look())
            return
        now = self._clock.seconds()
        if self.full and now >= self._quiet_until:
            self._quiet_until = now + QUIET
            self.log.warn(
                "{service} has limits.connections ({most}) clients: others wait until one leaves",
                service=self.name,
                most=self._most,
            )

    def entered(self) -> None:
        """Somebody came in."""
        if self.places is not None:
            self.places.use(self._count)

    def left(self) -> None:
        """Somebody has left: there may be room for another one."""
        if self.places is not None:
            self.places.use(self._count)
        if self._waiting:
            self.look()

    def look(self) -> None:
        """There may be room: whoever waits goes on, where it is so."""
        if self._waiting and not self.full:
            waiting, self._waiting = self._waiting, set()
            for port in waiting:
                port.resume()
