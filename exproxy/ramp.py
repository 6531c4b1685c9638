"""Slow ramp: a server that comes back gets its share of new clients little by little.

The share is continuous (as F5's Slow Ramp Time is), with a floor so that the server is met at all.
It scales the weight that every scheduling sees. Shares are relative: where all servers ramp alike
(at start) the ramp changes nothing.

A weight alone does not damp a scheduling that goes by load: a server that comes back is idle, and
would have every new client until it is as loaded as its weight allows. So its clients are rationed
too: once it has had its share of the latest choices, it is shown as busier than everybody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from exproxy.model import Candidate

# The least share, so that a ramping server gets its first clients at all.
FLOOR = 1 / 64
# Choices that a ramping server may save up: more would come as a burst.
SAVED = 2.0


def share(elapsed: float, ramp: float) -> float:
    """The share, FLOOR to 1, of a server that came back ``elapsed`` seconds ago; ``ramp`` seconds
    bring it to 1, 0 at once."""
    if ramp <= 0 or elapsed >= ramp:
        return 1.0
    return max(FLOOR, elapsed / ramp)


class Ration:
    """What the ramping servers of one pool have saved up: each choice adds a server's part of the
    weights, being chosen takes 1 away.

    Only servers that lag behind another one are rationed; ``parts`` are the shares of all
    candidates, by server.
    """

    def __init__(self) -> None:
        self._saved: dict[str, float] = {}

    def shown(self, candidates: Sequence[Candidate], parts: Mapping[str, float]) -> list[Candidate]:
        """The candidates as a scheduling shall see them. Changes nothing."""
        lagging = _lagging(parts)
        busiest = max((each.load + 1) / each.weight for each in candidates)
        return [
            replace(each, load=max(each.load, math.ceil(busiest * each.weight)))
            if each.server in lagging and self._saved.get(each.server, 0.0) < 1.0
            else each
            for each in candidates
        ]

    def taken(self, candidates: Sequence[Candidate], parts: Mapping[str, float], server: str) -> None:
        """``server`` was chosen among them."""
        lagging = _lagging(parts)
        total = sum(each.weight for each in candidates)
        saved = {
            each.server: min(SAVED, self._saved.get(each.server, 0.0) + each.weight / total)
            for each in candidates
            if each.server in lagging
        }
        if server in saved:
            saved[server] = max(0.0, saved[server] - 1.0)
        self._saved = saved


def _lagging(parts: Mapping[str, float]) -> set[str]:
    most = max(parts.values())
    return {server for server, part in parts.items() if part < most}
