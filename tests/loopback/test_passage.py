"""Clients whose protocol reads nothing: by a passage or by a session, what becomes of them is the same."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterable
from typing import Any
from unittest import mock

from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from exproxy import actions, events
from exproxy.interfaces import IConversation, IPassing
from exproxy.model import ClientAddress
from exproxy.passage import Passage
from exproxy.relay.sockets import SocketRelay
from exproxy.session import Session
from exproxy.settings import Limits, Networks, Timeouts, WhenFull
from exproxy.virtual import Rules
from protocols.plain import Plain
from tests.loopback.world import BySource, Server, World


@implementer(IConversation)
class Reading:
    """The same as Plain, for a session."""

    def __init__(self, service: Any) -> None:
        self._plain = Plain(service)

    def handle(self, event: events.Event) -> Iterable[actions.Action]:
        return self._plain.handle(event)


class Contract:
    """The contract; subclasses say who carries it out."""

    timeout = 15

    conversation: Any
    kind: type

    def world(self, servers: Iterable[Server] | None = None, **words: Any) -> World:
        return World(self, self.conversation, servers or [Server("a", b"hello")], **words)

    async def relayed(self, world: World) -> tuple[Any, Any, Any]:
        """A client that was greeted: what carries it, the client, and the server's end."""
        client = await world.client()
        await client.until(lambda: client.data == b"hello")
        [carried] = world.service.sessions
        self.assertIs(type(carried), self.kind)
        self.assertIsInstance(carried.relay, SocketRelay)
        return carried, client, world.servers[0].far[-1]

    async def record(self, world: World) -> dict[str, Any]:
        await world.quiet()
        return world.records.kept[-1]

    async def test_both_ways(self) -> None:
        """Bytes pass, who ends first is said, and the record counts both directions."""
        world = self.world()
        _, client, far = await self.relayed(world)
        client.transport.write(b"question")
        await far.until(lambda: far.data == b"question")
        client.transport.loseConnection()
        record = await self.record(world)
        self.assertEqual((record["bytes_in"], record["bytes_out"]), (8, 5))
        self.assertEqual((record["server"], record["persistence"]), ("a", "none"))
        self.assertEqual((record["reason"], record["service"]), ("client closed", "test"))
        self.assertLessEqual({"client", "connect_ms", "total_ms"}, set(record))

    async def test_a_server_that_ends(self) -> None:
        """The server's end is passed on, and said."""
        world = self.world()
        _, client, far = await self.relayed(world)
        far.transport.loseConnection()
        await client.until(lambda: client.eof)
        client.transport.loseConnection()
        self.assertEqual((await self.record(world))["reason"], "backend closed")

    async def test_early_bytes(self) -> None:
        """What the client says, and its end too, before there is a server, comes to it."""
        world = self.world([Server("a")])
        client = await world.client()
        client.transport.write(b"x" * 300_000)
        client.transport.loseWriteConnection()
        await world.turn()
        while not world.servers[0].far:
            await world.turn()
        far = world.servers[0].far[0]
        await far.until(lambda: far.eof)
        self.assertEqual(len(far.data), 300_000)

    async def test_redispatch(self) -> None:
        """A server that refuses is told of, and the next one serves."""
        world = self.world([Server("a", b"hello"), Server("b", b"hello")])
        await world.server("a").port.stopListening()
        client = await world.client()
        await client.until(lambda: client.data == b"hello")
        self.assertEqual(world.failed, [("a", "L4CON", "Connection refused")])
        client.transport.loseConnection()
        record = await self.record(world)
        self.assertEqual((record["server"], record["retries"]), ("b", 1))

    async def test_nobody_there(self) -> None:
        """Without a server the client sees an end and no reset, though it has said something."""
        world = self.world()
        world.pool.operate("a", "maint")
        client = socket.create_connection(("127.0.0.1", world.number))
        self.addCleanup(client.close)
        client.setblocking(False)
        client.send(b"anybody?")
        ended = False
        while not ended:
            await world.turn()
            with contextlib.suppress(BlockingIOError):
                ended = client.recv(100) == b""
        client.send(b"nobody?")
        client.close()
        record = await self.record(world)
        self.assertEqual(record["reason"], "refused: no server")
        self.assertIn("no server of test is usable", record["unavailable"])

    async def test_a_refused_client_that_stays(self) -> None:
        """A refused client that does not go is closed."""
        with (
            mock.patch("exproxy.passage.LINGERING_READ", 0.01),
            mock.patch("exproxy.client_session.LINGERING_READ", 0.01),
        ):
            world = self.world()
            world.pool.operate("a", "maint")
            client = await world.client()
            await client.until(lambda: client.eof)
            await world.quiet()

    async def test_a_client_that_leaves_while_waiting(self) -> None:
        """A client that is reset while it waits for a place leaves the queue."""
        world = self.world()
        world.pool.when_full = WhenFull("wait", 30.0)
        world.pool.backends[0].limit = 1
        _, first, _ = await self.relayed(world)
        second = await world.client()
        while world.pool.waiting != 1:
            await world.turn()
        second.transport.abortConnection()
        while world.pool.waiting:
            await world.turn()
        self.assertEqual(len(world.service.sessions), 1)
        self.assertTrue(world.records.kept[-1]["reason"].startswith("client lost: "))
        third = await world.client()
        first.transport.loseConnection()
        await third.until(lambda: third.data == b"hello")

    async def test_a_store_that_binds(self) -> None:
        """A client is found again by its persistence."""
        world = self.world([Server("a", b"hello"), Server("b", b"hello")], persistence=BySource())
        for _ in range(3):
            client = await world.client()
            await client.until(lambda client=client: client.data == b"hello")
            client.transport.loseConnection()
            await world.quiet()
        records = world.records.kept
        self.assertEqual({record["server"] for record in records}, {"a"})
        self.assertEqual([record["persistence"] for record in records], ["new", "hit", "hit"])

    async def test_cut(self) -> None:
        """A cut ends it with its reason, by the service and by the pool."""
        world = self.world()
        for cut in (world.service.cut, lambda reason: world.pool.cut("a", reason)):
            _, client, _ = await self.relayed(world)
            cut("maintenance")
            await client.until(lambda client=client: client.gone)
            self.assertEqual((await self.record(world))["reason"], "maintenance")

    async def test_cut_while_connecting(self) -> None:
        """A cut that comes before there is a server gives the lease back."""
        world = self.world()
        client = await world.client()
        while not world.service.sessions:
            await world.turn()
        world.service.cut("maintenance")
        await client.until(lambda: client.gone)
        self.assertEqual((await self.record(world))["reason"], "maintenance")

    async def test_condemned_while_connecting(self) -> None:
        """A server that is cut while it is being connected to loses its client."""
        world = self.world()
        while not await self._condemned(world):
            pass
        self.assertEqual((await self.record(world))["reason"], "server is DOWN")

    async def _condemned(self, world: World) -> bool:
        taken = world.pool.pick

        def pick(*args: Any) -> Any:
            choice = taken(*args)
            world.pool.cut("a", "server is DOWN")
            return choice

        with mock.patch.object(world.pool, "pick", pick):
            client = await world.client()
            await client.until(lambda: client.gone)
        return True

    async def test_idle(self) -> None:
        """Silence for the idle time drops it."""
        world = self.world(timeouts=Timeouts(idle=0.01))
        world.sweep.period = 0.01
        client = await world.client()
        await client.until(lambda: client.gone)
        self.assertEqual((await self.record(world))["reason"], "idle")

    async def test_drained(self) -> None:
        """A service that is being emptied lets nobody in, and who is relayed goes on."""
        world = self.world()
        _, client, far = await self.relayed(world)
        world.service.drain(10.0)
        late = await world.client()
        await late.until(lambda: late.gone or late.eof)
        client.transport.write(b"still here")
        await far.until(lambda: far.data == b"still here")

    async def test_the_address_is_shown(self) -> None:
        """The PROXY header comes first, and is not among the bytes of the client."""
        world = self.world([Server("a")])
        world.pool.backends[0].client_address = ClientAddress(send_proxy="v1")
        client = await world.client()
        client.transport.write(b"hello")
        while not world.servers[0].far:
            await world.turn()
        far = world.servers[0].far[0]
        await far.until(lambda: far.data.endswith(b"hello"))
        port = client.transport.getHost().port
        header = f"PROXY TCP4 127.0.0.1 127.0.0.1 {port} {world.number}\r\n"
        self.assertEqual(bytes(far.data), header.encode() + b"hello")
        client.transport.loseConnection()
        self.assertEqual((await self.record(world))["bytes_in"], 5)

    async def test_who_may_not_come(self) -> None:
        """Nobody whom the rules or the limits turn away has a session; nobody comes to a server."""
        for words in (
            {"rules": Rules(deny=Networks.parse(["127.0.0.0/8"]))},
            {"limits": Limits(per_source_rate=1)},
        ):
            world = self.world(**words)
            clients = [await world.client() for _ in range(2)]
            await clients[-1].until(lambda clients=clients: clients[-1].gone or clients[-1].eof)
            self.assertLessEqual(len(world.servers[0].far), 1)

    async def test_a_mistake_in_the_choice(self) -> None:
        """A pool that fails drops the client, is logged, and leaves nothing."""
        world = self.world()
        with mock.patch.object(world.pool, "pick", side_effect=ValueError("a mistake")):
            client = socket.create_connection(("127.0.0.1", world.number))
            self.addCleanup(client.close)
            while not world.records.kept:
                await world.turn()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual((await self.record(world))["reason"], "internal error")

    async def test_a_mistake_when_it_is_linked(self) -> None:
        """A link that cannot be taken is closed, and the client refused."""
        world = self.world()
        with mock.patch("exproxy.record.AccessRecord.connected", side_effect=ValueError("a mistake")):
            client = await world.client()
            await client.until(lambda: client.eof)
            client.transport.loseConnection()
            await world.quiet()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        while not (world.servers[0].far and world.servers[0].far[0].eof):
            await world.turn()


