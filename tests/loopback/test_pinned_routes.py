"""A pinned connection and routes: a log-in opens no door that a route keeps shut."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from tests.loopback.configured import WebServer, port_of, running
from tests.loopback.pairs import Far

CONFIGURATION = """
servers: {{one: 127.0.0.1, two: 127.0.0.1}}
services:
  web:
    protocol: http
    listen: "127.0.0.1:0"
    check: connect
    backend: {{port: {one}}}
    routes:
      shut: {{path: /ecp, deny: 127.0.0.0/8}}
      elsewhere: {{path: /rpc, servers: [two]}}
      beside: {{path: /oab, backend: {{port: {two}}}}}
    servers: [one]
"""


class PinnedTests(TestCase):
    """One client connection that has logged in with the server ``one``."""

    timeout = 20

    async def _logged_in(self) -> Far:
        one, two = WebServer(b"one"), WebServer(b"two")
        ports = [reactor.listenTCP(0, server, interface="127.0.0.1") for server in (one, two)]
        for port in ports:
            self.addCleanup(port.stopListening)
        numbers = [port.getHost().port for port in ports]
        service = await running(self, CONFIGURATION, one=numbers[0], two=numbers[1])
        far = Far()
        factory: Any = Factory.forProtocol(lambda: far)
        factory.noisy = False
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port_of(service, "web")).connect(factory)
        self.addCleanup(self._gone, far)
        await self._asks(far, b"/owa/", b"Authorization: NTLM TlRMTVNTUAABAAAA\r\n", b"from one")
        return far

    async def _gone(self, far: Far) -> None:
        if not far.gone:
            far.transport.abortConnection()
            await far.until(lambda: far.gone)

    async def _asks(self, far: Far, path: bytes, field: bytes, expected: bytes) -> None:
        del far.data[:]
        far.transport.write(b"GET %b HTTP/1.1\r\nHost: mail.example.org\r\n%b\r\n" % (path, field))
        await far.until(lambda: expected in far.data)

    async def test_stays(self) -> None:
        """Its later requests go where the log-in was."""
        far = await self._logged_in()
        await self._asks(far, b"/ews/", b"", b"from one")

    async def test_refusal_wins(self) -> None:
        """A route that refuses its address refuses it still."""
        far = await self._logged_in()
        await self._asks(far, b"/ECP/", b"", b"HTTP/1.1 403 ")

    async def test_other_servers(self) -> None:
        """A route without that server is not served by it, nor by another."""
        far = await self._logged_in()
        await self._asks(far, b"/rpc/", b"", b"HTTP/1.1 503 ")

    async def test_other_port(self) -> None:
        """Nor is one that means another port of that server."""
        far = await self._logged_in()
        await self._asks(far, b"/oab/", b"", b"HTTP/1.1 503 ")
