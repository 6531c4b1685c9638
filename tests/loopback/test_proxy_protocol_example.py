"""etc/proxy-protocol.yaml as it stands in the tree: started, and asked through its relays."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import defer, reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from exproxy.config import load
from exproxy.connect import connect
from exproxy.model import TLSOptions
from exproxy.service import ExproxyService
from exproxy.tls.client import ClientTLS
from tests.loopback.pairs import Recorder

EXAMPLE = Path(__file__).resolve().parents[2] / "etc" / "proxy-protocol.yaml"
CLIENT = "127.0.0.77"


class ExampleTests(TestCase):
    """The example does what its comments say."""

    timeout = 60

    async def _start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="exproxy-proxy-protocol-"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "etc").mkdir()
        text = EXAMPLE.read_text().replace("access-log: stdout", f"access-log: {self.folder}/access.log")
        (self.folder / "etc" / "exproxy.yaml").write_text(text)
        self.service = ExproxyService(load(self.folder / "etc" / "exproxy.yaml"), reactor)
        self.service.bind()
        self.service.startService()
        self.addCleanup(lambda: defer.Deferred.fromCoroutine(self._stop()))
        await self.service.ready

    async def _stop(self) -> None:
        await self.service.stopService()

    async def _up(self) -> None:
        """Until every server has passed its check, those behind the relays too."""
        pools = [pool for built in self.service.built for pool, _ in built.pools]
        for _ in range(1000):
            states = {backend.name: backend.state for pool in pools for backend in pool.backends}
            if set(states.values()) == {"UP"}:
                return
            await deferLater(reactor, 0.02)
        self.fail(f"{states}")

    async def _said(self, port: int, text: bytes, tls: Any = None) -> bytes:
        wire = await connect(reactor, "127.0.0.1", port, timeout=10, tls=tls, bind=(CLIENT, 0))
        heard = Recorder()
        wire.attach(heard)
        wire.write(text)
        await heard.until(lambda: "lost" in heard.words() or "ended" in heard.words())
        wire.abort()
        return heard.bytes()

    async def _records(self, service: str) -> list[dict[str, Any]]:
        for _ in range(500):
            lines = (self.folder / "access.log").read_text().splitlines()
            found = [record for record in map(json.loads, lines) if record["service"] == service]
            if any(record["client"].startswith(CLIENT) for record in found):
                return found
            await deferLater(reactor, 0.02)
        raise AssertionError(lines)

    async def test_example(self) -> None:
        """Clients of the relays are known behind them; without the relay nobody comes in."""
        await self._start()
        self.assertEqual(self.service.config.warnings, ())
        await self._up()
        self.assertIn(b"220 ", await self._said(9125, b"QUIT\r\n"))
        request = b"GET /owa/ HTTP/1.1\r\nHost: outlook.litware.test\r\nConnection: close\r\n\r\n"
        tls = ClientTLS(TLSOptions("none"), "outlook.litware.test")
        self.assertIn(b"HTTP/1.1 200", await self._said(9543, request, tls))
        for service in ("smtp", "https"):
            records = await self._records(service)
            [record] = [each for each in records if each["client"].startswith(f"{CLIENT}:")]
            self.assertTrue(record["via"].startswith("127.0.0.1:"), record)
            # The relay's checks are its own connections.
            others = [each["client"] for each in records if each is not record]
            self.assertTrue(all(each.startswith("127.0.0.1:") for each in others), others)
        self.assertEqual(await self._said(9126, b"EHLO me\r\n"), b"")
