"""Where the administration listens: addresses, TLS, the unix socket, probes, metrics and pages."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from exproxy.admin.api.pages import Pages
from exproxy.admin.service import AdminService
from exproxy.admin.unix import CannotBind, UnixSocket
from exproxy.config import load
from exproxy.listening import CannotListen
from tests.admin.fakes import FakePlane
from tests.admin.world import READ, REST, TOKENS, AdminTestCase
from tests.certificates import ca_file, pem
from tests.folders import folder


class ProbeTests(AdminTestCase):
    """/healthz, /readyz and /metrics."""

    async def test_alive(self) -> None:
        """/healthz answers whoever asks, by whatever name, as long as the process does."""
        await self.begin(TOKENS)
        answer = await self.ask("GET", "/healthz", Host="any.name")
        self.assertEqual((answer.status, answer.body), (200, b"alive\n"))

    async def test_ready(self) -> None:
        """/readyz is 200 while clients are served, and 503 while draining."""
        await self.begin(TOKENS)
        self.assertEqual((await self.ask("GET", "/readyz", Host="any.name")).status, 200)
        self.plane.draining = True
        answer = await self.ask("GET", "/readyz")
        self.assertEqual((answer.status, answer.body), (503, b"draining\n"))

    async def test_not_ready_yet(self) -> None:
        """Before all is there it is 503 too."""
        await self.begin(ready=False)
        self.assertEqual((await self.ask("GET", "/readyz")).body, b"starting\n")

    async def test_metrics(self) -> None:
        """/metrics is Prometheus' text, free to read at a loopback address."""
        await self.begin(TOKENS)
        answer = await self.ask("GET", "/metrics")
        self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        names = {each.name for each in text_string_to_metric_families(answer.body.decode())}
        self.assertIn("exproxy_server_status", names)


class PageTests(AdminTestCase):
    """The dashboard's files."""

    async def test_files(self) -> None:
        """Files of the folder are served by name with their type, and asked for again only when they changed;
        nothing else of the machine is."""
        where = folder(self)
        (where / "index.html").write_text("<!doctype html>")
        (where / "vendor").mkdir()
        (where / "vendor" / "a.js").write_text("1")
        (where / "secret.pem").write_text("x")
        await self.begin(TOKENS, pages=Pages(where))
        for path in ("/", "/index.html", "/?x=1"):
            answer = await self.ask("GET", path)
            self.assertEqual(
                (answer.status, answer.headers["content-type"]), (200, "text/html; charset=utf-8")
            )
        answer = await self.ask("GET", "/vendor/a.js")
        self.assertEqual(answer.headers["content-type"], "text/javascript; charset=utf-8")
        again = await self.ask("GET", "/vendor/a.js", If_None_Match=answer.headers["etag"])
        self.assertEqual((again.status, again.body), (304, b""))
        for path in ("/secret.pem", "/vendor", "/../world.py", "/%2e%2e/x", "/vendor/..%2findex.html", "//"):
            self.assertEqual((await self.ask("GET", path)).status, 404, path)


