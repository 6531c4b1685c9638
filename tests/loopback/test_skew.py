"""How 2,000 clients behind ten addresses spread over two servers."""

from __future__ import annotations

import base64
import random
import re
from collections import Counter
from typing import Any

from twisted.internet import defer, reactor
from twisted.trial.unittest import TestCase

from exproxy.connect import connect
from tests.certificates import pem
from tests.loopback.configured import WebServer, port_of, running
from tests.loopback.pairs import Recorder, client_tls

CLIENTS = 2000
ADDRESSES = [f"127.0.2.{number}" for number in range(1, 11)]
OUTLOOKS = [f"Microsoft Office/16.0 (Windows NT 10.0; Outlook {build})" for build in (4266, 5149, 6001, 7030)]

CONFIGURATION = """
servers: {{a: 127.0.0.11, b: 127.0.0.12}}
services:
  web:
    protocol: https
    listen: {{address: 127.0.0.1, port: 0}}
    certificate: {certificate}
    backend: {{port: {port}, tls: false}}
    persistence: {persistence}
    check: connect
"""


def kind_of(number: int) -> str:
    """Half are browsers, a fifth have Basic credentials, the rest are Outlook with NTLM."""
    return _KINDS[number % 10]


_KINDS = ("browser",) * 5 + ("basic",) * 2 + ("outlook",) * 3


def request_of(number: int, cookie: bytes = b"") -> bytes:
    """What that client asks."""
    kind = kind_of(number)
    lines = ["Host: outlook.litware.test"]
    path = "/owa/"
    if kind == "browser":
        lines.append(f"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/{120 + number % 3}")
    elif kind == "basic":
        path = "/Microsoft-Server-ActiveSync?Cmd=Ping"
        token = base64.b64encode(f"LITWARE\\user{number}:secret".encode()).decode()
        lines += ["User-Agent: Apple-iPhone/1402.100", f"Authorization: Basic {token}"]
    else:
        path = "/mapi/emsmdb/"
        lines += [f"User-Agent: {OUTLOOKS[number // 100 % 4]}", "Authorization: NTLM TlRMTVNTUAABAAAA"]
    if cookie:
        lines.append(f"Cookie: {cookie.decode()}")
    return f"GET {path} HTTP/1.1\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n"


class SkewTests(TestCase):
    """Over real HTTPS, each client on a connection of its own."""

    timeout = 100

    async def _ask(self, port: int, number: int, cookie: bytes = b"") -> tuple[str, bytes]:
        """(the server's name, the cookie that was given) for one client."""
        # As in life, one address is the head office's: two fifths of all clients sit behind it.
        draw = number // 10 % 20
        source = ADDRESSES[0] if draw < 8 else ADDRESSES[1 + draw % 9]
        wire = await connect(reactor, "127.0.0.1", port, timeout=10, tls=client_tls(), bind=(source, 0))
        heard = Recorder()
        wire.attach(heard)
        wire.write(request_of(number, cookie))
        await heard.until(lambda: b"from " in heard.bytes() or "lost" in heard.words())
        wire.abort()
        await heard.until(lambda: "lost" in heard.words())
        found = re.search(rb"X-Server: (\w+)", heard.bytes())
        given = re.search(rb"Set-Cookie: ([^;]+)", heard.bytes())
        return (found[1].decode() if found else "none"), (given[1] if given else b"")

    async def _spread(self, persistence: str, clients: int) -> dict[str, Counter[str]]:
        ports = []
        first = reactor.listenTCP(0, WebServer(b"a"), interface="127.0.0.11")
        number = first.getHost().port
        ports = [first, reactor.listenTCP(number, WebServer(b"b"), interface="127.0.0.12")]
        for port in ports:
            self.addCleanup(port.stopListening)
        service = await running(
            self,
            CONFIGURATION,
            certificate=pem("localhost", "127.0.0.1"),
            port=number,
            persistence=persistence,
        )
        where = port_of(service, "web")
        spread: dict[str, Counter[str]] = {kind: Counter() for kind in set(_KINDS)}
        arriving = list(range(clients))
        random.Random(59531).shuffle(arriving)
        waiting = iter(arriving)

        async def worker() -> None:
            for client in waiting:
                server, cookie = await self._ask(where, client)
                spread[kind_of(client)][server] += 1
                if cookie and client % 20 == 0:
                    again, _ = await self._ask(where, client, cookie)
                    self.assertEqual(again, server)

        await defer.gatherResults([defer.Deferred.fromCoroutine(worker()) for _ in range(20)])
        return spread

    def _show(self, persistence: str, spread: dict[str, Counter[str]]) -> None:
        for kind, counts in sorted(spread.items()):
            shares = ", ".join(f"{server} {count}" for server, count in sorted(counts.items()))
            print(f"\n{persistence:10} {kind:8} {shares}; skew {skew(counts):.1%}", end="")

    async def test_super_http(self) -> None:
        """Browsers and users with Basic credentials differ by less than a tenth between the servers."""
        spread = await self._spread("super-http", CLIENTS)
        self._show("super-http", spread)
        self.assertEqual(sum(sum(counts.values()) for counts in spread.values()), CLIENTS)
        for kind in ("browser", "basic"):
            self.assertLess(skew(spread[kind]), 0.1, (kind, spread[kind]))
        # Outlook with NTLM shows only its User-Agent and its address: 40 fingerprints for 600 clients.
        self.assertEqual(set(spread["outlook"]), {"a", "b"})

    async def test_source_ip(self) -> None:
        """With source-ip all clients of one address meet one server: ten addresses are ten lumps."""
        spread = await self._spread("source-ip", CLIENTS)
        self._show("source-ip", spread)
        together: Counter[str] = sum(spread.values(), Counter())
        self.assertEqual(sum(together.values()), CLIENTS)
        # Two fifths are one of the lumps, and nothing can divide it.
        self.assertGreater(skew(together), 0.1, together)


def skew(counts: Any) -> float:
    """The difference between the two servers, as a part of all."""
    a, b = counts.get("a", 0), counts.get("b", 0)
    return abs(a - b) / max(1, a + b)
