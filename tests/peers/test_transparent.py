"""Transparent: client, exproxy and servers in three namespaces, exproxy being the servers' gateway."""

from __future__ import annotations

import contextlib
import imaplib
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tests.peers.kit.cable import Plug, cable, forward, run, run_all
from tests.peers.kit.case import PeerCase
from tests.peers.kit.clients import Clients
from tests.peers.kit.dovecot import Dovecot
from tests.peers.kit.needs import skip_unless
from tests.peers.kit.netns import Namespace
from tests.peers.kit.postfix import Postfix
from tests.peers.kit.proxy import Exproxy
from tests.peers.kit.server import PASSWORD

PAGE = Path(__file__).resolve().parents[2] / "docs" / "transparent.md"
PATIENCE = 10.0
CLIENT, CLIENT6 = "10.77.1.50", "fd77:1::50"
FRONT, FRONT6 = "10.77.1.1", "fd77:1::1"
BACK, BACK6 = "10.77.2.1", "fd77:2::1"
SERVER, SERVER6 = "10.77.2.11", "fd77:2::11"

_SERVICES = f"""
servers: {{{{ex1: {SERVER}, six: "{SERVER6}"}}}}
defaults: {{{{transparent: {{transparent}}, timeouts: {{{{connect: 2s}}}}}}}}
services:
  smtp: {{{{protocol: smtp, listen: "{FRONT}:25", servers: ex1}}}}
  imap: {{{{protocol: imap, listen: "{FRONT}:143", servers: ex1}}}}
  four: {{{{protocol: tcp, listen: "{FRONT}:2525", servers: ex1}}}}
  six: {{{{protocol: tcp, listen: "[{FRONT6}]:2525", servers: six}}}}
  mixed: {{{{protocol: tcp, listen: "{FRONT}:2526", servers: six, backend: {{{{port: 2525}}}}}}}}
"""


