"""Clients that wait for a free place: first come, first served, bounded, each with its time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from exproxy.errors import NoBackend

T = TypeVar("T")
# More waiting clients than this are refused at once.
LONGEST = 1024


class Queue(Generic[T]):
    """``attempt`` in each entry tries again and gives None while there is still no place."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[tuple[Deferred[T], Callable[[], T | None], IDelayedCall]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, attempt: Callable[[], T | None], seconds: float) -> Deferred[T]:
        """A Deferred of what ``attempt`` gives once a place is free; NoBackend after ``seconds``.

        Cancelling it leaves the queue.
        """
        if len(self._waiting) >= LONGEST:
            raise NoBackend(f"every server is full, and {LONGEST} clients wait already")

        def leave(_: object = None) -> None:
            for item in self._waiting:
                if item[0] is result:
                    self._waiting.remove(item)
                    if item[2].active():
                        item[2].cancel()
                    break

        def too_late() -> None:
            leave()
            result.errback(NoBackend(f"every server is full, none became free in {seconds:g} s"))

        result: Deferred[T] = Deferred(leave)
        self._waiting.append((result, attempt, self._clock.callLater(seconds, too_late)))
        return result

    def freed(self) -> None:
        """A place is free: the first who can use it has it."""
        for item in list(self._waiting):
            result, attempt, timer = item
            try:
                found = attempt()
            except NoBackend as error:
                self._waiting.remove(item)
                timer.cancel()
                result.errback(error)
                continue
            if found is not None:
                self._waiting.remove(item)
                timer.cancel()
                result.callback(found)
                return
