"""The explanation of a client: of a live one, of a line of the access log, of one that nobody has seen."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy.admin.explanation import BackendView, Explanation, Question
from exproxy.admin.plane import Refused, Unknown
from exproxy.interfaces import IAsking, IProtocolPlugin
from exproxy.plugins import find
from exproxy.question import Client
from tests.admin.clocked import World
from tests.certificates import pem
from tests.pools import LateStore

TEXT = f"""
servers:
  a: {{address: 127.0.0.11, limit: 2}}
  b: 127.0.0.12
  c: 127.0.0.13
  d: {{address: 127.0.0.14, backup: true}}
groups:
  sources: {{timeout: 1h}}
services:
  web:
    protocol: http
    listen: 8080
    slow-ramp: 60s
    persistence: {{super-http: {{secure: false}}}}
    routes:
      ews: {{path: /ews, persistence: source-ip}}
      no: {{path: /no, status: 403}}
  secure:
    protocol: https
    listen: 8443
    certificate: {pem("owa.litware.test")}
    persistence: source-ip
    scheduling: random
  plain:
    protocol: tcp
    listen: 8081
    persistence: {{source-ip: {{group: sources}}}}
    when-full: wait 5s
  rpc:
    protocol: rpc
    listen: 8135
    backend: {{port: 8135}}
    persistence: {{rpc-association: {{group: sources}}}}
  pass:
    protocol: tls
    listen: {{port: 8444, tls: passthrough}}
    persistence: tls-session
  mail:
    protocol: {{imap: {{routing: user}}}}
    listen: {{port: 1143, tls: none}}
    persistence: user
