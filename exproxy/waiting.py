"""Clients that wait for a free place: first come, first served, bounded, each with its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from exproxy.errors import NoBackend

T = TypeVar("T")
# More waiting clients than this are refused at once.
LONGEST = 1024


class Full(NoBackend):
    """There are usable servers, and all of them have reached their limits: waiting may help."""


class Waiter(Generic[T]):
    """One of them. ``attempt`` gives what it waits for, or a Deferred of it, or raises Full."""

    def __init__(self, attempt: Callable[[], T | Deferred[T]], left: Callable[[Waiter[T]], None]) -> None:
        self.result: Deferred[T] = Deferred(lambda _: self._leave())
        self.timer: IDelayedCall | None = None
        self._attempt = attempt
        self._left = left
        self._trying: Deferred[T] | None = None
        self._again = False
        self.gone = False

    def attempt(self) -> bool:
        """Try; True where it has what it waited for. What is answered late ends the wait by itself."""
        if self._trying is not None:
            self._again = True
            return False
        try:
            found = self._attempt()
        except Full:
            return False
        except NoBackend as error:
            self.fail(error)
            return False
        if isinstance(found, Deferred):
            self._again = False
            self._trying = found
            found.addCallbacks(self._found, self._failed)
            return False
        self._found(found)
        return True

    def fail(self, error: NoBackend) -> None:
        """Give up."""
        self._leave()
        self.result.errback(error)

    def _found(self, found: T) -> None:
        self._trying = None
        self._leave()
        self.result.callback(found)

    def _failed(self, failure: Failure) -> None:
        self._trying = None
        if self.gone:
            return
        if not isinstance(failure.value, Full):
            self._leave()
            self.result.errback(failure)
        elif self._again:
            self.attempt()

    def _leave(self) -> None:
        self.gone = True
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        trying, self._trying = self._trying, None
        self._left(self)
        if trying is not None:
            trying.cancel()


class Queue(Generic[T]):
    """The waiting clients of one pool."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[Waiter[T], None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, attempt: Callable[[], T | Deferred[T]], seconds: float) -> Deferred[T]:
        """A Deferred of what ``attempt`` gives once it raises Full no more; Full after ``seconds``,
        NoBackend from ``attempt``. Raises Full where too many wait. Cancelling it leaves the queue."""
        if len(self._waiting) >= LONGEST:
            raise Full(f"every server is full, and {LONGEST} clients wait already")
        waiter: Waiter[T] = Waiter(attempt, lambda gone: self._waiting.pop(gone, None))
        late = Full(f"every server is full, none became free in {seconds:g} s")
        waiter.timer = self._clock.callLater(seconds, waiter.fail, late)
        self._waiting[waiter] = None
        return waiter.result

    def freed(self) -> None:
        """One place is free: the first who can use it has it."""
        for waiter in list(self._waiting):
            if not waiter.gone and waiter.attempt():
                return

    def changed(self) -> None:
        """Servers came or went: everybody tries again."""
        for waiter in list(self._waiting):
            if not waiter.gone:
                waiter.attempt()
