"""etc/routes.yaml as it stands in the tree: started, asked, and one directory of one server made ill."""

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

EXAMPLE = Path(__file__).resolve().parents[2] / "etc" / "routes.yaml"
DIRECTORIES = ("owa", "ecp", "ews", "activesync", "mapi", "outlook-anywhere", "autodiscover")


class ExampleTests(TestCase):
    """The example does what its comments say."""

    timeout = 100

    async def _start(self) -> ExproxyService:
        folder = Path(tempfile.mkdtemp(prefix="exproxy-routes-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "etc").mkdir()
        text = EXAMPLE.read_text().replace("access-log: stdout", f"access-log: {folder}/access.log")
        text = text.replace("interval: 1s, timeout: 1s", "interval: 0.3s, timeout: 0.3s")
        (folder / "etc" / "routes.yaml").write_text(text)
        self.service = ExproxyService(load(folder / "etc" / "routes.yaml"), reactor)
        self.service.bind()
        self.service.startService()
        self.addCleanup(lambda: defer.Deferred.fromCoroutine(self._stop()))
        await self.service.ready
        return self.service

    async def _stop(self) -> None:
        await self.service.stopService()

    async def _get(self, address: str, port: int, text: str, tls: Any = None) -> bytes:
        wire = await connect(reactor, address, port, timeout=10, tls=tls)
        heard = Recorder()
        wire.attach(heard)
        wire.write(f"{text} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        await heard.until(lambda: "lost" in heard.words() or "ended" in heard.words())
        wire.abort()
        return heard.bytes()

    async def _ask(self, target: str) -> bytes:
        tls = ClientTLS(TLSOptions("none"), "localhost")
        return await self._get("127.0.0.1", 9444, f"GET {target}", tls)

    async def _control(self, target: str) -> dict[str, Any]:
        answer = await self._get("127.0.0.1", 8406, f"POST {target}")
        return json.loads(answer.partition(b"\r\n\r\n")[2])

    def _states(self, server: str) -> dict[str, str]:
        found = {}
        for built in self.service.built:
            for pool, _ in built.pools:
                backend = pool.find(server)
                found[pool.name.partition("/")[2]] = backend.state
        return found

    async def _until(self, server: str, **expected: str) -> None:
        wanted = {**dict.fromkeys(("remote-powershell", *DIRECTORIES), "UP"), **expected}
        for _ in range(500):
            if self._states(server) == wanted:
                return
            await deferLater(reactor, 0.02)
        self.fail(f"{self._states(server)} is not {wanted}")

    async def test_example(self) -> None:
        """Redirects and refusals are answered, and an ill directory moves alone."""
        await self._start()
        self.assertEqual(self.service.config.warnings, ())
        await self._until("r12ex1")
        await self._until("r12ex2")
        self.assertIn(b"Location: /owa/\r\n", await self._ask("/"))
        self.assertIn(b"HTTP/1.1 403", await self._ask("/PowerShell"))
        self.assertIn(b"HTTP/1.1 400", await self._ask("/owa/..%2fpowershell"))
        self.assertIn(b"There is no such application here.", await self._ask("/public/"))
        plain = await self._get("127.0.0.1", 9081, "GET /owa/?a=b")
        self.assertIn(b"Location: https://127.0.0.1:9444/owa/?a=b\r\n", plain)
        self.assertIn(b"200 OK", await self._ask("/OWA/"))
        said = await self._control("/r12ex1/https/ews/refuse")
        self.assertEqual(said["directories"]["ews"], "refuse")
        await self._until("r12ex1", ews="DOWN")
        for _ in range(3):
            self.assertIn(b"x-server: r12ex2", (await self._ask("/ews/exchange.asmx")).lower())
        await self._control("/r12ex1/https/owa/drain")
        await self._until("r12ex1", ews="DOWN", owa="DRAIN")
        await self._control("/r12ex1/https/ews/ok")
        await self._control("/r12ex1/https/owa/ok")
        await self._until("r12ex1")
        self.assertEqual(set(self._states("r12ex2").values()), {"UP"})
        self.assertIn("no directory", (await self._control("/r12ex1/https/nothing/ok"))["error"])
        self.assertIn("no state", (await self._control("/r12ex1/https/ews/dead"))["error"])
