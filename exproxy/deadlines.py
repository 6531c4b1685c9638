"""Named deadlines of one session, on one timer.

Setting a deadline later again and again (a body that goes on arriving) costs no timer: the timer
that is running looks, when it fires, whether the time has really come.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_NEVER = float("inf")


class Deadlines:
    """``come(name)`` is called for each deadline when its time has come."""

    __slots__ = ("_call", "_clock", "_come", "_due", "_next")

    def __init__(self, clock: IReactorTime, come: Callable[[str], None]) -> None:
        self._clock = clock
        self._come = come
        self._due: dict[str, float] = {}
        self._call: IDelayedCall | None = None
        # When the timer fires; never, while there is none.
        self._next = _NEVER

    def set(self, name: str, seconds: float | None) -> None:
        """``seconds`` from now; None takes it back."""
        if seconds is None:
            self._due.pop(name, None)
            return
        due = self._due[name] = self._clock.seconds() + seconds
        if due < self._next:
            if self._call is not None:
                self._call.cancel()
            self._arm(due)

    def clear(self) -> None:
        """Take all of them back, and the timer."""
        self._due.clear()
        if self._call is not None:
            self._call.cancel()
            self._call, self._next = None, _NEVER

    def _arm(self, due: float) -> None:
        self._next = due
        self._call = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._look)

    def _look(self) -> None:
        self._call, self._next = None, _NEVER
        now = self._clock.seconds()
        for name in [name for name, due in self._due.items() if due <= now]:
            if self._due.pop(name, None) is not None:
                self._come(name)
        if not self._due:
            return
        # One that was set just now may have armed the timer for itself alone.
        first = min(self._due.values())
        if first < self._next:
            if self._call is not None:
                self._call.cancel()
            self._arm(first)
