"""Servers by name: looked up at start and again, a failure keeping what was known."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from exproxy.names import Names, is_address


class Resolver:
    """A name resolver that answers from a table, at once or when told to."""

    def __init__(self) -> None:
        self.hosts: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.slow = False
        self.pending: list[tuple[Any, str]] = []

    def resolveHostName(self, receiver: Any, name: str, *rest: Any, **more: Any) -> None:
        self.asked.append(name)
        receiver.resolutionBegan(self)
        if self.slow:
            self.pending.append((receiver, name))
        else:
            self.answer(receiver, name)

    def answer(self, receiver: Any, name: str) -> None:
        for host in self.hosts.get(name, []):
            receiver.addressResolved(IPv4Address("TCP", host, 0))
        receiver.resolutionComplete()


class Reactor(Clock):
    """A clock with a name resolver."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = Resolver()


class NamesTests(SynchronousTestCase):
    """Names with a resolver of ours."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.resolver = self.reactor.nameResolver
        self.changes: list[tuple[str, str]] = []
        self.names = Names(self.reactor, lambda name, address: self.changes.append((name, address)))
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def warned(self) -> list[str]:
        return [e["log_format"].format(**e) for e in self.events if e["log_level"].name == "warn"]

    def test_is_address(self) -> None:
        """Addresses of both families are told from names."""
        self.assertTrue(is_address("192.0.2.1"))
        self.assertTrue(is_address("2001:db8::1"))
        self.assertFalse(is_address("ex1.litware.com"))
        self.assertFalse(is_address("192.0.2"))

    def test_addresses_are_told_at_once(self) -> None:
        """An address needs no question."""
        self.names.start([("192.0.2.1", 60), ("2001:db8::1", 60)])
        self.assertEqual(self.changes, [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1")])
        self.assertEqual(self.resolver.asked, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_change(self) -> None:
        """A name is asked again when its time is over, and only changes are told."""
        self.resolver.hosts["ex1"] = ["192.0.2.1"]
        self.names.start([("ex1", 60)])
        self.reactor.advance(60)
        self.assertEqual(self.resolver.asked, ["ex1", "ex1"])
        self.resolver.hosts["ex1"] = ["192.0.2.9"]
        self.reactor.advance(60)
        self.assertEqual(self.changes, [("ex1", "192.0.2.1"), ("ex1", "192.0.2.9")])

    def test_failure_keeps_the_last(self) -> None:
        """A name server that is away changes nothing, is warned of, and is asked again soon."""
        self.resolver.hosts["ex1"] = ["192.0.2.1"]
        self.names.start([("ex1", 60)])
        self.resolver.hosts.clear()
        self.reactor.advance(60)
        self.assertEqual(self.changes, [("ex1", "192.0.2.1")])
        self.assertEqual(self.warned(), ["The server name ex1 cannot be resolved; 192.0.2.1 is kept."])
        self.resolver.hosts["ex1"] = ["192.0.2.2"]
        self.reactor.advance(5)
        self.assertEqual(self.changes[1:], [("ex1", "192.0.2.2")])

    def test_unknown_from_the_start(self) -> None:
        """A name that has no address yet is told as soon as it has one."""
        self.names.start([("ex1", 60)])
        self.assertEqual(self.changes, [])
        self.assertEqual(self.warned(), ["The server name ex1 cannot be resolved."])
        self.resolver.hosts["ex1"] = ["192.0.2.1"]
        self.reactor.advance(5)
        self.assertEqual(self.changes, [("ex1", "192.0.2.1")])

    def test_several_addresses(self) -> None:
        """Of several the first is taken, and kept while it is among them, in whatever order they come."""
        self.resolver.hosts["ex1"] = ["192.0.2.1", "192.0.2.2"]
        self.names.start([("ex1", 60)])
        self.resolver.hosts["ex1"] = ["192.0.2.2", "192.0.2.1"]
        self.reactor.advance(60)
        self.assertEqual(self.changes, [("ex1", "192.0.2.1")])
        self.resolver.hosts["ex1"] = ["192.0.2.2", "192.0.2.3"]
        self.reactor.advance(60)
        self.assertEqual(self.changes[1:], [("ex1", "192.0.2.2")])

    def test_each_in_its_own_time(self) -> None:
        """Every name has its own interval."""
        self.resolver.hosts = {"quick": ["192.0.2.1"], "slow": ["192.0.2.2"]}
        self.names.start([("quick", 10), ("slow", 100)])
        self.reactor.pump([10] * 10)
        self.assertEqual(self.resolver.asked.count("quick"), 11)
        self.assertEqual(self.resolver.asked.count("slow"), 2)

    def test_stop(self) -> None:
        """After stop() nothing is asked, no timer is left, also the second time."""
        self.resolver.hosts["ex1"] = ["192.0.2.1"]
        self.names.start([("ex1", 60), ("ex2", 60)])
        self.names.stop()
        self.names.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.reactor.advance(1000)
        self.assertEqual(self.resolver.asked, ["ex1", "ex2"])

    def test_answer_after_stop(self) -> None:
        """An answer that comes after stop() is of no interest and starts nothing."""
        self.resolver.hosts["ex1"] = ["192.0.2.1"]
        self.resolver.slow = True
        self.names.start([("ex1", 60)])
        self.names.stop()
        self.resolver.answer(*self.resolver.pending[0])
        self.assertEqual(self.changes, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
