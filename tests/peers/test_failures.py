"""Real servers killed, frozen and restarted behind exproxy: clients go elsewhere, and the log tells why."""

from __future__ import annotations

import imaplib
import smtplib
import socket
import ssl
import time
from collections.abc import Callable

from tests.peers.kit.case import PeerCase
from tests.peers.kit.proxy import Exproxy, reference
from tests.peers.kit.server import PUBLIC, Server
from tests.peers.kit.site import PROXY

# fall x interval of the kit's quick health settings, one check's timeout, and room for a slow machine.
SOON = 3 * 0.5 + 0.4 + 3.0
# No client may wait longer than this for whatever end it meets.
ENDLESS = 12.0


class FailureCase(PeerCase):
    """Two servers of a kind, an exproxy before them, and a client that says who serves it."""

    def setUp(self) -> None:
        super().setUp()
        text = reference(self.site).replace("slow-ramp: 300s", "slow-ramp: 0s")
        quick = "{connect: 1s, tls-handshake: 1s, greeting: 1s, grace: 1s}"
        text = text.replace("defaults:\n", f"defaults:\n  timeouts: {quick}\n")
        self.proxy = Exproxy(self.site, text)
        self.proxy.start()
        self.addCleanup(self._stopped)

    def _stopped(self) -> None:
        self.proxy.stop()
        self.assertNotIn("Traceback", self.proxy.log_text())

    def ask(self, client: Callable[[], str]) -> str:
        """A client's answer, in the namespace, in time; what is no answer is a text as well."""
        begun = time.monotonic()
        try:
            with self.site.namespace.entered():
                answer = client()
        except (OSError, EOFError, imaplib.IMAP4.error, smtplib.SMTPException) as error:
            answer = f"failed: {error}"
        self.assertLess(time.monotonic() - begun, ENDLESS, answer)
        return answer

    def until(self, client: Callable[[], str], good: Callable[[list[str]], bool], patience: float) -> None:
        """Ask until the last four answers are good."""
        deadline = time.monotonic() + patience
        answers: list[str] = []
        while True:
            answers = [*answers[-3:], self.ask(client)]
            if len(answers) == 4 and good(answers):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{answers}\n{self.proxy.log_tail()}")

    def suffer(self, ex1: Server, client: Callable[[], str], service: str) -> None:
        """Kill, restart, freeze, thaw ex1: no client notices, it is DOWN soon, and serves again."""

        def both(answers: list[str]) -> bool:
            text = " ".join(answers)
            return "ex1" in text and "ex2" in text and "failed" not in text

        self.until(client, both, SOON)
        for hurt, heal in ((ex1.kill, ex1.start), (ex1.freeze, ex1.thaw)):
            start = len(self.proxy.log_text())
            hurt()
            # From the first moment on: who meets the dead server is taken to the other one.
            self.assertIn("ex2", self.ask(client))
            self.assertIn("ex2", self.ask(client))
            self.proxy.await_log(f"Server {service}/l12ex1 is DOWN, reason: ", SOON, start)
            for _ in range(4):
                self.assertIn("ex2", self.ask(client))
            heal()
            self.proxy.await_log(f"Server {service}/l12ex1 is UP, reason: ", start=start)
            self.until(client, both, SOON)


class MailFailureTests(FailureCase):
    """IMAP at Dovecot, SMTP at Postfix."""

    needs = ("dovecot", "postfix")

    def test_imap(self) -> None:
        """A dead or frozen Dovecot is passed over by every new client."""

        def client() -> str:
            with imaplib.IMAP4(PROXY, 143, timeout=10) as imap:
                return imap.welcome.decode()

        self.suffer(self.site.dovecot["ex1"], client, "imap:143")

    def test_smtp(self) -> None:
        """A dead or frozen Postfix is passed over by every new client."""

        def client() -> str:
            smtp = smtplib.SMTP(timeout=10)
            try:
                _, greeting = smtp.connect(PROXY, 25)
                return greeting.decode()
            finally:
                smtp.close()

        self.suffer(self.site.postfix["ex1"], client, "smtp:25")

    def test_both_dead(self) -> None:
        """With no server left a client is refused in IMAP's words, at once."""
        for server in self.site.dovecot.values():
            server.kill()
        self.proxy.await_log("imap:143 has no server available!")
        with self.site.namespace.entered(), socket.create_connection((PROXY, 143), timeout=10) as client:
            data = client.recv(1000)
        self.assertTrue(data.startswith(b"* BYE "), data)
        self.assertNotIn(b"ex1", data)


