"""What is counted where something ends, and what a backend's past is."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Fail, Pass
from exproxy.past import CHANGES, Past
from exproxy.tally import BOUNDS, CLASSES, FOUND, Tally
from tests.pools import make_pool


def record(**fields: Any) -> dict[str, Any]:
    """A record as it is written."""
    return {"server": "a", "bytes_in": 10, "bytes_out": 20, "total_ms": 3.0, "reason": "done", **fields}


class TallyTests(SynchronousTestCase):
    """Plain ints."""

    def test_requests(self) -> None:
        """An answer counts in its class, with its bytes, and in the bucket of its time."""
        tally = Tally()
        for status, took in ((200, 3.0), (304, 5.0), (503, 5.1), (999, 1e9)):
            tally.written(record(status=status, total_ms=took))
        self.assertEqual(
            dict(zip(CLASSES, tally.answers, strict=True)),
            {
                "other": 1,
                "1xx": 0,
                "2xx": 1,
                "3xx": 1,
                "4xx": 0,
                "5xx": 1,
            },
        )
        self.assertEqual((tally.requests, tally.bytes_in, tally.bytes_out), (4, 40, 80))
        self.assertEqual([tally.buckets[BOUNDS.index(5)], tally.buckets[BOUNDS.index(10)]], [2, 1])
        self.assertEqual(tally.buckets[-1], 1)

    def test_connections(self) -> None:
        """Without a status it is how long the server took to connect; where there was none it is no time."""
        tally = Tally()
        tally.written(record(connect_ms=0.4, total_ms=1e6))
        tally.written(record(server=None))
        self.assertEqual((tally.buckets[0], sum(tally.buckets), tally.answers[0]), (1, 1, 2))

    def test_persistence(self) -> None:
        """How a choice came about is counted by its word."""
        tally = Tally()
        for how in ("hit", "hit", "new", "moved", "none"):
            tally.written(record(persistence=how))
        tally.written(record())
        self.assertEqual(
            dict(zip(FOUND, tally.found, strict=True)), {"hit": 2, "new": 1, "moved": 1, "none": 1}
        )

    def test_whose_fault(self) -> None:
        """A server that broke off, a client that was refused, and nobody's fault are told apart."""
        tally = Tally()
        for reason in (
            "server lost: reset",
            "502: server closed before its answer",
            "server closed before the end",
        ):
            tally.written(record(reason=reason))
        self.assertEqual(tally.response_errors, 3)
        tally.written(record(server=None, status=400, reason="400: no Host"))
        tally.written(record(server=None, reason="no ClientHello in 10 s"))
        self.assertEqual(tally.request_errors, 2)
        tally.written(record(server=None, reason="client closed", bytes_in=0))
        tally.written(record(server=None, unavailable="no server", reason="refused: no server"))
        tally.written(record(reason="client closed"))
        tally.written(record(reason="server closed"))
        self.assertEqual((tally.response_errors, tally.request_errors), (3, 2))

    def test_failed(self) -> None:
        """Codes of layer 7 are answers, the others connections."""
        tally = Tally()
        for code in ("L4CON", "L6TOUT", "L7RSP"):
            tally.failed(code)
        self.assertEqual((tally.connect_errors, tally.response_errors), (2, 1))


class PastTests(SynchronousTestCase):
    """A backend's health and its changes."""

    def test_changes(self) -> None:
        """Only what is another state is kept, so many of them."""
        past = Past()
        for at in range(CHANGES + 10):
            past.changed(at, str(at // 2), "")
            past.changed(at, str(at // 2), "again")
        for at in range(3 * CHANGES):
            past.changed(at, str(at), "")
        self.assertEqual(len(past.changes), CHANGES)
        self.assertEqual(past.changes[-1].state, str(3 * CHANGES - 1))

    def test_downtime(self) -> None:
        """The time DOWN adds up; a server that comes back from maint is DOWN no more."""
        clock = Clock()
        pool = make_pool("a", clock=clock)
        [a] = pool.backends
        pool.told(a, Fail("L4CON", "connect", "refused"), 0.1)
        clock.advance(4)
        self.assertEqual((a.past.downs, a.past.down_seconds(clock.seconds())), (1, 4.0))
        pool.operate("a", "maint", reason="disk")
        clock.advance(1)
        pool.operate("a", "ready")
        clock.advance(7)
        self.assertEqual((a.past.down_since, a.past.down_seconds(clock.seconds())), (None, 5.0))
        self.assertEqual(
            [(each.state, each.reason) for each in a.past.changes],
            [
                ("DOWN", "refused"),
                ("MAINT", "disk"),
                ("no check", ""),
            ],
        )
        pool.told(a, Pass(), 0.002)
        assert a.past.checked is not None
        self.assertEqual((a.past.checked.at, a.past.checked.seconds), (12.0, 0.002))
