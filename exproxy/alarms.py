"""Waits of one length for many, with one timer for each length: what is set later is due later.

A timer of the reactor costs more than the connect that it guards; here setting and taking back are a
dictionary's work, and the reactor's timer is set again only when the oldest alarm's time has come.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Late(Protocol):
    """Who set an alarm."""

    def too_late(self) -> None:
        """The time is over; called once, unless the alarm was taken back."""


class Alarms:
    """The alarms of one clock."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        # By length (seconds): who waits, and until when, the oldest first.
        self._waiting: dict[float, dict[Late, float]] = {}
        self._calls: dict[float, IDelayedCall] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def set(self, late: Late, seconds: float) -> None:
        """Call ``late.too_late()`` in ``seconds``; once at a time for each length."""
        waiting = self._waiting.get(seconds)
        if waiting is None:
            waiting = self._waiting[seconds] = {}
        waiting[late] = self._clock.seconds() + seconds
        if seconds not in self._calls:
            self._calls[seconds] = self._clock.callLater(seconds, self._look, seconds)

    def unset(self, late: Late, seconds: float) -> None:
        """Take it back; idempotent."""
        waiting = self._waiting.get(seconds)
        if waiting is not None:
            waiting.pop(late, None)

    def close(self) -> None:
        """Forget all of them; idempotent."""
        self._waiting.clear()
        while self._calls:
            self._calls.popitem()[1].cancel()

    def _look(self, seconds: float) -> None:
        del self._calls[seconds]
        waiting, now = self._waiting[seconds], self._clock.seconds()
        late = []
        for each, due in waiting.items():
            if due > now:
                break
            late.append(each)
        for each in late:
            # One of them may take another's back.
            if waiting.pop(each, None) is not None:
                each.too_late()
        if seconds in self._calls:
            return
        if waiting:
            first = next(iter(waiting.values()))
            self._calls[seconds] = self._clock.callLater(max(0.0, first - now), self._look, seconds)
        else:
            self._waiting.pop(seconds, None)
