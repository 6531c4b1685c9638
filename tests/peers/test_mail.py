"""etc/mail.yaml before two Dovecots, two Postfixes and two web servers."""

from __future__ import annotations

import imaplib
import poplib
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.mail.test_smtp_words import ENDS, SMUGGLED
from tests.peers.kit.case import PeerCase
from tests.peers.kit.proxy import Exproxy
from tests.peers.kit.server import PASSWORD, PUBLIC
from tests.peers.kit.site import PROXY, SERVERS, Site

T = TypeVar("T")
EXAMPLE = Path(__file__).parents[2] / "etc" / "mail.yaml"
# What the example does not need: a port where bare newlines pass.
MORE = f"""
  smtp-passing:
    protocol: {{smtp: {{bare-newline: pass}}}}
    listen: "{PROXY}:2525"
    backend: {{port: 25, tls: false}}
"""


def example(site: Site) -> str:
    """etc/mail.yaml for `site`: other addresses and certificates, faster checks with a login, same ports."""
    text = EXAMPLE.read_text()
    for number, (name, address) in enumerate(SERVERS.items(), 1):
        text = text.replace(f"mail{number}: 192.168.2.2{number}", f"{name}: {address}")
    text = re.sub(r"\{port: (\d+), tls: starttls\}", rf"{{port: \1, address: {PROXY}, tls: starttls}}", text)
    text = re.sub(r"(?<=, )(993|995|465)(?=\])", rf'"{PROXY}:\1"', text)
    text = text.replace("listen: 443", f'listen: "{PROXY}:443"')
    text = text.replace("mail.litware.com.pem", str(site.places["ex1"].pem))
    text = text.replace("ca.pem", str(site.authority.ca)).replace(
        "{port: 587, tls: {mode", "{port: 2587, tls: {mode"
    )
    fast = "{interval: 500ms, timeout: 400ms, rise: 2, fall: 2}\n  on-down: cut"
    text = re.sub(r"(?m)(?<=health: ).*$", fast, text)
    account = f"{{user: user3, password: {PASSWORD}}}"
    text = text.replace("check: imap", f"check: {{imap: {account}}}")
    text = text.replace("protocol: {pop:", f"check: {{pop: {account}}}\n    protocol: {{pop:")
    text = text.replace(
        "protocol: {smtp: {routing", f"check: {{smtp: {account}}}\n    protocol: {{smtp: {{routing"
    )
    return text + MORE