class PassageTests(Contract, TestCase):
    """Without sessions."""

    conversation = Plain
    kind = Passage

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    def test_interface(self) -> None:
        """Plain needs no bytes, and says so."""
        self.assertTrue(verifyObject(IPassing, Plain(mock.Mock())))

    async def test_the_reactor_stops(self) -> None:
        """Passages that are open when the poller ends are dropped and recorded."""
        world = self.world()
        await self.relayed(world)
        world.pool.operate("a", "maint")
        refused = await world.client()
        await refused.until(lambda: refused.eof)
        assert world.poller is not None
        world.port.stopListening()
        world.poller.close()
        self.assertEqual(world.service.sessions, {})
        reasons = sorted(record["reason"] for record in world.records.kept)
        self.assertEqual(reasons, ["refused: no server", "the reactor was stopped"])

    async def test_a_mistake_of_its_own(self) -> None:
        """An error while it is served cuts that one only."""
        world = self.world()
        world.pool.when_full = WhenFull("wait", 30.0)
        world.pool.backends[0].limit = 1
        await self.relayed(world)
        second = await world.client()
        while world.pool.waiting != 1:
            await world.turn()
        with mock.patch.object(Passage, "serve", side_effect=ValueError("a mistake")):
            second.transport.write(b"x")
            await second.until(lambda: second.gone)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(len(world.service.sessions), 1)

    async def test_addresses(self) -> None:
        """It knows both addresses; a listening socket for all addresses asks each connection."""
        world = self.world()
        carried, client, _ = await self.relayed(world)
        self.assertEqual((carried.local.host, carried.local.port), ("127.0.0.1", world.number))
        self.assertEqual(carried.peer.port, client.transport.getHost().port)
        self.assertIn("relaying", repr(carried))

    async def test_options(self) -> None:
        """Both sockets have the options of the service."""
        world = self.world()
        carried, _, _ = await self.relayed(world)
        for flow in (carried.relay._up, carried.relay._down):
            for name in ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_USER_TIMEOUT"):
                self.assertTrue(flow.source.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)), name)
            idle = flow.source.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            self.assertEqual(idle, int(world.service.tcp.keepalive))


class SessionTests(Contract, TestCase):
    """By sessions."""

    conversation = Reading
    kind = Session

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"
