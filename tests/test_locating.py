"""Learnt ports: when the servers are asked, who shares the answer, and what it changes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from exproxy import actions, events
from exproxy.actions import Fail, Pass
from exproxy.backend import FORMER_PORTS, Backend
from exproxy.connect import ConnectFailed
from exproxy.errors import NoBackend
from exproxy.health import Health
from exproxy.interfaces import ILocating, ILocator
from exproxy.locating import Locations
from exproxy.model import ClientAddress, Link, Persistence
from exproxy.monitor import Monitor
from exproxy.pool import Pool
from exproxy.protocol import Protocol
from exproxy.proxy_protocol import local
from exproxy.scheduling import RoundRobin
from exproxy.settings import HealthSettings
from exproxy.store.memory import MemoryStore
from tests.loopback.world import Nobody
from tests.pools import chosen, client, lease_of
from tests.test_monitor import Check
from tests.test_wire import Transport

MAPPER = 135


class Where:
    """Asks "where", and understands "at 6001"; "in vain" is a Drain, everything else a Fail."""

    phase = "map"

    def handle(self, event: events.Event) -> Iterable[actions.Action]:
        if isinstance(event, events.Connected):
            return [actions.ToBackend(b"where")]
        if isinstance(event, events.Data):
            word, _, port = event.data.decode().partition(" ")
            if word == "at":
                return [Pass(int(port))]
            return [actions.Drain("no")] if word == "in" else [Fail("L7STS", "map", event.data.decode())]
        return ()


@implementer(ILocator)
class Mapper:
    """A locator that asks so."""

    tls = "always"
    layer = "L7"
    port = MAPPER

    def dialogue(self) -> Any:
        return Where()


class Asked:
    """One connection that somebody makes to the server."""

    def __init__(self, reactor: MemoryReactorClock, number: int) -> None:
        self.host, self.port, self._factory, _, _ = reactor.tcpClients[number]
        self._connector = reactor.connectors[number]
        self.transport = Transport()
        self.wire: Any = None

    def accept(self) -> Asked:
        """The server is there."""
        self.wire = self._factory.buildProtocol(None)
        self.wire.makeConnection(self.transport)
        return self

    def say(self, data: bytes) -> None:
        """It answers, and its connection ends."""
        self.accept().wire.dataReceived(data)
        self.wire.connectionLost(Failure(ConnectionDone()))

    def refuse(self) -> None:
        """Nobody is there."""
        self._factory.clientConnectionFailed(self._connector, Failure(ConnectionRefusedError()))


class LocatingTestCase(SynchronousTestCase):
    """One server whose port is learnt, on a reactor in memory."""

    SETTINGS = HealthSettings(interval=5, timeout=3, rise=2, fall=3)

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.backend = Backend("rpc/ex1", "ex1", "192.0.2.1", 0, health=Health(2, 3))
        self.pool = Pool(
            "rpc", [self.backend], RoundRobin(), Nobody(), MemoryStore(self.reactor), self.reactor
        )
        self.locations = Locations(self.reactor, self.pool, Mapper(), 3.0)
        self.said: list[str] = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)
        self.seen = 0

    def note(self, event: Any) -> None:
        if event.get("log_namespace", "").startswith(("exproxy.monitor", "exproxy.locating")):
            self.said.append(event["log_format"].format(**event))

    def next(self) -> Asked:
        """The next connection that is made, as time goes by."""
        for _ in range(2000):
            if len(self.reactor.tcpClients) > self.seen:
                self.seen += 1
                return Asked(self.reactor, self.seen - 1)
            self.reactor.advance(0.01)
        raise AssertionError("nothing was asked")

    def now(self) -> Asked:
        """The next connection, which must be there already."""
        self.assertGreater(len(self.reactor.tcpClients), self.seen)
        return self.next()

    def nothing(self) -> None:
        """No connection was made that has not been looked at."""
        self.assertEqual(len(self.reactor.tcpClients), self.seen)


class BackendTests(LocatingTestCase):
    """A backend without a port."""

    def test_no_port(self) -> None:
        """Like any other it is taken for UP until somebody has asked."""
        self.assertEqual((self.backend.state, self.backend.usable), ("no port", True))
        self.assertTrue(self.backend.usable_for_new())
        lease_of(self.pool.pick(client())).release()
        self.pool.located(self.backend, 6001)
        self.assertEqual((self.backend.state, self.backend.usable), ("no check", True))

    def test_links_survive(self) -> None:
        """A link to the port that was is used again, and a pinned client keeps it."""
        self.pool.located(self.backend, 6001)
        lease = lease_of(self.pool.pick(client()))
        link = Link(1, "ex1", "192.0.2.1", 6001)
        self.pool.located(self.backend, 6002)
        self.assertEqual(chosen(self.pool.pick(client(), links=(link,))).reused, link)
        pinned = chosen(self.pool.pick(client(), links=(link,), pinned=link))
        self.assertEqual((pinned.reused, pinned.persistence), (link, Persistence.HIT))
        strange = Link(2, "ex1", "192.0.2.1", 443)
        self.assertRaises(NoBackend, self.pool.pick, client(), links=(strange,), pinned=strange)
        lease.release()

    def test_former_ports_are_bounded(self) -> None:
        """A port of long ago is forgotten."""
        for port in range(6000, 6000 + FORMER_PORTS + 2):
            self.backend.found_at(port)
        self.assertEqual([self.backend.meets(port) for port in (6000, 6001, 6002)], [False, True, True])

    def test_replaced(self) -> None:
        """A new configuration keeps a backend whose port is learnt, and its port; a fixed one is another."""
        self.pool.located(self.backend, 6001)
        new, gone = self.pool.replace_backends([Backend("rpc/ex1", "ex1", "192.0.2.1", 0)])
        self.assertEqual((new, gone, self.pool.find("ex1")), ([], [], self.backend))
        self.assertEqual(self.backend.port, 6001)
        fixed = Backend("rpc/ex1", "ex1", "192.0.2.1", 6001)
        self.assertEqual(self.pool.replace_backends([fixed]), ([fixed], [self.backend]))
        located = Backend("rpc/ex1", "ex1", "192.0.2.1", 0)
        self.assertEqual(self.pool.replace_backends([located]), ([located], [fixed]))


class LocationsTests(LocatingTestCase):
    """One question at a time, whoever asks."""

    def test_interfaces(self) -> None:
        """A locator is a check with a port; a Protocol says what its is, none where nothing is said."""
        self.assertTrue(verifyObject(ILocator, Mapper()))
        mapper = Mapper()
        plain = Protocol("x", "", Any)
        mapped = Protocol("y", "", Any, locate=lambda options: mapper if options else None)
        self.assertTrue(verifyObject(ILocating, plain))
        self.assertEqual([plain.locator(1), mapped.locator(0), mapped.locator(1)], [None, None, mapper])

    def test_shared(self) -> None:
        """Who asks while a question is under way gets its answer; plain TCP, whatever the locator says."""
        first, second = self.locations.ask(self.backend), self.locations.ask(self.backend)
        asked = self.next()
        self.assertEqual((asked.host, asked.port, len(self.locations)), ("192.0.2.1", MAPPER, 1))
        self.nothing()
        asked.say(b"at 6001")
        self.assertEqual(self.successResultOf(first), Pass(6001))
        self.assertEqual(self.successResultOf(second), Pass(6001))
        self.assertEqual((self.backend.port, len(self.locations)), (6001, 0))
        self.assertEqual(self.said, ["rpc/ex1 is at port 6001 now"])

    def test_introduced(self) -> None:
        """A server that wants a PROXY header gets our own before the question, as its check does."""
        self.backend.client_address = ClientAddress("v2")
        self.locations.ask(self.backend)
        asked = self.next()
        asked.say(b"at 6001")
        self.assertEqual(asked.transport.value(), local() + b"where")
        self.assertEqual(self.backend.port, 6001)

    def test_asked_anew(self) -> None:
        """After the answer another question is asked; the same port is no news."""
        for text in (b"at 6001", b"at 6001", b"at 6002"):
            self.locations.ask(self.backend)
            self.next().say(text)
        self.assertEqual(self.said, ["rpc/ex1 is at port 6001 now", "rpc/ex1 is at port 6002 now"])

    def test_a_failure_forgets_nothing(self) -> None:
        """A server that does not say keeps the port that is known."""
        self.pool.located(self.backend, 6001)
        asked = self.locations.ask(self.backend)
        self.next().refuse()
        self.assertEqual(self.successResultOf(asked), Fail("L4CON", "connect", "Connection refused"))
        asked = self.locations.ask(self.backend)
        self.next().accept()
        self.reactor.advance(3)
        self.assertEqual(self.successResultOf(asked), Fail("L7TOUT", "map", "no answer in 3 s"))
        self.assertEqual((self.backend.port, self.reactor.getDelayedCalls()), (6001, []))

    def test_no_port_in_the_answer(self) -> None:
        """What is no port is a failure."""
        for text in (b"at 0", b"at 65536", b"at -1", b"in vain"):
            asked = self.locations.ask(self.backend)
            self.next().say(text)
            outcome = self.successResultOf(asked)
            self.assertIsInstance(outcome, Fail)
            self.assertEqual((outcome.code, outcome.phase, self.backend.port), ("L7RSP", "port", 0))

    def test_no_address(self) -> None:
        """A server whose name is not resolved cannot be asked."""
        self.backend.host = None
        self.assertIsInstance(self.successResultOf(self.locations.ask(self.backend)), Fail)
        self.nothing()

    def test_one_gives_up(self) -> None:
        """Who gives up leaves the question to the others; after the last one nothing is left of it."""
        first, second = self.locations.ask(self.backend), self.locations.ask(self.backend)
        asked = self.next().accept()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual((asked.transport.asked, len(self.locations)), ([], 1))
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual((asked.transport.asked, len(self.locations)), (["abort"], 0))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_gives_up_because_of_another(self) -> None:
        """Who gives up at what another one does with the answer is not told it."""
        first, second = self.locations.ask(self.backend), self.locations.ask(self.backend)
        first.addCallback(lambda outcome: second.cancel())
        self.next().say(b"at 6001")
        self.failureResultOf(second, CancelledError)


class ProbeTests(LocatingTestCase):
    """Checks of a server whose port is learnt."""

    def setUp(self) -> None:
        super().setUp()
        self.monitor = Monitor(self.reactor, random.Random(1))
        self.monitor.watch(self.pool, Check(), self.SETTINGS, None, None, self.locations)
        self.monitor.start()

    def test_unknown(self) -> None:
        """The port is asked for first, then the check goes there; both are one round."""
        mapper = self.next()
        self.assertEqual(mapper.port, MAPPER)
        mapper.say(b"at 6001")
        check = self.now()
        self.assertEqual(check.port, 6001)
        check.say(b"ok")
        self.assertEqual((self.backend.state, len(self.reactor.getDelayedCalls())), ("UP", 1))

    def test_kept(self) -> None:
        """A port that is known is not asked for again while the check is good."""
        self.test_unknown()
        for _ in range(5):
            check = self.next()
            self.assertEqual(check.port, 6001)
            check.say(b"ok")
        self.nothing()

    def test_not_told(self) -> None:
        """A server that does not say its port is DOWN, for the locator's reason."""
        self.next().say(b"no such interface")
        self.assertFalse(self.backend.health.up)
        self.assertIn('Layer7 wrong status, info: "map: no such interface"', self.said[0])
        self.assertEqual(self.backend.state, "DOWN")
        self.next().say(b"at 6001")
        self.now().say(b"bad")
        self.assertEqual(self.backend.state, "DOWN")
        self.nothing()

    def test_moved(self) -> None:
        """Where the check fails the port is asked for again in the same round, and the check with it."""
        self.test_unknown()
        self.next().refuse()
        mapper = self.now()
        self.assertEqual(mapper.port, MAPPER)
        mapper.say(b"at 6002")
        check = self.now()
        self.assertEqual(check.port, 6002)
        check.say(b"ok")
        self.assertEqual((self.backend.state, self.said[-1]), ("UP", "rpc/ex1 is at port 6002 now"))
        self.assertEqual(self.next().port, 6002)

    def test_moved_and_ill(self) -> None:
        """The failure at the new port counts, once; there is no third question."""
        self.test_unknown()
        self.next().say(b"bad")
        self.now().say(b"at 6002")
        self.now().say(b"worse")
        self.assertEqual(self.backend.state, "UP 2/3")
        self.nothing()

    def test_not_moved(self) -> None:
        """Where the port is the same, or is not told, the check's failure counts."""
        self.test_unknown()
        for text in (b"at 6001", b"no such interface"):
            self.next().say(b"bad")
            self.now().say(text)
            self.nothing()
        self.assertEqual((self.backend.state, self.backend.port), ("UP 1/3", 6001))
        self.next().say(b"bad")
        self.now().refuse()
        self.assertIn('"answer: bad"', self.said[-2])

    def test_a_client_was_faster(self) -> None:
        """A port that was learnt while the check ran is asked at once."""
        self.test_unknown()
        check = self.next()
        self.pool.located(self.backend, 6002)
        check.refuse()
        check = self.now()
        self.assertEqual(check.port, 6002)
        check.say(b"ok")
        self.assertEqual(self.backend.state, "UP")

    def test_drain_is_no_failure(self) -> None:
        """A server that asks for nobody new is not asked where it is."""
        self.test_unknown()
        self.next().say(b"drain")
        self.nothing()
        self.assertEqual(self.backend.state, "DRAIN")

    def test_timeouts(self) -> None:
        """Each question of a round has the whole time, and the next round comes soon after."""
        self.test_unknown()
        self.next().accept()
        self.reactor.advance(3)
        mapper = self.now()
        self.reactor.advance(2.9)
        mapper.say(b"at 6002")
        self.now().accept()
        self.reactor.advance(3)
        self.assertEqual(self.backend.state, "UP 2/3")
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)

    def test_stop(self) -> None:
        """Stopped in any of the questions, no timer and no connection is left."""
        for steps in range(3):
            if steps:
                self.next().say(b"at 6001")
            if steps == 2:
                self.now().refuse()
            asked = self.next().accept()
            self.monitor.stop()
            self.assertEqual((asked.transport.asked, self.reactor.getDelayedCalls()), (["abort"], []))
            self.assertEqual(len(self.locations), 0)
            self.setUp()

    def test_stop_leaves_the_question_to_others(self) -> None:
        """A client that waits for the same answer gets it."""
        mapper = self.next()
        waiting = self.locations.ask(self.backend)
        self.monitor.stop()
        mapper.say(b"at 6001")
        self.assertEqual(self.successResultOf(waiting), Pass(6001))

    def test_a_mistake(self) -> None:
        """A verdict that raises is logged, and the questions go on."""
        told, self.pool.told = self.pool.told, lambda *args, **kwargs: 1 // 0  # type: ignore[method-assign]
        self.next().refuse()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.pool.told = told  # type: ignore[method-assign]
        self.next().say(b"at 6001")
        self.now().say(b"ok")
        self.assertEqual(self.backend.state, "UP")