class MailCase(PeerCase):
    """One exproxy for the class."""

    needs = ("dovecot", "postfix", "nginx", "curl", "openssl", "swaks")
    _proxy: Exproxy | None = None

    def setUp(self) -> None:
        super().setUp()
        cls = type(self)
        if cls._proxy is None or not cls._proxy.running:
            ports = (25, 110, 143, 443, 465, 587, 993, 995, 2525)
            text = example(self.site)
            cls._proxy = Exproxy(self.site, text, ready=[(PROXY, port) for port in ports])
            cls._proxy.start()
        self.proxy = cls._proxy
        self.site.empty_mailboxes()

    def tearDown(self) -> None:
        self.assertNotIn("Traceback", self.proxy.log_text())
        self.assertNotIn(PASSWORD, self.proxy.log_text())
        self.assertNotIn(PASSWORD, repr(self.proxy.records()))

    def inside(self, call: Callable[[], T]) -> T:
        """The answer of a client that runs in the namespace."""
        with self.site.namespace.entered():
            return call()

    def tls(self) -> ssl.SSLContext:
        """Trusts the site's authority."""
        return ssl.create_default_context(cafile=str(self.site.authority.ca))

    def served(self, call: Callable[[], object], service: str) -> str:
        """Which server a client's only connection got."""
        before = self.settled()
        self.inside(call)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            # A connection of an earlier test that never had a server may be told of late.
            found = [r for r in self.proxy.records()[before:] if r["service"] == service and r["server"]]
            if found:
                return str(found[0]["server"])
            time.sleep(0.02)
        raise AssertionError(f"no record of {service}: {self.proxy.log_tail()}")

    def settled(self) -> int:
        """How many records there are, those of earlier connections included: they come a little later."""
        count = -1
        while count < (now := len(self.proxy.records())):
            count = now
            time.sleep(0.4)
        return count

    # -- clients -----------------------------------------------------------------------

    def imap(self, user: str) -> None:
        with imaplib.IMAP4(PROXY, 143, timeout=10) as imap:
            imap.starttls(self.tls())
            imap.login(user, PASSWORD)
            self.assertEqual(imap.select()[0], "OK")

    def imaps(self, user: str) -> None:
        with imaplib.IMAP4_SSL(PROXY, 993, ssl_context=self.tls(), timeout=10) as imap:
            imap.authenticate("PLAIN", lambda _: b"\0%b\0%b" % (user.encode(), PASSWORD.encode()))
            self.assertEqual(imap.select()[0], "OK")

    def pop(self, user: str) -> None:
        pop = poplib.POP3(PROXY, 110, timeout=10)
        pop.stls(self.tls())
        pop.user(user)
        pop.pass_(PASSWORD)
        pop.stat()
        pop.quit()

    def pops(self, user: str) -> None:
        pop = poplib.POP3_SSL(PROXY, 995, context=self.tls(), timeout=10)
        pop.user(user)
        pop.pass_(PASSWORD)
        pop.stat()
        pop.quit()

    def submits(self, user: str) -> None:
        with smtplib.SMTP_SSL(PROXY, 465, timeout=10, context=self.tls()) as smtp:
            smtp.login(user, PASSWORD)
            smtp.sendmail("a@x.test", ["user1@ex.test"], b"Subject: one\r\n\r\nhello\r\n")

    def submit(self, user: str) -> None:
        with smtplib.SMTP(PROXY, 587, timeout=10) as smtp:
            smtp.starttls(context=self.tls())
            smtp.login(user, PASSWORD)
            smtp.sendmail("a@x.test", ["user1@ex.test"], b"Subject: one\r\n\r\nhello\r\n")

    def web(self, user: str) -> None:
        # Runs in the namespace by itself.
        done = self.site.clients.curl(
            "--resolve",
            f"{PUBLIC}:443:{PROXY}",
            "-u",
            f"{user}:x",
            "-o",
            "/dev/null",
            f"https://{PUBLIC}/owa/",
        )
        self.assertEqual(done.code, 0, done)

    def everywhere(self, user: str) -> dict[str, str]:
        """Where each protocol takes a user."""
        spelled = f"{user.upper()}@EX.TEST"
        return {
            "imap": self.served(lambda: self.imap(user), "imap"),
            "imaps": self.served(lambda: self.imaps(spelled), "imap"),
            "pop": self.served(lambda: self.pop(spelled), "pop"),
            "pops": self.served(lambda: self.pops(user), "pop"),
            "submission": self.served(lambda: self.submit(user), "submission"),
            "submissions": self.served(lambda: self.submits(spelled), "submission"),
            "https": self.served(lambda: self.web(f"EX\\{user}"), "https"),
        }

    def talk(self, port: int, *pieces: bytes, address: str = PROXY) -> bytes:
        """All that is answered to these pieces, each sent when something was answered to the one before."""

        def talked() -> bytes:
            heard = b""
            with socket.create_connection((address, port), timeout=5) as wire:
                for piece in pieces:
                    heard += wire.recv(65536)
                    wire.sendall(piece)
                try:
                    while data := wire.recv(65536):
                        heard += data
                except (TimeoutError, ConnectionError):
                    pass
            return heard

        return self.inside(talked)


