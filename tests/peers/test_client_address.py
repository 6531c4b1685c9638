"""The client's address in PROXY headers: Postfix, Dovecot, nginx behind exproxy, HAProxy on either side."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from itertools import product
from typing import ClassVar

from exproxy.model import Destination, Source, Version
from exproxy.proxy_protocol import build, local
from tests.peers.kit.case import PeerCase
from tests.peers.kit.haproxy import Haproxy
from tests.peers.kit.process import Process
from tests.peers.kit.proxy import Exproxy
from tests.peers.kit.server import PASSWORD, PUBLIC
from tests.peers.kit.site import PROXY

PATIENCE = 10.0
# Where clients come from, whom exproxy trusts, and who it does not.
CLIENT, TRUSTED, OTHER = "127.0.0.77", "127.0.0.2", "127.0.0.99"
VERSIONS: tuple[Version, ...] = ("v1", "v2")
# Somebody far away, as headers tell of them.
FAR, REACHED = Source("203.0.113.21", 4001), Destination("192.0.2.1", 25)
FAR6, REACHED6 = Source("2001:db8::21", 4001), Destination("2001:db8::1", 25)

_SERVICES = """
servers: {{ex1: 127.0.0.11}}
trusted-proxies: [{trusted}]
defaults: {{accept-proxy: {accept}, backend: {{send-proxy: {version}}}, timeouts: {{proxy-header: 500ms}}}}
services:
  smtp: {{protocol: smtp, listen: "127.0.0.1:25", backend: {{port: 1025}}}}
  smtps: {{protocol: smtp, listen: "127.0.0.1:465", backend: {{port: 1465}}}}
  imap: {{protocol: imap, listen: "127.0.0.1:143", backend: {{port: 1143}}}}
  imaps: {{protocol: imap, listen: "127.0.0.1:993", backend: {{port: 1993}}}}
  pop: {{protocol: pop, listen: "127.0.0.1:110", backend: {{port: 1110}}}}
  pops: {{protocol: pop, listen: "127.0.0.1:995", backend: {{port: 1995}}}}
  tls: {{protocol: tls, listen: "127.0.0.1:1443", backend: {{port: 1443}}}}
  https:
    protocol: https
    listen: "127.0.0.1:443"
    certificate: {pem}
    backend: {{port: 1443, tls: {{verify: {ca}, server-name: {name}}}}}
    check: {{http: {{path: /owa/, status: 200}}}}
"""
# Without headers towards the servers: these are told in words, by exproxy in the path.
_WORDS = """
servers: {{ex1: 127.0.0.11}}
trusted-proxies: [{trusted}]
defaults: {{accept-proxy: {accept}}}
services:
  smtp: {{protocol: {{smtp: {{client-address: xclient}}}}, listen: "127.0.0.1:25"}}
  imap: {{protocol: {{imap: {{client-address: id}}}}, listen: "127.0.0.1:143"}}
  pop: {{protocol: {{pop: {{client-address: xclient}}}}, listen: "127.0.0.1:110"}}
