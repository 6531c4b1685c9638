"""Routes in the conversation: where a request goes, how long it is waited for, and what is said here."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from exproxy.actions import Hangup, Pick, SetDeadline
from exproxy.events import Began, Lost
from exproxy.interfaces import IMarker
from exproxy.model import BACKEND, TLS, Facts
from exproxy.routes import Redirect, Reply, Route
from exproxy.settings import Limits, Networks, Timeouts
from exproxy.testing import Script, service
from exproxy.testing.service import FakeService
from protocols.http.conversation import Conversation
from tests.http.support import (
    KNOWN,
    OK,
    ONE,
    PLAIN,
    Talk,
    counted,
    kinds,
    only,
    recorded,
    to_backend,
    to_client,
)

SLOW = Timeouts(answer=1800.0, idle=1700.0, tunnel=5000.0, backend_keep_alive=7.0)


@implementer(IMarker)
class Marker:
    """Marks every answer with its own cookie."""

    def __init__(self, cookie: bytes) -> None:
        self.cookie = cookie

    def mark(self, facts: Facts, server: str) -> bytes | None:
        return self.cookie + b"=" + server.encode()


class Routed(Talk):
    """A talk with a service that has routes."""

    def __init__(self, served: FakeService, known: Facts = KNOWN) -> None:
        Script.__init__(self, Conversation(served, counted()))
        self.began = self.on(Began(known))


def get(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request for that target."""
    lines = [f"{method} {target} HTTP/{version}", "Host: mail.example.org", *fields, "", ""]
    return "\r\n".join(lines).encode()


ROUTES = (
    Route("root", exact=("/",), answer=Redirect("/owa/")),
    Route("inside", paths=("/ecp",), allow=Networks.parse(["10.0.0.0/8"])),
    Route("eas", paths=("/Microsoft-Server-ActiveSync",), timeouts=SLOW),
    Route("owa", paths=("/owa",)),
    Route("gone", paths=("/exchange",), answer=Reply(410)),
    Route("moved", paths=("/m",), answer=Redirect("https://m.example.org/x", 301, query=True)),
)


class WayTests(SynchronousTestCase):
    """Which route, and what is done with it."""

    def test_target_of_the_pick(self) -> None:
        """A route's pool is asked for by its name, the service's own by none."""
        for target, route in (("/owa/", "owa"), ("/OWA", "owa"), ("/owax", None), ("/ews", None)):
            talk = Routed(service(routes=ROUTES))
            self.assertEqual(only(Pick, talk.says(get(target))).target, route)

    def test_asterisk_has_no_path(self) -> None:
        """OPTIONS * is for the service itself."""
        talk = Routed(service(routes=ROUTES))
        self.assertIsNone(only(Pick, talk.says(get("*", method="OPTIONS"))).target)

    def test_waits_of_the_route(self) -> None:
        """A route's waits hold from its request on; between requests they are the service's."""
        talk = Routed(service(routes=ROUTES))
        asked = talk.says(get("/microsoft-server-activesync?Cmd=Ping"))
        self.assertIn(SetDeadline("http", 1800.0), asked)
        talk.meets()
        begun = talk.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
        self.assertIn(SetDeadline("http", 1700.0), begun)
        done = talk.answers(b"llo")
        self.assertIn(SetDeadline("link-1", 7.0), done)
        self.assertIn(SetDeadline("http", 60.0), done)
        self.assertIn(SetDeadline("http", 1000.0), talk.says(get("/owa/")))

    def test_normal_form_is_sent(self) -> None:
        """The server gets the path that was matched; the query is not touched."""
        talk = Routed(service(routes=ROUTES))
        talk.says(get("/%6fwa/%7ex?%6f"))
        self.assertTrue(to_backend(talk.meets()).startswith(b"GET /owa/~x?%6f HTTP/1.1\r\n"))

    def test_cookies_of_all_routes_are_taken_out(self) -> None:
        """Each route marks with its own cookie, and no server sees that of any."""
        markers = {"owa": Marker(b"one"), "eas": Marker(b"two")}
        talk = Routed(service(routes=ROUTES, route_markers=markers, marker=Marker(b"own")))
        talk.says(get("/owa/", "Cookie: one=1; a=b; two=2; own=3"))
        self.assertIn(b"\r\nCookie: a=b\r\n", to_backend(talk.meets()))
        self.assertIn(b"Set-Cookie: one=exch1\r\n", to_client(talk.answers(OK)))
        talk.says(get("/x"))
        talk.meets(reused=True)
        self.assertIn(b"Set-Cookie: own=exch1\r\n", to_client(talk.answers(OK)))

    def test_record_names_the_route(self) -> None:
        """The access log says which route it was, and nothing where there was none."""
        talk = Routed(service(routes=ROUTES))
        self.assertEqual(recorded(talk.exchanges(get("/owa/")))["route"], "owa")
        self.assertNotIn("route", recorded(talk.exchanges(get("/y"))))


