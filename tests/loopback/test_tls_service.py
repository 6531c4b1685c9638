"""TLS of a whole exproxy, real connections: certificates under load, clients' ones, the guard, openssl."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet import defer, protocol, reactor, utils
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SkipTest, TestCase

from exproxy.connect import ConnectFailed, connect
from exproxy.model import TLSOptions
from exproxy.service import ExproxyService
from exproxy.tls.client import ClientTLS, client_context
from exproxy.tls.material import CertificateFiles, fingerprint, material
from exproxy.tls.server import ServerTLS
from exproxy.wire import Wire
from tests.certificates import ca_file, pem
from tests.loopback.configured import WebServer, port_of, running
from tests.loopback.pairs import Recorder

HOSTS = ("127.0.0.11", "127.0.0.12")
NAMES = ("localhost", "127.0.0.1", *HOSTS)
# Two certificates for the same names.
FIRST, SECOND = pem(*NAMES), pem(*NAMES, "second.test")
REQUEST = b"GET /owa/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
SERVICE = """
servers: {{ex1: 127.0.0.11, ex2: 127.0.0.12}}
services:
  owa:
    protocol: https
    listen: "127.0.0.1:0"
    certificate: {certificate}
    check: {check}
    health: {{interval: 300ms, timeout: 200ms, rise: 1, fall: 1}}
    backend: {backend}
    {more}
"""


def presenting(name: str) -> ClientTLS:
    """A client with a certificate of that name."""
    options = TLSOptions(str(ca_file()))
    context = client_context(options)
    content = pem(name).read_bytes()
    context.use_certificate(x509.load_pem_x509_certificate(content))
    context.use_privatekey(load_pem_private_key(content, None))  # type: ignore[arg-type]
    return ClientTLS(options, "localhost", context)


class Client:
    """One connection; ``get()`` asks once on it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._seen = Recorder()
        wire.attach(self._seen)

    async def get(self) -> bytes:
        """The answer's head and body; raises AssertionError where none comes."""
        begun = len(self._seen.bytes())
        self.wire.write(REQUEST)
        lost = lambda: "lost" in self._seen.words()  # noqa: E731
        await self._seen.until(lambda: b"from ex" in self._seen.bytes()[begun:] or lost())
        assert not lost(), self._seen.heard[-1]
        return self._seen.bytes()[begun:]

    async def close(self) -> None:
        """The end, waited for."""
        self.wire.close()
        await self._seen.until(lambda: "lost" in self._seen.words())


