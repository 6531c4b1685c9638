"""What one process tells of itself, and what may be done to it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from twisted.internet.error import ConnectionRefusedError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.actions import Drain, Fail, Pass
from exproxy.admin import events as ring
from exproxy.admin import snapshot
from exproxy.admin.explanation import Question
from exproxy.admin.listing import MOST
from exproxy.admin.plane import IPlane, Refused, Unknown
from exproxy.admin.warnings import SKEW_LEAST
from exproxy.question import Client
from tests.admin.clocked import Transport, World
from tests.certificates import pem

REQUEST = b"GET /owa/x HTTP/1.1\r\nHost: owa.litware.test\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TEXT = """
servers: {a: 127.0.0.11, b: 127.0.0.12}
groups:
  sources: {timeout: 1h, limit: 50000}
services:
  web:
    protocol: http
    listen: 8080
    scheduling: least-connections
    check: {http: {path: /health}}
    persistence: {user: {fallback: source-ip}}
    routes:
      no: {path: /no, status: 403}
  plain:
    protocol: tcp
    listen: 8081
    persistence: {source-ip: {group: sources}}
"""


class PlaneCase(SynchronousTestCase):
    """A process with two services."""

    text = TEXT

    def setUp(self) -> None:
        self.world = World(self, self.text)
        self.plane = self.world.plane

    def request(self, source: str = "192.0.2.1", path: bytes = b"/owa/x") -> tuple[Transport, Transport]:
        """A request that was answered, on a connection that is kept: (client, server)."""
        client = self.world.client("web", source)
        client.wire.dataReceived(REQUEST.replace(b"/owa/x", path))
        server = self.world.answer()
        server.wire.dataReceived(ANSWER)
        return client, server

    def service(self, name: str) -> Any:
        return next(each for each in self.plane.status().services if each.name == name)

    def backend(self, name: str) -> Any:
        services = self.plane.status().services
        return next(
            backend
            for service in services
            for target in service.targets
            for backend in target.backends
            if backend.name == name
        )


class ContractTests(PlaneCase):
    """IPlane."""

    def test_provided(self) -> None:
        """LocalPlane provides all of it, with the signatures that it says."""
        self.assertTrue(verifyObject(IPlane, self.plane))

    def test_json(self) -> None:
        """Whatever it answers can be written as JSON."""
        self.request()
        self.world.reactor.advance(4)
        for each in (
            self.plane.status(),
            self.plane.history(),
            *self.plane.sessions(),
            *self.plane.entries("web"),
            self.plane.explain(Question("web", Client("192.0.2.1"))),
        ):
            json.dumps(asdict(each))

    def test_start_twice(self) -> None:
        """A second start and a second stop change nothing."""
        self.plane.start()
        self.plane.stop()
        self.plane.stop()
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])


class StatusTests(PlaneCase):
    """Counters, and what is made of them."""

    def test_a_request(self) -> None:
        """A request is counted for its service and its backend: sessions, bytes, class, persistence, time."""
        client, _ = self.request()
        web = self.service("web")
        self.assertEqual((web.state, web.listen, web.group), ("OPEN", ("*:8080",), None))
        self.assertEqual((web.sessions.current, web.sessions.total, web.sessions.max), (1, 1, 1))
        self.assertEqual((web.requests.total, web.answers["2xx"]), (1, 1))
        self.assertEqual(web.persistence_results, {"hit": 0, "new": 1, "moved": 0, "none": 0})
        self.assertEqual(web.bytes_in, len(REQUEST))
        self.assertEqual(sum(web.latency.total.counts), 1)
        mine = self.backend("web/a")
        self.assertEqual((mine.sessions.current, mine.sessions.total, mine.bytes_in), (1, 1, len(REQUEST)))
        self.assertEqual(mine.answers["2xx"], 1)
        client.end()
        self.assertEqual(self.service("web").sessions.current, 0)

    def test_bytes_under_way(self) -> None:
        """What an open connection has moved counts before its end, and once."""
        client = self.world.client("plain")
        server = self.world.answer()
        client.wire.dataReceived(b"x" * 1000)
        self.world.reactor.advance(2)
        self.assertEqual((self.service("plain").bytes_in, self.backend("plain/a").bytes_in), (1000, 1000))
        client.end()
        server.end()
        self.world.reactor.advance(2)
        self.assertEqual((self.service("plain").bytes_in, self.backend("plain/a").bytes_in), (1000, 1000))

    def test_many_under_way(self) -> None:
        """So many connections are looked at in one step; all have had their turn after a round."""
        self.patch(snapshot, "VISITED", 2)
        for number in range(5):
            self.world.client("plain", f"192.0.2.{number}").wire.dataReceived(b"x" * 10)
            self.world.answer()
        counts = []
        for _ in range(3):
            self.world.reactor.advance(2)
            counts.append(self.service("plain").bytes_in)
        self.assertEqual(counts, [20, 40, 50])

    def test_errors(self) -> None:
        """A server that refuses is counted, with the try that went elsewhere; so is a client that talks
        rubbish, and a request that exproxy answers itself is no error."""
        client = self.world.client("web")
        client.wire.dataReceived(REQUEST)
        *_, factory, _, _ = self.world.reactor.tcpClients.pop()
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.world.answer().wire.dataReceived(ANSWER)
        self.assertEqual(self.service("web").errors.connect, 1)
        self.assertEqual((self.service("web").retries, self.service("web").redispatches), (1, 1))
        self.assertEqual((self.backend("web/a").errors.connect, self.backend("web/a").redispatches), (1, 1))
        rubbish = self.world.client("web")
        rubbish.wire.dataReceived(b"RUBBISH\r\n\r\n")
        rubbish.end()
        self.world.client("web").wire.dataReceived(REQUEST.replace(b"/owa/x", b"/no"))
        web = self.service("web")
        self.assertEqual((web.errors.request, web.answers["4xx"]), (1, 2))

    def test_checks(self) -> None:
        """The latest check is there with HAProxy's code; downtime is counted from the flip on."""
        pool, a = self.world.pool("web"), self.world.backend("web/a")
        self.assertIsNone(self.backend("web/a").check.code)
        pool.told(a, Pass(), 0.0123)
        check = self.backend("web/a").check
        self.assertEqual((check.name, check.code, check.duration_ms), ("http", "L7OK", 12.3))
        pool.told(a, Drain("404"), 0.001)
        self.assertEqual(self.backend("web/a").check.code, "L7OKC")
        for _ in range(3):
            pool.told(a, Fail("L7STS", "answer", "500"), 0.001)
        self.world.reactor.advance(10)
        down = self.backend("web/a").down
        self.assertEqual((down.count, down.seconds), (1, 10.0))
        self.assertIsNotNone(down.since)
        for _ in range(2):
            pool.told(a, Pass(), 0.001)
        self.world.reactor.advance(10)
        down = self.backend("web/a").down
        self.assertEqual((down.count, down.seconds, down.since), (1, 10.0, None))

    def test_tables(self) -> None:
        """Groups, and services that are in none, with their entries by server and their busiest sources."""
        self.world.client("plain", "192.0.2.1")
        self.world.answer()
        self.world.reactor.advance(3)
        groups = {each.name: each for each in self.plane.status().groups}
        self.assertEqual(set(groups), {"web", "sources"})
        sources = groups["sources"]
        self.assertEqual((sources.entries, sources.held, sources.limit), (1, 1, 50000))
        self.assertEqual(sources.by_server, {"a": 1})
        self.assertEqual(sources.top_sources[0].host, "192.0.2.1")

    def test_states(self) -> None:
        """A service is OPEN, FULL at its limit, DRAIN while it is emptied, STOP before it listens."""
        built = self.world.built("plain")
        built.service.limits = type(built.service.limits)(connections=1)
        self.world.client("plain")
        self.assertEqual(self.service("plain").state, "FULL")
        built.service.drain(1.0)
        self.assertEqual(self.service("plain").state, "DRAIN")
        self.assertFalse(self.plane.status().process.draining and not built.service.draining)


