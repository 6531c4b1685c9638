"""etc/exchange.yaml, its ports kept, before two real servers of each kind, with real clients."""

from __future__ import annotations

import imaplib
import poplib
import re
import smtplib
import socket
import ssl
from collections.abc import Callable

from tests.peers.kit.case import PeerCase
from tests.peers.kit.netns import Done
from tests.peers.kit.proxy import Exproxy, reference
from tests.peers.kit.samba import MEMBERS
from tests.peers.kit.server import PASSWORD, PUBLIC
from tests.peers.kit.site import PROXY, SERVERS

ALL = ("dovecot", "postfix", "nginx", "samba", "curl", "openssl", "swaks", "rpcclient", "impacket")
NAMES = set(SERVERS)


class ReferenceTests(PeerCase):
    """One exproxy for the class; nine ports, every protocol."""

    needs = ALL
    _proxy: Exproxy | None = None

    def setUp(self) -> None:
        super().setUp()
        cls = type(self)
        if cls._proxy is None or not cls._proxy.running:
            cls._proxy = Exproxy(self.site, reference(self.site))
            cls._proxy.start()
        self.proxy = cls._proxy
        self.site.empty_mailboxes()

    def tearDown(self) -> None:
        self.assertNotIn("Traceback", self.proxy.log_text())

    def inside(self, call: Callable[[], str]) -> str:
        """The answer of a client that runs in the namespace."""
        with self.site.namespace.entered():
            return call()

    def tls(self) -> ssl.SSLContext:
        """Trusts the site's authority."""
        return ssl.create_default_context(cafile=str(self.site.authority.ca))

    # -- HTTPS -----------------------------------------------------------------------

    def curl(self, path: str, *arguments: str) -> Done:
        done = self.site.clients.curl(
            "--resolve", f"{PUBLIC}:443:{PROXY}", "-D-", *arguments, f"https://{PUBLIC}{path}"
        )
        self.assertEqual(done.code, 0, done)
        return done

    def served(self, text: str) -> str:
        """Which server a head names."""
        found = re.search(r"(?im)^x-server: (\w+)", text)
        assert found is not None, text
        return found[1]

    def test_https_round_robin_and_cookie(self) -> None:
        """Browsers alternate; one that keeps its cookie stays; the cookie names nobody and stays here."""
        seen = {self.served(self.curl("/owa/", "-A", "Mozilla/5.0").out) for _ in range(4)}
        self.assertEqual(seen, NAMES)
        jar = str(self.site.folder / "jar")
        first = self.curl("/owa/", "-A", "Mozilla/5.0", "-c", jar).out
        self.assertRegex(
            first, r"(?i)set-cookie: __Host-exproxy-[\w-]+=[\w-]+; Path=/; HttpOnly; SameSite=Lax; Secure"
        )
        for name in (*NAMES, *SERVERS.values()):
            self.assertNotIn(name, re.search(r"(?i)set-cookie: (.*)", first)[1])  # type: ignore[index]
        server = self.served(first)
        for path in ("/owa/", "/ecp/", "/owa/"):
            again = self.curl(path, "-A", "Mozilla/5.0", "-b", jar).out
            self.assertEqual(self.served(again), server)
            self.assertNotRegex(again, r"(?i)x-seen-cookie: .*exproxy")
            self.assertNotRegex(again, r"(?i)set-cookie")

    def test_https_activesync_by_user(self) -> None:
        """ActiveSync gets no cookie; its Basic user stays on one server, in upper or lower case."""
        path = "/Microsoft-Server-ActiveSync/"
        seen = set()
        for user in ("EX\\anna", "ex\\ANNA", "EX\\anna", "ex\\anna"):
            out = self.curl(path, "-A", "Apple-iPhone/1", "-u", f"{user}:secret").out
            self.assertNotRegex(out, r"(?i)set-cookie")
            seen.add(self.served(out))
        self.assertEqual(len(seen), 1)
        others = {
            self.served(self.curl(path, "-A", "Apple-iPhone/1", "-u", f"EX\\user{n}:x").out) for n in range(6)
        }
        self.assertEqual(others, NAMES)

    def test_https_bodies(self) -> None:
        """Length and chunked answers, and an upload, arrive whole; the client's address is told."""
        for path in ("/length/large.txt", "/chunked/large.txt"):
            sizes = self.curl(path, "-o", "/dev/null", "-w", "%{size_download}", "-D", "/dev/null").out
            direct = self.site.clients.curl(
                "--resolve", f"ex1.ex.test:443:{SERVERS['ex1']}", "-o", "/dev/null", "-w", "%{size_download}",
                f"https://ex1.ex.test{path}",
            ).out  # fmt: skip
            self.assertEqual(sizes, direct)
        block = self.site.folder / "block"
        block.write_bytes(b"exproxy " * 200_000)
        out = self.curl("/upload/block", "-T", str(block), "-A", "Mozilla/5.0").out
        self.assertRegex(out, r"HTTP/1.1 (201|204)")
        self.assertRegex(out, r"(?i)x-seen-forwarded-for: 127.0.0.1\b")

    def test_https_keep_alive(self) -> None:
        """Several requests on one connection, pipelined or not, are answered in order on one link."""
        with self.site.namespace.entered():
            raw = socket.create_connection((PROXY, 443), timeout=10)
            with self.tls().wrap_socket(raw, server_hostname=PUBLIC) as wire:
                ask = f"GET /owa/ HTTP/1.1\r\nHost: {PUBLIC}\r\nUser-Agent: MSRPC\r\n\r\n".encode()
                end = ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
                wire.sendall(ask * 4 + end)
                data = b""
                while piece := wire.recv(65536):
                    data += piece
        connections = re.findall(rb"(?im)^x-connection: (\d+)/(\d+)", data)
        self.assertEqual(len(connections), 5)
        self.assertEqual(len({number for number, _ in connections}), 1)
        self.assertEqual([int(nth) for _, nth in connections], sorted(int(nth) for _, nth in connections))

    def test_https_rubbish(self) -> None:
        """What is no request gets 400 and a short page, and reaches no server."""
        with self.site.namespace.entered():
            raw = socket.create_connection((PROXY, 443), timeout=10)
            with self.tls().wrap_socket(raw, server_hostname=PUBLIC) as wire:
                wire.sendall(
                    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                data = b""
                while piece := wire.recv(65536):
                    data += piece
        self.assertTrue(data.startswith(b"HTTP/1.1 400 "), data)

    def test_openssl(self) -> None:
        """openssl s_client verifies the certificate; TLS 1.1 is refused."""
        done = self.site.clients.s_client(
            PROXY, 443, "-ign_eof", "-servername", PUBLIC, "-verify_hostname", PUBLIC,
            text=f"GET /owa/ HTTP/1.0\r\nHost: {PUBLIC}\r\n\r\n",
        )  # fmt: skip
        self.assertIn("200 OK", done.out)
        old = self.site.clients.s_client(PROXY, 443, "-tls1_1", text="\n")
        self.assertNotEqual(old.code, 0)

    # -- mail ------------------------------------------------------------------------

    def test_imap(self) -> None:
        """143 and 993 log in and select; connections alternate between the servers."""

        def plain() -> str:
            with imaplib.IMAP4(PROXY, 143, timeout=10) as imap:
                imap.login("user1", PASSWORD)
                self.assertEqual(imap.select()[0], "OK")
                return imap.welcome.decode()

        def secure() -> str:
            with imaplib.IMAP4_SSL(PUBLIC_BY_ADDRESS, 993, ssl_context=self.tls(), timeout=10) as imap:
                imap.login("user1", PASSWORD)
                return imap.welcome.decode()

        for client in (plain, secure):
            greetings = " ".join(self.inside(client) for _ in range(2))
            for name in NAMES:
                self.assertIn(name, greetings)

    def test_pop(self) -> None:
        """110 and 995 log in."""

        def plain() -> str:
            pop = poplib.POP3(PROXY, 110, timeout=10)
            pop.user("user1")
            pop.pass_(PASSWORD)
            pop.quit()
            return pop.welcome.decode()

        def secure() -> str:
            pop = poplib.POP3_SSL(PUBLIC_BY_ADDRESS, 995, context=self.tls(), timeout=10)
            pop.user("user1")
            pop.pass_(PASSWORD)
            pop.quit()
            return pop.welcome.decode()

        for client in (plain, secure):
            greetings = " ".join(self.inside(client) for _ in range(2))
            for name in NAMES:
                self.assertIn(name, greetings)

    def test_smtp(self) -> None:
        """25 and 587 take a mail, from smtplib and from swaks, with STARTTLS passed through."""

        def send(port: int) -> str:
            with smtplib.SMTP(PROXY, port, timeout=10) as smtp:
                smtp.starttls(context=self.unverified())
                smtp.sendmail("a@x.test", ["user1@ex.test"], b"Subject: one\r\n\r\nhello\r\n")
                return "sent"

        for port in (25, 587):
            self.assertEqual(self.inside(lambda port=port: send(port)), "sent")
            done = self.site.clients.swaks(PROXY, port, "-tls", "-f", "a@x.test", "-t", "user2@ex.test")
            self.assertEqual(done.code, 0, done)

    def unverified(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    # -- RPC -------------------------------------------------------------------------

    def test_rpcclient(self) -> None:
        """rpcclient maps at 135, binds at 59531 with NTLM and privacy, and enumerates users."""
        done = self.site.clients.rpcclient(PROXY)
        self.assertEqual(done.code, 0, done)
        self.assertGreaterEqual(done.out.count("user:["), MEMBERS)

    def test_impacket(self) -> None:
        """impacket maps at 135, and what it learns works through exproxy."""
        binding = self.site.clients.hept_map(PROXY)
        self.assertIn("59531", binding)
        samr = self.site.clients.samr(f"ncacn_ip_tcp:{PROXY}[59531]")
        try:
            self.assertGreaterEqual(len(samr.users()), MEMBERS)
        finally:
            samr.close()

    def test_one_client_one_server(self) -> None:
        """A client's connections to 135, 59531 and 59532 reach one server; clients are spread."""
        used = set()
        for last in range(1, 9):
            source = f"127.0.3.{last}"
            with self.site.namespace.entered():
                sockets = [
                    socket.create_connection((PROXY, port), timeout=10, source_address=(source, 0))
                    for port in (135, 59531, 59532) * 2
                ]
                for each in sockets:
                    each.sendall(BIND)
                    self.assertEqual(each.recv(4)[:3], b"\x05\x00\x0c")
                for each in sockets:
                    each.close()
            used.add(source)
        self.proxy.await_access(lambda r: r["client"].startswith("127.0.3."), 48)
        by_source: dict[str, set[str]] = {}
        for record in self.proxy.records():
            host = record["client"].partition(":")[0]
            if host in used:
                by_source.setdefault(host, set()).add(record["server"])
        self.assertEqual({len(servers) for servers in by_source.values()}, {1}, by_source)
        spread = [next(iter(servers)) for servers in by_source.values()]
        self.assertEqual(sorted(spread), ["l12ex1"] * 4 + ["l12ex2"] * 4)

    # -- the end ---------------------------------------------------------------------

    def test_zz_stops_clean(self) -> None:
        """SIGTERM ends it in good order, and nothing of it stays at the servers."""
        self.assertIn(self.proxy.stop(), (0, -15, 143))
        self.assertIn("Server Shut Down", self.proxy.log_text())


# A bind to the endpoint mapper's interface, NDR32: an answer with any result is a bind_ack (type 12).
BIND = bytes.fromhex(
    "05000b03100000004800000001000000b810b8100000000001000000000001000883afe11f5dc91191a408002b14a0fa"
    "03000000045d888aeb1cc9119fe808002b10486002000000"
)
# The servers' certificates name this address too, so that the TLS that is passed through verifies.
PUBLIC_BY_ADDRESS = PROXY