class ConnectTests(LocatingTestCase):
    """Clients of a server whose port may have changed."""

    def setUp(self) -> None:
        super().setUp()
        self.pool.located(self.backend, 6001)
        self.attempts: list[tuple[int, Deferred[Any]]] = []

    def attempt(self) -> Deferred[Any]:
        made: Deferred[Any] = Deferred()
        self.attempts.append((self.backend.port, made))
        return made

    def connect(self) -> Deferred[Any]:
        return self.locations.connect(self.backend, self.attempt)

    def fail(self, number: int, code: str = "L4CON") -> None:  # type: ignore[override]
        self.attempts[number][1].errback(ConnectFailed(code, "connect", "Connection refused"))

    def test_there(self) -> None:
        """Whoever is met is not asked anything."""
        connecting = self.connect()
        self.attempts[0][1].callback("wire")
        self.assertEqual(self.successResultOf(connecting), "wire")
        self.nothing()

    def test_moved(self) -> None:
        """Two clients that meet nobody share a question, and both go to the new port."""
        for code in ("L4CON", "L4TOUT"):
            self.attempts.clear()
            first, second = self.connect(), self.connect()
            self.fail(0, code)
            self.fail(1, code)
            self.next().say(b"at %d" % (self.backend.port + 1))
            self.nothing()
            ports = [port for port, _ in self.attempts]
            self.assertEqual(ports[2:], [ports[0] + 1] * 2)
            self.attempts[2][1].callback("wire")
            self.fail(3)
            self.assertEqual(self.successResultOf(first), "wire")
            self.failureResultOf(second, ConnectFailed)

    def test_learnt_meanwhile(self) -> None:
        """Where another one has learnt the port already nobody is asked."""
        connecting = self.connect()
        self.pool.located(self.backend, 6002)
        self.fail(0)
        self.nothing()
        self.assertEqual([port for port, _ in self.attempts], [6001, 6002])
        self.attempts[1][1].callback("wire")
        self.assertEqual(self.successResultOf(connecting), "wire")

    def test_ours(self) -> None:
        """What never came to the server, such as an address that cannot be bound, asks it nothing."""
        connecting = self.connect()
        self.attempts[0][1].errback(ConnectFailed("L4CON", "bind", "no such address", ours=True))
        self.assertTrue(self.failureResultOf(connecting, ConnectFailed).value.ours)
        self.nothing()

    def test_not_known(self) -> None:
        """A client that comes before the first check has the port asked for, and is connected there."""
        self.backend.port = 0
        connecting = self.connect()
        self.assertEqual(self.attempts, [])
        self.next().say(b"at 6003")
        self.assertEqual([port for port, _ in self.attempts], [6003])
        self.attempts[0][1].callback("wire")
        self.assertEqual(self.successResultOf(connecting), "wire")

    def test_not_to_be_known(self) -> None:
        """Where the server does not say its port the connect has failed, for that reason."""
        self.backend.port = 0
        connecting = self.connect()
        self.next().say(b"no such interface")
        error = self.failureResultOf(connecting, ConnectFailed).value
        self.assertEqual((error.code, error.reason, self.attempts), ("L7STS", "no such interface", []))

    def test_not_moved(self) -> None:
        """The same port, or no answer, leaves it at the first failure."""
        for text in (b"at 6001", b"no such interface"):
            self.attempts.clear()
            connecting = self.connect()
            self.fail(0)
            self.next().say(text)
            self.assertEqual(self.failureResultOf(connecting, ConnectFailed).value.code, "L4CON")
            self.assertEqual(len(self.attempts), 1)

    def test_other_failures(self) -> None:
        """A server that is there and fails in TLS is at the right port."""
        connecting = self.connect()
        self.fail(0, "L6RSP")
        self.nothing()
        self.failureResultOf(connecting, ConnectFailed)

    def test_client_gone(self) -> None:
        """A client that goes while it connects, asks or connects again leaves nothing behind."""
        for steps in range(3):
            self.attempts.clear()
            connecting = self.connect()
            if steps:
                self.fail(0)
                asked = self.next().accept()
            if steps == 2:
                asked.wire.dataReceived(b"at %d" % (self.backend.port + 1))
                asked.wire.connectionLost(Failure(ConnectionDone()))
            connecting.cancel()
            self.failureResultOf(connecting, CancelledError)
            self.assertEqual((len(self.locations), self.reactor.getDelayedCalls()), (0, []))
