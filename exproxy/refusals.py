"""What the log says of clients that do not come in: enough to be noticed, and never a line for each."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

# At most so many lines a minute and reason about clients that were not let in.
LINES = 6
MINUTE = 60.0


class Refusals:
    """Those of one service."""

    def __init__(self, service: str, clock: IReactorTime, log: Logger) -> None:
        self._service = service
        self._clock = clock
        self._log = log
        self._count: Counter[str] = Counter()
        self._quiet_until = 0.0
        self._crowded_until = 0.0

    def refused(self, host: str, reason: str) -> None:
        """A client from there was not let in. There must be few different reasons."""
        self._count[reason] += 1
        now = self._clock.seconds()
        if self._count[reason] <= LINES or now >= self._quiet_until:
            self._quiet_until = now + MINUTE
            self._log.warn(
                "{service} refused {host}: {reason}", service=self._service, host=host, reason=reason
            )

    def crowded(self, most: int) -> None:
        """The service has as many clients as it may have; others wait outside."""
        now = self._clock.seconds()
        if now >= self._crowded_until:
            self._crowded_until = now + MINUTE
            self._log.warn(
                "{service} has limits.connections ({most}) clients: others wait until one leaves",
                service=self._service,
                most=most,
            )