class AnswerTests(SynchronousTestCase):
    """What is said without a server."""

    def test_redirects(self) -> None:
        """To a path, and to a whole address with the query; the page says where."""
        talk = Routed(service(routes=ROUTES))
        said = talk.says(get("/"))
        self.assertNotIn("Pick", kinds(said))
        self.assertTrue(to_client(said).startswith(b"HTTP/1.1 302 Found\r\n"))
        self.assertIn(b"\r\nLocation: /owa/\r\n", to_client(said))
        self.assertIn(b"\r\nConnection: keep-alive\r\n", to_client(said))
        moved = to_client(talk.says(get("/M/y?a=<b>&c")))
        self.assertTrue(moved.startswith(b"HTTP/1.1 301 Moved Permanently\r\n"))
        self.assertIn(b"\r\nLocation: https://m.example.org/x?a=<b>&c\r\n", moved)
        self.assertIn(b'href="https://m.example.org/x?a=&lt;b&gt;&amp;c"', moved)

    def test_https(self) -> None:
        """The same host, path and query; where HTTP/1.0 names no host it is the service's own."""
        served = service(answer=Redirect("https"), host_name="lb.example.org")
        said = to_client(Routed(served, PLAIN).says(b"GET /a?b HTTP/1.1\r\nHost: x.org:80\r\n\r\n"))
        self.assertIn(b"\r\nLocation: https://x.org/a?b\r\n", said)
        said = to_client(Routed(served, PLAIN).says(b"GET /a?b HTTP/1.0\r\n\r\n"))
        self.assertIn(b"\r\nLocation: https://lb.example.org/a?b\r\n", said)
        self.assertIn(b"\r\nConnection: close\r\n", said)
        other = service(answer=Redirect("https", 308, port=8443))
        said = to_client(Routed(other, PLAIN).says(b"GET /a HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"))
        self.assertIn(b"\r\nLocation: https://[2001:db8::1]:8443/a\r\n", said)

    def test_head(self) -> None:
        """HEAD gets the same head and no page."""
        for target in ("/", "/ecp/", "/exchange"):
            talk = Routed(service(routes=ROUTES))
            said = to_client(talk.says(get(target, method="HEAD")))
            self.assertTrue(said.endswith(b"\r\n\r\n"), said)
            self.assertNotIn(b"Content-Length: 0", said)

    def test_body_still_to_come(self) -> None:
        """A request whose body is not all there is answered, and its connection ends."""
        talk = Routed(service(routes=ROUTES))
        said = talk.says(get("/", "Content-Length: 5", method="POST") + b"he")
        self.assertIn(b"\r\nConnection: close\r\n", to_client(said))
        only(Hangup, said)

    def test_pipelined(self) -> None:
        """A request behind one that is answered here is asked anew; no depth of them exhausts a stack."""
        talk = Routed(service(routes=ROUTES))
        said = talk.says(get("/") * 2000)
        self.assertEqual(to_client(said).count(b"HTTP/1.1 "), 1)
        only(Hangup, said)

    def test_refused_by_network(self) -> None:
        """Who is not let in gets 403; behind a proxy of ours the client's own address counts."""
        talk = Routed(service(routes=ROUTES, trusted_proxies=("192.0.2.0/24",)))
        inside = talk.says(get("/ecp/", "X-Forwarded-For: 10.1.2.3"))
        self.assertEqual(only(Pick, inside).target, "inside")
        talk = Routed(service(routes=ROUTES))
        said = talk.says(get("/ecp/", "X-Forwarded-For: 10.1.2.3"))
        self.assertTrue(to_client(said).startswith(b"HTTP/1.1 403 Forbidden\r\n"))
        self.assertEqual((recorded(said)["route"], recorded(said)["status"]), ("inside", 403))

    def test_deny_wins(self) -> None:
        """A denied client is refused though it is allowed too."""
        networks = Networks.parse(["192.0.2.0/24"])
        route = Route("x", allow=networks, deny=networks)
        self.assertFalse(route.admits("192.0.2.1"))
        self.assertFalse(route.admits("198.51.100.1"))

    def test_strict_transport_security(self) -> None:
        """The first answer that a browser sees says it too."""
        served = service(routes=ROUTES, hsts=b"max-age=63072000")
        self.assertIn(
            b"\r\nStrict-Transport-Security: max-age=63072000\r\n", to_client(Routed(served).says(get("/")))
        )

    def test_ambiguous(self) -> None:
        """What can be read in two ways is refused before any route is looked at, and the connection ends."""
        talk = Routed(service(routes=ROUTES))
        said = talk.says(get("/owa/..%2fecp"))
        self.assertTrue(to_client(said).startswith(b"HTTP/1.1 400 "))
        only(Hangup, said)


