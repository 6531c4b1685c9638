"""What a service, or a backend, has done since the start: plain ints, added to where something ends.

Nothing here is computed when it is counted: rates and percentiles are made by whoever looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

# The upper bounds of the buckets of every histogram, milliseconds; what is more goes into one more bucket.
BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000)
# Answer classes: HTTP's by the hundred, "other" for what has no status.
CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")
# How a choice came about: exproxy.model.Persistence.
FOUND = ("hit", "new", "moved", "none")
_FOUND: dict[object, int] = {word: index for index, word in enumerate(FOUND)}
# How a record ends whose server did not answer as it should.
_BROKEN = ("server lost", "backend lost", "502:", "504:")
_BROKEN_OFF = ("before the end", "before its answer")


class Tally:
    """One for each service and each backend. ``answers`` are by CLASSES, ``buckets`` by BOUNDS."""

    __slots__ = (
        "answers",
        "buckets",
        "bytes_in",
        "bytes_out",
        "connect_errors",
        "found",
        "handshakes",
        "most",
        "redispatches",
        "refused",
        "request_errors",
        "requests",
        "response_errors",
        "resumed",
        "retries",
        "sum_ms",
        "total",
    )

    def __init__(self) -> None:
        # Sessions of a service, links of a backend; and the most of them at a time.
        self.total = self.most = 0
        # Records that were written.
        self.requests = self.bytes_in = self.bytes_out = 0
        self.answers = [0] * len(CLASSES)
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.sum_ms = 0.0
        # By FOUND.
        self.found = [0] * len(FOUND)
        self.handshakes = self.resumed = 0
        self.refused = self.request_errors = self.connect_errors = self.response_errors = 0
        self.retries = self.redispatches = 0

    def __repr__(self) -> str:
        return f"<Tally {self.total} came, {self.requests} records>"

    def came(self, present: int) -> None:
        """One more of those who are ``present`` now."""
        self.total += 1
        if present > self.most:
            self.most = present

    def secured(self, resumed: bool) -> None:
        """A client's TLS handshake is done."""
        self.handshakes += 1
        self.resumed += resumed

    def moved(self, received: int, sent: int) -> None:
        """Bytes of a connection that goes on."""
        self.bytes_in += received
        self.bytes_out += sent

    def failed(self, code: str) -> None:
        """A server did not connect (L4…, L6…), or not answer as it should."""
        if code.startswith("L7"):
            self.response_errors += 1
        else:
            self.connect_errors += 1

    def retried(self, elsewhere: bool) -> None:
        """A choice was made once more; ``elsewhere``: without the server that was tried before."""
        self.retries += 1
        self.redispatches += elsewhere

    def written(self, record: Mapping[str, Any]) -> None:
        """An access-log record ends here: see :func:`count`."""
        count(record, self, None)

    def ended(self, record: Mapping[str, Any], status: int | None) -> None:
        """Whose fault the end was, where it was anybody's."""
        reason = str(record["reason"])
        if reason.startswith(_BROKEN) or reason.endswith(_BROKEN_OFF):
            self.response_errors += 1
        elif record["server"] is None and "unavailable" not in record:
            said = status is not None and 400 <= status < 500
            self.request_errors += said or (status is None and bool(record["bytes_in"]))


def count(
    record: Mapping[str, Any], service: Tally, backend: Tally | None, noted: tuple[int, int] = (0, 0)
) -> None:
    """An access-log record ends: for its service and, where there is one, for its backend. This is done for
    every request, so what both need is worked out once. See exproxy.record for the fields. ``noted``: bytes
    of it that were counted before its end."""
    status = record.get("status")
    if status is None:
        answered, took = 0, record.get("connect_ms")
    else:
        answered, took = status // 100 if 100 <= status < 600 else 0, record["total_ms"]
    # No time at all is in no bucket.
    bucket, took = (-1, 0.0) if took is None else (bisect_left(BOUNDS, took), took)
    received, sent = record["bytes_in"] - noted[0], record["bytes_out"] - noted[1]
    found = _FOUND.get(record.get("persistence"))
    for tally in (service,) if backend is None else (service, backend):
        tally.requests += 1
        tally.bytes_in += received
        tally.bytes_out += sent
        tally.answers[answered] += 1
        if bucket >= 0:
            tally.buckets[bucket] += 1
            tally.sum_ms += took
        if found is not None:
            tally.found[found] += 1
        if record["reason"] != "done":
            tally.ended(record, status)
