"""etc/msrpc.yaml as it stands in the tree, over the lab's servers."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import defer, reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from exproxy.actions import Pass
from exproxy.asking import Asking
from exproxy.config import load
from exproxy.service import ExproxyService
from protocols.msrpc.binding import CONGESTION, LIMIT_EXCEEDED, bind, read_nak
from protocols.msrpc.calls import bind_to
from protocols.msrpc.names import KNOWN, named
from protocols.msrpc.pdu import BIND_NAK
from protocols.msrpc.survey import check
from tests.loopback.rpc_client import RpcClient

EXAMPLE = Path(__file__).resolve().parents[2] / "etc" / "msrpc.yaml"
EMSMDB, NSPI = KNOWN["emsmdb"], KNOWN["nspi"]


class MsrpcTests(TestCase):
    """The example does what its comments and docs/msrpc.md say."""

    timeout = 60

    async def start(self, edit: Callable[[str], str] = lambda text: text) -> ExproxyService:
        """The example, with quicker checks, and edited."""
        folder = Path(tempfile.mkdtemp(prefix="exproxy-msrpc-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "etc").mkdir()
        self.log = folder / "access.log"
        text = EXAMPLE.read_text().replace("access-log: stdout", f"access-log: {self.log}")
        text = text.replace("interval: 1s, timeout: 1s", "interval: 0.2s, timeout: 0.2s")
        (folder / "etc" / "msrpc.yaml").write_text(edit(text))
        self.service = ExproxyService(load(folder / "etc" / "msrpc.yaml"), reactor)
        self.service.bind()
        self.service.startService()
        self.addCleanup(lambda: defer.Deferred.fromCoroutine(self.stop()))
        await self.service.ready
        for name in ("epm", "rpc", "ab"):
            await self.until(name, "UP", "UP")
        return self.service

    async def stop(self) -> None:
        await self.service.stopService()
        for pool in self.pools().values():
            self.assertEqual([(b.links, b.load) for b in pool.backends], [(0, 0)] * 2)

    def pools(self) -> dict[str, Any]:
        return {pool.name: pool for built in self.service.built for pool, _ in built.pools}

    async def until(self, service: str, *states: str) -> None:
        """Both servers have those states in that service, and are to be had."""
        for _ in range(500):
            pool = self.pools()[service]
            if tuple(b.state for b in pool.backends) == states and all(b.port for b in pool.backends):
                return
            await deferLater(reactor, 0.02)
        self.fail(f"{pool} is not {states}")

    async def client(self, port: int) -> RpcClient:
        client = await RpcClient.to(port)
        self.addCleanup(lambda: defer.Deferred.fromCoroutine(client.close()))
        return client

    async def survey(self, address: str, port: int) -> dict[str, int]:
        """Interface -> port, as a mapper says."""
        done: defer.Deferred[Any] = defer.Deferred()
        Asking(reactor, check, "", (address, port), None, 5, done.callback).start()
        outcome = await done
        self.assertIsInstance(outcome, Pass)
        return {named(e.tower.interface): e.tower.port for e in outcome.learnt if e.tower.host == address}

    async def server_of(self, client: RpcClient, interface: Any = EMSMDB, group: int = 0) -> tuple[str, int]:
        """Who answers that client, and the association's number."""
        ack = await client.bind(interface, group=group)
        text = (await client.call(0)).decode()
        found = re.search(r"server=(\w+)", text)
        assert found is not None, text
        return found[1], ack.group

    async def set(self, server: str, service: str, state: str) -> None:
        """Make a simulated service ill, or well."""
        assert self.service.lab is not None
        await defer.maybeDeferred(self.service.lab.servers[server].set_mode, service, state)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    async def test_towers(self) -> None:
        """The servers' ports were learnt, and what the mapper says leads to ours."""
        await self.start()
        self.assertEqual(self.service.config.warnings, ())
        direct = await self.survey("127.0.0.11", 1135)
        self.assertEqual(direct, {"emsmdb": 5931, "async-emsmdb": 5931, "nspi": 5932, "rfri": 5932})
        self.assertEqual([b.port for b in self.pools()["rpc"].backends], [5931, 5931])
        through = await self.survey("127.0.0.1", 9135)
        self.assertEqual(through, {"emsmdb": 9531, "async-emsmdb": 9531, "nspi": 9532, "rfri": 9532})

    async def test_own_mapper(self) -> None:
        """With answer: proxy no server's mapper is needed, and only what can be had is said."""
        await self.start(lambda text: text.replace("{epm: {others: hide}}", "{epm: {answer: proxy}}"))
        expected = {"epmapper": 9135, "emsmdb": 9531, "async-emsmdb": 9531, "nspi": 9532, "rfri": 9532}
        self.assertEqual(await self.survey("127.0.0.1", 9135), expected)
        for server in ("l12ex1", "l12ex2"):
            await self.set(server, "epm", "stop")
        await self.until("epm", "DOWN", "DOWN")
        self.assertEqual(await self.survey("127.0.0.1", 9135), expected)
        for server in ("l12ex1", "l12ex2"):
            await self.set(server, "ab", "stop")
        await self.until("ab", "DOWN", "DOWN")
        del expected["nspi"], expected["rfri"]
        self.assertEqual(await self.survey("127.0.0.1", 9135), expected)

    async def test_one_server_on_all_ports(self) -> None:
        """Mapper, Client Access, Address Book of an address are on one server; the log says what they did."""
        await self.start()
        seen = {(await self.server_of(await self.client(9531)))[0] for _ in range(3)}
        seen.add((await self.server_of(await self.client(9532), NSPI))[0])
        self.assertEqual(len(seen), 1)
        client = await self.client(9531)
        _, group = await self.server_of(client)
        await client.close()
        for _ in range(200):
            found = [r for r in self.records() if r.get("association") == f"{group:#010x}"]
            if found:
                break
            await deferLater(reactor, 0.01)
        self.assertEqual(found[0]["interfaces"], ["emsmdb"])
        self.assertEqual(found[0]["operations"], {"emsmdb": {"0": 1}})
        self.assertEqual(self.pools()["rpc"].find(seen.pop()).links, 3)

    async def test_associations(self) -> None:
        """Round robin, no other memory: 20 times of 20 the second connection joins the first one."""
        await self.start(lambda text: text.replace("{group: mapi}}", "{group: mapi, fallback: none}}"))
        servers = []
        for _ in range(20):
            first, second = await self.client(9531), await self.client(9531)
            server, group = await self.server_of(first)
            servers.append(server)
            self.assertEqual(await self.server_of(second, group=group), (server, group))
            await first.close()
            third = await self.client(9531)
            self.assertEqual(await self.server_of(third, group=group), (server, group))
        self.assertEqual({servers.count("l12ex1"), servers.count("l12ex2")}, {10})

    async def test_one_interface_stops(self) -> None:
        """Client Access stopped on one server: DOWN there for it, UP for the rest; its clients move."""
        await self.start()
        server, _ = await self.server_of(await self.client(9531))
        other = {"l12ex1": "l12ex2", "l12ex2": "l12ex1"}[server]
        await self.set(server, "rpc", "refuse")
        states = ["DOWN" if b.server == server else "UP" for b in self.pools()["rpc"].backends]
        await self.until("rpc", *states)
        await self.until("ab", "UP", "UP")
        await self.until("epm", "UP", "UP")
        self.assertEqual((await self.server_of(await self.client(9531)))[0], other)

    async def test_refusals(self) -> None:
        """No server: a bind_nak that says it will pass; all at their limits: one that says so."""
        await self.start(
            lambda text: re.sub(
                r"(l12ex\d): (127.0.0.1\d)$", r"\1: {address: \2, limit: 1}", text, flags=re.M
            )
        )
        busy = [await self.client(9531) for _ in range(2)]
        for client in busy:
            await client.bind(EMSMDB)
        late = await self.client(9531)
        late.wire.write(bind_to(EMSMDB))
        answer = await late.next()
        self.assertEqual((answer.header.kind, read_nak(answer)), (BIND_NAK, LIMIT_EXCEEDED))
        for server in ("l12ex1", "l12ex2"):
            await self.set(server, "rpc", "stop")
        await self.until("rpc", "DOWN", "DOWN")
        late = await self.client(9531)
        late.wire.write(bind(7, 0, ()))
        answer = await late.next()
        self.assertEqual(
            (answer.header.kind, answer.header.call, read_nak(answer)), (BIND_NAK, 7, CONGESTION)
        )
        await late.heard.until(lambda: late.over)

    async def test_another_port(self) -> None:
        """A server that comes back at another port is found, by a client before the check too."""
        await self.start()
        for pool in self.pools().values():
            for backend in pool.backends:
                if pool.name == "rpc":
                    # As after a restart: nobody is where the port was learnt.
                    backend.port = 5999
        server, _ = await self.server_of(await self.client(9531))
        self.assertEqual(self.pools()["rpc"].find(server).port, 5931)