class LimitTests(SynchronousTestCase):
    """What a request may bring, by its route."""

    ROUTES = (
        Route("small", paths=("/small",), limits=Limits(body=10)),
        Route("kept", paths=("/kept",), limits=Limits(retry_buffer=5)),
        Route("slow", paths=("/slow",), limits=Limits(body_rate=1)),
    )

    def test_a_body_that_is_said_to_be_too_large(self) -> None:
        """It is refused with 413 before a server is chosen; one byte less goes on."""
        for length, refused in ((10, False), (11, True)):
            talk = Routed(service(routes=self.ROUTES))
            said = talk.says(get("/small/x", f"Content-Length: {length}", method="POST"))
            self.assertEqual(to_client(said).startswith(b"HTTP/1.1 413 "), refused)
            self.assertEqual("Pick" in kinds(said), not refused)

    def test_a_body_that_becomes_too_large(self) -> None:
        """Chunks are counted as they come; elsewhere the service's own limit holds."""
        for path, refused in (("/small", True), ("/other", False)):
            talk = Routed(service(routes=self.ROUTES))
            talk.says(get(path, "Transfer-Encoding: chunked", method="POST"))
            talk.meets()
            said = talk.says(b"14\r\n" + b"x" * 20 + b"\r\n")
            self.assertEqual(to_client(said).startswith(b"HTTP/1.1 413 "), refused)

    def test_channels_have_no_end(self) -> None:
        """RPC over HTTP announces a gigabyte that never comes, and is let through."""
        talk = Routed(service(routes=self.ROUTES))
        said = talk.says(get("/small", "Content-Length: 1073741824", method="RPC_IN_DATA"))
        self.assertEqual(to_client(said), b"")

    def test_what_is_kept(self) -> None:
        """A body beyond the route's retry-buffer is not sent twice, one within it is."""
        for length, again in ((5, True), (6, False)):
            talk = Routed(service(routes=self.ROUTES))
            talk.says(get("/kept", f"Content-Length: {length}", method="PUT") + b"x" * length)
            talk.meets()
            said = talk.on(Lost(BACKEND, "closed", ONE))
            self.assertEqual("Retry" in kinds(said), again)


class CertificateTests(SynchronousTestCase):
    """Routes for those who have shown a certificate."""

    ROUTES = (Route("ecp", paths=("/ecp",), needs_certificate=True), Route("owa", paths=("/owa",)))

    def test_without(self) -> None:
        """Who has shown none is refused there, and only there."""
        for known in (KNOWN, KNOWN.plus(TLS("TLSv1.3"))):
            talk = Routed(service(routes=self.ROUTES), known)
            self.assertEqual(only(Pick, talk.says(get("/owa/"))).target, "owa")
            talk = Routed(service(routes=self.ROUTES), known)
            self.assertTrue(to_client(talk.says(get("/ECP/"))).startswith(b"HTTP/1.1 403 "))