class UserTests(MailCase):
    def test_one_user_one_server(self) -> None:
        """IMAP with STARTTLS and without, POP likewise, submission and the web: one server for each user."""
        homes = {}
        for user in ("user1", "user2"):
            found = self.everywhere(user)
            self.assertEqual(len(set(found.values())), 1, found)
            homes[user] = found["imap"]
        self.assertEqual(set(homes.values()), set(SERVERS))

    def test_they_move_together(self) -> None:
        """A Dovecot that dies takes its users with it in every protocol."""
        home = self.everywhere("user1")["imap"]
        self.site.dovecot[home].kill()
        self.proxy.await_log(f"imap/{home} is DOWN")
        found = self.everywhere("user1")
        self.assertEqual(len({home, *found.values()}), 2, found)
        self.assertNotIn(home, found.values())

    def test_wrong_password(self) -> None:
        """The server's own refusal reaches the client, and the next try may be right."""

        def twice() -> None:
            with imaplib.IMAP4(PROXY, 143, timeout=10) as imap:
                imap.starttls(self.tls())
                with self.assertRaises(imaplib.IMAP4.error):
                    imap.login("user1", "wrong")
                imap.login("user1", PASSWORD)

        self.inside(twice)

    def test_addresses(self) -> None:
        """Dovecot and Postfix log the client's own address."""
        source = ("127.0.3.7", 0)

        def login(port: int, *lines: bytes) -> bytes:
            with socket.create_connection((PROXY, port), timeout=5, source_address=source) as raw:
                heard = raw.recv(4096)
                for line in lines:
                    raw.sendall(line + b"\r\n")
                    heard = raw.recv(4096)
                    if line in (b"a STARTTLS", b"STLS"):
                        break
                wire = self.tls().wrap_socket(raw, server_hostname=PROXY)
                with wire:
                    for line in lines[1:]:
                        wire.sendall(line + b"\r\n")
                        heard = wire.recv(4096)
                return heard

        password = PASSWORD.encode()
        self.inside(lambda: login(143, b"a STARTTLS", b"b LOGIN user1 " + password, b"c LOGOUT"))
        self.inside(lambda: login(110, b"STLS", b"USER user1", b"PASS " + password, b"QUIT"))
        self.inside(lambda: smtplib.SMTP(PROXY, 25, timeout=5, source_address=source).quit())
        logs = lambda of: "".join(each.log_text() for each in of.values())  # noqa: E731
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (
            logs(self.site.dovecot).count("rip=127.0.3.7") < 2 or "[127.0.3.7]" not in logs(self.site.postfix)
        ):
            time.sleep(0.05)
        self.assertRegex(logs(self.site.dovecot), r"imap-login: Info: Login: user=<user1>.* rip=127\.0\.3\.7")
        self.assertRegex(logs(self.site.dovecot), r"pop3-login: Info: Login: user=<user1>.* rip=127\.0\.3\.7")
        self.assertRegex(logs(self.site.postfix), r"connect from unknown\[127\.0\.3\.7\]|\[127\.0\.3\.7\]")

    def test_real_clients(self) -> None:
        """curl, swaks and openssl s_client through STARTTLS that exproxy ends."""
        clients = self.site.clients
        for url in (f"imap://{PUBLIC}/", f"imaps://{PUBLIC}/", f"pop3://{PUBLIC}/", f"pop3s://{PUBLIC}/"):
            port = {"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}[url.partition(":")[0]]
            done = clients.curl(
                "--ssl-reqd", "--resolve", f"{PUBLIC}:{port}:{PROXY}", "-u", f"user1:{PASSWORD}", url
            )
            self.assertEqual(done.code, 0, (url, done))
        for mechanism in ("PLAIN", "LOGIN"):
            done = clients.swaks(
                PROXY, 587, "-tls", "-f", "a@x.test", "-t", "user2@ex.test", "-a", mechanism,
                "-au", "user1", "-ap", PASSWORD,
            )  # fmt: skip
            self.assertEqual(done.code, 0, done)
        for protocol, port in (("smtp", 25), ("imap", 143), ("pop3", 110)):
            done = clients.s_client(
                PROXY, port, "-starttls", protocol, "-verify_ip", PROXY, text="QUIT\r\na LOGOUT\r\n"
            )
            self.assertNotIn("verify error", done.out + done.err)


class StreamTests(MailCase):
    def test_literals(self) -> None:
        """Two hundred messages go in by APPEND and come out by FETCH byte for byte, and by POP as well."""
        texts = [b"Subject: %d\r\n\r\n" % n + b".{%d}\r\na OK\r\n" % n * (n * 7 % 50) for n in range(200)]

        def through() -> list[bytes]:
            with imaplib.IMAP4_SSL(PROXY, 993, ssl_context=self.tls(), timeout=20) as imap:
                imap.login("user1", PASSWORD)
                for text in texts:
                    imap.append("INBOX", "", "", text)
                imap.select()
                _, found = imap.fetch("1:*", "(BODY.PEEK[])")
                return [each[1] for each in found if isinstance(each, tuple)]

        self.assertEqual(self.inside(through), texts)

        def popped() -> list[bytes]:
            pop = poplib.POP3_SSL(PROXY, 995, context=self.tls(), timeout=20)
            pop.user("user1")
            pop.pass_(PASSWORD)
            count, _ = pop.stat()
            found = [b"\r\n".join((*pop.retr(n + 1)[1], b"")) for n in range(count)]
            pop.quit()
            return found

        self.assertEqual(self.inside(popped), texts)

    def test_zz_drained(self) -> None:
        """A stop of exproxy is told to a client in IDLE, and to one that waits in SMTP and in POP."""

        def told() -> list[bytes]:
            wires = []
            for port, *lines in (
                (993, b"a LOGIN user1 " + PASSWORD.encode(), b"b IDLE"),
                (995, b"USER user1", b"PASS " + PASSWORD.encode()),
            ):
                raw = socket.create_connection((PROXY, port), timeout=10)
                wire: socket.socket = self.tls().wrap_socket(raw, server_hostname=PROXY)
                wire.recv(4096)
                for line in lines:
                    wire.sendall(line + b"\r\n")
                    wire.recv(4096)
                wires.append(wire)
            wires.append(socket.create_connection((PROXY, 25), timeout=10))
            wires[-1].recv(4096)
            self.proxy.stop()
            heard = []
            for wire in wires:
                with wire:
                    heard.append(wire.recv(4096))
            return heard

        imap, pop, smtp = self.inside(told)
        self.assertIn(b"* BYE [UNAVAILABLE]", imap)
        self.assertIn(b"-ERR [SYS/TEMP]", pop)
        self.assertTrue(smtp.startswith(b"421 4.3.2 "), smtp)


class InjectionTests(MailCase):
    def test_starttls(self) -> None:
        """Commands behind STARTTLS in plain text are refused with it, in all three protocols."""
        for port, hello, starttls, behind in (
            (25, b"EHLO me\r\n", b"STARTTLS\r\n", b"MAIL FROM:<evil@x.test>\r\n"),
            (587, b"EHLO me\r\n", b"STARTTLS\r\n", b"NOOP\r\n"),
            (143, b"a NOOP\r\n", b"b STARTTLS\r\n", b"c LOGIN evil evil\r\n"),
            (110, b"CAPA\r\n", b"STLS\r\n", b"USER evil\r\n"),
        ):
            heard = self.talk(port, hello, starttls + behind)
            self.assertRegex(heard.splitlines()[-1], rb"^(554 |\* BYE |-ERR )", heard)

    def test_stripped(self) -> None:
        """No login goes anywhere before TLS."""
        for port, *pieces in (
            (587, b"EHLO me\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"QUIT\r\n"),
            (143, b"a LOGIN user1 x\r\n", b"b LOGOUT\r\n"),
            (110, b"USER user1\r\n", b"QUIT\r\n"),
        ):
            heard = self.talk(port, *pieces)
            self.assertRegex(heard, rb"(?m)^(530 5\.7\.0|a NO \[PRIVACYREQUIRED\]|-ERR Issue STLS)", heard)
            self.assertNotIn(b"AUTH", heard)

    def test_claims(self) -> None:
        """A client cannot say which address it has."""
        heard = self.talk(25, b"EHLO me\r\n", b"XCLIENT ADDR=198.51.100.9\r\n", b"QUIT\r\n")
        self.assertIn(b"\r\n502 ", heard)
        self.assertNotIn(b"XCLIENT", heard.partition(b"502")[0])
        for server in self.site.postfix.values():
            self.assertNotIn("198.51.100.9", server.log_text())


class SmugglingTests(MailCase):
    def deliver(self, port: int, text: bytes, address: str = PROXY) -> bytes:
        return self.talk(
            port,
            b"EHLO me\r\n",
            b"MAIL FROM:<a@x.test>\r\n",
            b"RCPT TO:<user1@ex.test>\r\n",
            b"DATA\r\n",
            b"Subject: outer\r\n\r\nhello" + text,
            address=address,
        )

    def mails(self) -> int:
        """How many mails the users have."""
        return len([path for path in self.site.mail.rglob("*") if path.parent.name == "new"])

    def until(self, mails: int) -> None:
        deadline = time.monotonic() + 10
        while self.mails() < mails and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.mails(), mails)

    def test_refused(self) -> None:
        """Eight spellings of the end that are none: refused, and neither mail is delivered."""
        for end in ENDS[:-1]:
            heard = self.deliver(25, end + SMUGGLED + b"QUIT\r\n")
            self.assertIn(b"\r\n521 5.5.2 ", heard, end)
        self.deliver(25, b"\r\n.\r\nQUIT\r\n")
        self.until(1)

    def test_passed(self) -> None:
        """With `bare-newline: pass` each form reaches the server as it came: it makes of it what it makes of
        the same bytes without exproxy."""
        for end in ENDS:
            counts = []
            for port, address in ((2525, PROXY), (25, SERVERS["ex1"])):
                self.site.empty_mailboxes()
                self.deliver(port, end + b"\r\n.\r\nQUIT\r\n", address)
                self.until(1)
                counts.append([path.stat().st_size > 0 for path in self.site.mail.rglob("new/*")])
            self.assertEqual(*counts, end)

    def test_commands(self) -> None:
        """Commands that end with a LF alone are refused."""
        self.assertRegex(self.talk(25, b"EHLO me\n"), rb"(?m)^521 5\.5\.2 ")

    def test_whole(self) -> None:
        """A mail of a megabyte arrives byte for byte, dots and all, by DATA and under TLS."""
        text = b"".join(b".line %d\r\n" % number for number in range(80_000))

        def send() -> None:
            with smtplib.SMTP(PROXY, 25, timeout=20) as smtp:
                smtp.starttls(context=self.tls())
                smtp.sendmail("a@x.test", ["user1@ex.test"], b"Subject: big\r\n\r\n" + text)

        self.inside(send)
        self.until(1)
        [path] = [path for path in self.site.mail.rglob("*") if path.parent.name == "new"]
        body = path.read_bytes().partition(b"\n\n")[2]
        self.assertEqual(body.strip(), text.replace(b"\r\n", b"\n").strip())
        self.assertTrue(re.search(rb"Received: from ", path.read_bytes()))
