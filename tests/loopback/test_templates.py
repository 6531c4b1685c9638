"""Every template at work: its web services on free ports, before two servers on loopback."""

from __future__ import annotations

import re

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from exproxy.config.templates import NAMES
from exproxy.connect import connect
from exproxy.service import ExproxyService
from tests.certificates import pem
from tests.loopback.configured import WebServer, running
from tests.loopback.pairs import Recorder, client_tls

CONFIGURATION = """
template: {name}
servers: {{ex1: 127.0.0.11, ex2: 127.0.0.12}}
defaults: {{certificate: {certificate}}}
services:
  http: {{listen: "127.0.0.1:0"}}
  https: {{listen: "127.0.0.1:0", backend: {{port: {port}, tls: false}}}}
  smtp: ~
  imap: ~
  pop: ~
"""
RPC = "  epm: ~\n  rpc: ~\n  ab: ~\ngroups: ~\n"


class TemplatesTests(TestCase):
    """What a client meets."""

    timeout = 60

    async def start(self, name: str) -> ExproxyService:
        """The web services of that template."""
        number = 0
        for server, host in ((b"ex1", "127.0.0.11"), (b"ex2", "127.0.0.12")):
            port = reactor.listenTCP(number, WebServer(server), interface=host)
            number = port.getHost().port
            self.addCleanup(port.stopListening)
        text = CONFIGURATION + (RPC if name == "exchange-2010" else "")
        return await running(self, text, name=name, port=number, certificate=pem("localhost", "127.0.0.1"))

    async def asks(self, service: ExproxyService, which: str, path: str) -> bytes:
        """The head of the answer to one request."""
        [built] = [built for built in service.built if built.config.name == which]
        tls = client_tls() if which == "https" else None
        wire = await connect(reactor, "127.0.0.1", next(iter(built.service.ports)), timeout=10, tls=tls)
        heard = Recorder()
        wire.attach(heard)
        wire.write(f"GET {path} HTTP/1.1\r\nHost: mail.example.org\r\n\r\n".encode())
        await heard.until(lambda: b"\r\n\r\n" in heard.bytes() or "lost" in heard.words())
        wire.abort()
        await heard.until(lambda: "lost" in heard.words())
        return heard.bytes().partition(b"\r\n\r\n")[0]

    async def _serves(self, name: str) -> None:
        service = await self.start(name)
        paths = ["/owa/", "/ECP/", "/ews/Exchange.asmx", "/OAB/x", "/Microsoft-Server-ActiveSync?Cmd=Ping"]
        paths += ["/rpc/rpcproxy.dll", "/autodiscover/autodiscover.xml", "/powershell"]
        paths += [] if name == "exchange-2010" else ["/mapi/emsmdb"]
        for path in paths:
            answer = await self.asks(service, "https", path)
            self.assertTrue(
                re.search(rb"^HTTP/1.1 200 .*X-Server: ex[12]", answer, re.DOTALL), (path, answer)
            )
        self.assertIn(b" 404 ", await self.asks(service, "https", "/elsewhere"))
        home = await self.asks(service, "https", "/")
        self.assertTrue(re.match(rb"HTTP/1.1 302 ", home) and b"/owa/" in home, home)
        plain = await self.asks(service, "http", "/owa/x?y=1")
        self.assertTrue(re.match(rb"HTTP/1.1 30[1278] ", plain), plain)
        self.assertIn(b"https://mail.example.org/owa/x?y=1", plain)


def _adds(name: str) -> None:
    async def test(self: TemplatesTests) -> None:
        await self._serves(name)

    test.__doc__ = f"{name}: every directory has its servers, the rest is redirected or not there."
    setattr(TemplatesTests, f"test_{name.replace('-', '_')}", test)


for _name in NAMES:
    _adds(_name)
