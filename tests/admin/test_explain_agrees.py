"""What explain says is what then happens: real sessions in front of real pools, in random states."""

from __future__ import annotations

import base64
import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Drain, Fail, Pass
from exproxy.admin.explanation import Explanation, Question
from exproxy.question import Client
from tests.admin.clocked import Transport, World

CASES = 1000
TEXT = """
servers:
  a: {address: 127.0.0.11, limit: 4}
  b: {address: 127.0.0.12, limit: 3, weight: 2}
  c: {address: 127.0.0.13, weight: 3}
  d: {address: 127.0.0.14, backup: true}
groups:
  people: {timeout: 1h}
  sources: {timeout: 10m}
services:
  web:
    protocol: http
    listen: 8080
    slow-ramp: 60s
    scheduling: least-connections
    persistence: {user: {group: people, fallback: {super-http: {secure: false}}}}
    routes:
      root: {exact: /, redirect: /owa/}
      no: {path: /no, status: 403}
      ews:
        path: /ews
        persistence: {super-http: {secure: false}}
        scheduling: source-hash
        when-full: refuse
      oab: {path: /oab, persistence: none, scheduling: round-robin, drain: move}
  plain:
    protocol: tcp
    listen: 8081
    persistence: {source-ip: {group: sources, mask-v4: 30}}
    slow-ramp: 30s
  other:
    protocol: tcp
    listen: 8082
    persistence: {source-ip: {group: sources, mask-v4: 30}}
    when-full: wait 5s
    drain: move
  mail:
    protocol: {imap: {routing: user}}
    listen: {port: 1143, tls: none}
    scheduling: source-hash
    persistence: {user: {group: people}}
"""
SERVICES = ("web", "web", "web", "plain", "other", "mail")
PATHS = ("/", "/owa/x", "/ews/exchange.asmx", "/EWS/%65", "/oab/1", "/no/where", "/no%2fwhere")
AGENTS = ("", "Mozilla/5.0 (Windows NT 10.0)", "Outlook/16.0", "curl/8")
WORDS = (Pass(), Fail("L4CON", "connect", "refused"), Drain("404"))


class AgreeTests(SynchronousTestCase):
    """A thousand clients, each explained before it comes."""

    def setUp(self) -> None:
        self.dice = random.Random(7)
        self.world = World(self, TEXT)
        self.hosts = {"127.0.0.11": "a", "127.0.0.12": "b", "127.0.0.13": "c", "127.0.0.14": "d"}
        self.open: list[Transport] = []
        self.outcomes: dict[Any, int] = {}

    def stir(self) -> None:
        """Something changes: health, the operator's wish, a weight, a limit, the time, an entry."""
        dice, world = self.dice, self.world
        pool, _ = dice.choice([each for one in world.service.built for each in one.pools])
        backend = dice.choice(pool.backends)
        what = dice.randrange(8)
        if what < 3:
            for _ in range(3):
                pool.told(backend, dice.choices(WORDS, (6, 2, 1))[0], 0.001)
        elif what == 3:
            state = dice.choice(("ready", "ready", "drain", "maint"))
            where = dice.choice((None, None, pool.name.partition("/")[0]))
            drain = dice.choice((None, "keep", "move"))
            world.plane.operate(backend.server, state, service=where, force=True, drain=drain)
        elif what == 4:
            backend.weight = dice.choice((0, 1, 1, 2, 5))
        elif what == 5:
            backend.limit = dice.choice((None, 1, 2, 5))
        elif what == 6:
            world.reactor.advance(dice.choice((0.5, 5.0, 20.0)))
        elif self.open:
            self.open.pop(dice.randrange(len(self.open))).end()

    def hypothetical(self, service: str) -> Client:
        """Somebody."""
        dice = self.dice
        source = f"192.0.2.{dice.randrange(1, 40)}"
        user = dice.choice(("", "", "ann", "EX\\bob", "carl@litware.test"))
        if service == "mail":
            return Client(source=source, user=user or "dora")
        if service != "web":
            return Client(source=source)
        headers = []
        if agent := dice.choice(AGENTS):
            headers.append(("User-Agent", agent))
        if user:
            token = base64.b64encode(f"{user}:secret".encode()).decode()
            headers.append(("Authorization", f"Basic {token}"))
        if dice.random() < 0.3:
            headers.append(("Cookie", self.cookie()))
        return Client(source=source, host="owa.litware.test", path=dice.choice(PATHS), headers=tuple(headers))

    def cookie(self) -> str:
        """One of ours, for some server and table."""
        dice = self.dice
        group, route = dice.choice((("people", None), ("web/ews", "ews")))
        marker = self.world.built("web").service.marker(route)
        assert marker is not None
        keys = self.world.service.builder.secrets.keys(group, ("a", "b", "c", "d"))
        token = keys.token("super-http", dice.choice("abcd"))
        return f"{marker.cookie.decode()}={token.decode()}"

    def came(self, service: str, client: Client) -> str | None:
        """What really happens to it: the server's name, None where nobody is asked."""
        world = self.world
        there = world.client(service, client.source, self.dice.randrange(1024, 60000))
        if service == "web":
            lines = [f"GET {client.path} HTTP/1.1", f"Host: {client.host}"]
            lines += [f"{name}: {text}" for name, text in client.headers]
            there.wire.dataReceived("\r\n".join([*lines, "", ""]).encode())
        elif service == "mail":
            there.wire.dataReceived(f'a LOGIN "{client.user}" "secret"\r\n'.replace("\\", "\\\\").encode())
        host = world.asked()
        if host is None:
            if not there.gone and self.dice.random() < 0.5:
                # It may be one that waits for a place.
                there.end()
            elif not there.gone:
                self.open.append(there)
            return None
        server = world.answer()
        if service == "mail":
            server.wire.dataReceived(b"* OK ready\r\n")
        if self.dice.random() < 0.6:
            there.end()
            server.end()
        else:
            self.open.append(there)
        while len(self.open) > 8:
            self.open.pop(0).end()
        return self.hosts[host]

    def explained(self, service: str, client: Client) -> Explanation:
        found = self.world.plane.explain(Question(service, client))
        assert isinstance(found, Explanation)
        return found

    def test_a_thousand(self) -> None:
        """The server that explain names is the one that is connected to, and the table is as it says."""
        for number in range(CASES):
            for _ in range(self.dice.randrange(4)):
                self.stir()
            # Who waits may have been given a place by what was stirred.
            self.world.reactor.tcpClients.clear()
            service = self.dice.choice(SERVICES)
            client = self.hypothetical(service)
            said = self.explained(service, client)
            again = self.explained(service, client)
            self.assertEqual(said, again, "asking twice changes nothing")
            state = repr([pool for one in self.world.service.built for pool, _ in one.pools])
            met = self.came(service, client)
            self.assertEqual(met, said.server, f"case {number}: {client} {said} {state}")
            taken = [view.server for view in said.backends if view.taken]
            self.assertEqual(taken, [met] if met is not None else [])
            kind = said.persistence if said.answer is None else "answer"
            self.outcomes[kind] = self.outcomes.get(kind, 0) + 1
        # The cases are of all kinds: known, new, moved, without memory, refused, answered.
        for kind in ("hit", "new", "moved", "none", None, "answer"):
            self.assertGreater(self.outcomes.get(kind, 0), CASES // 100, (kind, self.outcomes))
