"""Routes over real sockets: each with servers, health and memory of its own."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from exproxy.connect import connect
from exproxy.errors import ConfigurationError
from exproxy.service import ExproxyService
from tests.loopback.configured import Answering, WebServer, port_of, running
from tests.loopback.pairs import Recorder

COOKIES = """
servers: {{a: 127.0.0.21}}
services:
  web:
    protocol: http
    listen: {{address: 127.0.0.1, port: 0}}
    backend: {{port: 9}}
    persistence: {{super-http: {{secure: false, cookie: mine}}}}
    routes: {{owa: {{path: /owa}}}}
"""
CONFIGURATION = """
servers: {{a: 127.0.0.21, b: 127.0.0.22}}
groups: {{web: {{}}}}
services:
  exchange:
    protocol: http
    listen: {{address: 127.0.0.1, port: 0}}
    backend: {{port: {port}}}
    health: {{interval: 0.2s, timeout: 0.2s, rise: 1, fall: 1}}
    check: {{http: {{status: 200}}}}
    status: 404
    text: nothing here
    routes:
      root: {{exact: /, redirect: /owa/}}
      inside: {{path: /powershell, allow: 10.0.0.0/8}}
      owa: {{path: /owa, persistence: {{super-http: {{group: web, secure: false}}}}}}
      ecp: {{path: /ecp, persistence: {{super-http: {{group: web, secure: false}}}}}}
      ews: {{path: [/ews, /oab], check: {{http: {{path: /ews/healthcheck.htm, status: 200}}}}}}
      oa:
        path: /rpc
        servers: b
        check: {{http: {{path: /rpc/healthcheck.htm, drain: {{status: 404}}}}}}
      other: {{host: "*.other.test", path: /x, servers: a}}
  plain:
    protocol: http
    listen: {{address: 127.0.0.1, port: 0}}
    redirect: https
