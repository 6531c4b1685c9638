"""Slow ramp: a server that comes back gets its share of new clients little by little.

The share is continuous (F5's Slow Ramp Time), with a floor so that the server is met at all. It
scales the weight that every scheduling sees, and shares are relative: where all servers ramp alike
(at start) the ramp changes nothing.
"""

from __future__ import annotations

# The least share, so that a ramping server gets its first clients at all.
FLOOR = 1 / 64


def share(elapsed: float, ramp: float) -> float:
    """The share, FLOOR to 1, of a server that came back ``elapsed`` seconds ago; ``ramp`` seconds
    bring it to 1, 0 at once."""
    if ramp <= 0 or elapsed >= ramp:
        return 1.0
    return max(FLOOR, elapsed / ramp)
