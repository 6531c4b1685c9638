"""HAProxy in front of exproxy, and behind it, with nginx as the server."""

from __future__ import annotations

import re

from tests.peers.kit.case import PeerCase
from tests.peers.kit.haproxy import Haproxy
from tests.peers.kit.proxy import Exproxy
from tests.peers.kit.site import PROXY, SERVERS

FRONT, OURS, BEHIND = 8080, 8081, 8082
PEOPLE = [f"127.0.0.{number}" for number in range(21, 29)]

_IN_FRONT = """
servers: {{ex1: 127.0.0.11, ex2: 127.0.0.12}}
trusted-proxies: [127.0.0.1]
services:
  web:
    protocol: http
    listen: "127.0.0.1:{ours}"
    backend: {{port: 443, tls: {{mode: implicit, verify: {ca}}}}}
    persistence: source-ip
    check: {{http: {{path: /owa/, status: 200}}}}
"""
_BEHIND = """
servers: {{ex1: 127.0.0.11, ex2: 127.0.0.12}}
services:
  web:
    protocol: http
    listen: "127.0.0.1:{ours}"
    backend: {{port: {behind}, tls: false}}
    persistence: none
    check: {{http: {{path: /owa/, status: 200}}}}
"""


class _Chain(PeerCase):
    """What both directions ask for."""

    needs = ("nginx", "curl", "haproxy")

    def asked(self, port: int, path: str, *arguments: str, times: int = 1) -> str:
        """The heads and pages of so many requests on one connection."""
        url = f"http://{PROXY}:{port}{path}"
        done = self.site.clients.curl("-i", *arguments, *[url] * times)
        self.assertEqual(done.code, 0, done)
        return done.out

    def names(self, text: str, field: str = "x-server") -> list[str]:
        """The values of a field in all heads."""
        return re.findall(rf"(?im)^{field}: ([^\r\n]*)", text)


class InFrontTests(_Chain):
    """Clients meet HAProxy, which is trusted to say who they are."""

    def setUp(self) -> None:
        super().setUp()
        self.exproxy = Exproxy(self.site, _IN_FRONT.format(ours=OURS, ca=self.site.authority.ca))
        self.exproxy.start()
        # One connection carries everybody, as HAProxy may choose to do at any time.
        self.haproxy = Haproxy(
            self.site, (PROXY, FRONT), ["http-reuse always", f"server exproxy {PROXY}:{OURS} maxconn 1"]
        )
        self.haproxy.start()

    def tearDown(self) -> None:
        self.haproxy.stop()
        self.exproxy.stop()
        self.assertNotIn("Traceback", self.exproxy.log_text())

    def test_each_person_stays(self) -> None:
        """Eight people over one connection: each keeps a server, both servers have some, all are named."""
        places: dict[str, set[str]] = {}
        for _ in range(3):
            for person in PEOPLE:
                text = self.asked(FRONT, "/owa/", "--interface", person, times=2)
                places.setdefault(person, set()).update(self.names(text))
                self.assertEqual(self.names(text, "x-seen-forwarded-for"), [f"{person}, {PROXY}"] * 2)
        self.assertEqual({len(found) for found in places.values()}, {1}, places)
        self.assertEqual(set.union(*places.values()), set(SERVERS))

    def test_claims_do_not_move_anybody(self) -> None:
        """What a client says of its own address stays to be read, and chooses no server."""
        texts = [
            self.asked(FRONT, "/owa/", "--interface", PEOPLE[0], "-H", f"X-Forwarded-For: 10.0.0.{number}")
            for number in range(6)
        ]
        self.assertEqual(len({name for text in texts for name in self.names(text)}), 1)
        self.assertEqual(self.names(texts[5], "x-seen-forwarded-for"), [f"10.0.0.5, {PEOPLE[0]}, {PROXY}"])

    def test_kept_alive(self) -> None:
        """Twenty requests are one connection to exproxy and one to the server."""
        text = self.asked(FRONT, "/owa/", "--interface", PEOPLE[0], times=20)
        connections = {name.split("/")[0] for name in self.names(text, "x-connection")}
        self.assertEqual((len(self.names(text)), len(connections)), (20, 1))

    def test_bodies(self) -> None:
        """A large page, chunked or not, and an upload come through both."""
        for path in ("/length/large.txt", "/chunked/large.txt"):
            text = self.asked(FRONT, path, "-o", "/dev/null", "-w", "%{http_code} %{size_download}\n")
            self.assertEqual(text, f"200 {(1 << 20)}\n")
        block = self.site.folder / "block"
        block.write_bytes(b"exproxy " * 100_000)
        self.assertRegex(self.asked(FRONT, "/upload/block", "-T", str(block)), "HTTP/1.1 (201|204)")
        self.assertRegex(
            self.asked(FRONT, "/upload/block", "-T", str(block), "-H", "Transfer-Encoding: chunked"),
            "HTTP/1.1 (201|204)",
        )

    def test_refusals(self) -> None:
        """exproxy's refusals reach the client as they are, and the next request is served."""
        # HAProxy passes such a field on.
        text = self.asked(FRONT, "/owa/", "-H", "Content_Length: 5")
        self.assertIn("HTTP/1.1 400 Bad Request", text)
        self.assertEqual(self.names(text), [])
        self.assertIn("HTTP/1.1 405", self.asked(FRONT, "/owa/", "-X", "RPC_IN_DATA"))


class BehindTests(_Chain):
    """exproxy's servers are HAProxies, each with an nginx of its own behind it."""

    def setUp(self) -> None:
        super().setUp()
        self.behind = {
            name: Haproxy(self.site, (address, BEHIND), [f"server nginx {address}:443 ssl"])
            for name, address in SERVERS.items()
        }
        for haproxy in self.behind.values():
            haproxy.start()
        self.exproxy = Exproxy(self.site, _BEHIND.format(ours=OURS, behind=BEHIND))
        self.exproxy.start()

    def tearDown(self) -> None:
        self.exproxy.stop()
        for haproxy in self.behind.values():
            haproxy.stop()
        self.assertNotIn("Traceback", self.exproxy.log_text())

    def test_spread_and_named(self) -> None:
        """Requests of one connection alternate over both, and the client's address arrives behind."""
        text = self.asked(OURS, "/owa/", "--interface", PEOPLE[0], times=4)
        self.assertEqual(sorted(self.names(text)), ["ex1", "ex1", "ex2", "ex2"])
        for value in self.names(text, "x-seen-forwarded-for"):
            self.assertTrue(value.startswith(PEOPLE[0]), value)

    def test_bodies(self) -> None:
        """A large page, chunked or not, and an upload come through both."""
        for path in ("/length/large.txt", "/chunked/large.txt"):
            text = self.asked(OURS, path, "-o", "/dev/null", "-w", "%{http_code} %{size_download}\n")
            self.assertEqual(text, f"200 {(1 << 20)}\n")
        block = self.site.folder / "block"
        block.write_bytes(b"exproxy " * 100_000)
        self.assertRegex(self.asked(OURS, "/upload/block", "-T", str(block)), "HTTP/1.1 (201|204)")

    def test_one_ends(self) -> None:
        """A HAProxy that ends takes its server away and no request with it."""
        self.behind["ex1"].stop()
        text = "".join(self.asked(OURS, "/owa/", times=3) for _ in range(4))
        self.assertEqual(self.names(text), ["ex2"] * 12)
