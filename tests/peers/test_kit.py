"""The kit itself: each real server answers its real clients, can be hurt, and leaves nothing behind."""

# mypy: allow-untyped-calls
from __future__ import annotations

import contextlib
import http.client
import imaplib
import os
import poplib
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from tests.peers.kit import needs
from tests.peers.kit.case import PeerCase
from tests.peers.kit.guardian import inhabitants
from tests.peers.kit.nginx import LARGE, PATHS
from tests.peers.kit.process import Process
from tests.peers.kit.proxy import Exproxy, reference
from tests.peers.kit.samba import MEMBERS
from tests.peers.kit.server import PASSWORD, PUBLIC, Server
from tests.peers.kit.site import SERVERS, Site

LISTENER = """
import socket, subprocess, sys
server = socket.create_server(("127.0.0.1", 2000))
child = subprocess.Popen(["sleep", "1000"])
print("child", child.pid, flush=True)
while True:
    client, _ = server.accept()
    client.sendall(b"hello")
    client.close()
"""


SITE = """
import time
from tests.peers.kit.process import Process
from tests.peers.kit.site import Site
site = Site()
process = site.adopt(Process(site.namespace, "sleep", ["setsid", "sleep", "1000"], site.folder))
process.start()
print(site.namespace.identity, process.pid, site.folder, flush=True)
time.sleep(1000)
"""


class NamespaceTests(PeerCase):
    def test_only_the_thread_inside_is_inside(self) -> None:
        """entered() moves the calling thread and those that it starts, and brings it back."""
        namespace = self.site.namespace

        def where() -> int:
            return os.stat("/proc/thread-self/ns/net").st_ino

        outside = where()
        seen: list[int] = []
        with namespace.entered(), namespace.entered():
            self.assertEqual(where(), namespace.identity)
            thread = threading.Thread(target=lambda: seen.append(where()))
            thread.start()
            thread.join()
        self.assertEqual(seen, [namespace.identity])
        self.assertEqual(where(), outside)
        self.assertNotEqual(outside, namespace.identity)

    def test_a_socket_stays_where_it_was_made(self) -> None:
        """A client that was made inside works outside; listening() and connections() tell of it."""
        namespace = self.site.namespace
        with namespace.entered():
            server = socket.create_server(("127.0.0.11", 443))
            client = socket.create_connection(("127.0.0.11", 443), source_address=("127.0.1.7", 0))
        with server, client:
            self.assertIn(("127.0.0.11", 443), namespace.listening())
            self.assertEqual(namespace.connections("127.0.0.11", 443), [client.getsockname()])
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(b"x")
            self.assertEqual(client.recv(9), b"x")

    def test_commands_run_inside(self) -> None:
        """run() gives the texts and the exit code of a command that ran in the namespace."""
        done = self.site.namespace.run(["sh", "-c", "cat; readlink /proc/self/ns/net; exit 3"], text="in ")
        self.assertEqual((done.code, done.out), (3, f"in net:[{self.site.namespace.identity}]\n"))


class ProcessTests(PeerCase):
    def listener(self) -> Process:
        folder = self.site.new_folder("listener")
        argv = [sys.executable, "-c", LISTENER]
        process = Process(self.site.namespace, "listener", argv, folder, [("127.0.0.1", 2000)])
        self.addCleanup(process.kill)
        process.start()
        return process

    def test_kill_takes_the_children_too(self) -> None:
        """After kill() neither the program nor what it started is left, and it can start again."""
        process = self.listener()
        process.await_log("child")
        self.assertEqual(len(process.members()), 2)
        process.kill()
        self.assertEqual((process.code, process.members(), process.running), (-9, [], False))
        self.assertNotIn(("127.0.0.1", 2000), self.site.namespace.listening())
        process.start()
        self.assertTrue(process.running)

    def test_stop_takes_the_children_too(self) -> None:
        """A child that does not end with its parent is killed."""
        process = self.listener()
        process.await_log("child")
        self.assertEqual(process.stop(), -15)
        self.assertEqual(process.members(), [])

    def test_a_program_that_ends_early_is_a_failure_with_its_log(self) -> None:
        """start() shows why."""
        argv = ["sh", "-c", "echo no such thing >&2; exit 4"]
        folder = self.site.new_folder("failing")
        process = Process(self.site.namespace, "failing", argv, folder, [("127.0.0.1", 2001)])
        with self.assertRaisesRegex(AssertionError, r"(?s)failing ended with 4.*no such thing"):
            process.start()

    def test_what_stays_behind_is_named(self) -> None:
        """close() kills what nobody adopted, and says so; the folder is gone."""
        site = Site()
        process = Process(site.namespace, "sleep", ["sleep", "1000"], site.folder)
        process.start()
        with self.assertRaisesRegex(AssertionError, rf"left behind: {process.pid} sleep"):
            site.close()
        process.kill()
        self.assertFalse(site.folder.exists())