class WarningTests(PlaneCase):
    """What an operator is told of."""

    text = (
        TEXT
        + f"""
  secure:
    protocol: https
    listen: 8443
    certificate: {pem("owa.litware.test")}
    backend: {{tls: {{verify: none}}}}
"""
    )

    def kinds(self) -> dict[str, str]:
        return {each.kind: each.text for each in self.plane.status().warnings}

    def test_down(self) -> None:
        """A pool that can take nobody new is named with its servers' states."""
        self.plane.operate("a", "maint", service="plain")
        self.plane.operate("b", "drain", service="plain", force=True)
        self.assertIn("plain: no server can take a new client (a MAINT, b DRAIN)", self.kinds()["down"])

    def test_verify_none(self) -> None:
        """Servers whose certificates nobody looks at are told of."""
        self.assertIn("secure does not verify", self.kinds()["verify-none"])

    def test_skew(self) -> None:
        """A few addresses with most of a source-ip service's connections: told of, and how to mend it."""
        for number in range(SKEW_LEAST - 1):
            self.world.client("web", f"192.0.2.{number % 2 + 1}", 1024 + number)
        self.assertNotIn("skew", self.kinds())
        self.world.client("web", "192.0.2.9")
        text = self.kinds()["skew"]
        self.assertIn("100% of the 100 connections come from 3 addresses (192.0.2.1", text)
        self.assertIn("super-http", text)

    def test_no_skew(self) -> None:
        """Many connections of many addresses are none."""
        for number in range(SKEW_LEAST + 10):
            self.world.client("plain", f"192.0.2.{number}")
        self.assertNotIn("skew", self.kinds())

    def test_certificates(self) -> None:
        """Each certificate is listed with its names and days; one near its end is warned of."""
        [row] = self.plane.certificates()
        self.assertEqual((row.service, row.names[0]), ("secure", "owa.litware.test"))
        self.assertEqual(len(row.sha256), 64)
        self.assertEqual(row.days_left < 30, "certificate" in self.kinds())


