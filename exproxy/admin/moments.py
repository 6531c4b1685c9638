"""Moments as people and programs read them. The clock of a reactor need not be that of the day."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from exproxy.access_log import timestamp


def rfc3339(seconds: float) -> str:
    """POSIX seconds in RFC 3339, UTC, with milliseconds."""
    return timestamp(seconds)


class Day:
    """From the readings of ``clock`` to the time of day, which ``now()`` gives as POSIX seconds."""

    def __init__(self, clock: IReactorTime, now: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.now = now

    def of(self, reading: float) -> float:
        """The POSIX seconds of that reading of the clock."""
        return self.now() - (self._clock.seconds() - reading)

    def text(self, reading: float) -> str:
        """That reading in RFC 3339."""
        return rfc3339(self.of(reading))