"""
BROWSER = b"User-Agent: Mozilla/5.0\r\n"


class PerDirectory(Answering):
    """Answers by directory: with the status that its server was given for it, else 200."""

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, self._data = self._data.partition(b"\r\n\r\n")
            body = self.factory.body(head)
            path = head.split(b" ")[1].lower()
            found = [status for ill, status in self.factory.ill.items() if path.startswith(ill)]
            self.transport.write(
                b"HTTP/1.1 %s\r\nX-Server: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (found[0] if found else b"200 OK", self.factory.name, len(body), body)
            )


class Directories(WebServer):
    """``ill``: path -> status line."""

    protocol = PerDirectory

    def __init__(self, name: bytes) -> None:
        super().__init__(name)
        self.ill: dict[bytes, bytes] = {}


class RouteTests(TestCase):
    """One address, several applications."""

    timeout = 60

    async def _set_up(self) -> ExproxyService:
        self.a, self.b = Directories(b"a"), Directories(b"b")
        first = reactor.listenTCP(0, self.a, interface="127.0.0.21")
        number = first.getHost().port
        for port in (first, reactor.listenTCP(number, self.b, interface="127.0.0.22")):
            self.addCleanup(port.stopListening)
        self.service = await running(self, CONFIGURATION, port=number)
        return self.service

    async def _until(self, pool: str, server: str, state: str) -> None:
        [found] = [pool_ for built in self.service.built for pool_, _ in built.pools if pool_.name == pool]
        backend = found.find(server)
        for _ in range(400):
            if backend.state == state:
                return
            await deferLater(reactor, 0.02)
        self.fail(f"{backend.name} is {backend.state}, not {state}")

    async def _wire(self, name: str = "exchange") -> tuple[Any, Recorder]:
        wire = await connect(reactor, "127.0.0.1", port_of(self.service, name), timeout=10)
        heard = Recorder()
        wire.attach(heard)
        return wire, heard

    async def _ask(
        self, target: str, fields: bytes = b"", name: str = "exchange", host: str = "a.test"
    ) -> bytes:
        """The whole answer over a connection of its own."""
        wire, heard = await self._wire(name)
        lines = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n".encode()
        wire.write(lines + fields + b"\r\n")
        await heard.until(lambda: "lost" in heard.words() or "ended" in heard.words())
        wire.abort()
        return heard.bytes()

    def _records(self) -> list[dict[str, Any]]:
        self.service.access_log.flush()
        log = self.service.config.access_log
        return [json.loads(line) for line in log.read_text().splitlines()]

    async def test_answers_of_its_own(self) -> None:
        """Redirects, refusals and what no route takes are answered here, and no server hears of them."""
        await self._set_up()
        before = [head for head in self.a.heads + self.b.heads if b"exproxy-check" not in head]
        root = await self._ask("/")
        self.assertIn(b"HTTP/1.1 302 Found", root)
        self.assertIn(b"Location: /owa/\r\n", root)
        refused = await self._ask("/PowerShell/?a=b")
        self.assertIn(b"HTTP/1.1 403 Forbidden", refused)
        nothing = await self._ask("/owax")
        self.assertIn(b"HTTP/1.1 404 Not Found", nothing)
        self.assertIn(b"nothing here\n", nothing)
        self.assertIn(b"HTTP/1.1 400 ", await self._ask("/owa/..%2fpowershell"))
        away = await self._ask("/owa/?a=b%2f", name="plain", host="mail.test:8080")
        self.assertIn(b"Location: https://mail.test/owa/?a=b%2f\r\n", away)
        after = [head for head in self.a.heads + self.b.heads if b"exproxy-check" not in head]
        self.assertEqual(before, after)
        said = [(each.get("route"), each["status"]) for each in self._records()]
        self.assertEqual(said, [("root", 302), ("inside", 403), (None, 404), (None, 400), (None, 302)])

    async def test_own_answers_keep_the_connection(self) -> None:
        """A redirect and the request that follows it go over one connection; a pipelined one is cut."""
        await self._set_up()
        wire, heard = await self._wire()
        wire.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await heard.until(lambda: b"</a>" in heard.bytes())
        wire.write(b"GET /owa/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await heard.until(lambda: b"from " in heard.bytes())
        wire.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n" * 2)
        await heard.until(lambda: "lost" in heard.words() or "ended" in heard.words())
        self.assertEqual(heard.bytes().count(b"HTTP/1.1 302 "), 2)
        wire.abort()

    async def test_routes_by_host_and_path(self) -> None:
        """Prefixes end at a segment, hosts may be wildcards, case counts not; the log names the route."""
        await self._set_up()
        for target, host in (("/OWA/x", "a.test"), ("/oab/y", "A.test:81"), ("/x/", "m.OTHER.test")):
            self.assertIn(b"200 OK", await self._ask(target, host=host))
        self.assertIn(b"HTTP/1.1 404", await self._ask("/x/", host="other.test"))
        said = [(each.get("route"), each["status"]) for each in self._records()]
        self.assertEqual(said, [("owa", 200), ("ews", 200), ("other", 200), (None, 404)])
        names = {
            backend.name
            for built in self.service.built
            for pool, _ in built.pools
            for backend in pool.backends
        }
        self.assertIn("exchange/owa/a", names)
        self.assertNotIn("exchange/a", names)

    async def test_one_directory_ill(self) -> None:
        """A directory that is ill on one server leaves that server for this directory only."""
        await self._set_up()
        await self._until("exchange/ews", "a", "UP")
        self.a.ill[b"/ews/healthcheck.htm"] = b"503 Service Unavailable"
        await self._until("exchange/ews", "a", "DOWN")
        ews = [await self._ask("/ews/exchange.asmx") for _ in range(4)]
        owa = [await self._ask("/owa/", BROWSER) for _ in range(4)]
        self.assertEqual({each.rpartition(b"from ")[2] for each in ews}, {b"b"})
        self.assertEqual({each.rpartition(b"from ")[2] for each in owa}, {b"a", b"b"})
        self.a.ill.clear()
        await self._until("exchange/ews", "a", "UP")

    async def test_maintenance_drains(self) -> None:
        """The answer that means maintenance drains the server for that directory."""
        await self._set_up()
        await self._until("exchange/oa", "b", "UP")
        self.b.ill[b"/rpc/healthcheck.htm"] = b"404 Not Found"
        await self._until("exchange/oa", "b", "DRAIN")
        self.assertIn(b"HTTP/1.1 503", await self._ask("/rpc/rpcproxy.dll?host:6001"))

    async def test_two_routes_share_one_memory(self) -> None:
        """With one group OWA and ECP know a browser by the same cookie; neither shows it to a server."""
        await self._set_up()
        first = await self._ask("/owa/", BROWSER)
        cookie = first.partition(b"Set-Cookie: ")[2].partition(b";")[0]
        self.assertTrue(cookie.startswith(b"exproxy-web="))
        server = first.rpartition(b"from ")[2]
        for target in ("/ecp/", "/owa/", "/ecp/x", "/ews/x"):
            again = await self._ask(target, BROWSER + b"Cookie: " + cookie + b"; a=b\r\n")
            self.assertNotIn(b"Set-Cookie", again)
            if target != "/ews/x":
                self.assertEqual(again.rpartition(b"from ")[2], server)
        self.assertFalse([head for head in self.a.heads + self.b.heads if b"exproxy-web" in head])

    async def test_links_of_each_route(self) -> None:
        """Over one client connection each route has a server connection of its own, and keeps it."""
        await self._set_up()
        wire, heard = await self._wire()
        for count, target in enumerate((b"/owa/", b"/ecp/", b"/owa/", b"/ecp/"), 1):
            wire.write(b"GET " + target + b" HTTP/1.1\r\nHost: a.test\r\n\r\n")
            await heard.until(lambda count=count: heard.bytes().count(b"\r\n\r\nfrom ") == count)
        links = {
            pool.name: sum(each.links for each in pool.backends)
            for built in self.service.built
            for pool, _ in built.pools
        }
        self.assertEqual((links["exchange/owa"], links["exchange/ecp"]), (1, 1))
        wire.abort()

    async def test_pinned_over_routes(self) -> None:
        """A log-in holds over routes: to the same server connection, to 503 where that route has another
        server, and a refusal wins over it."""
        await self._set_up()
        for _ in range(2):
            wire, heard = await self._wire()
            wire.write(b"GET /owa/ HTTP/1.1\r\nHost: a.test\r\nAuthorization: NTLM TlRMTVNTUAABAAAA\r\n\r\n")
            await heard.until(lambda heard=heard: b"\r\n\r\nfrom " in heard.bytes())
            server = heard.bytes().rpartition(b"from ")[2]
            wire.write(b"GET /powershell HTTP/1.1\r\nHost: a.test\r\n\r\n")
            await heard.until(lambda heard=heard: b"HTTP/1.1 403 " in heard.bytes())
            wire.write(b"GET /ews/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
            await heard.until(lambda heard=heard: heard.bytes().count(b"\r\n\r\nfrom ") == 2)
            self.assertTrue(heard.bytes().endswith(b"from " + server))
            other = b"/x/ HTTP/1.1\r\nHost: m.other.test" if server == b"b" else b"/rpc/ HTTP/1.1\r\nHost: a"
            wire.write(b"GET " + other + b"\r\n\r\n")
            await heard.until(lambda heard=heard: b"HTTP/1.1 503 " in heard.bytes())
            wire.abort()

    async def test_two_memories_need_two_cookies(self) -> None:
        """Routes that remember apart cannot share a cookie's name."""
        with self.assertRaises(ConfigurationError) as caught:
            await running(self, COOKIES)
        self.assertIn("web and web/owa remember apart, but with one cookie, mine", str(caught.exception))