"""
SECRET = "YW5uOmhpZGRlbg=="  # ann:hidden


class ExplainTests(SynchronousTestCase):
    """A process with one service of each kind."""

    def setUp(self) -> None:
        self.world = World(self, TEXT)

    def explain(self, service: str = "", **client: Any) -> Explanation:
        return self.of(Question(service, Client(**client)))

    def of(self, question: Question) -> Explanation:
        found = self.world.plane.explain(question)
        assert isinstance(found, Explanation)
        return found

    def view(self, explanation: Explanation, server: str) -> BackendView:
        return next(each for each in explanation.backends if each.server == server)

    # -- one that nobody has seen ------------------------------------------------------

    def test_new(self) -> None:
        """Somebody new: the scheduling's first, the key that would be kept, and why each other is not it."""
        self.world.plane.operate("b", "maint")
        said = self.explain("web", source="192.0.2.7", path="/ews/x")
        self.assertEqual((said.route, said.target, said.table), ("ews", "web/ews", "web/ews"))
        self.assertEqual((said.server, said.persistence), ("a", "new"))
        self.assertEqual(said.reason, "it is not known; round-robin has it first")
        [known] = said.known
        self.assertEqual((known.kind, known.facts, known.server), ("source", ("Source",), None))
        self.assertEqual((said.claims, known.why), ((known.key,), "not in the table"))
        self.assertEqual(self.view(said, "a").why, "taken: the scheduling has it in place 1")
        self.assertEqual(self.view(said, "b").why, "not usable: MAINT")
        self.assertEqual(self.view(said, "c").why, "usable, place 2")
        self.assertEqual(self.view(said, "d").why, "a backup, not needed")

    def test_known(self) -> None:
        """Somebody known: by what, where the table has it, and what stands in the way of the others."""
        self.world.client("plain", "192.0.2.7")
        self.world.answer()
        said = self.explain("plain", source="192.0.2.7")
        self.assertEqual((said.server, said.persistence), ("a", "hit"))
        self.assertEqual(said.reason, "it is known there by its source")
        self.assertTrue(said.known[0].decides)
        self.assertEqual(self.view(said, "a").why, "taken: the client is known here by its source")
        self.assertIn("known elsewhere", self.view(said, "b").why)

    def test_moved(self) -> None:
        """Somebody whose server is gone: it says where it was."""
        self.world.client("plain", "192.0.2.7")
        self.world.answer()
        self.world.plane.operate("a", "maint", service="plain")
        said = self.explain("plain", source="192.0.2.7")
        self.assertEqual((said.server, said.persistence), ("b", "moved"))
        self.assertEqual(said.known[0].why, "leads to a, which is not usable: MAINT")
        self.assertIn("the server that it is bound to cannot have it", said.reason)

    def test_states(self) -> None:
        """Drained, without weight, full, ramping, refused: each in its words."""
        world = self.world
        world.plane.operate("a", "drain", service="plain")
        world.plane.weight("b", 0, service="plain")
        world.backend("plain/c").limit = 1
        world.client("plain", "192.0.2.1")
        world.answer()
        said = self.explain("plain", source="192.0.2.9")
        self.assertEqual(self.view(said, "a").why, "for known clients only: DRAIN")
        self.assertEqual(self.view(said, "b").why, "for known clients only: its weight is 0")
        self.assertEqual(self.view(said, "c").why, "full: 1 of 1")
        self.assertEqual(said.server, "d")
        world.backend("plain/d").limit = 0
        said = self.explain("plain", source="192.0.2.9")
        self.assertIsNone(said.server)
        self.assertIn("it waits up to 5 s for a free place", said.reason)
        world.plane.operate("c", "maint", service="web")
        world.plane.operate("c", "ready", service="web")
        world.reactor.advance(15)
        ramp = self.view(self.explain("web", source="192.0.2.9"), "c").ramp
        self.assertEqual(ramp, 0.25)

    def test_answered(self) -> None:
        """A request that no server is asked for says so, with its route; so does one that is refused."""
        said = self.explain("web", path="/no/x")
        self.assertEqual((said.route, said.server), ("no", None))
        self.assertEqual(said.answer, "answered with 403 by exproxy itself")
        self.assertEqual(self.explain("web", path="/%zz").answer, "answered with 400 by exproxy itself")

    def test_protocols(self) -> None:
        """Each protocol makes its own facts of the same words."""
        mail = self.explain("mail", user="EX\\Ann")
        self.assertEqual((mail.facts["User"], mail.known[0].kind), ("EX\\Ann", "user"))
        self.assertEqual(self.explain("rpc", association=7).known[0].kind, "rpc-association")
        passed = self.explain("pass", source="192.0.2.7", server_name="owa.litware.test", session_id="0102")
        self.assertEqual([each.kind for each in passed.known], ["tls-session"])
        random = self.explain("secure", source="192.0.2.7", host="owa.litware.test")
        self.assertEqual(random.facts["TLS"], "TLSv1.3, owa.litware.test")
        self.assertIn("the scheduling is random: the next client may go elsewhere", random.notes)
        for name in ("http", "https", "tcp", "tls", "rpc", "epm", "imap", "pop", "smtp"):
            self.assertTrue(IAsking.providedBy(find(IProtocolPlugin, name)), name)

    def test_user(self) -> None:
        """A name without credentials is shown as Basic ones would be."""
        by_name = self.explain("web", user="ann")
        by_header = self.explain("web", headers=(("Authorization", f"Basic {SECRET}"),))
        self.assertEqual(by_name.claims, by_header.claims)
        self.assertEqual(by_name.known[0].kind, "user")

    def test_nothing_secret(self) -> None:
        """What is shown has no credential, no cookie's value and no token in it."""
        headers = (("Authorization", f"Basic {SECRET}"), ("Cookie", "exproxy-web=hidden; x=hidden"))
        said = json.dumps(asdict(self.explain("web", headers=headers)))
        self.assertNotIn("hidden", said)
        self.assertNotIn(SECRET, said)
        self.assertIn('"User": "ann"', said)

    def test_impossible(self) -> None:
        """What there cannot be is refused: a service, a port, a line break, a session id that is none."""
        with self.assertRaises(Unknown):
            self.explain("x")
        for service, client in (
            ("web", {"port": 1}),
            ("web", {"headers": (("X", "a\r\nb"),)}),
            ("web", {"path": "/ HTTP/1.1\r\n"}),
            ("pass", {"session_id": "xyz"}),
        ):
            with self.assertRaises(Refused):
                self.explain(service, **client)

    def test_late_store(self) -> None:
        """Where the store answers late, so does the explanation."""
        store = LateStore(self.world.reactor)
        self.world.pool("plain").store = store
        found: Any = self.world.plane.explain(Question("plain", Client("192.0.2.7")))
        self.assertNoResult(found)
        store.answer_all()
        self.assertEqual(self.successResultOf(found).server, "a")

    # -- live, and logged --------------------------------------------------------------

    def test_live(self) -> None:
        """A live session is explained by the facts that it was chosen by, with where it is."""
        client = self.world.client("web", "192.0.2.7")
        with self.assertRaises(Refused):
            self.of(Question(session="1-1"))
        client.wire.dataReceived(
            f"GET /owa HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {SECRET}\r\n\r\n".encode()
        )
        self.world.answer()
        said = self.of(Question(session="1-1"))
        self.assertEqual((said.service, said.server, said.persistence), ("web", "a", "hit"))
        self.assertIn("it is with a now", said.notes)
        self.assertNotIn(SECRET, json.dumps(asdict(said)))
        with self.assertRaises(Unknown):
            self.of(Question(session="1-2"))

    def test_logged(self) -> None:
        """A line of the access log: its route and key, what the log says, and what the log does not have."""
        record = {
            "service": "web",
            "client": "192.0.2.7:40000",
            "server": "b",
            "persistence": "new",
            "method": "GET",
            "host": "owa.litware.test",
            "path": "/ews/exchange.asmx",
            "status": 200,
        }
        said = self.of(Question(record=record))
        self.assertEqual((said.route, said.server, said.record), ("ews", "a", record))
        self.assertIn("the log says that it was with b (new)", said.notes[0])
        self.assertIn("keeps no header", said.notes[1])
        with self.assertRaises(Refused):
            self.of(Question(record={"service": "web"}))
        with self.assertRaises(Unknown):
            self.of(Question(record={"client": "192.0.2.7:1"}))

    def test_ipv6(self) -> None:
        """An IPv6 client of the log has its colons."""
        said = self.of(Question(record={"service": "plain", "client": "2001:db8::7:40000"}))
        self.assertEqual(said.facts["Source"], "2001:db8::7")
