"""Learnt ports on real connections: one pool behind all addresses, servers that move, ends in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel
from twisted.internet import defer, reactor, task
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.plugin import getPlugins
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from exproxy import actions, events
from exproxy.config import load
from exproxy.interfaces import ILocator, IProtocolPlugin
from exproxy.plugins import Catalogue
from exproxy.protocol import Protocol as Record
from exproxy.service import ExproxyService
from tests.folders import folder
from tests.loopback.pairs import Far
from tests.loopback.world import Server, ServerFirst

TEXT = """
state-dir: {folder}
access-log: {folder}/access.log
servers: {{a: 127.0.0.1}}
services:
  mapped:
    protocol: {{mapped: {{mapper: {mapper}}}}}
    listen: ["127.0.0.1:0", "127.0.0.2:0"]
    health: {{interval: {interval}, timeout: 1s}}
"""


class Options(BaseModel):
    mapper: int


class Where:
    """Asks "where", understands "at PORT"."""

    def handle(self, event: events.Event) -> Iterable[actions.Action]:
        if isinstance(event, events.Connected):
            return [actions.ToBackend(b"where")]
        if isinstance(event, events.Data):
            return [actions.Pass(int(event.data.split()[1]))]
        return ()


@implementer(ILocator)
class Locator:
    """Asks so, at a port that the test chooses."""

    tls = "never"
    layer = "L7"

    def __init__(self, port: int) -> None:
        self.port = port

    def dialogue(self) -> Any:
        return Where()


class Mapper(Factory):
    """Tells ``port`` to whoever asks; silent while it is 0. ``open`` are its connections."""

    noisy = False

    def __init__(self) -> None:
        self.port = 0
        self.asked = 0
        self.open: set[Any] = set()

    def buildProtocol(self, addr: Any) -> Protocol:
        mapper = self

        class Talk(Protocol):
            def connectionMade(self) -> None:
                mapper.open.add(self)

            def connectionLost(self, reason: Any = None) -> None:
                mapper.open.discard(self)

            def dataReceived(self, data: bytes) -> None:
                mapper.asked += 1
                if mapper.port:
                    self.transport.write(b"at %d" % mapper.port)

        return Talk()


class LocatingTests(TestCase):
    """A whole exproxy with a protocol of the test's own."""

    timeout = 20

    async def setUp(self) -> None:  # type: ignore[override]
        self.mapper = Mapper()
        self.listening = reactor.listenTCP(0, self.mapper, interface="127.0.0.1")
        self.server = Server("a", b"hello")
        self.clients: list[Far] = []
        self.services: list[ExproxyService] = []

    async def tearDown(self) -> None:  # type: ignore[override]
        for far in self.clients:
            if not far.gone:
                far.transport.abortConnection()
            await far.until(lambda far=far: far.gone)
        for service in self.services:
            await service.stopService()
        if self.server.port is not None:
            await self.server.close()
        await self.until(lambda: not self.mapper.open)
        await defer.maybeDeferred(self.listening.stopListening)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await task.deferLater(reactor, 0.005, lambda: None)

    async def started(self, interval: str = "1h") -> ExproxyService:
        where = folder(self)
        file = where / "exproxy.yaml"
        mapper = self.listening.getHost().port
        file.write_text(TEXT.format(folder=where, mapper=mapper, interval=interval), encoding="utf-8")
        record = Record(
            "mapped",
            "for tests",
            ServerFirst,
            options=Options,
            locate=lambda options: Locator(options.mapper),
        )
        catalogue = Catalogue(
            lambda kind: [*getPlugins(kind), *([record] if kind is IProtocolPlugin else [])]
        )
        service = ExproxyService(load(file, catalogue=catalogue), reactor)
        self.services.append(service)
        service.bind()
        service.startService()
        await service.ready
        return service

    async def client(self, service: ExproxyService, number: int = 0) -> Far:
        where = service.built[0].service.listenings()[number]
        far = Far()
        self.clients.append(far)
        factory = Factory.forProtocol(lambda: far)
        factory.noisy = False
        await TCP4ClientEndpoint(reactor, where.host, where.port).connect(factory)
        return far

    def backend(self, service: ExproxyService) -> Any:
        [(pool, _)] = service.built[0].pools
        self.assertEqual(pool.name, "mapped")
        return pool.backends[0]

    async def known(self) -> ExproxyService:
        """A service that knows where its server is."""
        self.mapper.port = self.server.listen()
        service = await self.started()
        await self.until(lambda: self.backend(service).state == "UP")
        return service

    async def test_one_pool(self) -> None:
        """Nothing is fixed, and clients of both addresses are served by one pool at the learnt port."""
        service = await self.known()
        for number in (0, 1):
            client = await self.client(service, number)
            await client.until(lambda client=client: client.data == b"hello")
        self.assertEqual(self.backend(service).links, 2)
        first, second = service.built[0].service.listenings()
        self.assertEqual((first.backends, first.backends[0].port), (second.backends, self.mapper.port))

    async def test_unknown(self) -> None:
        """Where the server does not say its port clients are refused in the protocol's words."""
        service = await self.started()
        client = await self.client(service)
        await client.until(lambda: client.data == b"sorry\r\n")
        self.assertEqual(self.backend(service).port, 0)

    async def move(self) -> None:
        """The server's service begins anew, at another port."""
        old, self.server = self.server, Server("a", b"hello again")
        self.mapper.port = self.server.listen()
        await old.close()

    async def test_moved(self) -> None:
        """Many clients at once that meet nobody have the port asked for once, and are served."""
        service = await self.known()
        await self.move()
        asked = self.mapper.asked
        clients = [await self.client(service) for _ in range(10)]
        for client in clients:
            await client.until(lambda client=client: client.data == b"hello again")
        self.assertEqual(self.backend(service).port, self.mapper.port)
        self.assertEqual(self.mapper.asked - asked, 1)
        self.assertTrue(self.backend(service).health.up)

    async def test_check_finds_it(self) -> None:
        """Without any client the check finds the new port, and the server never goes down."""
        self.mapper.port = self.server.listen()
        service = await self.started("1s")
        await self.until(lambda: self.backend(service).state == "UP")
        await self.move()
        await self.until(lambda: self.backend(service).port == self.mapper.port)
        self.assertTrue(self.backend(service).health.up)

    async def test_client_gone(self) -> None:
        """A client that goes while its server is asked leaves no connection to the mapper."""
        service = await self.known()
        await self.server.close()
        self.mapper.port = 0
        client = await self.client(service)
        await self.until(lambda: len(self.mapper.open) == 1)
        client.transport.abortConnection()
        await self.until(lambda: not self.mapper.open and not service.built[0].service.sessions)
        self.assertEqual(self.backend(service).links, 0)

    async def test_stopped(self) -> None:
        """Stopped while a check waits for the port, nothing is left."""
        service = await self.started()
        await self.until(lambda: len(self.mapper.open) == 1)
        await service.stopService()
        await self.until(lambda: not self.mapper.open)
