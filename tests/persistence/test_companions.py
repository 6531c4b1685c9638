"""Connections that belong together."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.backend import Backend
from exproxy.model import Choice, Facts, Source, Together
from exproxy.persistence.companions import Companions
from exproxy.persistence.keys import Secrets
from exproxy.persistence.none import plugin as none
from exproxy.persistence.source_ip import SourceIpOptions
from exproxy.persistence.source_ip import plugin as source_ip
from exproxy.pool import Pool
from exproxy.scheduling import RoundRobin
from exproxy.store.memory import MemoryStore

KEYS = Secrets((b"secret",)).keys("rpc", ("exch1", "exch2"))


def pool(persistent: bool = False) -> Pool:
    """Two servers, round robin."""
    clock = Clock()
    servers = [Backend(f"rpc/{name}", name, "127.0.0.1", 443) for name in ("exch1", "exch2")]
    strategy = source_ip.strategy(SourceIpOptions(), KEYS) if persistent else none.strategy(None, KEYS)
    return Pool(
        "rpc", servers, RoundRobin(), strategy, MemoryStore(clock), clock, companions=Companions(KEYS)
    )


def client(host: str = "192.0.2.1", *shown: Together) -> Facts:
    """A client from there that shows that."""
    return Facts(Source(host), *shown)


def taken(pool: Pool, facts: Facts) -> Choice:
    """A choice that is there at once."""
    choice = pool.pick(facts)
    assert isinstance(choice, Choice)
    return choice


class CompanionsTests(SynchronousTestCase):
    """A value of theirs decides for all of them."""

    def test_pairs(self) -> None:
        """Ten pairs, all first halves before all second ones, are each on one server, and on both."""
        served = pool()
        pairs = [Together("rpc", bytes([number]) * 16) for number in range(10)]
        first = [taken(served, client("192.0.2.1", pair)).backend.server for pair in pairs]
        second = [taken(served, client("198.51.100.7", pair)).backend.server for pair in reversed(pairs)]
        self.assertEqual(first, second[::-1])
        self.assertEqual(set(first), {"exch1", "exch2"})

    def test_before_the_persistence(self) -> None:
        """The other half decides over where the address would lead."""
        served = pool(persistent=True)
        pair = Together("rpc", b"p" * 16)
        here = taken(served, client("192.0.2.1", pair)).backend.server
        other = taken(served, client("192.0.2.2")).backend.server
        self.assertNotEqual(here, other)
        self.assertEqual(taken(served, client("192.0.2.2", pair)).backend.server, here)

    def test_after_the_persistence(self) -> None:
        """One that is not first decides only where the persistence knows nobody."""
        shown = Together("rpc-source", b"192.0.2.1", first=False)
        served = pool()
        servers = {taken(served, client("192.0.2.1", shown)).backend.server for _ in range(4)}
        self.assertEqual(len(servers), 1)
        served = pool(persistent=True)
        bound = taken(served, client("192.0.2.1")).backend.server
        taken(served, client("192.0.2.9", shown))
        self.assertEqual(taken(served, client("192.0.2.1", shown)).backend.server, bound)

    def test_held(self) -> None:
        """What is shown is remembered as long as a link of theirs lives, and a time beyond."""
        served = pool()
        pair = Together("rpc", b"p" * 16)
        choice = taken(served, client("192.0.2.1", pair))
        store, clock = served.store, served._clock
        assert isinstance(store, MemoryStore) and isinstance(clock, Clock) and choice.lease is not None
        clock.advance(100_000)
        self.assertEqual(taken(served, client("192.0.2.2", pair)).backend.server, choice.backend.server)

    def test_compared(self) -> None:
        """A half that is somewhere already is compared: apart from the other it is counted, not moved."""
        served = pool()
        pair = Together("rpc", b"p" * 16)
        choice = taken(served, client("192.0.2.1", pair))
        other = "exch2" if choice.backend.server == "exch1" else "exch1"
        served.learn(client(), pair, choice.backend.server)
        self.assertEqual(served.split, 0)
        served.learn(client(), pair, other)
        self.assertEqual(served.split, 1)
        self.assertEqual(taken(served, client("192.0.2.3", pair)).backend.server, choice.backend.server)

    def test_without(self) -> None:
        """A pool without them minds nothing of it."""
        clock = Clock()
        backend = Backend("tcp/exch1", "exch1", "127.0.0.1", 25)
        served = Pool("tcp", [backend], RoundRobin(), none.strategy(None, KEYS), MemoryStore(clock), clock)
        served.learn(client(), Together("rpc", b"p"), "exch1")
        self.assertEqual(served.split, 0)
        self.assertEqual(served.keys_of(client("192.0.2.1", Together("rpc", b"p"))), ())
