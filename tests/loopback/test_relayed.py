"""Sessions over both relays: which one is chosen, and what their ends mean to leases, limits and the log."""

from __future__ import annotations

import select
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from exproxy.relay.copying import CopyingRelay
from exproxy.relay.sockets import SocketRelay
from exproxy.settings import Timeouts
from tests.loopback.configured import port_of, running
from tests.loopback.pairs import Far
from tests.loopback.world import Server, ServerFirst, World


class RelayedTests(TestCase):
    """A conversation that relays at once."""

    timeout = 15

    async def relayed(self, world: World) -> tuple[Any, Far, Far]:
        client = await world.client()
        await client.until(lambda: client.data == b"hello")
        [session] = world.service.sessions
        [far] = world.server("a").far
        return session, client, far

    def worlds(self, **service: Any) -> list[World]:
        """The same, fast and copied."""
        fast = World(self, ServerFirst, [Server("a", b"hello")], **service)
        copied = World(self, ServerFirst, [Server("a", b"hello")], **service)
        copied.service.poller = None
        return [fast, copied]

    async def test_which_one(self) -> None:
        """Plain TCP on both sides is relayed from socket to socket; TLS, and systems without epoll, copy."""
        plain, copied = self.worlds()
        tls = World(self, ServerFirst, [Server("a", b"hello", tls=True)])
        fast = SocketRelay if hasattr(select, "epoll") else CopyingRelay
        for world, kind in ((plain, fast), (copied, CopyingRelay), (tls, CopyingRelay)):
            session, _, _ = await self.relayed(world)
            self.assertIs(type(session.relay), kind)

    async def test_the_log_counts(self) -> None:
        """The record has every byte of both directions and who ended it."""
        for world in self.worlds():
            _, client, far = await self.relayed(world)
            client.transport.write(b"question")
            await far.until(lambda far=far: far.data == b"question")
            client.transport.loseConnection()
            await world.quiet()
            [record] = world.records.kept
            self.assertEqual((record["bytes_in"], record["bytes_out"]), (8, 5))
            self.assertEqual(record["reason"], "client closed")

    async def test_a_reset(self) -> None:
        """A client that is reset: the same words in the log, the server closed, the lease back."""
        said = []
        for world in self.worlds():
            _, client, far = await self.relayed(world)
            client.transport.abortConnection()
            await world.quiet()
            await far.until(lambda far=far: far.gone)
            said.append(world.records.kept[0]["reason"])
            self.assertEqual(world.pool.backends[0].links, 0)
        self.assertEqual(said[0], said[1])

    async def test_cuts(self) -> None:
        """A server that is cut, and a service, drop their relayed clients at once, with the reason."""
        for world in self.worlds():
            _, client, _ = await self.relayed(world)
            world.pool.cut("a", "server is DOWN")
            await client.until(lambda client=client: client.gone)
            await world.quiet()
            world.server("a").far.clear()
            _, client, _ = await self.relayed(world)
            world.service.drain(1)
            world.service.cut("grace is over")
            await client.until(lambda client=client: client.gone)
            await world.quiet()
            said = [record["reason"] for record in world.records.kept]
            self.assertEqual(said, ["server is DOWN", "grace is over"])

    async def test_idle(self) -> None:
        """`timeouts.idle` ends a silent relay."""
        for world in self.worlds(timeouts=Timeouts(idle=0.1)):
            world.sweep.period = 0.05
            _, client, far = await self.relayed(world)
            await client.until(lambda client=client: client.gone)
            await far.until(lambda far=far: far.gone)
            await world.quiet()
            self.assertEqual(world.records.kept[0]["reason"], "idle")

    async def test_a_polite_end_of_the_session(self) -> None:
        """A session that is closed while it relays ends its relay."""
        for world in self.worlds():
            session, client, _ = await self.relayed(world)
            session.close("enough")
            await client.until(lambda client=client: client.gone)
            await world.quiet()
            self.assertEqual(world.records.kept[0]["reason"], "enough")

    async def test_a_service_that_stops(self) -> None:
        """A service that stops leaves nothing in the reactor, its relays' epoll object neither."""
        server = Server("a", b"hello")
        number = server.listen()
        self.addCleanup(server.close)
        service = await running(self, CONFIGURATION, port=number)
        far = await World.client(Clients(port_of(service, "any")))
        await far.until(lambda: far.data == b"hello")
        poller = service._poller
        self.assertTrue(poller is None or len(poller) == 3)
        await service.stopService()
        await far.until(lambda: far.gone)
        self.assertNotIn(poller, reactor.getReaders())
        self.assertTrue(poller is None or poller.fileno() == -1)


CONFIGURATION = """
servers: {{a: 127.0.0.1}}
services:
  any:
    protocol: tcp
    listen: {{address: 127.0.0.1, port: 0}}
    backend: {{port: {port}}}
    check: connect
    timeouts: {{grace: 10ms}}
"""


class Clients:
    """As much of a World as a client needs."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.clients: list[Far] = []