"""
_SMTP = (b"EHLO client.example", b"MAIL FROM:<a@x.test>", b"RCPT TO:<user1@ex.test>", b"RSET", b"QUIT")
_IMAP = (f"a LOGIN user1 {PASSWORD}".encode(), b"b LOGOUT")
_POP = (b"USER user1", f"PASS {PASSWORD}".encode(), b"QUIT")
_HTTP = (f"GET /owa/ HTTP/1.1\r\nHost: {PUBLIC}\r\nConnection: close\r\n".encode(),)
DIALOGUES = {25: _SMTP, 465: _SMTP, 143: _IMAP, 993: _IMAP, 110: _POP, 995: _POP, 443: _HTTP, 1443: _HTTP}
IMPLICIT = (465, 993, 995, 443, 1443)


class AddressCase(PeerCase):
    """One exproxy a test; clients are sockets that come from where they like."""

    needs: ClassVar[tuple[str, ...]] = ("dovecot", "postfix", "nginx", "haproxy", "swaks")

    def begin(
        self, version: Version | str = "false", accept: bool = False, services: str = _SERVICES
    ) -> None:
        """Start exproxy."""
        text = services.format(
            version=version,
            accept=str(accept).lower(),
            trusted=f"{TRUSTED}, {CLIENT}",
            pem=self.site.places["ex1"].pem,
            ca=self.site.authority.ca,
            name="ex1.ex.test",
        )
        self.exproxy = Exproxy(self.site, text)
        self.exproxy.start()
        self.addCleanup(self._over)
        self.marks = {each: len(each.log_text()) for each in self.servers()}

    def _over(self) -> None:
        self.exproxy.stop()
        self.assertNotIn("Traceback", self.exproxy.log_text())

    def servers(self) -> Iterable[Process]:
        return (self.site.postfix["ex1"], self.site.dovecot["ex1"])

    def since(self, server: Process) -> str:
        """What that server has logged in this test."""
        return server.log_text()[self.marks[server] :]

    def talk(
        self, port: int, *, header: bytes = b"", source: str = CLIENT, at: str = PROXY, pieces: bool = False
    ) -> str:
        """A whole dialogue of the protocol of that port, ``header`` before it; what came back."""
        lines = DIALOGUES[port]
        with self.site.namespace.entered():
            raw = socket.create_connection((at, port), PATIENCE, (source, 0))
        if pieces:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in range(len(header)):
                raw.sendall(header[number : number + 1])
        elif header:
            raw.sendall(header)
        context = ssl.create_default_context(cafile=str(self.site.authority.ca))
        with raw:
            wire = context.wrap_socket(raw, server_hostname="ex1.ex.test") if port in IMPLICIT else raw
            with wire, wire.makefile("rb") as replies:
                said = b"" if lines is _HTTP else replies.readline()
                for line in lines:
                    wire.sendall(line + b"\r\n")
                    said += replies.readline()
                return (said + replies.read()).decode()

    def nothing(self, *pieces: bytes, source: str = TRUSTED, port: int = 25) -> None:
        """The connection ends, at once or in time, without a byte for who says this."""
        with self.site.namespace.entered():
            raw = socket.create_connection((PROXY, port), PATIENCE, (source, 0))
        with raw:
            try:
                for piece in pieces:
                    raw.sendall(piece)
                self.assertEqual(raw.recv(100), b"")
            except ConnectionResetError:
                pass

    def seen(self, client: str, ports: Iterable[int], answers: dict[int, str], lip: str) -> None:
        """Every server saw that client, in its own log or in what it answered."""
        postfix, dovecot = self.servers()
        for port in ports:
            if port in (443, 1443):
                self.assertIn(f"X-Seen-Proxy: {client}\r\n", answers[port])
            elif port in (25, 465):
                self.assertIn("250 2.1.5 Ok", answers[port])
                self.assertIn("221 2.0.0 Bye", answers[port])
                postfix.await_log(f"disconnect from unknown[{client}]", start=self.marks[postfix])
            else:
                name = "imap" if port in (143, 993) else "pop3"
                login = f"{name}-login: Info: Login: user=<user1>, method=PLAIN, rip={client}, lip={lip},"
                dovecot.await_log(login, start=self.marks[dovecot])
        self.assertNotIn("is DOWN", self.exproxy.log_text())


class SendProxyTests(AddressCase):
    """exproxy tells the servers."""

    def all_told(self, version: Version) -> None:
        self.begin(version)
        answers = {port: self.talk(port) for port in DIALOGUES}
        self.seen(CLIENT, DIALOGUES, answers, PROXY)
        logins = self.since(self.site.dovecot["ex1"]).count(f"rip={CLIENT}, lip={PROXY}")
        self.assertGreaterEqual(logins, 4)
        postfix = self.site.postfix["ex1"]
        # Its checks are its own, and are answered.
        postfix.await_log(f"disconnect from unknown[{PROXY}] ehlo=1 quit=1", start=self.marks[postfix])
        self.assertNotIn("haproxy", self.since(postfix))

    def test_version_1(self) -> None:
        """In v1: SMTP, IMAP, POP, their TLS passed through, HTTPS ended and passed through."""
        self.all_told("v1")

    def test_version_2(self) -> None:
        """In v2 the same."""
        self.all_told("v2")

    def test_haproxy_behind(self) -> None:
        """HAProxy takes exproxy's header, and hands the client on to Postfix and Dovecot."""
        for version in VERSIONS:
            postfix = self.site.postfix["ex1"]
            behind = Haproxy(
                self.site,
                ("127.0.0.3", 1025),
                [f"server s {postfix.address}:1025 send-proxy-v2"],
                mode="tcp",
                bind="accept-proxy",
            )
            behind.start()
            self.addCleanup(behind.stop)
            text = f"""
servers: {{ha: 127.0.0.3}}
services:
  smtp: {{protocol: smtp, listen: "127.0.0.1:25", backend: {{port: 1025, send-proxy: {version}}}}}
"""
            self.exproxy = Exproxy(self.site, text)
            self.exproxy.start()
            mark = len(postfix.log_text())
            self.assertIn("250 2.1.5 Ok", self.talk(25))
            postfix.await_log(f"disconnect from unknown[{CLIENT}]", start=mark)
            self._over()
            behind.stop()