class GuardianTests(PeerCase):
    def test_killed_tests_leave_nothing(self) -> None:
        """After kill -9 of the tests, no process and no folder of theirs is left."""
        argv = [sys.executable, "-c", SITE]
        root = Path(__file__).parents[2]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root) as tests:
            assert tests.stdout is not None
            identity, pid, folder = tests.stdout.readline().split()
            tests.kill()
        deadline = time.monotonic() + 5
        while inhabitants(int(identity)) or Path(folder).exists():
            self.assertLess(time.monotonic(), deadline, f"{pid} and {folder} are left")
            time.sleep(0.01)


class NeedsTests(unittest.TestCase):
    def test_a_missing_peer_is_a_skip(self) -> None:
        """It names the peer and the command to get it."""
        with self._without_dovecot(), self.assertRaisesRegex(unittest.SkipTest, "dovecot .*sudo make peers"):
            needs.skip_unless("dovecot")

    def test_a_missing_peer_is_a_failure_where_none_may_be_skipped(self) -> None:
        """EXPROXY_NO_SKIP=1 is for machines that must have all of them."""
        with self._without_dovecot("1"), self.assertRaisesRegex(AssertionError, "sudo make peers"):
            needs.skip_unless("dovecot")

    @contextlib.contextmanager
    def _without_dovecot(self, no_skip: str = "") -> Iterator[None]:
        needs.missing.cache_clear()
        self.addCleanup(needs.missing.cache_clear)
        absent = mock.patch.dict(needs._NEEDS, {"dovecot": ("no-such-dovecot",)})
        with absent, mock.patch.dict(os.environ, {"EXPROXY_NO_SKIP": no_skip}):
            yield


class ServerCase(PeerCase):
    def hurt(self, server: Server, ask: Callable[[], object]) -> None:
        """Kill, start, freeze, thaw and restart it: `ask` fails exactly while it cannot work."""
        ask()
        server.kill()
        self.assertRaises(OSError, ask)
        server.start()
        ask()
        server.freeze()
        self.assertRaises((TimeoutError, smtplib.SMTPServerDisconnected), ask)
        server.thaw()
        ask()
        server.restart()
        ask()

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.site.authority.ca))


class DovecotTests(ServerCase):
    needs = ("dovecot",)

    def imap(self, address: str, **options: float) -> imaplib.IMAP4:
        with self.site.namespace.entered():
            return imaplib.IMAP4(address, 143, **options)

    def test_imap(self) -> None:
        """Greeting with the name, STARTTLS, login, a mail put and read; the other server has it too."""
        self.site.empty_mailboxes()
        for name, address in SERVERS.items():
            client = self.imap(address)
            self.assertIn(f"{name}.ex.test ready".encode(), client.welcome)
            client.starttls(self.trust())
            client.login("user1", PASSWORD)
            if name == "ex1":
                client.append("INBOX", "", "", b"Subject: hello\r\n\r\nbody\r\n")
            self.assertEqual(client.select("INBOX"), ("OK", [b"1"]))
            client.logout()

    def test_imaps_and_openssl(self) -> None:
        """993 speaks TLS at once, with a certificate that its authority vouches for."""
        with self.site.namespace.entered():
            client = imaplib.IMAP4_SSL("127.0.0.12", 993, ssl_context=self.trust())
        self.assertIn(b"ex2.ex.test ready", client.welcome)
        client.logout()
        done = self.site.clients.s_client("127.0.0.11", 993, "-verify_hostname", PUBLIC, text="a LOGOUT\r\n")
        self.assertIn("ex1.ex.test ready", done.out)

    def test_pop(self) -> None:
        """Greeting with the name and a login, on 110 with STLS and on 995."""
        with self.site.namespace.entered():
            client = poplib.POP3("127.0.0.11", 110)
            tls = poplib.POP3_SSL("127.0.0.12", 995, context=self.trust())
        self.assertIn(b"ex1.ex.test ready", client.getwelcome())
        self.assertIn(b"ex2.ex.test ready", tls.getwelcome())
        client.stls(self.trust())
        for each in (client, tls):
            each.user("user2")
            each.pass_(PASSWORD)
            self.assertEqual(each.stat(), (0, 0))
            each.quit()

    def test_hurt(self) -> None:
        """Killed, frozen, restarted."""
        self.hurt(self.site.dovecot["ex1"], lambda: self.imap("127.0.0.11", timeout=0.5).logout())


