"""The last hour: samples of what services and their servers do, and when states changed."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from twisted.internet.task import LoopingCall

from exproxy.admin.rows import Series
from exproxy.tally import BOUNDS, CLASSES

# Seconds between two samples, how far back they go, and over how many a rate or a percentile is taken.
STEP = 2.0
SPAN = 3600.0
SAMPLES = int(SPAN / STEP)
RATE_STEPS = 5
MINUTE_STEPS = 30
# Services with their servers, each one line: about 100 kB each.
LINES = 1000
PERCENTILES = (0.5, 0.95, 0.99)
Percentiles: TypeAlias = tuple[float | None, float | None, float | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one of them has counted by now; ``present``: sessions, or links."""

    present: int
    total: int
    requests: int
    bytes_in: int
    bytes_out: int
    answers: tuple[int, ...]
    buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recent:
    """What is going on: new ones and records a second, and the last minute's latencies."""

    rate: float = 0.0
    rate_max: float = 0.0
    requests: float = 0.0
    minute: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    percentiles: Percentiles = (None, None, None)


NOTHING = Recent()


class Line:
    """One service, or one server of it."""

    __slots__ = ("_columns", "_kept", "_readings", "recent")

    def __init__(self, kept: bool = True) -> None:
        # sessions, rate, requests, bytes in, bytes out, the classes, the percentiles; NaN is None.
        self._columns = [array("f") for _ in range(5 + len(CLASSES) + len(PERCENTILES))]
        self._kept = kept
        self._readings: deque[tuple[float, Reading]] = deque(maxlen=MINUTE_STEPS + 1)
        self.recent = NOTHING

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(self, now: float, reading: Reading, filled: int) -> None:
        """The reading at the clock's ``now``. ``filled``: how many samples others have; it catches up."""
        before = self._readings[-1] if self._readings else (now, reading)
        self._readings.append((now, reading))
        self.recent = self._made(now, reading)
        if not self._kept:
            return
        step = now - before[0] or STEP
        old = before[1]
        counted = [
            (new - former) / step
            for new, former in (
                (reading.total, old.total),
                (reading.requests, old.requests),
                (reading.bytes_in, old.bytes_in),
                (reading.bytes_out, old.bytes_out),
                *zip(reading.answers, old.answers, strict=True),
            )
        ]
        values = [
            float(reading.present),
            *(max(0.0, each) for each in counted),
            *(math.nan if each is None else each for each in self.recent.percentiles),
        ]
        for index, (column, value) in enumerate(zip(self._columns, values, strict=True)):
            missing = math.nan if index >= 5 + len(CLASSES) else 0.0
            column.extend([missing] * (filled - len(column)))
            column.append(value)
            if len(column) > SAMPLES:
                del column[0]

    def _made(self, now: float, reading: Reading) -> Recent:
        at, old = self._readings[max(0, len(self._readings) - 1 - RATE_STEPS)]
        span = now - at
        rate = (reading.total - old.total) / span if span > 0 else 0.0
        first = self._readings[0][1]
        minute = tuple(
            max(0, new - former) for new, former in zip(reading.buckets, first.buckets, strict=True)
        )
        return Recent(
            round(rate, 2),
            round(max(self.recent.rate_max, rate), 2),
            round((reading.requests - old.requests) / span, 2) if span > 0 else 0.0,
            minute,
            percentiles(minute),
        )

    def series(self, steps: int) -> Series:
        """The last ``steps`` samples."""

        def column(index: int) -> tuple[float, ...]:
            return tuple(round(each, 3) for each in self._columns[index][-steps:])

        def gaps(index: int) -> tuple[float | None, ...]:
            return tuple(
                None if math.isnan(each) else round(each, 3) for each in self._columns[index][-steps:]
            )

        classes = 5 + len(CLASSES)
        return Series(
            tuple(int(each) for each in self._columns[0][-steps:]),
            column(1),
            column(2),
            column(3),
            column(4),
            {name: column(5 + index) for index, name in enumerate(CLASSES)},
            gaps(classes),
            gaps(classes + 1),
            gaps(classes + 2),
        )


class Recorder:
    """Takes a sample each STEP. ``readings()`` gives every line's name, its reading, and whether it is kept
    for an hour, or only for what is recent."""

    def __init__(
        self,
        clock: Any,
        readings: Callable[[], Iterable[tuple[str, Reading, bool]]],
        now: Callable[[], float],
    ) -> None:
        """``clock``: an IReactorTime; ``now()``: POSIX seconds."""
        self._readings = readings
        self._now = now
        self._lines: dict[str, Line] = {}
        self._times: array[float] = array("d")
        self._loop = LoopingCall(self.sample)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin."""
        self._loop.start(STEP, now=True)

    def stop(self) -> None:
        """Take no more; idempotent."""
        if self._loop.running:
            self._loop.stop()

    def sample(self) -> None:
        """One of each line; lines that are gone go, the first LINES stay."""
        filled, now = len(self._times), self._now()
        lines: dict[str, Line] = {}
        for name, reading, kept in self._readings():
            if len(lines) >= LINES:
                break
            line = lines[name] = self._lines.get(name) or Line(kept)
            line.add(now, reading, filled)
        self._lines = lines
        self._times.append(now)
        if len(self._times) > SAMPLES:
            del self._times[0]

    def recent(self, name: str) -> Recent:
        """What is going on there."""
        line = self._lines.get(name)
        return NOTHING if line is None else line.recent

    def times(self, seconds: float) -> tuple[float, ...]:
        """When the samples of the last so many seconds were taken."""
        return tuple(self._times[-self.steps(seconds) :])

    def steps(self, seconds: float) -> int:
        """How many samples that is, at least one."""
        return max(1, min(SAMPLES, int(seconds / STEP)))

    def series(self, name: str, seconds: float) -> Series | None:
        """A line's last seconds; None where there is no such line."""
        line = self._lines.get(name)
        return None if line is None else line.series(self.steps(seconds))


def percentiles(counts: Sequence[int]) -> Percentiles:
    """p50, p95 and p99 in milliseconds of counts by BOUNDS: straight lines within a bucket, the last bound
    for what lies beyond it."""
    total = sum(counts)
    if not total:
        return (None, None, None)
    p50, p95, p99 = (_percentile(counts, total, share) for share in PERCENTILES)
    return (p50, p95, p99)


def _percentile(counts: Sequence[int], total: int, share: float) -> float:
    wanted, seen, low = share * total, 0, 0.0
    for high, count in zip(BOUNDS, counts[:-1], strict=True):
        if count and seen + count >= wanted:
            return round(low + (high - low) * (wanted - seen) / count, 2)
        seen += count
        low = float(high)
    return low
