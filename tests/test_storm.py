"""The client storm: two servers, 2,000 clients, one server comes back, and everybody wants it.

With least connections and no ramp the server that comes back, having nobody, is given every new
client until it has as many as the other: it is killed again by its own recovery.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.backend import Lease
from exproxy.pool import Pool
from exproxy.scheduling import LeastConnections, RandomChoice, RoundRobin, SourceHash
from tests.pools import client, come_up, go_down, lease_of, make_pool

CLIENTS = 2000
RAMP = 300.0
# New clients in a second, each in the place of the one that is connected longest.
RATE = 20
SCHEDULINGS: dict[str, Any] = {
    "round-robin": RoundRobin,
    "least-connections": LeastConnections,
    "source-hash": SourceHash,
    "random": lambda: RandomChoice(random.Random(11)),
}


class Storm:
    """All clients are on ``a``, for ``b`` was down; now it is back."""

    def __init__(self, scheduling: Any, ramp: float, *servers: str) -> None:
        self.clock = Clock()
        self.dice = random.Random(4)
        self.pool: Pool = make_pool(
            *(servers or ("a", "b")), clock=self.clock, scheduling=scheduling, slow_ramp=ramp
        )
        self.leases: deque[Lease] = deque()
        for server in "ab":
            come_up(self.pool, server)
        self.clock.advance(2 * RAMP)
        go_down(self.pool, "b")
        for _ in range(CLIENTS):
            self.arrive()
        come_up(self.pool, "b")

    def arrive(self) -> str:
        """One more client, from an address of its own."""
        host = f"10.{self.dice.randrange(256)}.{self.dice.randrange(256)}.{self.dice.randrange(256)}"
        lease = lease_of(self.pool.pick(client(host)))
        lease.busy()
        self.leases.append(lease)
        return lease.backend.server

    def seconds(self, count: int) -> Counter[str]:
        """Where the clients of so many seconds went."""
        went: Counter[str] = Counter()
        for _ in range(count):
            for _ in range(RATE):
                self.leases.popleft().release()
                went[self.arrive()] += 1
            self.clock.advance(1)
        return went

    def end(self) -> None:
        """Everybody leaves."""
        while self.leases:
            self.leases.pop().release()


def part(went: Counter[str], server: str = "b") -> float:
    """The part of the clients that went to that server."""
    return went[server] / sum(went.values())


class StormTests(SynchronousTestCase):
    """The share of new clients that the recovered server gets."""

    def test_least_connections_without_a_ramp(self) -> None:
        """Every one of the first thousand clients goes to the server that has just come back."""
        storm = Storm(LeastConnections(), 0.0)
        self.assertEqual(part(storm.seconds(45)), 1.0)
        storm.end()

    def test_random_without_a_ramp(self) -> None:
        """Two choices out of two servers are least connections by another name."""
        storm = Storm(SCHEDULINGS["random"](), 0.0)
        self.assertEqual(part(storm.seconds(45)), 1.0)
        storm.end()

    def test_with_a_ramp(self) -> None:
        """With each scheduling the recovered server never has more than its share of any half minute."""
        for name, make in SCHEDULINGS.items():
            storm = Storm(make(), RAMP)
            for start in range(0, 300, 30):
                share = (start + 30) / RAMP
                most = share / (1 + share)
                self.assertLess(part(storm.seconds(30)), most + 0.05, (name, start))
            storm.end()
            self.assertEqual([b.links for b in storm.pool.backends], [0, 0])

    def test_the_first_hits(self) -> None:
        """Of the first forty clients after the recovery hardly one meets the server."""
        for name, make in SCHEDULINGS.items():
            storm = Storm(make(), RAMP)
            self.assertLessEqual(storm.seconds(2)["b"], 3, name)
            storm.end()

    def test_it_gets_its_share(self) -> None:
        """The ramp is no lock-out: from half of the ramp to its end the server gets about its share."""
        for name, make in SCHEDULINGS.items():
            storm = Storm(make(), RAMP)
            storm.seconds(150)
            self.assertGreater(part(storm.seconds(150)), 0.36, name)
            storm.end()

    def test_half_in_the_end(self) -> None:
        """Long after the ramp both servers carry about the same."""
        for name, make in SCHEDULINGS.items():
            storm = Storm(make(), RAMP)
            storm.seconds(600)
            loads = [backend.load for backend in storm.pool.backends]
            self.assertLess(max(loads) / CLIENTS, 0.55, name)
            storm.end()

    def test_ramps_at_different_stages(self) -> None:
        """A server that comes back while all others still ramp is rationed against them."""
        storm = Storm(LeastConnections(), RAMP)
        pool = storm.pool
        storm.clock.advance(2 * RAMP)
        pool.operate("a", "drain")
        pool.operate("a", "ready")
        go_down(pool, "b")
        storm.clock.advance(100)
        come_up(pool, "b")
        self.assertLess(part(storm.seconds(10)), 0.2)
        storm.end()

    def test_all_alike_at_the_start(self) -> None:
        """At the start all ramp alike, and the clients spread as without a ramp."""
        for name, make in SCHEDULINGS.items():
            with_ramp, without = (
                make_pool("a", "b", scheduling=make(), slow_ramp=ramp) for ramp in (RAMP, 0)
            )
            hosts = [f"10.1.{number % 7}.{number}" for number in range(200)]
            one, two = (
                [lease_of(pool.pick(client(host))).backend.server for host in hosts]
                for pool in (with_ramp, without)
            )
            self.assertEqual(one, two, name)

    def test_a_ready_server_ramps(self) -> None:
        """Made ready by the operator a server begins as one that recovered."""
        storm = Storm(LeastConnections(), RAMP)
        storm.clock.advance(2 * RAMP)
        storm.pool.operate("b", "maint")
        storm.clock.advance(60)
        storm.pool.operate("b", "ready")
        self.assertLess(part(storm.seconds(10)), 0.1)
        storm.end()

    def test_the_only_one_left(self) -> None:
        """A ramping server that is the only one gets everybody."""
        storm = Storm(LeastConnections(), RAMP)
        go_down(storm.pool, "a")
        self.assertEqual(part(storm.seconds(2)), 1.0)
        storm.end()
