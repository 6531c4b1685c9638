"""Mail in the path, real connections: TLS on both sides, injections, limits, a service that is emptied."""

from __future__ import annotations

from typing import Any

from twisted.internet import defer, reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from exproxy.model import Destination, Source
from exproxy.proxy_protocol import build
from exproxy.service import ExproxyService
from tests.certificates import ca_file, pem
from tests.loopback.configured import running
from tests.loopback.pairs import Far, client_tls, server_tls

SERVICE = """
servers: {{ex1: 127.0.0.11}}
groups: {{people: {{}}}}
services:
  imap:
    protocol: {{imap: {{routing: {routing}}}}}
    listen: {{port: 0, address: 127.0.0.1, tls: {front}, accept-proxy: {proxied}}}
    trusted-proxies: [127.0.0.1]
    certificate: {certificate}
    check: connect
    health: {{interval: 10s, timeout: 1s}}
    backend: {{port: {port}, tls: {{mode: {back}, verify: {ca}, server-name: localhost}}}}
    persistence: {persistence}
    timeouts: {{tls-handshake: 500ms, greeting: 2s, grace: 5s}}
    limits: {limits}
"""


class Server(Protocol):
    """An IMAP server of some lines: STARTTLS, CAPABILITY, and OK to everything else."""

    def connectionMade(self) -> None:
        self.factory.open.append(self)
        self._data = b""
        self.transport.write(self.factory.greeting)

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while b"\r\n" in self._data:
            line, _, self._data = self._data.partition(b"\r\n")
            self.factory.lines.append(line)
            tag, _, rest = line.partition(b" ")
            if rest == b"STARTTLS" and self.factory.silent:
                self.transport.write(tag + b" OK go\r\n")
            elif rest == b"STARTTLS":
                self.transport.write(tag + b" OK go\r\n" + self.factory.injected)
                self.transport.startTLS(server_tls())
            elif rest == b"CAPABILITY":
                self.transport.write(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n%b OK\r\n" % tag)
            elif rest == b"SLOW":
                pass
            elif tag:
                self.transport.write(tag + b" OK done\r\n")

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.open.remove(self)


class Servers(Factory):
    protocol = Server
    noisy = False

    def __init__(self, injected: bytes = b"", silent: bool = False) -> None:
        self.greeting = b"* OK [CAPABILITY IMAP4rev1 STARTTLS] exch1\r\n"
        self.injected = injected
        self.silent = silent
        self.lines: list[bytes] = []
        self.open: list[Server] = []


class Client:
    """A client that sends lines and waits for answers."""

    def __init__(self, far: Far) -> None:
        self.far = far

    async def heard(self, text: bytes) -> bytes:
        """Until that was said, or the end."""
        await self.far.until(lambda: text in self.far.data or self.far.gone)
        return bytes(self.far.data)

    async def asked(self, line: bytes, answer: bytes) -> bytes:
        self.far.data.clear()
        self.far.transport.write(line + b"\r\n")
        return await self.heard(answer)

    async def secure(self) -> None:
        """TLS, the server having agreed to it."""
        self.far.data.clear()
        self.far.transport.startTLS(client_tls())

    async def end(self) -> bytes:
        await self.far.until(lambda: self.far.gone)
        return bytes(self.far.data)


class MailTests(TestCase):
    timeout = 30

    async def start(self, front: str = "starttls", back: str = "starttls", **said: Any) -> ExproxyService:
        self.servers = Servers(said.pop("injected", b""), said.pop("silent", False))
        port = reactor.listenTCP(0, self.servers, interface="127.0.0.11")
        self.addCleanup(port.stopListening)
        self.addCleanup(lambda: defer.Deferred.fromCoroutine(self._gone()))
        words = {"routing": "backend", "persistence": "none", "limits": "{}", "proxied": "false", **said}
        text = SERVICE
        if words["persistence"] == "none":
            text = text.replace("groups: {{people: {{}}}}\n", "")
        behind = {"port": port.getHost().port, "ca": ca_file(), "back": back}
        return await running(
            self, text, front=front, certificate=pem("localhost", "127.0.0.1"), **behind, **words
        )

    async def _gone(self) -> None:
        while self.servers.open:
            for server in list(self.servers.open):
                server.transport.abortConnection()
            await pause()

    async def client(self, service: ExproxyService) -> Client:
        [number] = service.built[0].service.ports
        far = Far()
        factory = Factory.forProtocol(lambda: far)
        factory.noisy = False
        await TCP4ClientEndpoint(reactor, "127.0.0.1", number).connect(factory)
        self.addCleanup(lambda: None if far.gone else far.transport.abortConnection())
        return Client(far)

    async def test_tls_on_both_sides(self) -> None:
        """STARTTLS with the client and, of its own, with the server; then a login and a command."""
        service = await self.start()
        client = await self.client(service)
        self.assertIn(b"* OK exch1", await client.heard(b"exch1"))
        self.assertEqual(self.servers.lines, [b"exproxy STARTTLS"])
        self.assertIn(b"NO [PRIVACYREQUIRED]", await client.asked(b"a LOGIN anna secret", b"a NO"))
        await client.asked(b"b STARTTLS", b"b OK")
        await client.secure()
        self.assertIn(b"c OK", await client.asked(b"c LOGIN anna secret", b"c OK"))
        self.assertIn(b"d OK", await client.asked(b"d SELECT inbox", b"d OK"))
        self.assertEqual(self.servers.lines[1:], [b'c LOGIN "anna" "secret"', b"d SELECT inbox"])

    async def test_any_with_any(self) -> None:
        """The client's TLS and the server's have nothing to do with each other."""
        for front, back in (("implicit", "none"), ("implicit", "starttls"), ("starttls", "none")):
            service = await self.start(front, back, routing="user", persistence="{user: {group: people}}")
            client = await self.client(service)
            if front == "implicit":
                await client.secure()
            await client.heard(b"ready")
            if front == "starttls":
                await client.asked(b"a STARTTLS", b"a OK")
                await client.secure()
            self.assertIn(b"b OK", await client.asked(b"b LOGIN anna secret", b"b OK"))
            self.assertIn(b"c OK", await client.asked(b"c NOOP", b"c OK"))
            self.assertEqual(b"exproxy STARTTLS" in self.servers.lines, back == "starttls")

    async def test_injected_commands(self) -> None:
        """Commands that came in one piece with STARTTLS are refused, and the server never hears them."""
        service = await self.start()
        client = await self.client(service)
        await client.heard(b"exch1")
        client.far.transport.write(b"a STARTTLS\r\nb LOGIN evil evil\r\n")
        self.assertIn(b"* BYE", await client.end())
        self.assertNotIn(b"LOGIN", b"".join(self.servers.lines))

    async def test_commands_after_the_agreement(self) -> None:
        """Plain text that comes later is no handshake: the connection ends."""
        service = await self.start()
        client = await self.client(service)
        await client.heard(b"exch1")
        await client.asked(b"a STARTTLS", b"a OK")
        client.far.transport.write(b"b LOGIN evil evil\r\n" * 10)
        await client.end()
        self.assertNotIn(b"LOGIN", b"".join(self.servers.lines))

    async def test_injected_answers(self) -> None:
        """A server whose way somebody writes into gets no client."""
        service = await self.start(injected=b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n")
        client = await self.client(service)
        self.assertIn(b"* BYE [UNAVAILABLE]", await client.end())

    async def test_silent_handshake(self) -> None:
        """A server that never answers the handshake costs its client the time for one, and not the rest."""
        service = await self.start(silent=True)
        client = await self.client(service)
        self.assertIn(b"* BYE [UNAVAILABLE]", await client.end())

    async def test_emptied(self) -> None:
        """A service that stops says so: at once to who waits, after the answer to who was asked something."""
        service = await self.start("implicit", "none")
        clients = [await self.client(service) for _ in range(3)]
        for number, client in enumerate(clients):
            await client.secure()
            await client.heard(b"exch1")
            if number:
                await client.asked(b"a LOGIN anna secret", b"a OK")
        clients[2].far.data.clear()
        clients[2].far.transport.write(b"b SLOW\r\n")
        while b"b SLOW" not in self.servers.lines:
            await pause()
        stopping = service.stopService()
        for client in clients[:2]:
            self.assertIn(b"* BYE [UNAVAILABLE]", await client.end())
        self.assertNotIn(b"BYE", bytes(clients[2].far.data))
        [slow] = self.servers.open
        slow.transport.write(b"b OK done\r\n")
        self.assertIn(b"b OK done\r\n* BYE [UNAVAILABLE]", await clients[2].end())
        await stopping

    async def test_a_server_is_emptied(self) -> None:
        """The clients of one server are told when that is to be emptied."""
        service = await self.start("implicit", "none")
        client = await self.client(service)
        await client.secure()
        await client.heard(b"exch1")
        await client.asked(b"a LOGIN anna secret", b"a OK")
        [(pool, _)] = service.built[0].pools
        self.assertEqual((pool.empty("ex1", 30.0), pool.empty("ex9", 30.0)), (1, 0))
        self.assertIn(b"* BYE [UNAVAILABLE]", await client.end())

    async def test_too_many(self) -> None:
        """One address with too many connections is told so in words, or closed where TLS comes first."""
        service = await self.start(limits="{per-source: 1}")
        first = await self.client(service)
        await first.heard(b"exch1")
        second = await self.client(service)
        self.assertIn(b"* BYE [LIMIT] ", await second.end())
        service = await self.start(limits="{per-source-rate: 1}")
        first = await self.client(service)
        await first.heard(b"exch1")
        first.far.transport.loseConnection()
        await first.end()
        self.assertIn(b"* BYE [LIMIT] ", await (await self.client(service)).end())
        service = await self.start("implicit", limits="{per-source-rate: 1}")
        await self.client(service)
        self.assertEqual(await (await self.client(service)).end(), b"")

    async def test_behind_a_proxy(self) -> None:
        """Whom a proxy names is the client: STARTTLS, the server's word of it, the limits and their words."""
        service = await self.start(
            routing="backend, client-address: id", limits="{per-source-rate: 1}", proxied="true"
        )

        async def came(host: str) -> Client:
            client = await self.client(service)
            # To a port where exproxy does not listen.
            header = build("v2", Source(host, 4001), Destination("203.0.113.25", 143))
            client.far.transport.write(header)
            return client

        client = await came("198.51.100.7")
        await client.heard(b"exch1")
        await client.asked(b"a STARTTLS", b"a OK")
        await client.secure()
        self.assertIn(b"b OK", await client.asked(b"b LOGIN anna secret", b"b OK"))
        told = b'exproxy ID ("x-originating-ip" "198.51.100.7" "x-originating-port" "4001")'
        self.assertIn(told, self.servers.lines)
        self.assertIn(b"* BYE [LIMIT] ", await (await came("198.51.100.7")).end())
        self.assertIn(b"exch1", await (await came("198.51.100.8")).heard(b"exch1"))


def pause() -> defer.Deferred[None]:
    """A moment for what is under way."""
    done: defer.Deferred[None] = defer.Deferred()
    reactor.callLater(0.01, done.callback, None)
    return done