def fence(language: str) -> str:
    """The first code block of that language in the page."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None, language
    return found[1]


class TransparentTests(PeerCase):
    """What docs/transparent.md tells an administrator to do, done."""

    needs: ClassVar[tuple[str, ...]] = ("nftables",)

    def build(self, *, transparent: bool) -> None:
        """The three machines, their cables and routes, and exproxy."""
        gateway = self.site.namespace
        client, servers = Namespace(), Namespace()
        self.addCleanup(self._over, client, servers)
        self.client, self.servers = client, servers
        outer = Plug(client, "eth0", (f"{CLIENT}/24", f"{CLIENT6}/64"))
        inner = Plug(servers, "eth0", (f"{SERVER}/24", f"{SERVER6}/64"))
        cable(outer, Plug(gateway, "front", (f"{FRONT}/24", f"{FRONT6}/64")))
        cable(inner, Plug(gateway, "back", (f"{BACK}/24", f"{BACK6}/64")))
        for plug, gateways in ((outer, (FRONT, FRONT6)), (inner, (BACK, BACK6))):
            for each in gateways:
                plug.route("default", each)
        forward(gateway)
        self.exproxy = Exproxy(
            self.site,
            _SERVICES.format(transparent=str(transparent).lower()),
            ready=[(FRONT, 25), (FRONT, 143), (FRONT, 2525), (FRONT, 2526), (FRONT6, 2525)],
        )

    def _over(self, *namespaces: Namespace) -> None:
        self.exproxy.stop()
        for each in namespaces:
            each.close()
        lines = ["ip link del front", "ip link del back", "nft flush ruleset"]
        for version in ("-4", "-6"):
            lines += [f"ip {version} rule del fwmark 0x1", f"ip {version} route flush table 100"]
        for line in lines:
            self.site.namespace.run(line.split())
        self.assertNotIn("Traceback", self.exproxy.log_text())

    def as_documented(self) -> None:
        """The page's own rules, on exproxy's machine."""
        run(self.site.namespace, ["nft", "-f", "-"], fence("nft"))
        run_all(self.site.namespace, fence("sh").splitlines())

    def listen(self, address: str) -> socket.socket:
        """A server's socket at port 2525."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.servers.entered():
            server = socket.create_server((address, 2525), family=family)
        self.addCleanup(server.close)
        server.settimeout(PATIENCE)
        return server

    def met(self, server: socket.socket, at: str) -> str:
        """Whom the server sees when the client connects; bytes go both ways."""
        with self.client.entered():
            client = socket.create_connection((at, 2525), PATIENCE)
        with client:
            client.sendall(b"hello")
            while True:
                far, (host, *_) = server.accept()
                with far:
                    far.settimeout(PATIENCE)
                    if far.recv(100) == b"hello":  # and not a check
                        far.sendall(b"hello yourself")
                        self.assertEqual(client.recv(100), b"hello yourself")
                        return str(host)

    def test_servers_see_the_client(self) -> None:
        """IPv4 and IPv6: the server's socket has the client's address, its answers find the way."""
        self.build(transparent=True)
        self.as_documented()
        four, six = self.listen(SERVER), self.listen(SERVER6)
        self.exproxy.start()
        for _ in range(3):
            self.assertEqual(self.met(four, FRONT), CLIENT)
            self.assertEqual(self.met(six, FRONT6), CLIENT6)
        self.assertNotRegex(self.exproxy.log_text(), "(four/ex1|six/six) is DOWN")

    def test_without(self) -> None:
        """The same network without `transparent`: the server sees exproxy."""
        self.build(transparent=False)
        four, six = self.listen(SERVER), self.listen(SERVER6)
        self.exproxy.start()
        self.assertEqual(self.met(four, FRONT), BACK)
        self.assertEqual(self.met(six, FRONT6), BACK6)

    def test_other_version(self) -> None:
        """A client of IPv4 before a server of IPv6 is refused; the server is not blamed."""
        self.build(transparent=True)
        self.as_documented()
        self.listen(SERVER6)
        self.exproxy.start()
        with self.client.entered():
            client = socket.create_connection((FRONT, 2526), PATIENCE)
        with client:
            client.sendall(b"hello")
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(client.recv(100), b"")
        self.exproxy.await_log("mixed/six was not asked")
        self.assertIn(f"{SERVER6} cannot be reached from {CLIENT}", self.exproxy.log_text())
        self.assertNotIn("mixed/six is DOWN", self.exproxy.log_text())

    def test_mail(self) -> None:
        """Postfix and Dovecot, which know nothing of proxies, log the client; checks come from exproxy."""
        skip_unless("postfix", "dovecot", "swaks")
        self.build(transparent=True)
        self.as_documented()
        place = replace(self.site.places["ex1"], namespace=self.servers, address=SERVER)
        postfix, dovecot = Postfix(place), Dovecot(place)
        for server in (postfix, dovecot):
            self.site.adopt(server).start()
            self.addCleanup(server.stop)
        self.exproxy.start()
        postfix.await_log(f"connect from unknown[{BACK}]")
        clients = Clients(self.client, self.site.folder, self.site.authority.ca)
        done = clients.swaks(FRONT, 25, "-f", "a@x.test", "-t", "user1@ex.test")
        self.assertEqual(done.code, 0, done)
        postfix.await_log(f"client=unknown[{CLIENT}]")
        with self.client.entered():
            box = imaplib.IMAP4(FRONT, timeout=PATIENCE)
        self.assertEqual(box.login("user1", PASSWORD)[0], "OK")
        box.logout()
        dovecot.await_log(f"Login: user=<user1>, method=PLAIN, rip={CLIENT}, lip={SERVER},")
        found = self.exproxy.await_access(lambda record: record["client"].startswith(f"{CLIENT}:"), 2)
        self.assertEqual([record["service"] for record in found], ["smtp", "imap"])
