"""What a service, or a backend, has done since the start: plain ints, added to where something ends.

Nothing here is computed when it is counted: rates and percentiles are made by whoever looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

# The upper bounds of the buckets of every histogram, milliseconds; what is more goes into one more bucket.
BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000)
# Answer classes: HTTP's by the hundred, "other" for what has no status.
CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")
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
        "handshakes",
        "hit",
        "most",
        "moved",
        "new",
        "none",
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
        # By exproxy.model.Persistence.
        self.hit = self.new = self.moved = self.none = 0
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

    def written(self, record: Mapping[str, object]) -> None:
        """An access-log record ends here: see exproxy.record for its fields."""
        self.requests += 1
        self.bytes_in += record["bytes_in"]  # type: ignore[operator]  # an int, as AccessRecord writes it
        self.bytes_out += record["bytes_out"]  # type: ignore[operator]  # an int, too
        status = record.get("status")
        if isinstance(status, int):
            self.answers[status // 100 if 100 <= status < 600 else 0] += 1
            took = record["total_ms"]
        else:
            self.answers[0] += 1
            took = record.get("connect_ms")
        if took is not None:
            self.sum_ms += took  # type: ignore[operator]  # milliseconds
            self.buckets[bisect_left(BOUNDS, took)] += 1  # type: ignore[call-overload]  # milliseconds
        self._found(record.get("persistence"))
        if record["reason"] != "done":
            self._ended(record, status)

    def _found(self, how: object) -> None:
        if how == "hit":
            self.hit += 1
        elif how == "new":
            self.new += 1
        elif how == "moved":
            self.moved += 1
        elif how == "none":
            self.none += 1

    def _ended(self, record: Mapping[str, object], status: object) -> None:
        """Whose fault it was, where it was anybody's."""
        reason = str(record["reason"])
        if reason.startswith(_BROKEN) or reason.endswith(_BROKEN_OFF):
            self.response_errors += 1
        elif record["server"] is None and "unavailable" not in record:
            said = isinstance(status, int) and 400 <= status < 500
            self.request_errors += said or (status is None and bool(record["bytes_in"]))
