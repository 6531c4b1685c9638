"""server-cookie, header, cookie and `recheck` over real connections, each with a fallback."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet import defer, reactor
from twisted.trial.unittest import TestCase

from exproxy.connect import connect
from exproxy.model import Facts, Source
from exproxy.service import ExproxyService
from protocols.http.head import parse_request
from protocols.http.peer import Scheme
from tests.loopback.configured import Answering, WebServer, port_of, running
from tests.loopback.pairs import Recorder

CONFIGURATION = """
servers: {{a: 127.0.0.11, b: 127.0.0.12}}
services:
  web:
    protocol: http
    listen: "127.0.0.1:0"
    backend: {{port: {port}}}
    check: connect
    persistence: {persistence}
"""
BROWSER = b"User-Agent: Mozilla/5.0"


class Setting(Answering):
    """Sets a cookie where it is asked to log somebody in."""

    def dataReceived(self, data: bytes) -> None:
        """One request at a time."""
        name = self.factory.name
        login = b"Set-Cookie: sid=%s-1; Path=/\r\n" % name if b"/login" in data else b""
        self.factory.heads.append(data)
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nX-Server: %s\r\n%sContent-Length: 0\r\n\r\n" % (name, login)
        )


class Client:
    """One connection."""

    def __init__(self, wire: Any) -> None:
        self._wire = wire
        self._heard = Recorder()
        wire.attach(self._heard)

    async def asks(self, path: str = "/", *fields: bytes) -> tuple[str, bytes]:
        """(the server's name, the cookie that was set) of one request."""
        before = len(self._heard.bytes())
        lines = [f"GET {path} HTTP/1.1".encode(), b"Host: mail.example.org", *fields, b"", b""]
        self._wire.write(b"\r\n".join(lines))
        await self._heard.until(lambda: b"\r\n\r\n" in self._heard.bytes()[before:])
        answer = self._heard.bytes()[before:]
        found = re.search(rb"X-Server: (\w+)", answer)
        cookie = re.search(rb"Set-Cookie: ([^;\r]+)", answer)
        return (found[1].decode() if found else answer.decode()), (cookie[1] if cookie else b"")

    async def ends(self) -> None:
        """Close it."""
        self._wire.abort()
        await self._heard.until(lambda: "lost" in self._heard.words())


class PersistenceTests(TestCase):
    """Two servers, round robin."""

    timeout = 60

    async def start(self, persistence: str) -> ExproxyService:
        """A service with that persistence before two servers."""
        self.servers = [WebServer(b"a"), WebServer(b"b")]
        number = 0
        for server, host in zip(self.servers, ("127.0.0.11", "127.0.0.12"), strict=True):
            server.protocol = Setting  # type: ignore[assignment]
            port = reactor.listenTCP(number, server, interface=host)
            number = port.getHost().port
            self.addCleanup(port.stopListening)
        return await running(self, CONFIGURATION, port=number, persistence=persistence)

    async def client(self, service: ExproxyService, source: str = "127.0.0.1") -> Client:
        """A connection from that address."""
        wire = await connect(
            reactor, "127.0.0.1", port_of(service, "web"), timeout=10, tls=None, bind=(source, 0)
        )
        client = Client(wire)
        self.addCleanup(lambda: defer.Deferred.fromCoroutine(client.ends()))
        return client

    async def test_server_cookie(self) -> None:
        """A login's cookie leads back to its server, over other connections and from other addresses."""
        service = await self.start("{server-cookie: {name: sid}}")
        server, cookie = await (await self.client(service)).asks("/login")
        self.assertEqual(cookie, b"sid=" + server.encode() + b"-1")
        for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            again, _ = await (await self.client(service, source)).asks("/", b"Cookie: x=1; " + cookie)
            self.assertEqual(again, server)

    async def test_fallback(self) -> None:
        """Without the header the address decides; with it the address does not."""
        service = await self.start("{header: {name: X-User, fallback: source-ip}}")
        client = await self.client(service)
        first, _ = await client.asks()
        other = "b" if first == "a" else "a"
        # The next in turn is the other one, and that one's user stays there.
        self.assertEqual((await client.asks("/", b"X-User: ann"))[0], other)
        for _ in range(3):
            self.assertEqual((await client.asks())[0], first)
            self.assertEqual((await client.asks("/", b"X-User: ann"))[0], other)

    async def test_recheck_first(self) -> None:
        """The later requests of a connection go where its first one went; a new connection looks again."""
        service = await self.start("{header: {name: X-User, recheck: first}}")
        one = await self.client(service)
        ann, _ = await one.asks("/", b"X-User: ann")
        bob, _ = await (await self.client(service)).asks("/", b"X-User: bob")
        self.assertNotEqual(ann, bob)
        self.assertEqual((await one.asks("/", b"X-User: bob"))[0], ann)
        self.assertEqual((await one.asks())[0], ann)
        self.assertEqual((await (await self.client(service)).asks("/", b"X-User: bob"))[0], bob)

    async def test_recheck_always(self) -> None:
        """Every request of a connection is looked at."""
        service = await self.start("{header: {name: X-User}}")
        one = await self.client(service)
        ann, _ = await one.asks("/", b"X-User: ann")
        bob, _ = await one.asks("/", b"X-User: bob")
        self.assertNotEqual(ann, bob)
        self.assertEqual((await one.asks("/", b"X-User: ann"))[0], ann)

    async def test_cookie(self) -> None:
        """Our cookie leads to its server, which never sees it; without one every request is scheduled."""
        service = await self.start("{cookie: {secure: false}}")
        client = await self.client(service)
        server, cookie = await client.asks("/", BROWSER)
        self.assertTrue(cookie.startswith(b"exproxy-web="), cookie)
        for _ in range(3):
            again, renewed = await client.asks("/", BROWSER, b"Cookie: " + cookie)
            self.assertEqual((again, renewed), (server, b""))
        self.assertEqual({(await client.asks())[0] for _ in range(4)}, {"a", "b"})
        self.assertNotIn(b"exproxy-web", b"".join(head for each in self.servers for head in each.heads))

    async def test_moving_and_forgetting(self) -> None:
        """An entry is moved, and forgotten, while the service runs."""
        service = await self.start("{header: {name: X-User}}")
        client = await self.client(service)
        first, _ = await client.asks("/", b"X-User: ann")
        other = "b" if first == "a" else "a"
        head = parse_request(b"GET / HTTP/1.1\r\nHost: mail.example.org\r\nX-User: ann\r\n\r\n")
        [(pool, _)] = service.built[0].pools
        [key] = pool.persistence.remember(Facts(Source("127.0.0.1"), Scheme("http"), head))
        pool.move(key, other)
        self.assertEqual((await client.asks("/", b"X-User: ann"))[0], other)
        self.assertEqual((pool.forget(key), pool.forget(key)), (1, 0))
