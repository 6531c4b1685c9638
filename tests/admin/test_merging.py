"""The status of several workers as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Fail
from exproxy.admin.history import percentiles
from exproxy.admin.merging import merge
from exproxy.admin.states import worst
from exproxy.admin.status import Down, Status
from exproxy.tally import BOUNDS
from tests.admin.clocked import World
from tests.admin.test_local_plane import TEXT, PlaneCase


class MergeTests(PlaneCase):
    """Two processes with one configuration."""

    def setUp(self) -> None:
        super().setUp()
        self.other = World(self, TEXT)

    def merged(self) -> Status:
        return merge([self.plane.status(), self.other.plane.status()])

    def test_alone(self) -> None:
        """The status of one is that status; of none there is none."""
        self.request()
        self.world.reactor.advance(4)
        status = self.plane.status()
        self.assertEqual(merge([status]), status)
        self.assertRaises(ValueError, merge, [])

    def test_sums(self) -> None:
        """Counters add up, through services, targets, backends and servers."""
        self.request()
        self.world.client("plain")
        client = self.other.client("plain")
        self.other.answer()
        client.wire.dataReceived(b"x" * 10)
        self.other.reactor.advance(3)
        merged = self.merged()
        web, plain = merged.services
        self.assertEqual((web.requests.total, plain.sessions.current, plain.bytes_in), (1, 2, 10))
        self.assertEqual(plain.sessions.limit, 40000)
        [target] = plain.targets
        self.assertEqual([each.sessions.total for each in target.backends], [2, 0])
        self.assertEqual(merged.servers[0].sessions, 3)
        self.assertEqual(sum(web.latency.total.counts), 1)
        self.assertEqual(len(merged.process.workers), 2)

    def test_words(self) -> None:
        """The worst state of a backend counts, the best of a service; downtime is not counted twice."""
        for world in (self.world, self.other):
            pool, backend = world.pool("plain"), world.backend("plain/a")
            for _ in range(3):
                pool.told(backend, Fail("L4CON", "connect", "refused"), 0.001)
            world.reactor.advance(5)
        for _ in range(2):
            self.other.pool("plain").operate("b", "maint")
        self.other.built("plain").service.draining = True
        merged = self.merged()
        plain = merged.services[1]
        self.assertEqual([each.state for each in plain.targets[0].backends], ["DOWN", "MAINT"])
        self.assertEqual(plain.state, "OPEN")
        self.assertEqual(plain.targets[0].backends[0].down.count, 1)
        self.assertFalse(merged.process.draining)

    def test_percentiles(self) -> None:
        """Percentiles are made of all buckets together, not of each other."""
        status = self.plane.status()
        one = self.with_minute(status, [90] + [0] * len(BOUNDS))
        two = self.with_minute(status, [0, 0, 0, 0, 0, 0, 0, 10] + [0] * (len(BOUNDS) - 7))
        latency = merge([one, two]).services[0].latency
        self.assertEqual(sum(latency.minute), 100)
        assert latency.p50 is not None and latency.p95 is not None
        self.assertLess(latency.p50, 1.0)
        self.assertGreater(latency.p95, 100.0)

    def with_minute(self, status: Status, minute: list[int]) -> Status:
        first, *rest = status.services
        latency = replace(first.latency, minute=tuple(minute))
        return replace(status, services=(replace(first, latency=latency), *rest))

    def test_one_more(self) -> None:
        """A service that only one of them has (a reload is under way) is there."""
        status = self.plane.status()
        merged = merge([status, replace(status, services=status.services[:1], groups=())])
        self.assertEqual([each.name for each in merged.services], ["web", "plain"])
        self.assertEqual([each.name for each in merged.groups], ["web", "sources"])

    def test_down_now(self) -> None:
        """One who still sees it DOWN is believed before one who has counted longer."""
        status = self.plane.status()

        def seen(down: Down) -> Any:
            service = status.services[1]
            target = service.targets[0]
            backends = (replace(target.backends[0], down=down), *target.backends[1:])
            targets = (replace(target, backends=backends),)
            return replace(status, services=(status.services[0], replace(service, targets=targets)))

        now = Down(1, 3.0, "2026-01-01T00:00:00.000Z")
        merged = merge([seen(Down(2, 50.0)), seen(now)])
        self.assertEqual(merged.services[1].targets[0].backends[0].down, now)


class WordTests(SynchronousTestCase):
    """Words and percentiles."""

    def test_worst(self) -> None:
        """From UP to DOWN; what is on the way lies before it; no backend at all is unused."""
        self.assertEqual(worst(["UP", "UP 2/3", "DRAIN"]), "DRAIN")
        self.assertEqual(worst(["UP 1/3", "UP"]), "UP 1/3")
        self.assertEqual(worst(["DOWN 1/2", "DOWN", "MAINT"]), "DOWN")
        self.assertEqual(worst(["DOWN 1/2", "MAINT"]), "DOWN 1/2")
        self.assertEqual(worst([]), "unused")

    def test_percentiles(self) -> None:
        """Straight lines within a bucket; the last bound for all beyond; nothing of nothing."""
        buckets = [0] * (len(BOUNDS) + 1)
        self.assertEqual(percentiles(buckets), (None, None, None))
        buckets[3] = 100  # between 5 and 10 ms
        self.assertEqual(percentiles(buckets), (7.5, 9.75, 9.95))
        buckets = [0] * len(BOUNDS) + [1]
        self.assertEqual(percentiles(buckets), (60000.0, 60000.0, 60000.0))
