"""What the workers tell of their loads and sources a few times a second, put together for each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from exproxy.workers.messages import Loads, Sources
from exproxy.workers.owner import Worker

# Seconds between two words of a worker about its loads and sources, where they have changed.
PUBLISHED = 0.1
# A source is told of once it has this part of its limit in one worker, shared by all of them.
NOTABLE = 8
# Sources of one service in one message; those with the most connections go first.
SOURCES = 1024


class Shares:
    """The supervisor's sum of what the workers carry."""

    def __init__(self) -> None:
        self._loads: dict[Worker, dict[str, int]] = {}
        self._counts: dict[Worker, dict[str, dict[str, int]]] = {}

    def loads(self, worker: Worker, told: Loads) -> None:
        """A worker's loads have changed."""
        known = self._loads.setdefault(worker, {})
        known.update(told.loads)
        for name in [name for name, load in known.items() if not load]:
            del known[name]

    def sources(self, worker: Worker, told: Sources) -> None:
        """A worker's sources have changed; services that are not named have not."""
        self._counts.setdefault(worker, {}).update(told.counts)

    def gone(self, worker: Worker) -> None:
        """A worker is no more, and its connections with it."""
        self._loads.pop(worker, None)
        self._counts.pop(worker, None)

    def load(self, name: str) -> int:
        """What all of them carry to that ``pool/server``."""
        return sum(known.get(name, 0) for known in self._loads.values())

    def others(self, worker: Worker, names: Iterable[str]) -> Loads:
        """What all but that worker carry to these."""
        mine = self._loads.get(worker, {})
        return Loads({name: self.load(name) - mine.get(name, 0) for name in names})

    def other_sources(
        self, worker: Worker, came: Mapping[str, Mapping[str, int]], services: Iterable[str]
    ) -> Sources:
        """The connections of sources in all but that worker, and who ``came`` there."""
        counts: dict[str, Counter[str]] = {service: Counter() for service in services}
        for other, known in self._counts.items():
            if other != worker:
                for service, sources in known.items():
                    if service in counts:
                        counts[service].update(sources)
        return Sources(
            {service: dict(found) for service, found in counts.items()},
            {service: dict(sources) for service, sources in came.items()},
        )


def changed(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """What is another figure now; what is no more is 0."""
    found = {name: count for name, count in now.items() if before.get(name, 0) != count}
    found.update({name: 0 for name in before if name not in now})
    return found


def notable(counts: Mapping[str, int], limit: int, workers: int) -> dict[str, int]:
    """The sources worth telling of: those with so many connections that they may matter for the limit."""
    least = max(1, limit // (NOTABLE * workers))
    found = {host: count for host, count in counts.items() if count >= least}
    if len(found) > SOURCES:
        found = dict(sorted(found.items(), key=lambda each: each[1], reverse=True)[:SOURCES])
    return found