class SessionTests(PlaneCase):
    """Listed, found and cut."""

    def test_row(self) -> None:
        """A row has id, addresses, server, counts, and nothing of a credential."""
        self.request("192.0.2.7")
        [row] = self.plane.sessions()
        self.assertEqual((row.id, row.service, row.client), ("1-1", "web", "192.0.2.7:40000"))
        self.assertEqual((row.servers, row.backends, row.requests), (("a",), ("web/a",), 1))
        self.assertEqual((row.bytes_in, row.state), (len(REQUEST), "open"))
        self.assertNotIn("secret", repr(row))
        self.assertNotIn("YW5u", repr(row))

    def test_filters(self) -> None:
        """By service, server, and address or network; all of them together; ids are not used twice."""
        first, _ = self.request("192.0.2.7")
        self.request("198.51.100.7")
        self.world.client("plain", "192.0.2.8")
        self.world.answer()
        ids = lambda **chosen: [row.id for row in self.plane.sessions(**chosen)]  # noqa: E731
        self.assertEqual(ids(service="plain"), ["1-3"])
        self.assertEqual(ids(client="192.0.2.0/24"), ["1-1", "1-3"])
        self.assertEqual(ids(server="a", client="192.0.2.7"), ["1-1"])
        self.assertEqual(ids(limit=1), ["1-1"])
        first.end()
        self.request()
        self.assertEqual(ids(), ["1-2", "1-3", "1-4"])

    def test_wrong_filters(self) -> None:
        """What is no service, network or limit is refused; the limit's own bound is good."""
        for wrong in ({"service": "x"}, {"client": "nowhere"}, {"limit": 0}, {"limit": MOST + 1}):
            with self.assertRaises(Refused):
                self.plane.sessions(**wrong)  # type: ignore[arg-type]
        self.assertEqual(self.plane.sessions(limit=MOST), [])

    def test_kill(self) -> None:
        """One is cut by its id; a second time it is gone, and what is no id is refused."""
        client, _ = self.request()
        self.assertTrue(self.plane.kill("1-1", "test", who="ann"))
        self.assertTrue(client.gone)
        self.assertFalse(self.plane.kill("1-1", "test"))
        self.assertFalse(self.plane.kill("2-1", "test"))
        for wrong in ("", "1", "x-1", "1-x", "1-"):
            with self.assertRaises(Refused):
                self.plane.kill(wrong, "test")

    def test_kill_where(self) -> None:
        """Those that fit are cut; nobody cuts all by leaving everything out."""
        one, _ = self.request("192.0.2.7")
        two, _ = self.request("198.51.100.7")
        self.assertEqual(self.plane.kill_where(client="192.0.2.0/24", reason="test"), 1)
        self.assertEqual((one.gone, two.gone), (True, False))
        with self.assertRaises(Refused):
            self.plane.kill_where(reason="test")