class AcceptProxyTests(AddressCase):
    """exproxy is told, and tells the servers."""

    def test_haproxy_in_front(self) -> None:
        """HAProxy's headers, v1 and v2: the servers behind see who came to HAProxy."""
        self.begin("v2", accept=True)
        for port in DIALOGUES:
            for word in ("send-proxy", "send-proxy-v2"):
                front = Haproxy(
                    self.site,
                    ("127.0.0.2", port),
                    [f"server e {PROXY}:{port} {word} source {TRUSTED}"],
                    mode="tcp",
                )
                front.start()
                self.addCleanup(front.stop)
                answer = self.talk(port, at="127.0.0.2", source=OTHER)
                front.stop()
                self.seen(OTHER, [port], {port: answer}, "127.0.0.2")
        found = self.exproxy.await_access(lambda record: record["client"].startswith(f"{OTHER}:"), 16)
        self.assertTrue(all(record["via"].startswith(f"{TRUSTED}:") for record in found), found)

    def test_every_way_in_and_out(self) -> None:
        """Each version in, each out, IPv4 and IPv6: the same client, the same destination."""
        for out in VERSIONS:
            self.begin(out, accept=True)
            for port in (25, 143, 995, 1443):
                for version, ends in product(VERSIONS, ((FAR, REACHED), (FAR6, REACHED6))):
                    if port == 25 and ends[0] is FAR6:
                        continue  # this Postfix speaks IPv4 alone, and answers 421
                    answer = self.talk(port, header=build(version, *ends), source=TRUSTED)
                    self.seen(ends[0].host, [port], {port: answer}, ends[1].host)
            self._over()

    def test_pieces(self) -> None:
        """Byte by byte, before TLS and before plain text."""
        self.begin("v2", accept=True)
        for port in DIALOGUES:
            for version in VERSIONS:
                answer = self.talk(port, header=build(version, FAR, REACHED), source=TRUSTED, pieces=True)
                self.seen(FAR.host, [port], {port: answer}, REACHED.host)

    def test_in_words(self) -> None:
        """XCLIENT and ID name the client of the header to servers that take no header."""
        self.begin(accept=True, services=_WORDS)
        for version in VERSIONS:
            for port in (25, 143, 110):
                answer = self.talk(port, header=build(version, FAR, REACHED), source=TRUSTED)
                self.seen(FAR.host, [port], {port: answer}, "127.0.0.11")

    def test_forwarded_for(self) -> None:
        """The servers' X-Forwarded-For is of the header's client, and so is the access log."""
        self.begin("v2", accept=True)
        answer = self.talk(443, header=build("v2", FAR, REACHED), source=TRUSTED)
        self.assertIn(f"X-Seen-Forwarded-For: {FAR.host}\r\n", answer)
        [record] = self.exproxy.await_access(lambda record: record["service"] == "https", 1)
        self.assertEqual(record["client"], f"{FAR.host}:{FAR.port}")
        self.assertTrue(record["via"].startswith(f"{TRUSTED}:"), record)

    def test_swaks(self) -> None:
        """swaks speaks both versions; Postfix's log has the client that it names."""
        self.begin("v1", accept=True)
        postfix = self.site.postfix["ex1"]
        for version, family in (("1", "TCP4"), ("2", "AF_INET")):
            done = self.site.clients.swaks(
                PROXY,
                25,
                "--local-interface",
                TRUSTED,
                "--proxy-version",
                version,
                "--proxy-family",
                family,
                "--proxy-source",
                f"203.0.113.3{version}",
                "--proxy-source-port",
                "4002",
                "--proxy-dest",
                "192.0.2.1",
                "--proxy-dest-port",
                "25",
                "-f",
                "a@x.test",
                "-t",
                "user1@ex.test",
            )
            self.assertEqual(done.code, 0, done)
            postfix.await_log(f"client=unknown[203.0.113.3{version}]", start=self.marks[postfix])

    def test_own_words_of_a_proxy(self) -> None:
        """UNKNOWN and LOCAL: the proxy's own address stands, and nothing is `via` anybody."""
        self.begin("v2", accept=True)
        postfix = self.site.postfix["ex1"]
        for header in (b"PROXY UNKNOWN\r\n", local()):
            mark = len(postfix.log_text())
            self.talk(25, header=header, source=TRUSTED)
            postfix.await_log(f"disconnect from unknown[{TRUSTED}]", start=mark)
        found = self.exproxy.await_access(lambda record: record["client"].startswith(TRUSTED), 2)
        self.assertFalse(any("via" in record for record in found))

    def test_refusals(self) -> None:
        """No header, garbage, a slow one, one of an untrusted peer: not a byte comes back, each is told."""
        self.begin("v2", accept=True)
        cases = (
            ("does not begin with a PROXY protocol header", TRUSTED, b"EHLO client.example\r\n"),
            ("does not begin with a PROXY protocol header", TRUSTED, b"GET / HTTP/1.1\r\n\r\n"),
            ("no whole PROXY header within 0.5 s", TRUSTED, b""),
            ("no whole PROXY header within 0.5 s", TRUSTED, build("v2", FAR, REACHED)[:-1]),
            ("`trusted-proxies` alone", OTHER, build("v1", FAR, REACHED)),
            ("`trusted-proxies` alone", OTHER, b"EHLO client.example\r\n"),
        )
        for port in (25, 993, 443, 1443):
            for words, source, data in cases:
                mark = len(self.exproxy.log_text())
                self.nothing(*([data] if data else []), source=source, port=port)
                self.exproxy.await_log(words, start=mark)
        self.assertEqual(self.exproxy.records(), [])
        self.assertNotIn(FAR.host, self.since(self.site.postfix["ex1"]))
        # And those who do as they should are served as before.
        self.assertIn("221 2.0.0 Bye", self.talk(25, header=build("v1", FAR, REACHED), source=TRUSTED))
