"""What the lab's tests share: a server on free ports, raw connections, a reactor with a hand-moved clock."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from exproxy.lab.certificates import LabCertificates, lab_certificates
from exproxy.lab.server import LabServer
from exproxy.lab.store import MailStore

PASSWORD = "secret"
_made: list[LabCertificates] = []


def certificates() -> LabCertificates:
    """One pair for all tests: making keys takes time."""
    if not _made:
        folder = tempfile.mkdtemp(prefix="exproxy-lab-")
        atexit.register(shutil.rmtree, folder, True)
        _made.append(lab_certificates(Path(folder)))
    return _made[0]


class Raw(Protocol):
    """Collects bytes; `has` fires when enough have come, `lost` at the end, for the `reason`."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: Deferred[None] = Deferred()
        self.reason: Any = None
        self._wanted: tuple[bytes, Deferred[bytes]] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._look()

    def _look(self) -> None:
        if self._wanted is not None and self._wanted[0] in self.data:
            wanted, self._wanted = self._wanted[1], None
            wanted.callback(self.data)

    def has(self, text: bytes) -> Deferred[bytes]:
        fired: Deferred[bytes] = Deferred()
        self._wanted = (text, fired)
        self._look()
        return fired

    def connectionLost(self, reason: Any = None) -> None:
        self.reason = reason
        self.lost.callback(None)


class HandMoved(Clock):
    """Time stands still until advanced; connections are real."""

    def connectTCP(self, *args: Any, **kw: Any) -> Any:
        return reactor.connectTCP(*args, **kw)


class LabCase(TestCase):
    """A server named l12ex1 with the services named, stopped after each test, which checks for leftovers."""

    services: tuple[str, ...] = ()
    timeout = 20

    def setUp(self) -> Deferred[None]:
        self.store = MailStore(PASSWORD)
        self.server = self.make("l12ex1")
        self.addCleanup(self.server.stop)
        return self.server.start()

    def make(self, name: str) -> LabServer:
        ports = dict.fromkeys(self.services, 0)
        return LabServer(name, "127.0.0.1", ports, reactor, self.store, certificates().server)

    def in_thread(self, function: Any, *args: Any) -> Deferred[Any]:
        return deferToThread(function, *args)

    async def connect(self, service: str) -> Raw:
        factory = Factory.forProtocol(Raw)
        factory.noisy = False
        raw = await TCP4ClientEndpoint(reactor, "127.0.0.1", self.server.port(service)).connect(factory)

        def close() -> Any:
            if raw.lost.called:
                return None
            raw.transport.abortConnection()
            return raw.lost

        self.addCleanup(close)
        return raw
