"""What the soak says in the end: what is left, how memory goes, and what nobody can account for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.soak.looking import PARTS, View

MIB = 1 << 20
# Growth that is allowed, in MiB an hour, and seconds of load from which it is judged at all.
GROWTH = 1.0
JUDGED = 600.0
# Descriptors of pipes that exproxy keeps when they are idle (docs/performance.md).
KEPT = {"pipe": 32}
# Objects that are kept on purpose, each up to a limit of its own, by the begin of the class's name: entries
# of the persistence tables, what a cache has of Content-Length, rates; TLS with each server that somebody was
# taken to, and its sessions.
TABLES = {
    "exproxy.store.": 200_000,
    "exproxy.model.Key": 200_000,
    "exproxy.rate.": 200_000,
    "protocols.http.framing.Framing": 4096,
    "OpenSSL.SSL.Session": 1000,
    "exproxy.tls.client.ClientTLS": 100,
    "exproxy.tls.sessions.Sessions": 100,
    "OpenSSL.SSL.Context": 100,
    "exproxy.tls.sessions.Kept": 3200,
    # The last hour of each service and backend, the last events and changes of state.
    "exproxy.admin.history.": 200_000,
    "exproxy.admin.rows.Event": 2000,
    "exproxy.past.": 10_000,
    # One that is said again and again.
    "exproxy.actions.SetDeadline": 10,
}
# Timers are counted by what they call, and Deferreds belong to whatever waits for them.
_PASSING = ("twisted.internet.base.DelayedCall", "twisted.internet.defer.")


@dataclass(frozen=True, slots=True)
class Growth:
    """Of the memory, in MiB an hour, by a line through the last two thirds; ``error``: its standard error."""

    slope: float
    error: float
    samples: int

    @property
    def bad(self) -> bool:
        """Whether it is above what is allowed, and that not by chance (two standard errors)."""
        return self.slope - 2 * self.error > GROWTH


def growth(samples: Sequence[tuple[float, int]]) -> Growth | None:
    """Of samples (seconds, bytes); the first third warms up. None of fewer than three."""
    used = samples[len(samples) // 3 :]
    if len(used) < 3:
        return None
    xs = [seconds / 3600 for seconds, _ in used]
    ys = [size / MIB for _, size in used]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in zip(xs, ys, strict=True))
    return Growth(slope, math.sqrt(rest / (len(xs) - 2) / spread), len(used))


def left(before: View, after: View) -> dict[str, dict[str, int]]:
    """What there is more of than before, by part; what is kept on purpose does not count."""
    found: dict[str, dict[str, int]] = {}
    for part in PARTS:
        then, now = getattr(before, part), getattr(after, part)
        more = {name: now[name] - _allowed(part, name, then) for name in sorted(now)}
        more = {name: count for name, count in more.items() if count > 0}
        if more:
            found[part] = more
    return found


def _allowed(part: str, name: str, then: Counter[str]) -> float:
    if part in ("sessions", "leases"):
        # Not what there was before, but none.
        return 0
    if part == "objects" and name.startswith(_PASSING):
        return math.inf
    if part == "objects":
        return then[name] + max((most for begin, most in TABLES.items() if name.startswith(begin)), default=0)
    return max(then[name], KEPT.get(name, 0) if part == "descriptors" else 0)


def tables(before: View, after: View) -> dict[str, int]:
    """How much more is kept on purpose."""
    return {
        name: after.objects[name] - before.objects[name]
        for name in sorted(after.objects)
        if name.startswith(tuple(TABLES)) and after.objects[name] != before.objects[name]
    }
