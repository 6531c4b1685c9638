"""The monitor: when it asks, what it makes of the answers, and what it says of them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from exproxy import actions, events
from exproxy.backend import Backend
from exproxy.health import Health
from exproxy.model import BACKEND
from exproxy.monitor import FIRST, JITTER, Monitor
from exproxy.pool import Pool
from exproxy.scheduling import RoundRobin
from exproxy.settings import HealthSettings
from exproxy.store.memory import MemoryStore
from tests.loopback.world import Nobody
from tests.test_wire import Transport


class Asks:
    """Says hello, and passes at the answer "ok"; "drain" drains, anything else fails."""

    phase = "answer"

    def handle(self, event: events.Event) -> Iterable[actions.Action]:
        if isinstance(event, events.Connected):
            return [actions.ToBackend(b"hello")]
        if isinstance(event, events.Data) and event.side is BACKEND:
            if event.data == b"raise":
                raise RuntimeError("a mistake")
            if event.data == b"ok":
                return [actions.Pass()]
            if event.data == b"drain":
                return [actions.Drain("going home")]
            return [actions.Fail("L7STS", "answer", event.data.decode())]
        return ()


class Check:
    """The check that asks so."""

    tls = "never"
    layer = "L7"
    broken = False

    def dialogue(self) -> Asks:
        if self.broken:
            raise RuntimeError("a mistake")
        return Asks()


class MonitorTests(SynchronousTestCase):
    """A monitor on a reactor in memory, whose connections this test plays."""

    SETTINGS = HealthSettings(interval=5, timeout=3, rise=2, fall=3)

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def watch(self, *servers: str, settings: HealthSettings = SETTINGS, seed: int = 1) -> Pool:
        self.check = Check()
        backends = [
            Backend(
                f"imap/{name}", name, f"192.0.2.{number}", 143, health=Health(settings.rise, settings.fall)
            )
            for number, name in enumerate(servers, 1)
        ]
        pool = Pool("imap", backends, RoundRobin(), Nobody(), MemoryStore(self.reactor), self.reactor)
        self.monitor = Monitor(self.reactor, random.Random(seed))
        self.monitor.watch(pool, self.check, settings, None)
        self.monitor.start()
        return pool

    def said(self) -> list[str]:
        return [
            event["log_format"].format(**event)
            for event in self.events
            if event.get("log_namespace") == "exproxy.monitor.Monitor"
        ]

    def asked(self) -> int:
        return len(self.reactor.tcpClients)

    def until_asked(self) -> tuple[str, Any]:
        """Let time go by until the next question: (host, factory)."""
        before = self.asked()
        for _ in range(2000):
            if self.asked() > before:
                host, _, factory, _, _ = self.reactor.tcpClients[-1]
                return host, factory
            self.reactor.advance(0.01)
        raise AssertionError("nothing was asked")

    def answer(self, text: bytes | None) -> tuple[str, Transport]:
        """Answer the next question; None refuses the connection."""
        host, factory = self.until_asked()
        transport = Transport()
        if text is None:
            from twisted.internet.error import ConnectionRefusedError

            factory.clientConnectionFailed(self.reactor.connectors[-1], Failure(ConnectionRefusedError()))
        else:
            wire = factory.buildProtocol(None)
            wire.makeConnection(transport)
            self.assertEqual(transport.value(), b"hello")
            wire.dataReceived(text)
            from twisted.internet.error import ConnectionDone

            wire.connectionLost(Failure(ConnectionDone()))
        return host, transport

    # -- when ------------------------------------------------------------------------

    def test_first_question(self) -> None:
        """Every backend is asked within the first second, not all at one moment."""
        self.watch(*[f"ex{number}" for number in range(1, 31)])
        times = sorted(call.getTime() for call in self.reactor.getDelayedCalls())
        self.assertEqual(len(times), 30)
        self.assertGreater(times[-1] - times[0], FIRST / 2)
        self.reactor.advance(FIRST)
        self.assertEqual(self.asked(), 30)

    def test_interval(self) -> None:
        """From the begin of one question to the next it is an interval, five in a hundred more or less."""
        self.watch("ex1")
        times = []
        for _ in range(30):
            self.answer(b"ok")
            times.append(self.reactor.seconds())
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        self.assertGreaterEqual(min(gaps), 5 * (1 - JITTER) - 0.011)
        self.assertLessEqual(max(gaps), 5 * (1 + JITTER) + 0.011)
        self.assertGreater(max(gaps) - min(gaps), 0.1)

    def test_slow_answers_do_not_delay_the_next_question(self) -> None:
        """The interval counts from the begin, however long the answer takes."""
        self.watch("ex1", settings=HealthSettings(interval=5, timeout=5, rise=2, fall=3))
        _, factory = self.until_asked()
        begun = self.reactor.seconds()
        self.reactor.advance(4)
        wire = factory.buildProtocol(None)
        wire.makeConnection(Transport())
        wire.dataReceived(b"ok")
        self.until_asked()
        self.assertLess(self.reactor.seconds() - begun, 5.3)

    def test_timeout(self) -> None:
        """No answer in time is a failure, called by the layer that was waited for."""
        pool = self.watch("ex1", "ex2")
        self.answer(b"ok")
        self.answer(b"ok")
        _, factory = self.until_asked()
        self.reactor.advance(3)
        self.assertEqual(pool.backends[0].health.text().split()[-1], "2/3")
        for _ in range(2):
            _, factory = self.until_asked()
            transport = Transport()
            factory.buildProtocol(None).makeConnection(transport)
            self.reactor.advance(3)
            self.assertEqual(transport.asked, ["abort"])

    def test_no_address_yet(self) -> None:
        """A server without an address, and one in maintenance, is not asked until it is one to be asked."""
        pool = self.watch("ex1")
        backend = pool.backends[0]
        backend.host = None
        self.reactor.advance(20)
        backend.host, backend.operator = "192.0.2.1", "maint"
        self.reactor.advance(20)
        self.assertEqual(self.asked(), 0)
        backend.operator = "ready"
        self.until_asked()

    def test_stop(self) -> None:
        """After stop() no timer is left, and a question under way ends without an outcome; twice."""
        pool = self.watch("ex1", "ex2")
        _, factory = self.until_asked()
        transport = Transport()
        factory.buildProtocol(None).makeConnection(transport)
        self.monitor.stop()
        self.monitor.stop()
        self.assertEqual(transport.asked, ["abort"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(pool.backends[0].state, "no check")

    # -- what ------------------------------------------------------------------------

    def test_the_first_failure_decides(self) -> None:
        """A server that is dead from the beginning is DOWN after one answer, in HAProxy's words."""
        pool = self.watch("ex1")
        self.answer(None)
        self.assertFalse(pool.backends[0].health.up)
        down, none = self.said()
        self.assertRegex(
            down,
            r"^Server imap/ex1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", "
            r"check duration: \d+ms\. 0 active and 0 backup servers left\.$",
        )
        self.assertEqual(none, "imap has no server available!")

    def test_fall_and_rise(self) -> None:
        """Three bad answers in a row take it down, two good ones bring it up; each flip is said once."""
        pool = self.watch("ex1")
        for text in (b"ok", b"bad", b"bad", b"ok", b"bad", b"bad"):
            self.answer(text)
            self.assertTrue(pool.backends[0].health.up)
        self.answer(b"bad")
        self.assertFalse(pool.backends[0].health.up)
        self.answer(b"ok")
        self.assertFalse(pool.backends[0].health.up)
        self.answer(b"ok")
        self.assertTrue(pool.backends[0].health.up)
        self.assertEqual(
            [text.split(",")[0] for text in self.said()],
            [
                "Server imap/ex1 is DOWN",
                "imap has no server available!",
                "Server imap/ex1 is UP",
            ],
        )
        self.assertIn('Layer7 wrong status, info: "answer: bad"', self.said()[0])

    def test_drain(self) -> None:
        """A server that asks for nobody new is DRAIN, and others are left."""
        pool = self.watch("ex1", "ex2")
        host, _ = self.answer(b"drain")
        drained = pool.backends[int(host[-1]) - 1]
        self.assertEqual(drained.state, "DRAIN")
        self.assertTrue(drained.usable_for_known())
        self.assertIn('is DRAIN, reason: "going home"', self.said()[0])
        self.assertEqual(len(self.said()), 1)

    def test_the_last_one(self) -> None:
        """Only when the last server goes is it said that none is left."""
        self.watch("ex1", "ex2")
        self.answer(None)
        self.assertEqual([text for text in self.said() if "no server available" in text], [])
        self.answer(None)
        self.assertEqual(self.said()[-1], "imap has no server available!")

    def test_clients_failures_count(self) -> None:
        """What clients meet takes a server down as checks do; only checks bring it up."""
        pool = self.watch("ex1", "ex2")
        self.answer(b"ok")
        self.answer(b"ok")
        backend = pool.backends[0]
        for _ in range(3):
            self.monitor.client_failed(pool, backend, "L4CON", "Connection refused")
        self.assertFalse(backend.health.up)
        self.assertIn('info: "client connect: Connection refused"', self.said()[0])

    def test_a_check_that_raises(self) -> None:
        """A mistake in a check is logged, counts as a failure, and does not end the questions."""
        pool = self.watch("ex1")
        self.answer(b"raise")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertFalse(pool.backends[0].health.up)
        self.answer(b"ok")
        self.answer(b"ok")
        self.assertTrue(pool.backends[0].health.up)

    def test_a_check_that_cannot_begin(self) -> None:
        """A check that cannot even be made is no end of the questions either."""
        pool = self.watch("ex1")
        self.check.broken = True
        self.reactor.pump([0.1] * 20)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertFalse(pool.backends[0].health.up)
        self.check.broken = False
        self.answer(b"ok")
        self.answer(b"ok")
        self.assertTrue(pool.backends[0].health.up)