class WebFailureTests(FailureCase):
    """HTTPS at nginx."""

    needs = ("nginx", "curl")

    def test_https(self) -> None:
        """A dead or frozen web server is passed over; nobody gets a traceback or waits for ever."""

        def client() -> str:
            done = self.site.clients.curl(
                "--resolve", f"{PUBLIC}:443:{PROXY}", "-A", "Mozilla/5.0", f"https://{PUBLIC}/owa/"
            )
            return done.out if done.code == 0 else f"failed: {done.err}"

        self.suffer(self.site.nginx["ex1"], client, "exchange-https")

    def test_a_waiting_request(self) -> None:
        """A request that hangs at a server which freezes is answered by the other server."""
        tls = ssl.create_default_context(cafile=str(self.site.authority.ca))
        ask = f"GET /owa/ HTTP/1.1\r\nHost: {PUBLIC}\r\nUser-Agent: MSRPC\r\n\r\n".encode()

        def answer(client: ssl.SSLSocket) -> str:
            client.sendall(ask)
            data = b""
            while not data.endswith(b" owa\n"):
                piece = client.recv(65536)
                if not piece:
                    raise AssertionError(f"closed after {data!r}")
                data += piece
            return data.decode().rpartition("\n\n")[2].rpartition("\r\n")[2].split()[0]

        with (
            self.site.namespace.entered(),
            socket.create_connection((PROXY, 443), timeout=ENDLESS) as raw,
            tls.wrap_socket(raw, server_hostname=PUBLIC) as client,
        ):
            first = answer(client)
            self.site.nginx[first].freeze()
            second = answer(client)
        self.assertEqual({first, second}, {"ex1", "ex2"})

    def test_both_dead(self) -> None:
        """With no server left a client gets 503 and when to come again."""
        for server in self.site.nginx.values():
            server.kill()
        self.proxy.await_log("exchange-https has no server available!")
        done = self.site.clients.curl("-i", "--resolve", f"{PUBLIC}:443:{PROXY}", f"https://{PUBLIC}/owa/")
        self.assertIn("503", done.out.split("\n")[0])
        self.assertIn("retry-after", done.out.lower())
        self.assertNotIn("Traceback", done.out)


# To the endpoint mapper, with NDR.
BIND = bytes.fromhex(
    "05000b03100000004800000001000000b810b810000000000100000000000100"
    "0883afe11f5dc91191a408002b14a0fa03000000045d888aeb1cc9119fe808002b10486002000000"
)


class RpcFailureTests(FailureCase):
    """MSRPC at Samba."""

    needs = ("samba", "rpcclient")

    def served(self) -> str:
        """Which server has the client's call, that works: all that it needed was on that one."""
        before = len(self.proxy.records())
        done = self.site.clients.rpcclient(PROXY)
        self.assertEqual(done.code, 0, done)
        self.proxy.await_access(lambda r: r["service"] == "exchange-rpc" and r["server"], self.calls + 1)
        self.calls += 1
        servers = {record["server"] for record in self.proxy.records()[before:] if record["server"]}
        self.assertEqual(len(servers), 1, servers)
        return str(servers.pop())

    def test_rpc(self) -> None:
        """When a server's RPC dies its client moves, whole, to the other one, and stays there after its
        return; the returned one has the client again when the other one dies."""
        self.calls = 0
        first = self.served()
        names = {"l12ex1": "ex1", "l12ex2": "ex2"}
        second = ({*names} - {first}).pop()
        for dies, lives in ((first, second), (second, first)):
            start = len(self.proxy.log_text())
            self.site.samba[names[dies]].kill()
            self.assertEqual(self.served(), lives)
            for service in ("exchange-epm", "exchange-rpc", "exchange-ab"):
                self.proxy.await_log(f"Server {service}/{dies} is DOWN, reason: ", SOON, start)
            self.site.samba[names[dies]].start()
            for service in ("exchange-epm", "exchange-rpc", "exchange-ab"):
                self.proxy.await_log(f"Server {service}/{dies} is UP, reason: ", start=start)
            self.assertEqual(self.served(), lives)
        self.assertIn("moved", [record["persistence"] for record in self.proxy.records()])

    def test_frozen(self) -> None:
        """A frozen Samba still accepts, and answers no bind: it is DOWN in time. Who waits for it then is
        told that it will pass, and the client moves."""
        self.calls = 0
        first = self.served()
        samba = self.site.samba[first.removeprefix("l12")]
        start = len(self.proxy.log_text())
        samba.freeze()
        with self.site.namespace.entered():
            waiting = [socket.create_connection((PROXY, port), timeout=60.0) for port in (135, 59531)]
        for each in waiting:
            self.addCleanup(each.close)
            each.sendall(BIND)
        self.proxy.await_log(f"Server exchange-rpc/{first} is DOWN, reason: Layer7 timeout", SOON, start)
        for each in waiting:
            # bind_nak, reason 1: temporary congestion.
            self.assertEqual((each.recv(64)[2], each.recv(1)), (13, b""))
        self.proxy.await_access(lambda r: r.get("cut") == "server is DOWN", len(waiting))
        self.calls += 1
        self.assertNotEqual(self.served(), first)
        samba.thaw()
        self.proxy.await_log(f"Server exchange-rpc/{first} is UP, reason: ", start=start)
