"""How servers learn the client's address: PROXY headers, and links from the client's own address."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any
from unittest import SkipTest

from twisted.internet import defer, reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from exproxy import actions, events, transparent
from exproxy.asking import Asking
from exproxy.checks.record import Check
from exproxy.connect import ConnectFailed, as_ourselves, connect
from exproxy.errors import ConfigurationError
from exproxy.model import BACKEND, ClientAddress, Version
from exproxy.proxy_protocol import Header, parse
from tests.loopback.configured import Answering, WebServer, port_of, running
from tests.loopback.pairs import Far, Recorder, client_tls, server_tls
from tests.loopback.world import Server, ServerFirst, World


class Reading(Far):
    """Reads a header first, then greets; ``tls`` begins behind the header."""

    def __init__(self, greeting: bytes, tls: Any = None) -> None:
        super().__init__()
        self.closes = True
        self.greeting = greeting
        self.behind = tls
        self.header: Header | None = None

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self.header is None:
            self.header = parse(bytes(self.data))
            if self.header is not None:
                del self.data[: self.header.length]
                if self.behind is not None:
                    rest, self.data = bytes(self.data), bytearray()
                    self.transport.startTLS(self.behind)
                    if rest:
                        self.transport.protocol.dataReceived(rest)
                self.transport.write(self.greeting)


class Behind(Server):
    """A server whose connections begin with a header."""

    def _make(self) -> Far:
        far = Reading(self.greeting, server_tls() if self.tls else None)
        self.far.append(far)
        return far


class Twice:
    """Finds the first server's greeting wrong, once, and relays the second's."""

    def __init__(self, service: Any) -> None:
        self.times = 0

    def handle(self, event: events.Event) -> Iterable[actions.Action]:
        if isinstance(event, events.Began):
            return [actions.Pick(event.facts)]
        if isinstance(event, events.Data) and event.side is BACKEND:
            self.times += 1
            if self.times == 1:
                return [actions.Retry("not this one")]
            return [actions.ToClient(event.data), actions.Relay()]
        return ()


class SendProxyTests(TestCase):
    """`send-proxy` towards real connections."""

    timeout = 15

    def world(self, version: Version, *servers: Server, conversation: Any = ServerFirst) -> World:
        world = World(self, conversation, servers)
        for backend in world.pool.backends:
            backend.client_address = ClientAddress(version)
        return world

    def told(self, world: World, far: Any, client: Far) -> None:
        """That server was told of that client, and of the address that it reached."""
        here = client.transport.getHost()
        header = far.header
        assert header is not None and header.source is not None and header.destination is not None
        self.assertEqual((header.source.host, header.source.port), (here.host, here.port))
        self.assertEqual((header.destination.host, header.destination.port), ("127.0.0.1", world.number))

    async def test_first_of_all(self) -> None:
        """The header comes first, in plain text and before TLS."""
        for version in ("v1", "v2"):
            for tls in (False, True):
                world = self.world(version, Behind("a", b"hello\r\n", tls))
                client = await world.client()
                await client.until(lambda client=client: client.data == b"hello\r\n")
                [far] = world.server("a").far
                self.told(world, far, client)
                client.transport.write(b"hi")
                await far.until(lambda far=far: far.data == b"hi")

    async def test_next_server(self) -> None:
        """A server that is tried in another's place is told as well, after Retry and after a refusal."""
        world = self.world("v2", Behind("a", b"a"), Behind("b", b"b"), Behind("c", b"c"), conversation=Twice)
        gone = world.servers.pop(0)
        await gone.close()
        client = await world.client()
        await client.until(lambda: client.data)
        fars = [far for server in world.servers for far in server.far]
        self.assertEqual(len(fars), 2)
        for far in fars:
            self.told(world, far, client)
        world.servers.insert(0, gone)

    async def ask(self, version: Version, far: Far) -> None:
        """Ask with a check that is content with a greeting."""
        factory = Factory.forProtocol(lambda: far)
        factory.noisy = False
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        outcome: defer.Deferred[Any] = defer.Deferred()
        Asking(
            reactor,
            Check(Content),
            "ex1",
            ("127.0.0.1", port.getHost().port),
            client_tls if getattr(far, "behind", None) else None,
            5.0,
            outcome.callback,
            introduce=as_ourselves(ClientAddress(version)),
        ).start()
        self.assertEqual(await outcome, actions.Pass())
        self.number = port.getHost().port
        await port.stopListening()
        await far.until(lambda: far.gone)

    async def test_checks(self) -> None:
        """A check says LOCAL in v2, and its own two ends in v1; before TLS too."""
        for tls in (None, server_tls()):
            far = Reading(b"220 hello\r\n", tls)
            await self.ask("v2", far)
            self.assertEqual(far.header, Header(16))
            far = Reading(b"220 hello\r\n", tls)
            await self.ask("v1", far)
            header = far.header
            assert header is not None and header.source is not None and header.destination is not None
            self.assertEqual(header.source.host, "127.0.0.1")
            self.assertNotIn(header.source.port, (0, self.number))
            self.assertEqual((header.destination.host, header.destination.port), ("127.0.0.1", self.number))

    def test_nothing_to_say(self) -> None:
        """Without `send-proxy` a check introduces itself to nobody."""
        self.assertIsNone(as_ourselves(ClientAddress()))


