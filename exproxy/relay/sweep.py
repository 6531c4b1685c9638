"""Idle time for many, with one timer: everything that can fall idle is looked at once in a while."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Sleeper(Protocol):
    """What a sweep looks at. ``last`` is the clock's reading when a byte last moved."""

    last: float
    idle: float

    def fell_idle(self) -> None:
        """Called once when ``idle`` seconds have gone by since ``last``."""


class Sweep:
    """Looks at its sleepers every ``period`` seconds, so an idle limit is kept to within a period.

    It rests (no timer) while it has nobody to look at.
    """

    def __init__(self, clock: IReactorTime, period: float = 1.0) -> None:
        self.clock = clock
        self.period = period
        self._sleepers: dict[Sleeper, None] = {}
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._sleepers)

    def add(self, sleeper: Sleeper) -> None:
        """Watch over it from now on."""
        self._sleepers[sleeper] = None
        if self._call is None:
            self._call = self.clock.callLater(self.period, self._look)

    def remove(self, sleeper: Sleeper) -> None:
        """Forget it; idempotent."""
        self._sleepers.pop(sleeper, None)
        if not self._sleepers and self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = None
        now = self.clock.seconds()
        late = [s for s in self._sleepers if now - s.last >= s.idle]
        for sleeper in late:
            self._sleepers.pop(sleeper, None)
            sleeper.fell_idle()
        if self._sleepers and self._call is None:
            self._call = self.clock.callLater(self.period, self._look)