class TlsServiceTests(TestCase):
    """https, two web servers behind it."""

    timeout = 60

    async def servers(self, *certificates: Path | None) -> int:
        """Start ex1 and ex2 on one port; a certificate makes it TLS."""
        self.web = [WebServer(b"ex1"), WebServer(b"ex2")]
        port = 0
        for host, factory, certificate in zip(HOSTS, self.web, certificates, strict=True):
            listening: Any = factory
            if certificate is not None:
                tls = ServerTLS([(certificate, certificate)])
                listening = TLSMemoryBIOFactory(tls, False, factory)
                listening.noisy = False
            found = reactor.listenTCP(port, listening, interface=host)
            port = found.getHost().port
            self.addCleanup(found.stopListening)
        return port

    async def start(self, backend: str, more: str = "", certificate: str = "", check: str = "connect") -> int:
        words = {"certificate": certificate or FIRST, "backend": backend, "more": more, "check": check}
        self.service: ExproxyService = await running(self, SERVICE, **words)
        return port_of(self.service, "owa")

    async def client(self, port: int, tls: ClientTLS | None = None) -> Client:
        tls = tls or ClientTLS(TLSOptions(str(ca_file())), "localhost")
        client = Client(await connect(reactor, "127.0.0.1", port, timeout=5, tls=tls))
        self.addCleanup(lambda: None if client.wire.gone else ensureDeferred(client.close()))
        return client

    async def until_states(self, *wanted: str) -> None:
        [(pool, _)] = self.service.built[0].pools
        while tuple(backend.state for backend in pool.backends) != wanted:
            await pause(0.05)

    def log(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        return events

    async def test_replaced_under_load(self) -> None:
        """A certificate is replaced again and again while clients come and go: no request fails."""
        folder = Path(tempfile.mkdtemp(prefix="exproxy-tls-"))
        self.addCleanup(shutil.rmtree, folder)
        file = folder / "server.pem"
        shutil.copy(FIRST, file)
        behind = await self.servers(None, None)
        port = await self.start(f"{{port: {behind}, tls: false}}", certificate=str(file))
        staying = await self.client(port)
        seen = []
        for number in range(300):
            if number % 30 == 15:
                fresh = folder / "new.pem"
                shutil.copy(SECOND if number % 60 == 15 else FIRST, fresh)
                os.replace(fresh, file)
                self.service.reopen_logs()
            client = await self.client(port)
            assert client.wire.tls is not None
            seen.append(fingerprint(client.wire.tls.certificate or b""))
            self.assertIn(b"200 OK", await client.get())
            self.assertIn(b"200 OK", await staying.get())
            await client.close()
        await staying.close()
        expected = [material(CertificateFiles(path, path)).fingerprint for path in (FIRST, SECOND)]
        self.assertEqual([seen[0], seen[20], seen[50], seen[80]], expected * 2)
        self.assertEqual(set(seen), set(expected))

    async def test_clients_certificates(self) -> None:
        """Required, nobody comes in without; the server is told whose it is, and not by the request."""
        behind = await self.servers(None, None)
        more = f"tls: {{hsts: 1d, client-certificates: {{ca: {ca_file()}}}}}"
        port = await self.start(f"{{port: {behind}, tls: false}}", more)
        client = await self.client(port, presenting("ann.test"))
        answer = await client.get()
        self.assertIn(b"\r\nStrict-Transport-Security: max-age=86400\r\n", answer)
        heads = b"".join(self.web[0].heads + self.web[1].heads)
        self.assertIn(b"\r\nX-Client-Certificate-Subject: CN=ann.test\r\n", heads)
        await client.close()
        with self.assertRaises((AssertionError, ConnectFailed)):
            await (await self.client(port)).get()

    async def test_optional_certificates(self) -> None:
        """Optional, both come in; one that nobody vouches for does not."""
        behind = await self.servers(None, None)
        more = f"tls: {{client-certificates: {{ca: {ca_file()}, mode: optional}}}}"
        port = await self.start(f"{{port: {behind}, tls: false}}", more)
        for tls in (None, presenting("ann.test")):
            client = await self.client(port, tls)
            self.assertIn(b"200 OK", await client.get())
            await client.close()
        heads = self.web[0].heads + self.web[1].heads
        self.assertEqual([b"CN=ann.test" in head for head in heads].count(True), 1)

    async def test_extended_protection_required(self) -> None:
        """A server with another certificate is taken out, with an alarm; nobody is sent to it."""
        events = self.log()
        behind = await self.servers(FIRST, SECOND)
        backend = f"{{port: {behind}, tls: {{verify: {ca_file()}}}}}"
        port = await self.start(backend, "extended-protection: require")
        await self.until_states("UP", "DOWN")
        for _ in range(4):
            client = await self.client(port)
            self.assertIn(b"from ex1", await client.get())
            await client.close()
        alarms = [event for event in events if event["log_level"].name == "critical"]
        self.assertEqual([event["backend"] for event in alarms], ["owa/ex2"])
        down = [event["text"] for event in events if "is DOWN" in event.get("text", "")]
        self.assertIn("extended protection: shows the certificate sha256:", down[0])

    async def test_extended_protection_warns(self) -> None:
        """By default it is a warning for https, and both serve; `verify: none` is told of loudly."""
        events = self.log()
        behind = await self.servers(FIRST, SECOND)
        await self.start(f"{{port: {behind}, tls: {{verify: none}}}}", check="tls")
        await self.until_states("UP", "UP")
        told = [event["backend"] for event in events if "Extended Prot" in (event.get("log_format") or "")]
        self.assertEqual(told, ["owa/ex2"])
        texts = [event.get("log_format", "") for event in events if event["log_level"].name == "warn"]
        self.assertEqual(sum("does NOT verify" in text for text in texts), 1)

    async def test_sessions_resume(self) -> None:
        """openssl s_client comes back with a session of TLS 1.2 and of 1.3, and both are known."""
        openssl = needed("openssl")
        behind = await self.servers(None, None)
        port = await self.start(f"{{port: {behind}, tls: false}}")
        for version in ("-tls1_2", "-tls1_3"):
            session = Path(tempfile.mkdtemp(prefix="exproxy-tls-")) / "session"
            self.addCleanup(shutil.rmtree, session.parent)
            common = ["s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", version]
            first = await asked(openssl, [*common, "-sess_out", str(session)])
            again = await asked(openssl, [*common, "-sess_in", str(session)])
            self.assertIn("New, TLSv1", first)
            self.assertIn("Reused, TLSv1", again)
            self.assertIn("from ex", again)


class OldServerTests(TestCase):
    """Exchange 2010 on Windows 2008 R2 speaks TLS 1.0: so does openssl s_server, when told to."""

    timeout = 30

    async def test_legacy(self) -> None:
        """It is reached with `legacy`, verified all the same; without it is not."""
        server = SServer()
        arguments = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-tls1", "-cert", str(FIRST)]
        arguments += ["-key", str(FIRST), "-cipher", "ALL:@SECLEVEL=0"]
        process = reactor.spawnProcess(server, needed("openssl"), arguments, env=dict(os.environ))
        self.addCleanup(server.stop, process)
        port = await server.port
        good = ClientTLS(TLSOptions(str(ca_file()), legacy=True), "localhost")
        wire = await connect(reactor, "127.0.0.1", port, timeout=5, tls=good)
        assert wire.tls is not None
        self.assertEqual(wire.tls.version, "TLSv1")
        await Client(wire).close()
        for options, name in (
            (TLSOptions(str(ca_file())), "localhost"),
            (TLSOptions(str(ca_file()), legacy=True), "elsewhere.test"),
        ):
            with self.assertRaises(ConnectFailed):
                await connect(reactor, "127.0.0.1", port, timeout=5, tls=ClientTLS(options, name))


class SServer(protocol.ProcessProtocol):
    """openssl s_server; ``port`` fires with the one it was given."""

    def __init__(self) -> None:
        self.port: Deferred[int] = Deferred()
        self._ended: Deferred[None] = Deferred()
        self._out = b""

    def outReceived(self, data: bytes) -> None:
        self._out += data
        found = re.search(rb"ACCEPT \S*:(\d+)", self._out)
        if found and not self.port.called:
            self.port.callback(int(found[1]))

    def processEnded(self, reason: Any) -> None:
        self._ended.callback(None)

    def stop(self, process: Any) -> Deferred[None]:
        process.signalProcess("KILL")
        return self._ended


def needed(program: str) -> str:
    """The path of a program, or a skip."""
    path = shutil.which(program)
    if path is None:
        raise SkipTest(f"{program} is not installed")
    return path


async def asked(openssl: str, arguments: list[str]) -> str:
    """What s_client says, having asked for a page and waited for its end."""
    # With -ign_eof it stays until the server closes.
    request = "GET /owa/ HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n"
    command = " ".join([openssl, *arguments, "-ign_eof"])
    out, _, _ = await utils.getProcessOutputAndValue(
        "/bin/sh", ["-c", f"printf '{request}' | {command} 2>&1"], env=dict(os.environ)
    )
    return str(out.decode("utf-8", "replace"))


def pause(seconds: float) -> Deferred[None]:
    """A moment for what is under way."""
    done: Deferred[None] = defer.Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done
