"""What each process knows of itself in plain values, and what all of them come to.

A report is a tree of mappings; its leaves are numbers, which are added up, and lists and texts, which are
put beside each other. What stands below ``"each"`` is kept by worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from exproxy.build import Built

# Seconds between two reports of a worker.
REPORTED = 1.0
# What is there now, and not how often something was.
PRESENT = frozenset({"sessions", "waiting", "links", "load", "each"})


def report(built: Iterable[Built]) -> dict[str, Any]:
    """Sessions, counts and leases of a process's services and pools."""
    services: dict[str, Any] = {}
    for one in built:
        service = one.service
        services[service.name] = {
            "sessions": len(service.sessions),
            "counts": dict(service.counts),
            "refused": sum(service.refusals.values()),
            "pools": {pool.name: _pool(pool) for pool, _ in one.pools},
        }
    return {"services": services}


def _pool(pool: Any) -> dict[str, Any]:
    return {
        "waiting": pool.waiting,
        "ambiguous": pool.ambiguous,
        "split": pool.split,
        "disagreed": pool.disagreed,
        "servers": {
            backend.server: {"links": backend.links, "load": backend.load, "total": backend.tally.total}
            for backend in pool.backends
        },
    }


def merged(reports: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """All reports as one, by worker's number under ``"each"`` what is kept apart. Pure."""
    whole: dict[str, Any] = {}
    for number in sorted(reports):
        own = dict(reports[number])
        each = own.pop("each", None)
        whole = _both(whole, own)
        if each is not None:
            whole.setdefault("each", {})[str(number)] = each
    return whole


def _both(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = dict.fromkeys((*one, *other))
        return {
            name: _both(one[name], other[name])
            if name in one and name in other
            else one.get(name, other.get(name))
            for name in names
        }
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    numbers = (int, float)
    if isinstance(one, numbers) and isinstance(other, numbers):
        return one + other
    return one if one == other else [one, other]


class Reports:
    """The latest report of each worker; what those counted that are no more is not forgotten."""

    def __init__(self) -> None:
        self._latest: dict[int, Mapping[str, Any]] = {}
        self._past: dict[str, Any] = {}

    def told(self, worker: int, values: Mapping[str, Any]) -> None:
        """A worker's report."""
        self._latest[worker] = values

    def gone(self, worker: int) -> None:
        """It is no more."""
        latest = self._latest.pop(worker, None)
        if latest is not None:
            self._past = _both(self._past, past(latest))

    def whole(self) -> dict[str, Any]:
        """All of them as one."""
        whole: dict[str, Any] = _both(self._past, merged(self._latest))
        return whole


def past(values: Any) -> Any:
    """A report without what is only so as long as its process lives."""
    if not isinstance(values, Mapping):
        return values
    return {name: past(value) for name, value in values.items() if name not in PRESENT}
