"""The faults: drawn from a seed before anything begins, and over before the end."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.soak.servers.modes import MODES
from bench.soak.site import POOLS

STOP, KILL = "stop", "kill"
FAULTS = (*(mode for mode in MODES if mode != "well"), STOP, KILL)
# Seconds that a fault has consequences for: checks have to find out, connections are still there.
AFTER = 4.0
# Seconds of a fault, and from one to the next; there are two at a time now and then.
_SHORTEST, _LONGEST, _APART = 1.5, 6.0, 8.0
# Seconds without any, at the begin and at the end.
_FIRST, _LAST = 2.0, 12.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What, to whom, and when: seconds after the load's begin."""

    what: str
    server: str
    begin: float
    end: float

    def overlaps(self, since: float, until: float) -> bool:
        """Whether what happened between these two may be its consequence."""
        return self.begin <= until and since <= self.end + AFTER


def schedule(seed: int, seconds: float) -> list[Fault]:
    """All of a run; each kind once before any comes again, and no server has two at a time."""
    dice = random.Random(f"faults {seed}")
    room = seconds - min(_LAST, seconds / 4)
    # In a short run everything is closer together.
    apart = min(_APART, room / (len(FAULTS) + 2))
    scale = apart / _APART
    made: list[Fault] = []
    bag: list[str] = []
    now = _FIRST * scale
    while True:
        if not bag:
            bag = dice.sample(FAULTS, len(FAULTS))
        busy = {fault.server for fault in made if fault.end >= now}
        free = [server for server in POOLS["shaky"] if server not in busy]
        if free:
            lasts = dice.uniform(_SHORTEST, _LONGEST) * scale
            fault = Fault(bag.pop(), dice.choice(free), now, now + lasts)
            if fault.end > room:
                return made
            made.append(fault)
        now += dice.uniform(0.2, 1.6) * apart


def turns(faults: Sequence[Fault]) -> Iterator[tuple[float, bool, Fault]]:
    """When which of them begins (True) or ends."""
    every = [(each.begin, True, each) for each in faults] + [(each.end, False, each) for each in faults]
    yield from sorted(every, key=lambda turn: turn[0])


def explained(outcome: dict[str, Any], faults: Sequence[Fault], began: float) -> bool:
    """Whether a fault accounts for an outcome; ``began``: the clock's reading at the load's begin."""
    if outcome["what"] == "wrong":
        return False
    since, until = outcome["since"] - began, outcome["until"] - began
    servers = (outcome["server"],) if outcome["server"] else POOLS[outcome["pool"]]
    return any(
        fault.server in servers and fault.overlaps(since, until)
        for fault in faults
        if outcome["what"] != "lied" or fault.what == "lie"
    )