class TlsTests(AdminTestCase):
    """TLS, as it is off loopback."""

    async def test_tls(self) -> None:
        """Over TLS the session's cookie is Secure and of this host alone; metrics need a token where others
        could ask for them."""
        await self.begin(
            f"listen: '0.0.0.0:0', {TOKENS}, tls: {{certificate: {pem('lb.test', '127.0.0.1')}}}"
        )
        self.assertTrue(self.service.urls[0].startswith("https://0.0.0.0:"))
        answer = await deferToThread(self.over_tls, b'{"token": "%s"}' % READ.encode())
        self.assertIn(b"Set-Cookie: __Host-exproxy=", answer)
        self.assertIn(b"SameSite=Strict; Secure", answer)
        self.assertIn(b" 401 ", await deferToThread(self.over_tls, None))
        self.assertIn(b" 421 ", await deferToThread(self.over_tls, None, "other.example"))

    def over_tls(self, body: bytes | None, host: str = "lb.test") -> bytes:
        """Log in, or ask for the metrics; what came back."""
        context = ssl.create_default_context(cafile=str(ca_file()))
        lines = f"Host: {host}\r\nConnection: close\r\n"
        if body is None:
            sent = f"GET /metrics HTTP/1.1\r\n{lines}\r\n".encode()
        else:
            lines += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            sent = f"POST /login HTTP/1.1\r\n{lines}\r\n".encode() + body
        with (
            socket.create_connection(("127.0.0.1", self.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="lb.test") as wire,
        ):
            wire.sendall(sent)
            data = b""
            while some := wire.recv(65536):
                data += some
        return data


class UnixTests(AdminTestCase):
    """The socket of exproxyctl."""

    async def test_mode(self) -> None:
        """Nobody but its owner may open it, from its first moment; it goes with the service."""
        await self.begin()
        self.assertEqual(stat.S_IMODE(self.socket.stat().st_mode), 0o600)
        self.assertEqual((await self.ask("GET", "/api/v1/session", unix=True)).json["role"], "operate")
        self.assertEqual([each.name for each in self.socket.parent.iterdir()], ["exproxy.sock"])
        await self.service.stopService()
        self.assertFalse(self.socket.exists())

    async def test_without_section(self) -> None:
        """It is there without any `admin:` in the file; then nothing listens on TCP."""
        where = folder(self)
        file = where / "exproxy.yaml"
        file.write_text(f"state-dir: {where}\n{REST}")
        service = AdminService(load(file), reactor, FakePlane())
        service.bind()
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual(service.urls, [])
        self.assertTrue((where / "exproxy.sock").is_socket())

    async def test_no_folder(self) -> None:
        """Where the socket cannot be made the service starts all the same."""
        where = folder(self)
        (where / "file").write_text("")
        file = where / "exproxy.yaml"
        file.write_text(
            f"state-dir: {where}/file\nadmin: {{listen: {{address: 127.0.0.1, port: 0}}}}\n{REST}"
        )
        service = AdminService(load(file), reactor, FakePlane())
        service.bind()
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual(len(service.urls), 1)

    def test_taken(self) -> None:
        """An address that is taken is an error with advice, and nothing stays bound."""
        where = folder(self)
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            file = where / "exproxy.yaml"
            listen = f"[{{address: 127.0.0.1, port: 0}}, '127.0.0.1:{port}']"
            file.write_text(f"state-dir: {where}\nadmin: {{listen: {listen}}}\n{REST}")
            service = AdminService(load(file), reactor, FakePlane())
            self.assertRaises(CannotListen, service.bind)
        self.assertFalse((where / "exproxy.sock").exists())


class UnixSocketTests(SynchronousTestCase):
    """The path and who has it."""

    def test_taken_over(self) -> None:
        """A later process takes the name over; the earlier one's end does not take it away again."""
        path = folder(self) / "s"
        first = UnixSocket.bind(path)
        second = UnixSocket.bind(path)
        first.close()
        self.assertTrue(path.is_socket())
        second.close()
        self.assertFalse(path.exists())

    def test_long(self) -> None:
        """A path that is too long for the system works by a shorter way."""
        where = folder(self) / ("x" * 120)
        unix = UnixSocket.bind(where / "exproxy.sock")
        self.addCleanup(unix.close)
        self.assertTrue((where / "exproxy.sock").is_socket())

    def test_mode_of_the_process(self) -> None:
        """The process' umask is as it was."""
        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        UnixSocket.bind(folder(self) / "s").close()
        self.assertEqual(os.umask(0o022), 0o022)

    def test_no_folder(self) -> None:
        """The error says what to do."""
        where = folder(self) / "file"
        where.write_text("")
        error = self.assertRaises(CannotBind, UnixSocket.bind, where / "s")
        self.assertIn("set `state-dir:`", str(error))


class ImportTests(SynchronousTestCase):
    def test_quiet(self) -> None:
        """Importing it warns of nothing."""
        root = Path(__file__).resolve().parent.parent.parent
        code = "import exproxy.admin.service"
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=root, capture_output=True)
        self.assertEqual(done.stderr, b"")