class PostfixTests(ServerCase):
    needs = ("postfix", "dovecot", "swaks")

    def smtp(self, address: str, port: int = 25, timeout: float = 5.0) -> smtplib.SMTP:
        with self.site.namespace.entered():
            return smtplib.SMTP(address, port, local_hostname="client.test", timeout=timeout)

    def arrived(self, user: str, count: int) -> list[Path]:
        """The user's mails, once there are so many."""
        deadline = time.monotonic() + 10
        while len(mails := list((self.site.mail / user / "new").glob("*"))) < count:
            self.assertLess(time.monotonic(), deadline, self.site.postfix["ex1"].log_tail())
            time.sleep(0.01)
        return mails

    def test_smtplib(self) -> None:
        """Greeting with the name, STARTTLS, and a mail on each port that IMAP then shows."""
        self.site.empty_mailboxes()
        for name, port in (("ex1", 25), ("ex2", 587)):
            with self.smtp(SERVERS[name], port) as client:
                self.assertIn(f"{name}.ex.test".encode(), client.ehlo()[1])
                client.starttls(context=self.trust())
                client.sendmail("a@x.test", ["user1@ex.test"], f"Subject: by {name}\r\n\r\nbody\r\n")
        received = "".join(path.read_text() for path in self.arrived("user1", 2))
        self.assertIn("by ex1.ex.test (Postfix)", received)
        self.assertIn("by ex2.ex.test (Postfix)", received)
        with self.site.namespace.entered():
            reader = imaplib.IMAP4("127.0.0.11", 143)
        reader.login("user1", PASSWORD)
        self.assertEqual(reader.select("INBOX"), ("OK", [b"2"]))
        reader.logout()

    def test_swaks(self) -> None:
        """A mail over TLS from a real command-line client."""
        self.site.empty_mailboxes()
        done = self.site.clients.swaks(
            "127.0.0.12", 587, "--tls", "--from", "a@x.test", "--to", "user2@ex.test"
        )
        self.assertEqual(done.code, 0, done.out)
        self.assertIn("220 ex2.ex.test", done.out)
        self.assertEqual(len(self.arrived("user2", 1)), 1)

    def test_hurt(self) -> None:
        """Killed, frozen, restarted."""
        self.hurt(self.site.postfix["ex2"], lambda: self.smtp("127.0.0.12", timeout=0.5).quit())