class HeaderThenWeb(Answering):
    """A web server whose connections begin with a header; the factory keeps them."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self._begun = False

    def dataReceived(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            header = parse(data)
            assert header is not None
            self.factory.headers.append(header)
            data = data[header.length :]
        super().dataReceived(data)


WEB = """
servers: {{a: 127.0.0.1}}
services:
  web:
    protocol: http
    listen: "127.0.0.1:0"
    backend: {{port: {plain}}}
    routes:
      told: {{path: /told, backend: {{port: {told}, send-proxy: v1}}}}
"""


class RouteTests(TestCase):
    """`send-proxy` of one route."""

    timeout = 15

    async def test_one_header_a_link(self) -> None:
        """Requests of one client share a link and its one header; other routes send none."""
        plain, told = WebServer(b"plain"), WebServer(b"told")
        told.protocol = HeaderThenWeb  # type: ignore[assignment]
        told.headers = []  # type: ignore[attr-defined]
        ports = [reactor.listenTCP(0, factory, interface="127.0.0.1") for factory in (plain, told)]
        for port in ports:
            self.addCleanup(port.stopListening)
        numbers = dict(zip(("plain", "told"), (port.getHost().port for port in ports), strict=True))
        service = await running(self, WEB, **numbers)
        wire = await connect(reactor, "127.0.0.1", port_of(service, "web"), timeout=5)
        heard = Recorder()
        wire.attach(heard)
        for number, path in enumerate(("/told", "/", "/told/x"), 1):
            wire.write(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
            await heard.until(lambda number=number: heard.bytes().count(b"from ") == number)
        wire.abort()
        clients = [header.source for header in told.headers if header.source]  # type: ignore[attr-defined]
        ours = [source for source in clients if source.port == wire.local.port]
        self.assertEqual((len(ours), len(told.heads), len(plain.heads)), (1, 2, 1))


class Content:
    """A check that passes with the first bytes."""

    def handle(self, event: events.Event) -> Iterable[actions.Action]:
        return [actions.Pass()] if isinstance(event, events.Data) else ()


def needs_capability() -> None:
    """Skip where transparent sockets are not allowed."""
    try:
        transparent.require()
    except ConfigurationError as error:
        raise SkipTest(str(error)) from None


class TransparentTests(TestCase):
    """`transparent`: on loopback every address of 127.0.0.0/8 is ours, and a client's own."""

    timeout = 15

    async def test_from_the_client(self) -> None:
        """The server's connection comes from the address of the client, at any port."""
        needs_capability()
        world = World(self, ServerFirst, [Server("a", b"hello\r\n")])
        world.pool.backends[0].client_address = ClientAddress(transparent=True)
        clients = []
        for host in ("127.0.0.9", "127.0.0.9", "127.0.0.10"):
            far = Far()
            world.clients.append(far)
            factory = Factory.forProtocol(lambda far=far: far)
            factory.noisy = False
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", world.number, bindAddress=(host, 0))
            await endpoint.connect(factory)
            await far.until(lambda far=far: far.data)
            clients.append(host)
        seen = [far.transport.getPeer().host for far in world.server("a").far]
        self.assertEqual(seen, clients)

    async def test_foreign_address(self) -> None:
        """A socket may be bound to an address that is nobody's here, of either IP version."""
        needs_capability()
        for family, address in ((socket.AF_INET, "192.0.2.77"), (socket.AF_INET6, "2001:db8::77")):
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                transparent.mark(sock)
                sock.bind((address, 0))
                self.assertEqual(sock.getsockname()[0], address)

    async def failed(self, **words: Any) -> ConnectFailed:
        try:
            await connect(reactor, "127.0.0.1", 9, timeout=5, transparent=True, **words)
        except ConnectFailed as error:
            return error
        raise AssertionError("connected")

    async def test_other_version(self) -> None:
        """A client of IPv6 cannot be shown to a server of IPv4: nobody is asked, nobody blamed."""
        error = await self.failed(bind=("2001:db8::7", 0))
        self.assertTrue(error.ours)
        self.assertEqual(error.phase, "bind")
        self.assertIn("other IP version", error.reason)

    async def test_not_allowed(self) -> None:
        """Without the capability the attempt fails in the system's words; it is not the server's fault."""

        def refuse(sock: socket.socket) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(transparent, "mark", refuse)
        error = await self.failed(bind=("127.0.0.9", 0))
        self.assertEqual((error.ours, error.phase, error.reason), (True, "bind", "Operation not permitted"))
        text = str(self.assertRaises(ConfigurationError, transparent.require))
        self.assertIn("CAP_NET_RAW", text)
        self.assertIn("Operation not permitted", text)

    async def test_nobody_is_blamed(self) -> None:
        """A client that cannot be shown is refused; the servers stay as well as they were."""

        def refuse(sock: socket.socket) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(transparent, "mark", refuse)
        world = World(self, ServerFirst, [Server("a", b"hello\r\n")])
        world.pool.backends[0].client_address = ClientAddress(transparent=True)
        client = await world.client()
        await client.until(lambda: client.gone or client.eof)
        self.assertEqual(bytes(client.data), b"sorry\r\n")
        self.assertEqual((world.failed, world.server("a").far), ([], []))
