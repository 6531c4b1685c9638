"""The built-in schedulings. Each orders *usable* candidates; none knows health, ramp or limits.

Weights apply to all of them, and so does the slow ramp, which is nothing but a smaller weight.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from zope.interface import implementer

from exproxy.interfaces import IScheduling, ISchedulingPlugin
from exproxy.model import Candidate, Facts, Source
from exproxy.plugins import NoOptions


class Turns:
    """Whose turn it is: start-time fair queueing (Goyal, Vin, Cheng 1996) over servers that come and go.

    A server's next turn is at its last start plus 1/weight, never before the present. The weight is
    the one of now, so a ramping server need not live out the long pause of its lighter days.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._started: dict[str, float] = {}

    def turn(self, candidate: Candidate) -> tuple[float, float]:
        """Smaller is earlier."""
        pause = 1.0 / candidate.weight
        started = self._started.get(candidate.server)
        begin = self._now if started is None else max(self._now, started + pause)
        return begin, pause

    def taken(self, candidate: Candidate) -> None:
        """It had its turn."""
        self._now = self._started[candidate.server] = self.turn(candidate)[0]


@implementer(IScheduling)
class RoundRobin:
    """Each in its turn, as often as its weight says."""

    def __init__(self) -> None:
        self._turns = Turns()

    def order(self, candidates: Sequence[Candidate], facts: Facts) -> Iterable[Candidate]:
        """See IScheduling."""
        return sorted(candidates, key=self._turns.turn)

    def taken(self, candidate: Candidate) -> None:
        """See IScheduling."""
        self._turns.taken(candidate)


@implementer(IScheduling)
class LeastConnections:
    """The least loaded for its weight, (load + 1) / weight; among equals in turns.

    The + 1 makes the weight count on an idle server too, else its first clients come in a rush.
    """

    def __init__(self) -> None:
        self._turns = Turns()

    def order(self, candidates: Sequence[Candidate], facts: Facts) -> Iterable[Candidate]:
        """See IScheduling."""
        turn = self._turns.turn
        return sorted(candidates, key=lambda each: ((each.load + 1) / each.weight, *turn(each)))

    def taken(self, candidate: Candidate) -> None:
        """See IScheduling."""
        self._turns.taken(candidate)


def rendezvous(client: bytes, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates as ``client`` prefers them: weighted rendezvous hashing (Thaler, Ravishankar 1998)."""

    def score(each: Candidate) -> float:
        digest = hashlib.blake2b(client, key=each.server.encode()[:64], digest_size=8).digest()
        # 52 bits and a half: never 0, never 1.
        point = ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52
        return -each.weight / math.log(point)

    return sorted(candidates, key=score, reverse=True)


@implementer(IScheduling)
class SourceHash:
    """The client's address decides, by :func:`rendezvous`: a server that goes takes only its own clients
    along, and one that comes takes a fair part of each other's."""

    def order(self, candidates: Sequence[Candidate], facts: Facts) -> Iterable[Candidate]:
        """See IScheduling. Without a Source all clients are one."""
        source = facts.get(Source)
        return rendezvous(source.host.encode() if source is not None else b"", candidates)

    def taken(self, candidate: Candidate) -> None:
        """Nothing to advance."""


@implementer(IScheduling)
class RandomChoice:
    """The less loaded of two drawn by lot (Mitzenmacher 2001); the rest by lot."""

    def __init__(self, dice: random.Random | None = None) -> None:
        self._dice = dice or random.Random()  # noqa: S311  # spreads load, guards nothing

    def order(self, candidates: Sequence[Candidate], facts: Facts) -> Iterable[Candidate]:
        """See IScheduling."""
        draw = self._dice.random
        # Efraimidis and Spirakis: this is a weighted draw without replacement.
        drawn = sorted(candidates, key=lambda each: draw() ** (1.0 / each.weight), reverse=True)
        two = sorted(drawn[:2], key=lambda each: (each.load + 1) / each.weight)
        return [*two, *drawn[2:]]

    def taken(self, candidate: Candidate) -> None:
        """Nothing to advance."""


@implementer(ISchedulingPlugin)
class _Plugin:
    options = NoOptions

    def __init__(self, name: str, summary: str, make: Callable[[], IScheduling]) -> None:
        self.name = name
        self.summary = summary
        self._make = make

    def scheduling(self, options: Any) -> IScheduling:
        """See ISchedulingPlugin."""
        return self._make()


round_robin = _Plugin("round-robin", "each server in its turn, by weight", RoundRobin)
least_connections = _Plugin("least-connections", "the least loaded server for its weight", LeastConnections)
source_hash = _Plugin("source-hash", "the client's address decides, consistently", SourceHash)
random_choice = _Plugin("random", "the less loaded of two servers drawn by lot", RandomChoice)
