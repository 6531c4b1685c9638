"""Watching servers get empty, for those who wait for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from exproxy.admin.plane import Refused, Unknown
from exproxy.admin.rows import Progress

if TYPE_CHECKING:
    from exproxy.admin.operating import Place

# Seconds between two looks.
STEP = 1.0
# Who waits at a time.
WAITING = 100


class Watcher:
    """One who waits. ``done`` fires with the last Progress."""

    def __init__(
        self, server: str, service: str | None, told: Callable[[Progress], None], begun: float
    ) -> None:
        self.server = server
        self.service = service
        self.begun = begun
        self.last: tuple[int, dict[str, int]] | None = None
        self.done: Deferred[Progress] = Deferred()
        self._told = told

    def tell(self, left: int, services: dict[str, int], now: float, end: str | None) -> None:
        """How many are left, if that is news."""
        if end is None and self.last == (left, services):
            return
        self.last = (left, services)
        progress = Progress(self.server, left, services, now - self.begun, end)
        self._told(progress)
        if end is not None:
            self.done.callback(progress)


class Emptying:
    """All who wait in one process. ``places(server, service)`` says where that server is, or raises
    Unknown."""

    def __init__(self, clock: IReactorTime, places: Callable[[str, str | None], Sequence[Place]]) -> None:
        self._clock = clock
        self._places = places
        self._watchers: list[Watcher] = []
        self._call: IDelayedCall | None = None

    def watch(self, server: str, told: Callable[[Progress], None], service: str | None) -> Deferred[Progress]:
        """See IPlane.emptying."""
        self._places(server, service)
        if len(self._watchers) >= WAITING:
            raise Refused(f"{WAITING} wait for servers to get empty already")
        watcher = Watcher(server, service, told, self._clock.seconds())
        watcher.done = Deferred(lambda _: self._leave(watcher))
        self._watchers.append(watcher)
        self._look(watcher)
        self._arm()
        return watcher.done

    def look(self, server: str) -> None:
        """The operator has said something of that server."""
        for each in [each for each in self._watchers if each.server == server]:
            self._look(each)

    def cut(self, server: str) -> None:
        """What was left there was cut."""
        for each in [each for each in self._watchers if each.server == server]:
            self._end(each, "cut")

    def stop(self) -> None:
        """Nobody waits any more; idempotent."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        watchers, self._watchers = self._watchers, []
        for each in watchers:
            each.done.cancel()

    def _leave(self, watcher: Watcher) -> None:
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def _arm(self) -> None:
        if self._watchers and self._call is None:
            self._call = self._clock.callLater(STEP, self._step)

    def _step(self) -> None:
        self._call = None
        for each in list(self._watchers):
            self._look(each)
        self._arm()

    def _look(self, watcher: Watcher) -> None:
        left, services, ready = self._count(watcher)
        end = "ready" if ready else "empty" if not left else None
        if end is not None:
            self._leave(watcher)
        watcher.tell(left, services, self._clock.seconds(), end)

    def _end(self, watcher: Watcher, end: str) -> None:
        left, services, _ = self._count(watcher)
        self._leave(watcher)
        watcher.tell(left, services, self._clock.seconds(), end)

    def _count(self, watcher: Watcher) -> tuple[int, dict[str, int], bool]:
        services: dict[str, int] = {}
        try:
            places = self._places(watcher.server, watcher.service)
        except Unknown:
            # A reload has taken it out.
            return 0, {}, False
        ready = True
        for place in places:
            backend = place.pool.find(watcher.server)
            assert backend is not None
            services[place.service] = services.get(place.service, 0) + backend.links
            ready = ready and backend.operator == "ready"
        return sum(services.values()), services, ready