class EntryTests(PlaneCase):
    """Persistence tables: found by key, server, address or name."""

    def setUp(self) -> None:
        super().setUp()
        self.request("192.0.2.7")
        client = self.world.client("web", "198.51.100.1")
        client.wire.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.world.answer()
        client.end()

    def test_found(self) -> None:
        """A name or an address leads to its entry, made into a key as the persistence does it."""
        everybody = self.plane.entries("web")
        self.assertEqual([each.key.partition(":")[0] for each in everybody], ["user", "source"])
        by_name = self.plane.entries("web", user="EX\\Ann")
        self.assertEqual(
            [(each.key, each.server, each.held) for each in by_name], [(everybody[0].key, "a", 1)]
        )
        self.assertIsNone(by_name[0].expires_in)
        [by_address] = self.plane.entries("web", client="198.51.100.1")
        self.assertEqual(by_address, everybody[1])
        self.assertEqual(by_address.expires_in, 7200.0)
        self.assertEqual(self.plane.entries("web", client="198.51.100.2"), [])
        self.assertEqual(self.plane.entries("web", key=by_address.key), [by_address])
        self.assertEqual(len(self.plane.entries("web", server="a", limit=1)), 1)

    def test_moved(self) -> None:
        """A moved entry leads its client elsewhere from the next connection on."""
        self.assertEqual(self.plane.move_entries("web", "b", user="ann"), 1)
        self.world.client("web").wire.dataReceived(REQUEST)
        self.assertEqual(self.world.asked(), "127.0.0.12")
        with self.assertRaises(Unknown):
            self.plane.move_entries("web", "x", user="ann")

    def test_deleted(self) -> None:
        """Deleted entries are gone, by server too; nobody deletes all by leaving everything out."""
        self.assertEqual(self.plane.delete_entries("web", user="ann"), 1)
        self.assertEqual(self.plane.delete_entries("web", user="ann"), 0)
        server = self.plane.entries("web")[0].server
        self.assertEqual(self.plane.delete_entries("web", server=server), 1)
        self.assertEqual(self.plane.entries("web"), [])
        for wrong in ({}, {"key": "no key"}, {"key": "source:xyz"}):
            with self.assertRaises(Refused):
                self.plane.delete_entries("web", **wrong)  # type: ignore[arg-type]
        with self.assertRaises(Unknown):
            self.plane.entries("nothing")


