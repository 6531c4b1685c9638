import base64
import http.client
import ssl
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from exproxy.lab.web import page
from tests.lab.support import PASSWORD, LabCase, certificates

BASIC = {"Authorization": "Basic " + base64.b64encode(f"anna:{PASSWORD}".encode()).decode()}


class PageTests(SynchronousTestCase):
    def test_escaped(self) -> None:
        """Nothing that a client sends becomes markup."""
        self.assertNotIn(b"<script", page("a", "owa", 1, {"Path": "<script>", "<script>": "x"}))


class WebTests(LabCase):
    """http.client is the client."""

    services = ("https", "http")

    def ask(self, method: str, path: str, body: Any = None, headers: Any = None, tls: bool = False) -> Any:
        if tls:
            context = ssl.create_default_context(cafile=str(certificates().ca))
            context.set_alpn_protocols(["h2"])
            port = self.server.port("https")
            client: Any = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
        else:
            client = http.client.HTTPConnection("127.0.0.1", self.server.port("http"), timeout=10)
        client.request(method, path, body, headers or {})
        answer = client.getresponse()
        content = answer.read()
        client.close()
        return answer, content

    async def asked(self, *args: Any, **kw: Any) -> Any:
        return await self.in_thread(lambda: self.ask(*args, **kw))

    async def test_pages(self) -> None:
        """Each directory names the server, in any case of letters, over TLS too."""
        for path in ("/owa/", "/ECP/x", "/oab/", "/PowerShell"):
            answer, content = await self.asked("GET", path, headers={"X-Forwarded-For": "<192.0.2.7>"})
            self.assertEqual((answer.status, answer.headers["X-Server"]), (200, "l12ex1"))
            self.assertIn(b"&lt;192.0.2.7&gt;", content)
        answer, content = await self.asked("GET", "/owa/", tls=True)
        self.assertIn(b"Requests served: 1", content)
        self.assertEqual(self.server.requests, 5)

    async def test_login(self) -> None:
        """Where a login is needed: 401 with a realm, or the page with the user's name."""
        for path in (
            "/ews/exchange.asmx",
            "/Microsoft-Server-ActiveSync",
            "/autodiscover/",
            "/mapi/",
            "/rpc/",
        ):
            answer, _ = await self.asked("GET", path)
            self.assertEqual(answer.status, 401)
            self.assertIn("realm=", answer.headers["WWW-Authenticate"])
            answer, content = await self.asked("GET", path, headers=BASIC)
            self.assertEqual(answer.status, 200)
            self.assertIn(b"<b>anna</b>", content)
        wrong = {"Authorization": "Basic " + base64.b64encode(b"anna:wrong").decode()}
        self.assertEqual((await self.asked("GET", "/ews/", headers=wrong))[0].status, 401)

    async def test_small_things(self) -> None:
        """Health page without login, redirect of the root, 404, HEAD, any method, the length of a body."""
        answer, content = await self.asked("GET", "/EWS/healthcheck.htm")
        self.assertEqual((answer.status, content), (200, b"200 OK<br/>l12ex1"))
        answer, _ = await self.asked("GET", "/")
        self.assertEqual((answer.status, answer.headers["Location"]), (302, "/owa/"))
        self.assertEqual((await self.asked("GET", "/nowhere"))[0].status, 404)
        self.assertEqual((await self.asked("HEAD", "/owa/"))[1], b"")
        self.assertEqual((await self.asked("PROPFIND", "/owa/"))[0].status, 200)
        answer, content = await self.asked("POST", "/owa/", b"x" * 200_000)
        self.assertEqual(answer.headers["X-Body-Length"], "200000")

    async def test_bytes(self) -> None:
        """As many bytes as asked for, with a length or in chunks; nonsense gives the usual number."""
        answer, content = await self.asked("GET", "/owa/bytes?n=300000")
        self.assertEqual((answer.headers["Content-Length"], len(content)), ("300000", 300000))
        answer, content = await self.asked("GET", "/owa/bytes?n=300000&chunked=1", tls=True)
        self.assertEqual((answer.headers["Transfer-Encoding"], len(content)), ("chunked", 300000))
        self.assertEqual(len((await self.asked("GET", "/owa/bytes?n=0"))[1]), 0)
        self.assertEqual(len((await self.asked("GET", "/owa/bytes?n=nan"))[1]), 1_000_000)

    async def test_slow(self) -> None:
        """A slow answer comes; one whose client has left leaves no timer behind."""
        self.assertEqual((await self.asked("GET", "/owa/slow?seconds=0"))[0].status, 200)
        raw = await self.connect("http")
        raw.transport.write(
            b"GET /owa/slow?seconds=100 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        other = await self.connect("http")
        other.transport.write(b"GET /owa/ HTTP/1.1\r\nHost: x\r\n\r\n")
        await other.has(b"</html>")
        self.assertTrue(
            [call for call in reactor.getDelayedCalls() if call.getTime() > reactor.seconds() + 90]
        )

    async def test_endless_client(self) -> None:
        """A client that leaves in the middle of a large answer is forgotten."""
        raw = await self.connect("http")
        raw.transport.write(b"GET /owa/bytes?n=100000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        await raw.has(b"exproxy lab")
        raw.transport.abortConnection()
        await raw.lost
