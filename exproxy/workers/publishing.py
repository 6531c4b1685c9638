"""What a worker tells of itself again and again: loads, sources, reports. See shares.py and reports.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from exproxy.build import Built
from exproxy.pool import Pool
from exproxy.workers.messages import Loads, Report, Sources
from exproxy.workers.reports import REPORTED, report
from exproxy.workers.shares import PUBLISHED, changed, notable


class Publishing:
    """Tells what has changed each PUBLISHED seconds, and a whole report each REPORTED."""

    def __init__(
        self,
        clock: IReactorTime,
        built: Sequence[Built],
        pools: Mapping[str, Pool],
        workers: int,
        send: Callable[[Any], None],
    ) -> None:
        self._clock = clock
        self._built = built
        self._pools = pools
        self._workers = workers
        self._send = send
        self._loads: dict[str, int] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._reported = 0.0
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin."""
        self._tell()

    def stop(self) -> None:
        """Tell the last, and no more; idempotent."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
            self._changes()
            self._send(Report(report(self._built)))

    def _tell(self) -> None:
        self._call = self._clock.callLater(PUBLISHED, self._tell)
        self._changes()
        now = self._clock.seconds()
        if now - self._reported >= REPORTED:
            self._reported = now
            self._send(Report(report(self._built)))

    def _changes(self) -> None:
        loads = {
            f"{name}/{backend.server}": backend.load
            for name, pool in self._pools.items()
            for backend in pool.backends
            if backend.load
        }
        told = changed(self._loads, loads)
        if told:
            self._loads = loads
            self._send(Loads(told))
        self._sources()

    def _sources(self) -> None:
        counts: dict[str, dict[str, int]] = {}
        came: dict[str, dict[str, int]] = {}
        for built in self._built:
            service = built.service
            found: dict[str, int] = {}
            if service.sessions:
                found = notable(service.sources, service.limits.per_source, self._workers)
            if found != self._counts.get(service.name, {}):
                counts[service.name] = self._counts[service.name] = found
            if service.arrivals:
                came[service.name] = dict(service.arrivals)
                service.arrivals.clear()
        if counts or came:
            self._send(Sources(counts, came))
