"""Operator states: what is wished is done, kept, taken back in time, and refused where nobody is left."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy.admin.emptying import WAITING
from exproxy.admin.operating import LONGEST_WISH
from exproxy.admin.plane import LastUsable, Refused, Unknown
from exproxy.admin.rows import Progress
from exproxy.admin.wishes import MAX_BYTES
from tests.admin.clocked import BEGIN, Transport, World

TEXT = """
servers: {a: 127.0.0.11, b: 127.0.0.12, c: 127.0.0.13}
groups:
  sources: {timeout: 1h}
services:
  plain:
    protocol: tcp
    listen: 8081
    persistence: {source-ip: {group: sources}}
  moving:
    protocol: tcp
    listen: 8082
    persistence: source-ip
    drain: move
  free:
    protocol: http
    listen: 8083
    servers: [a, b]
    routes:
      ews: {path: /ews}
"""


class OperatingTests(SynchronousTestCase):
    """One process with three servers."""

    def setUp(self) -> None:
        self.world = World(self, TEXT)
        self.plane = self.world.plane

    def states(self, server: str = "a") -> dict[str, str]:
        """The operator's word for a server in each pool."""
        return {
            pool.name: backend.operator
            for one in self.world.service.built
            for pool, _ in one.pools
            if (backend := pool.find(server)) is not None
        }

    def connected(self, service: str, source: str = "192.0.2.1") -> tuple[str | None, Transport, Transport]:
        """A client with its server: (the server's host, the client, the server)."""
        client = self.world.client(service, source)
        host = self.world.asked()
        return host, client, self.world.answer()

    def bound_to(self, service: str, host: str) -> tuple[str, Transport, Transport]:
        """A client that is known at that server: (its address, itself, the server)."""
        for number in range(1, 20):
            source = f"192.0.2.{number}"
            met, client, server = self.connected(service, source)
            if met == host:
                return source, client, server
            client.end()
        raise AssertionError("nobody comes there")

    # -- where -----------------------------------------------------------------------

    def test_everywhere(self) -> None:
        """A wish without a service is done in every pool that has the server, routes too, and shown there."""
        done = self.plane.operate("a", "drain", reason="updates", who="ann")
        self.assertEqual(done.services, ("plain", "moving", "free"))
        self.assertEqual(set(self.states().values()), {"drain"})
        self.assertIn("free/ews", self.states())
        shown = self.plane.status()
        server = next(each for each in shown.servers if each.name == "a")
        assert server.operator is not None
        self.assertEqual((server.operator.reason, server.operator.who), ("updates", "ann"))
        self.assertEqual(server.operator.since, "2025-10-09T08:53:20.000Z")
        self.assertEqual(server.state, "DRAIN")

    def test_one_service(self) -> None:
        """A wish for one service leaves the others alone, and has the last word there."""
        self.plane.operate("a", "maint", service="plain")
        self.assertEqual(
            self.states(), {"plain": "maint", "moving": "ready", "free": "ready", "free/ews": "ready"}
        )
        self.plane.operate("a", "drain")
        self.assertEqual(set(self.states().values()), {"drain"})
        self.plane.operate("a", "ready", service="plain")
        self.assertEqual(self.states()["plain"], "ready")
        self.assertEqual(self.states()["moving"], "drain")
        self.plane.operate("a", "ready")
        self.assertEqual(set(self.states().values()), {"ready"})

    def test_unknown(self) -> None:
        """A server, a service, a state or a way that there is not is refused, and the text says which there
        are."""
        with self.assertRaises(Unknown) as caught:
            self.plane.operate("x", "drain")
        self.assertIn("there are a, b, c", str(caught.exception))
        with self.assertRaises(Unknown):
            self.plane.operate("c", "drain", service="free")
        for wrong in (
            {"state": "gone"},
            {"state": "drain", "drain": "shove"},
            {"state": "ready", "until": 1.0},
        ):
            with self.assertRaises(Refused):
                self.plane.operate("a", **wrong)  # type: ignore[arg-type]

    def test_too_long(self) -> None:
        """A wish that ends in the past or after more than a year, and a timeout beyond that, are refused."""
        for until in (BEGIN - 1, BEGIN + LONGEST_WISH + 1):
            with self.assertRaises(Refused):
                self.plane.operate("a", "drain", until=until)
        for timeout in (-1.0, LONGEST_WISH + 1):
            with self.assertRaises(Refused):
                self.plane.operate("a", "drain", timeout=timeout)
        self.assertEqual(set(self.states().values()), {"ready"})

    # -- the last one ----------------------------------------------------------------

    def test_the_last(self) -> None:
        """The last usable server is drained only by force; the refusal names the pools."""
        self.plane.operate("b", "maint")
        with self.assertRaises(LastUsable) as caught:
            self.plane.operate("a", "drain")
        self.assertEqual(caught.exception.services, ("free", "free/ews"))
        self.assertEqual(set(self.states().values()), {"ready"})
        self.plane.operate("a", "drain", service="plain")
        self.plane.operate("a", "drain", force=True)
        self.assertEqual(set(self.states().values()), {"drain"})

    def test_one_that_is_down(self) -> None:
        """A server that nobody could use anyway is taken out without force."""
        self.plane.operate("b", "maint", service="free")
        for name in ("free", "free/ews"):
            self.world.backend(f"{name}/a").health.up = False
        self.plane.operate("a", "maint", service="free")

    # -- clients ---------------------------------------------------------------------

    def test_keep(self) -> None:
        """Known clients go on coming to a drained server, new ones do not."""
        source, client, _ = self.bound_to("plain", "127.0.0.11")
        client.end()
        self.plane.operate("a", "drain")
        self.assertEqual(self.connected("plain", source)[0], "127.0.0.11")
        for number in range(30, 40):
            self.assertNotEqual(self.connected("plain", f"192.0.2.{number}")[0], "127.0.0.11")

    def test_move(self) -> None:
        """Where the service says so, or the wish does, a known client's next connection goes elsewhere, and
        is bound there."""
        source, client, _ = self.bound_to("moving", "127.0.0.11")
        client.end()
        self.plane.operate("a", "drain")
        host = self.connected("moving", source)[0]
        self.assertNotEqual(host, "127.0.0.11")
        self.plane.operate("a", "ready")
        self.assertEqual(self.connected("moving", source)[0], host)
        source, client, _ = self.bound_to("plain", "127.0.0.11")
        client.end()
        self.plane.operate("a", "drain", drain="move")
        self.assertNotEqual(self.connected("plain", source)[0], "127.0.0.11")

    def test_words(self) -> None:
        """Who is not bound is asked to leave in its protocol's words: an idle HTTP connection ends."""
        client = self.world.client("free")
        client.wire.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        server = {"127.0.0.11": "a", "127.0.0.12": "b"}[self.world.asked() or ""]
        there = self.world.answer()
        there.wire.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        done = self.plane.operate(server, "drain")
        self.assertEqual((done.sessions, done.told), (1, 1))
        self.world.until(lambda: client.gone)

    def test_words_while_connecting(self) -> None:
        """A link that was still being made when its server was drained hears of it as soon as it is there."""
        client = self.world.client("free")
        client.wire.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.plane.operate({"127.0.0.11": "a", "127.0.0.12": "b"}[self.world.asked() or ""], "maint")
        there = self.world.answer()
        there.wire.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.assertIn(b"Connection: close", client.value())
        self.world.until(lambda: client.gone)

    def test_timeout(self) -> None:
        """What is left when the timeout is over is cut; a server that is ready again keeps its clients."""
        _, client, _ = self.bound_to("plain", "127.0.0.11")
        self.plane.operate("a", "maint", timeout=30.0)
        self.world.reactor.advance(29.9)
        self.assertFalse(client.gone)
        self.world.reactor.advance(0.2)
        self.assertTrue(client.gone)
        _, client, _ = self.bound_to("plain", "127.0.0.12")
        self.plane.operate("b", "drain", timeout=30.0, force=True)
        self.plane.operate("b", "ready")
        self.world.reactor.advance(60)
        self.assertFalse(client.gone)

    # -- in time, and over a restart ---------------------------------------------------

    def test_until(self) -> None:
        """It goes back to ready by itself, in the file too."""
        self.plane.operate("a", "maint", until=BEGIN + 3600)
        self.world.reactor.advance(3599)
        self.assertEqual(set(self.states().values()), {"maint"})
        self.world.reactor.advance(2)
        self.assertEqual(set(self.states().values()), {"ready"})
        self.assertEqual(json.loads(self.file().read_text())["wishes"], [])

    def file(self) -> Any:
        return self.world.folder / "operator.json"

    def test_restart(self) -> None:
        """Wishes survive, in a file that only its owner reads; those whose time is over meanwhile do not."""
        self.plane.operate("a", "maint", reason="disk", who="ann", until=BEGIN + 100)
        self.plane.operate("b", "drain", service="plain", drain="move")
        self.assertEqual(os.stat(self.file()).st_mode & 0o777, 0o600)
        self.plane.stop()
        for one in self.world.service.built:
            for pool, _ in one.pools:
                for backend in pool.backends:
                    pool.operate(backend.server, "ready")
        plane = self.world.restarted(self)
        self.assertEqual(set(self.states().values()), {"maint"})
        self.assertTrue(self.world.backend("plain/b").leaving)
        wish = plane.operating.wish("a", "plain")
        assert wish is not None
        self.assertEqual((wish.reason, wish.who), ("disk", "ann"))
        plane.stop()
        self.world.reactor.advance(101)
        self.world.restarted(self)
        self.assertEqual(self.states()["moving"], "ready")
        self.assertEqual(len(json.loads(self.file().read_text())["wishes"]), 1)

    def test_broken_file(self) -> None:
        """What is no operator's file is put aside and told of; every server is ready."""
        for number, text in enumerate(("{", '{"wishes": [{"server": 1}]}', " " * (MAX_BYTES + 1))):
            self.file().write_text(text)
            self.world.restarted(self).stop()
            self.assertFalse(self.file().exists(), number)
            self.assertTrue(self.file().with_suffix(".json.bad").exists())
        self.assertEqual(set(self.states().values()), {"ready"})

    def test_cannot_be_kept(self) -> None:
        """Where the file cannot be written nothing is changed."""
        self.file().mkdir()
        with self.assertRaises(Refused):
            self.plane.operate("a", "drain")
        self.assertEqual(set(self.states().values()), {"ready"})
        self.assertEqual([each.name for each in self.world.folder.glob(".operator-*")], [])

    # -- until it is empty -------------------------------------------------------------

    def test_empty(self) -> None:
        """Who waits hears how many are left, once for each number, and of the end."""
        source, one, _ = self.bound_to("plain", "127.0.0.11")
        two = self.connected("plain", source)[1]
        self.plane.operate("a", "drain")
        heard: list[Progress] = []
        done = self.plane.emptying("a", heard.append)
        self.world.reactor.advance(5)
        one.end()
        self.world.reactor.advance(1)
        self.assertNoResult(done)
        two.end()
        self.world.reactor.advance(1)
        self.assertEqual([each.left for each in heard], [2, 1, 0])
        self.assertEqual(heard[0].services, {"plain": 2, "moving": 0, "free": 0})
        self.assertEqual(self.successResultOf(done).end, "empty")

    def test_other_ends(self) -> None:
        """A wait ends too where the server is ready again, or what was left is cut."""
        _, client, _ = self.bound_to("plain", "127.0.0.11")
        self.plane.operate("a", "drain")
        done = self.plane.emptying("a", lambda progress: None)
        self.plane.operate("a", "ready")
        self.assertEqual(self.successResultOf(done).end, "ready")
        self.plane.operate("a", "maint", timeout=10.0)
        done = self.plane.emptying("a", lambda progress: None)
        self.world.reactor.advance(10)
        self.assertIn(self.successResultOf(done).end, ("cut", "empty"))
        self.assertTrue(client.gone)

    def test_given_up(self) -> None:
        """A wait that is cancelled leaves no timer; only so many may wait, and only for what there is."""
        self.connected("plain")
        for each in "abc":
            self.plane.operate(each, "drain", force=True)
        busy = next(b.server for b in self.world.pool("plain").backends if b.links)
        waits = [self.plane.emptying(busy, lambda progress: None) for _ in range(WAITING)]
        with self.assertRaises(Refused):
            self.plane.emptying(busy, lambda progress: None)
        for each in waits:
            each.cancel()
            self.failureResultOf(each)
        self.plane.emptying(busy, lambda progress: None).addErrback(lambda failure: None)
        with self.assertRaises(Unknown):
            self.plane.emptying("x", lambda progress: None)

    # -- weights -----------------------------------------------------------------------

    def test_weight(self) -> None:
        """A weight counts at once, in one service or all; beyond 256 it is refused."""
        self.plane.weight("a", 0, service="plain")
        self.assertEqual((self.world.backend("plain/a").weight, self.world.backend("free/a").weight), (0, 1))
        self.assertEqual(self.plane.weight("a", 256).services, ("plain", "moving", "free"))
        for value in (-1, 257):
            with self.assertRaises(Refused):
                self.plane.weight("a", value)
