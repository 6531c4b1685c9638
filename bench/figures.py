"""Pure figures: medians, percentiles, what a unit of work costs, and whether a goal is reached."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

OURS, THEIRS = "exproxy", "haproxy"
"""The two peers whose costs make the ratio, but for workloads that say otherwise."""
WORKERS = "exproxy 2 workers"
"""exproxy with two processes that carry traffic."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Ratios of our cost to theirs: what is to be reached, and what then. None: no such goal."""

    reach: float | None = None
    then: float | None = None

    def verdict(self, ratio: float | None) -> str:
        """``then``, ``reach`` or ``no``; empty where there is no goal or no ratio."""
        if ratio is None or self.reach is None:
            return ""
        if self.then is not None and ratio <= self.then:
            return "then"
        return "reach" if ratio <= self.reach else "no"


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one peer: units of work done, and what they took.

    ``cpu`` is the time on a processor of the proxy's process, ``waited`` the time that it was ready and
    had none (somebody else's load), ``p50`` and ``p99`` what one unit took; all in seconds.
    """

    units: float
    seconds: float
    cpu: float
    waited: float
    p50: float | None = None
    p99: float | None = None

    @property
    def cost(self) -> float:
        """CPU seconds per unit."""
        return self.cpu / self.units

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.units / self.seconds


@dataclass(frozen=True, slots=True)
class Summary:
    """The medians of a peer's rounds; costs in CPU seconds per unit, ``low`` and ``high`` the extremes.

    ``busy`` is the median share of a round in which the process ran: near 1 it set the pace.
    ``disturbed`` is the largest share of waiting in a round: above a few per cent somebody else was there.
    """

    rounds: int
    cost: float
    low: float
    high: float
    rate: float
    p50: float | None
    p99: float | None
    disturbed: float
    busy: float


def summary(rounds: Sequence[Round]) -> Summary | None:
    """Of rounds in which something was done; None where there is none."""
    done = [each for each in rounds if each.units > 0 and each.seconds > 0]
    if not done:
        return None
    costs = [each.cost for each in done]
    return Summary(
        rounds=len(done),
        cost=statistics.median(costs),
        low=min(costs),
        high=max(costs),
        rate=statistics.median(each.rate for each in done),
        p50=_median_of(each.p50 for each in done),
        p99=_median_of(each.p99 for each in done),
        busy=statistics.median(each.cpu / each.seconds for each in done),
        disturbed=max(each.waited / (each.cpu + each.waited) if each.cpu else 0.0 for each in done),
    )


def _median_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """The least of the values that is not below ``share`` of them (nearest rank); None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """``ours / theirs``; None where one is missing, or theirs is nothing."""
    return ours / theirs if ours is not None and theirs else None


class Budget:
    """Shares the time that is left among the workloads that are left; ``clock()`` gives seconds."""

    def __init__(self, seconds: float, weights: float, clock: Callable[[], float]) -> None:
        """``weights``: the sum of those of all workloads."""
        self._clock = clock
        self._end = clock() + seconds
        self._left = weights
        self._until = self._end

    def begin(self, weight: float) -> None:
        """The next workload: it has a share of what is left, by its weight."""
        now = self._clock()
        self._until = now + max(0.0, self._end - now) * min(1.0, weight / max(self._left, weight))
        self._left -= weight

    def another(self, done: int, lasted: float) -> bool:
        """Whether one more round fits, which will last as the one before; the first one always does."""
        return done == 0 or self._clock() + lasted <= self._until

    @property
    def over(self) -> bool:
        """Whether nothing new should begin at all."""
        return self._clock() >= self._end
