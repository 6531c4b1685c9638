"""A whole exproxy in the test's own process, from the text of a configuration."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import defer, reactor
from twisted.internet.protocol import Factory, Protocol

from exproxy.config import load
from exproxy.service import ExproxyService


class Answering(Protocol):
    """A web server of ten lines: answers every request head with its name."""

    def connectionMade(self) -> None:
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, self._data = self._data.partition(b"\r\n\r\n")
            body = self.factory.body(head)
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nX-Server: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (self.factory.name, len(body), body)
            )


class WebServer(Factory):
    """Named ``name``; ``heads`` are the request heads that came, ``connections`` how many are open."""

    protocol = Answering
    noisy = False

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.heads: list[bytes] = []

    def body(self, head: bytes) -> bytes:
        self.heads.append(head)
        return b"from " + self.name


async def running(test: Any, text: str, **words: object) -> ExproxyService:
    """Start what ``text`` describes (``{words}`` filled in); stopped and looked over at the test's end."""
    folder = Path(tempfile.mkdtemp(prefix="exproxy-test-"))
    test.addCleanup(shutil.rmtree, folder)
    file = folder / "exproxy.yaml"
    head = f"state-dir: {folder}\naccess-log: {folder}/access.log\n"
    file.write_text(head + text.format(**words), encoding="utf-8")
    service = ExproxyService(load(file), reactor)
    service.bind()
    service.startService()

    async def stop() -> None:
        await service.stopService()
        for built in service.built:
            for pool, _ in built.pools:
                test.assertEqual([(b.links, b.load) for b in pool.backends], [(0, 0)] * len(pool.backends))

    test.addCleanup(lambda: defer.Deferred.fromCoroutine(stop()))
    await service.ready
    return service


def port_of(service: ExproxyService, name: str) -> int:
    """The real port of a service that has one."""
    [built] = [built for built in service.built if built.config.name == name]
    return next(iter(built.service.ports))
