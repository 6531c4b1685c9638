"""Five hundred clients that leave at the worst moments: afterwards everything is as it was before."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable
from typing import Any

from twisted.internet import defer, reactor, task
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from exproxy.session import Session
from exproxy.wire import Wire
from tests.certificates import pem
from tests.loopback.configured import WebServer, port_of, running
from tests.loopback.pairs import Far, client_tls

CLIENTS = 500
AT_A_TIME = 25

CONFIGURATION = """
servers: {{a: 127.0.0.1, b: 127.0.0.2, c: 127.0.0.3}}
groups: {{everybody: {{}}}}
defaults: {{timeouts: {{greeting: 150ms, tls-handshake: 1s, idle: 2s}}, limits: {{max-held: 20k}}}}
services:
  smtp:
    protocol: smtp
    listen: {{address: 127.0.0.1, port: 0, tls: none}}
    backend: {{port: {mail}}}
    persistence: {{source-ip: {{group: everybody}}}}
    check: connect
  imaps:
    protocol: imap
    listen: {{address: 127.0.0.1, port: 0, tls: implicit}}
    certificate: {certificate}
    backend: {{port: {mail}, tls: false}}
    check: connect
  web:
    protocol: https
    listen: {{address: 127.0.0.1, port: 0, tls: implicit}}
    certificate: {certificate}
    backend: {{port: {web}, tls: false}}
    persistence: super-http
    check: connect
"""

SAYS = {
    "smtp": b"EHLO me\r\n",
    "imaps": b"a LOGIN u p\r\n",
    "web": b"POST /EWS/Exchange.asmx HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n",
}


def count(kind: type) -> int:
    """How many of that kind are alive."""
    gc.collect()
    return sum(type(each) is kind for each in gc.get_objects())


class BigServer(WebServer):
    """Answers more than anybody can take at once."""

    def body(self, head: bytes) -> bytes:
        return b"x" * 700_000


class LeakTests(TestCase):
    """One service of each kind, two servers that answer and one that is silent."""

    timeout = 20

    async def _servers(self) -> dict[str, int]:
        factory = Factory.forProtocol(self._mail)
        factory.noisy = False
        first = reactor.listenTCP(0, factory, interface="127.0.0.1")
        number = first.getHost().port
        quiet = Factory.forProtocol(lambda: self._kept(Far()))
        quiet.noisy = False
        big = BigServer(b"a")
        web = reactor.listenTCP(0, big, interface="127.0.0.1")
        ports = [
            first,
            reactor.listenTCP(number, factory, interface="127.0.0.2"),
            # Accepts and says nothing: every client of it is in the middle of a choice for a while.
            reactor.listenTCP(number, quiet, interface="127.0.0.3"),
            web,
            reactor.listenTCP(web.getHost().port, big, interface="127.0.0.2"),
        ]
        for port in ports:
            self.addCleanup(port.stopListening)
        return {"mail": number, "web": web.getHost().port}

    def _kept(self, far: Far) -> Far:
        far.closes = True
        self.far.append(far)
        return far

    def _mail(self) -> Far:
        far = self._kept(Far())
        far.ready.addCallback(lambda _: far.transport.write(b"220 * OK ready\r\n"))
        return far

    async def client(self, port: int) -> Far:
        far = Far()
        factory = Factory.forProtocol(lambda: far)
        factory.noisy = False
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(factory)
        return far

    async def one(self, dice: random.Random, service: Any) -> None:
        """One client of one service: so far and no further."""
        name = dice.choice(list(SAYS))
        far = await self.client(port_of(service, name))
        stage = dice.randrange(7)
        if name != "smtp":
            if stage == 1:
                far.transport.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            elif stage >= 2:
                far.transport.startTLS(client_tls())
        if stage >= 3:
            far.transport.write(SAYS[name])
        if stage >= 4:
            await self.turns(dice.randrange(4))
            far.transport.write(b"y" * dice.choice((10, 30_000, 300_000)))
        if stage == 5:
            far.transport.pauseProducing()
        if stage == 6:
            await self.until(lambda: bool(far.data) or far.gone)
        await self.turns(dice.randrange(5))
        if not far.gone:
            ways = ["abortConnection", "abortConnection", "loseConnection"]
            if name == "smtp":
                ways.append("loseWriteConnection")
            getattr(far.transport, dice.choice(ways))()
            await self.turns(dice.randrange(4))
        # Who is polite, too, is gone in the end.
        far.transport.resumeProducing()
        far.transport.abortConnection()
        await self.until(lambda: far.gone)

    async def turns(self, number: int) -> None:
        for _ in range(number):
            await task.deferLater(reactor, 0.002, lambda: None)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await task.deferLater(reactor, 0.002, lambda: None)

    async def test_nothing_is_left(self) -> None:
        """No session, wire, lease, source, timer of an idle connection or descriptor."""
        self.far: list[Far] = []
        ports = await self._servers()
        service = await running(self, CONFIGURATION, certificate=pem("localhost", "127.0.0.1"), **ports)
        await self.turns(1)
        dice = random.Random(135)
        before = count(Session), count(Wire)
        await self.burst(dice, service, AT_A_TIME)
        await self.calm(service)
        descriptors = len(os.listdir("/proc/self/fd"))
        await self.burst(dice, service, CLIENTS - AT_A_TIME)
        await self.calm(service)
        for built in service.built:
            self.assertEqual(built.service._sources, {})
            for pool, _ in built.pools:
                self.assertEqual([(b.links, b.load) for b in pool.backends], [(0, 0)] * 3, pool)
                self.assertEqual(pool.waiting, 0)
            self.assertEqual(len(built.service.sweep), 0)
        self.assertEqual(service.builder.store.held("everybody"), 0)
        # A check or two may be under way at any moment.
        self.assertLessEqual(abs(len(os.listdir("/proc/self/fd")) - descriptors), 9)
        self.assertLessEqual(count(Session) - before[0], 0)
        self.assertLessEqual(count(Wire) - before[1], 9)

    async def burst(self, dice: random.Random, service: Any, clients: int) -> None:
        waiting = iter(range(clients))

        async def worker() -> None:
            for _ in waiting:
                await self.one(dice, service)

        await defer.gatherResults([defer.Deferred.fromCoroutine(worker()) for _ in range(AT_A_TIME)])

    async def calm(self, service: Any) -> None:
        """Until no session is left, and the servers' ends are gone."""
        await self.until(lambda: not any(built.service.sessions for built in service.built))
        await self.until(lambda: sum(not far.gone for far in self.far) <= 9)
        self.far.clear()
        await self.turns(2)