class PastTests(PlaneCase):
    """Events and history."""

    def test_events(self) -> None:
        """Events from info on have numbers; a later one is asked for by them; a listener hears them."""
        log, heard = Logger("exproxy.test"), []
        stop = self.plane.watch_events(heard.append)
        before = max((each.number for each in self.plane.events()), default=0)
        log.debug("nobody hears")
        log.info("{what} happened", what="something")
        stop()
        log.warn("more")
        found = self.plane.events(since=before)
        self.assertEqual([each.text for each in found], ["something happened", "more"])
        self.assertEqual([each.number for each in found], [before + 1, before + 2])
        self.assertEqual((found[1].level, found[1].source), ("warn", "exproxy.test"))
        self.assertEqual(heard, found[:1])
        self.assertEqual(self.plane.events(since=before, limit=1), found[1:])

    def test_bounded_events(self) -> None:
        """So many are kept, so many characters of each, and so many may listen."""
        log = Logger("exproxy.test")
        for number in range(ring.KEPT + 5):
            log.info("{number}", number=number)
        self.assertEqual(len(self.plane.events(limit=MOST)), ring.KEPT)
        log.info("{text}", text="x" * (ring.LONGEST + 1))
        self.assertEqual(len(self.plane.events(limit=1)[0].text), ring.LONGEST)
        for _ in range(ring.LISTENERS):
            self.plane.watch_events(lambda event: None)
        with self.assertRaises(Refused):
            self.plane.watch_events(lambda event: None)

    def test_bad_listener(self) -> None:
        """One that fails is not told again, and costs no other its event."""
        heard: list[Any] = []

        def fail(event: Any) -> None:
            heard.append("bad")
            raise ValueError

        self.plane.watch_events(fail)
        self.plane.watch_events(heard.append)
        Logger("exproxy.test").info("one")
        Logger("exproxy.test").info("two")
        self.assertEqual((heard[0], len(heard)), ("bad", 3))

    def test_history(self) -> None:
        """Each two seconds a sample, by service and server; state changes are a timeline."""
        self.world.reactor.advance(2)
        self.request()
        self.world.reactor.pump([2.0] * 3)
        found = self.plane.history(service="web", seconds=8)
        [web] = found.services
        self.assertEqual(found.step, 2.0)
        self.assertEqual(len(found.times), 4)
        self.assertEqual(web.whole.sessions, (0, 1, 1, 1))
        self.assertEqual(web.whole.requests, (0.0, 0.5, 0.0, 0.0))
        self.assertEqual(web.servers["a"].answers["2xx"], (0.0, 0.5, 0.0, 0.0))
        self.assertEqual(web.whole.p50[0], None)
        self.assertIsNotNone(web.whole.p50[1])
        self.plane.operate("b", "maint", reason="disk")
        changes = self.plane.history(service="plain").changes
        self.assertEqual(
            [(each.backend, each.state, each.reason) for each in changes], [("plain/b", "MAINT", "disk")]
        )
        with self.assertRaises(Unknown):
            self.plane.history(service="x")

    def test_rates(self) -> None:
        """A rate is over the last ten seconds, and the most of it is kept."""
        for number in range(20):
            self.world.client("plain", f"192.0.2.{number}").end()
        self.world.reactor.pump([2.0] * 5)
        sessions = self.service("plain").sessions
        self.assertEqual((sessions.rate, sessions.rate_max), (2.0, 10.0))
        self.world.reactor.pump([2.0] * 10)
        self.assertEqual(self.service("plain").sessions.rate, 0.0)


class ConfigurationTests(PlaneCase):
    """The file, for other eyes."""

    def test_masked(self) -> None:
        """The configuration has every key, and no secret."""
        shown = self.plane.configuration()
        self.assertEqual(shown["services"]["plain"]["listen"], 8081)
        self.assertEqual(shown["secret"], "…")
        self.assertNotIn("ssss", json.dumps(shown))

    def test_validate(self) -> None:
        """A text is judged as if it stood in the file's place; the file stays as it is."""
        self.assertEqual(self.plane.validate(self.text + "state-dir: x\n"), [])
        [wrong] = self.plane.validate(self.text.replace("protocol: tcp", "protocol: tpc"))
        self.assertEqual((wrong.path, wrong.line), ("services.plain.protocol", 15))
        self.assertIn("did you mean 'tcp'", wrong.message)
        self.assertEqual(wrong.file, str(self.world.service.config.path))
        [wrong] = self.plane.validate("x: {")
        self.assertFalse(wrong.warning)

    def test_reload(self) -> None:
        """A process alone says that it cannot."""
        with self.assertRaises(Refused):
            self.plane.reload()