class NginxTests(ServerCase):
    needs = ("nginx", "curl")

    def request(self, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
        return self._request("127.0.0.11", method, path, body)

    def _request(
        self, address: str, method: str, path: str, body: bytes | None = None, timeout: float = 5.0
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(address, 443, context=self.trust(), timeout=timeout)
        self.addCleanup(connection.close)
        with self.site.namespace.entered():
            connection.request(method, path, body)
        return connection.getresponse()

    def test_pages_name_the_server(self) -> None:
        """Each virtual directory answers 200 with the server's name in body and field."""
        for path in PATHS:
            with self.request("GET", f"/{path}/") as answer:
                self.assertEqual((answer.status, answer.read()), (200, f"ex1 {path}\n".encode()))
                self.assertEqual(answer.headers["X-Server"], "ex1")

    def test_kinds_of_answers(self) -> None:
        """Chunked and with a length, small and large, refusals, and an upload that is kept."""
        for path in ("/chunked/large.txt", "/length/large.txt"):
            with self.request("GET", path) as answer:
                self.assertEqual(len(answer.read()), LARGE)
                self.assertEqual(answer.headers["Transfer-Encoding"] == "chunked", "chunked" in path)
        for path, status in (("/denied", 401), ("/broken", 503), ("/", 302), ("/healthcheck.htm", 200)):
            with self.request("GET", path) as answer:
                self.assertEqual((answer.status, answer.headers["X-Server"]), (status, "ex1"))
        body = os.urandom(100_000)
        with self.request("PUT", "/upload/one", body) as answer:
            self.assertEqual(answer.status, 201)
        with self.request("GET", "/upload/one") as answer:
            self.assertEqual(answer.read(), body)

    def test_curl(self) -> None:
        """curl verifies the name that clients know, and keeps its connection for a second request."""
        url = f"https://{PUBLIC}/owa/"
        done = self.site.clients.curl("--resolve", f"{PUBLIC}:443:127.0.0.12", "-i", url, url)
        self.assertEqual((done.code, done.out.count("ex2 owa\n")), (0, 2), done.err)
        self.assertRegex(done.out, r"(?s)X-Connection: (\d+)/1\r.*X-Connection: \1/2\r")
        refused = self.site.clients.curl("--resolve", "other.test:443:127.0.0.12", "https://other.test/")
        self.assertEqual(refused.code, 60)

    def test_hurt(self) -> None:
        """Killed, frozen, restarted."""
        self.hurt(
            self.site.nginx["ex1"], lambda: self._request("127.0.0.11", "GET", "/owa/", timeout=0.5).close()
        )


class SambaTests(ServerCase):
    needs = ("samba", "rpcclient", "impacket")

    def test_rpcclient(self) -> None:
        """Endpoint mapper, NTLM with sealing, and a list of users that names the server."""
        for name, address in SERVERS.items():
            done = self.site.clients.rpcclient(address)
            self.assertEqual(done.code, 0, done.out + done.err)
            self.assertIn(f"user:[{name}] ", done.out)
            self.assertEqual(done.out.count("user:[member"), MEMBERS)

    def test_impacket(self) -> None:
        """The mapper names port 59531; a handle opened there stays usable."""
        binding = self.site.clients.hept_map("127.0.0.12")
        self.assertEqual(binding, "ncacn_ip_tcp:127.0.0.12[59531]")
        client = self.site.clients.samr(binding)
        self.assertEqual(self.site.samba["ex2"].connections(), 1)
        self.assertIn("ex2", client.users())
        self.assertIn("ex2", client.users())
        client.close()

    def test_hurt(self) -> None:
        """Killed, frozen, restarted."""

        def ask() -> None:
            with self.site.namespace.entered():
                client = socket.create_connection(("127.0.0.11", 135), timeout=0.5)
            with client:
                client.sendall(BIND)
                self.assertEqual(client.recv(100)[2], 12)

        self.hurt(self.site.samba["ex1"], ask)
        self.assertEqual(self.site.clients.rpcclient("127.0.0.11").code, 0)


# bind to the endpoint mapper, NDR (as rpcclient sends it)
BIND = bytes.fromhex(
    "05000b03100000004800000001000000b810b8100000000001000000000001000883afe11f5dc91191a408002b14a0fa"
    "03000000045d888aeb1cc9119fe808002b10486002000000"
)


class ExproxyTests(PeerCase):
    def test_starts_and_stops(self) -> None:
        """The reference configuration is bound with all its ports; SIGTERM ends it, saying nothing bad."""
        proxy = Exproxy(self.site, reference(self.site))
        proxy.start()
        self.assertEqual(len(proxy.ready), 9 + 1)
        self.assertEqual(proxy.stop(), -15, proxy.log_tail())  # twistd ends by the signal that it got
        self.assertNotIn("Traceback", proxy.log_text())

    def test_a_bad_configuration_is_shown(self) -> None:
        """start() fails with what exproxy said."""
        proxy = Exproxy(self.site, "servers: 3\n")
        with self.assertRaisesRegex(AssertionError, r"(?s)exproxy ended with 1.*servers"):
            proxy.start()
