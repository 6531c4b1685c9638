"""What all kinds of load have in common: they are prepared, run for a while, counted, and closed."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import Any

from bench.figures import percentile
from bench.load.loop import Loop

# Seconds that what is under way may take once the time is over.
GRACE = 10.0
# Seconds for all connections of a load to be made and to have been answered once.
PREPARING = 60.0


class LoadError(Exception):
    """The proxy did something else than carry the bytes; the text says what."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a proxy is: its address, and the port of each service by name."""

    host: str
    ports: dict[str, int]

    def address(self, service: str) -> tuple[str, int]:
        """Where to connect to."""
        return self.host, self.ports[service]


@dataclass(slots=True)
class Result:
    """What one run did. ``p50`` and ``p99`` in seconds."""

    units: float
    seconds: float
    p50: float | None = None
    p99: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)


class Work:
    """A closed loop: ``begin`` starts something, each ``done`` may start the next, until the time is over."""

    def __init__(self, loop: Loop, target: Target, options: dict[str, Any]) -> None:
        self.loop = loop
        self.target = target
        self.options = options
        self.busy = 0
        self.units = 0.0
        self.limit = math.inf
        self.until = 0.0
        self.failure = ""
        self.samples = array("d")
        self.notes: dict[str, Any] = {}

    def prepare(self) -> int:
        """Make the connections that last; how many there are."""
        return 0

    def warm(self) -> None:
        """Do again what a pause may have undone, before a run; raises LoadError."""

    def begin(self) -> None:
        """Start as much as is to be under way at a time."""

    def close(self) -> None:
        """Close all connections."""

    def run(self, seconds: float) -> Result:
        """Work for so long, and wait for what is under way then; raises LoadError."""
        self.units, self.samples = 0.0, array("d")
        self.limit = self.options.get("most", math.inf)
        started = self.loop.clock()
        self.until = started + seconds
        self.begin()
        self.wait(seconds + GRACE)
        lasted = self.loop.clock() - started
        p50, p99 = percentile(self.samples, 0.5), percentile(self.samples, 0.99)
        return Result(self.units, lasted, p50, p99, self.notes)

    def wait(self, seconds: float) -> None:
        """Until nothing is under way; raises LoadError."""
        idle = self.loop.until(lambda: not self.busy or bool(self.failure), seconds)
        if self.failure:
            raise LoadError(self.failure)
        if not idle:
            raise LoadError(f"{self.busy} of what was under way did not end within {seconds:.0f} s")

    def fail(self, reason: str) -> None:
        """The first thing that went wrong ends the run."""
        self.failure = self.failure or reason

    def more(self, now: float) -> bool:
        """Whether to start something else."""
        return now < self.until and self.units + self.busy < self.limit
