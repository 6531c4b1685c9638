"""When a worker is started: at once, or later where it dies again and again right after it began."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

# A worker that lived for so many seconds has begun well.
WELL = 5.0
# Seconds before the second, third … attempt of one that did not, each twice the last, and the longest.
FIRST = 0.5
LONGEST = 30.0


class Respawning:
    """``spawn(number)`` is called when it is time; the first call for each at once by start()."""

    def __init__(self, clock: IReactorTime, count: int, spawn: Callable[[int], None]) -> None:
        self.stopped = False
        self._clock = clock
        self._count = count
        self._spawn = spawn
        self._begun: dict[int, float] = {}
        self._early: dict[int, int] = {}
        self._calls: dict[int, IDelayedCall] = {}

    def __repr__(self) -> str:
        return f"<Respawning {self._count} workers, {len(self._calls)} of them later>"

    def start(self) -> None:
        """Start them all."""
        for number in range(1, self._count + 1):
            self._now(number)

    def stop(self) -> None:
        """Start none any more; idempotent."""
        self.stopped = True
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()

    def died(self, number: int) -> None:
        """That one is no more: have another one."""
        if self.stopped or number in self._calls:
            return
        lived = self._clock.seconds() - self._begun.get(number, 0.0)
        early = self._early[number] = self._early.get(number, 0) + 1 if lived < WELL else 0
        # Once may be bad luck, or somebody's kill.
        wait = min(LONGEST, FIRST * 2.0 ** (early - 2)) if early > 1 else 0.0
        self._calls[number] = self._clock.callLater(wait, self._now, number)

    def _now(self, number: int) -> None:
        self._calls.pop(number, None)
        self._begun[number] = self._clock.seconds()
        self._spawn(number)
