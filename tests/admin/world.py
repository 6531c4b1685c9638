"""An administration over the fake plane on a real socket, and a client for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import TestCase

from exproxy.admin.api.limits import Limits
from exproxy.admin.api.pages import Pages
from exproxy.admin.service import AdminService
from exproxy.config import load
from tests.admin.fakes import FakePlane
from tests.folders import folder

REST = "servers: {ex1: 192.0.2.1}\nservices: {s: {protocol: tcp, listen: 25}}\n"
READ, OPERATE = "read-read-read-read", "operate-operate-operate"
TOKENS = f"tokens: [{{name: grafana, token: {READ}}}, {{name: anna, role: operate, token: {OPERATE}}}]"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as what it is."""
        return json.loads(self.body)


class Client(Protocol):
    """Collects what comes; ``over`` fires at the end."""

    def __init__(self) -> None:
        self.data = b""
        self.over: Deferred[bytes] = Deferred()
        self._waiting: list[tuple[bytes, Deferred[bytes]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        for wanted, there in list(self._waiting):
            if wanted in self.data:
                self._waiting.remove((wanted, there))
                there.callback(self.data)

    def until(self, wanted: bytes) -> Deferred[bytes]:
        """Fires once that has come."""
        there: Deferred[bytes] = Deferred()
        if wanted in self.data:
            there.callback(self.data)
        else:
            self._waiting.append((wanted, there))
        return there

    def connectionLost(self, reason: Any = None) -> None:
        self.over.callback(self.data)
        for _, there in self._waiting:
            there.errback(AssertionError(f"the connection ended after {self.data!r}"))


def parsed(data: bytes) -> Answer:
    """One answer that ended with its connection."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


class AdminTestCase(TestCase):
    """Starts the administration; it is stopped at the test's end, and nothing of it is left."""

    timeout = 20

    async def begin(
        self, admin: str = "", *, limits: Limits = Limits(), pages: Pages | None = None, ready: bool = True
    ) -> None:
        """``admin`` is what stands in the section besides the address."""
        self.folder = folder(self)
        file = Path(self.folder, "exproxy.yaml")
        more = f", {admin}" if admin else ""
        text = (
            f"{{listen: {{address: 127.0.0.1, port: 0}}{more}}}" if "listen" not in admin else f"{{{admin}}}"
        )
        file.write_text(f"state-dir: state\nadmin: {text}\n{REST}", encoding="utf-8")
        self.plane = FakePlane()
        self.service = AdminService(
            load(file, host_name="lb.test"),
            reactor,
            self.plane,
            ready=lambda: ready,
            limits=limits,
            pages=pages,
        )
        self.service.bind()
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.port = int(self.service.urls[0].rpartition(":")[2])
        self.socket = self.folder / "state" / "exproxy.sock"

    async def connect(self, unix: bool = False) -> Client:
        """A client's connection; gone at the test's end."""
        if unix:
            endpoint: Any = UNIXClientEndpoint(reactor, str(self.socket))
        else:
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        client: Client = await connectProtocol(endpoint, Client())

        def gone() -> Deferred[bytes]:
            client.transport.abortConnection()
            return client.over

        self.addCleanup(gone)
        return client

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        close: bool = True,
    ) -> bytes:
        """The bytes of a request; a body that is not bytes is sent as JSON."""
        sent = {"Host": f"127.0.0.1:{self.port}"}
        raw = b""
        if body is not None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
            sent["Content-Length"] = str(len(raw))
        if close:
            sent["Connection"] = "close"
        sent.update(headers or {})
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items() if value)
        return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + raw

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        unix: bool = False,
        **headers: str,
    ) -> Answer:
        """One request on a connection of its own; header names with _ for -."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        client = await self.connect(unix)
        client.transport.write(self.request(method, path, body, sent))
        return parsed(await client.over)
