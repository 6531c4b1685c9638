"""How often one source may come: a bucket for each, filled again in time (GCRA, without timers)."""

from __future__ import annotations

# Sources that are remembered; those of long ago go first.
SOURCES = 16384


class Rate:
    """``a_minute`` times a minute for each source, that many at once; 0 lets everybody come."""

    def __init__(self, a_minute: int) -> None:
        self._many = a_minute
        # Seconds that one takes out of the bucket.
        self._step = 60.0 / a_minute if a_minute else 0.0
        # Source → when its bucket is full again.
        self._full: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Rate {self._many} a minute, {len(self._full)} sources>"

    def admits(self, source: str, now: float) -> bool:
        """Whether one more may come at the clock's ``now`` (seconds); if so it is counted."""
        if not self._many:
            return True
        full = max(self._full.pop(source, now), now) + self._step
        admitted = full - now <= 60.0 + self._step * 1e-6
        self._full[source] = full if admitted else full - self._step
        if len(self._full) > SOURCES:
            self._forget(now)
        return admitted

    def charge(self, source: str, times: int, now: float) -> None:
        """It came so many times elsewhere, and was let in there."""
        if self._many:
            full = max(self._full.pop(source, now), now) + self._step * times
            # Who came to several places at once is not kept out for longer than a full bucket takes.
            self._full[source] = min(full, now + 60.0)
            if len(self._full) > SOURCES:
                self._forget(now)

    def _forget(self, now: float) -> None:
        """Buckets that are full need no remembering; else the oldest half goes."""
        kept = {source: full for source, full in self._full.items() if full > now}
        if len(kept) > SOURCES // 2:
            kept = dict(list(kept.items())[-SOURCES // 2 :])
        self._full = kept
