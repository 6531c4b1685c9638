"""A whole exproxy of one configuration on a clock, with clients and servers that are a call away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from exproxy.admin.local import LocalPlane
from exproxy.admin.moments import Day
from exproxy.backend import Backend
from exproxy.build import Built
from exproxy.config import load
from exproxy.pool import Pool
from exproxy.service import ExproxyService
from exproxy.session import Session
from tests.folders import folder

# The time of day when the clock reads 0.
BEGIN = 1_760_000_000.0


class Transport(StringTransport):
    """What a Wire sees of TCP, with an end that can be called for."""

    def __init__(self, peer: str, local: tuple[str, int], port: int = 40000) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", peer, port), hostAddress=IPv4Address("TCP", *local))
        self.wire: Any = None
        self.gone = False

    def made(self, wire: Any) -> None:
        self.wire = wire
        wire.makeConnection(self)

    def end(self) -> None:
        if not self.gone:
            self.gone = True
            self.wire.connectionLost(Failure(ConnectionDone()))

    def loseConnection(self) -> None:
        self.end()

    def abortConnection(self) -> None:
        self.end()

    def loseWriteConnection(self) -> None:
        """Nobody reads here to the end."""

    def setTcpNoDelay(self, on: bool) -> None:
        """TCP."""

    def setTcpKeepAlive(self, on: bool) -> None:
        """TCP."""

    def getHandle(self) -> None:
        """There is no socket."""
        return None


class World:
    """``service`` of the configuration ``text``, which listens without sockets; its ``plane`` is started."""

    def __init__(self, test: Any, text: str, *, kept: bool = True) -> None:
        self.folder = folder(test)
        file = self.folder / "exproxy.yaml"
        file.write_text(
            f"state-dir: {self.folder}\naccess-log: false\nadmin: {{}}\nsecret: {'s' * 40}\n{text}",
            encoding="utf-8",
        )
        self.reactor: Any = MemoryReactorClock()
        self.service = ExproxyService(load(file), self.reactor)
        # That reactor says that it takes descriptors, and has no sockets.
        self.service.traffic.poller = None
        for built in self.service.built:
            built.service.poller = None
        self.day = Day(self.reactor, lambda: BEGIN + self.reactor.seconds())
        self.plane = LocalPlane(self.service, kept=kept, day=self.day)
        for built in self.service.built:
            for listen in built.config.listens:
                built.listening(listen, listen.port)
        self.plane.start()
        test.addCleanup(self.close)

    def close(self) -> None:
        """Everybody goes; nothing may be left."""
        self.service.cut()
        self.plane.stop()
        self.service.access_log.close()

    def restarted(self, test: Any) -> LocalPlane:
        """Another plane over the same state folder, as after a restart."""
        plane = LocalPlane(self.service, day=self.day)
        plane.start()
        test.addCleanup(plane.stop)
        return plane

    def built(self, name: str) -> Built:
        return next(each for each in self.service.built if each.service.name == name)

    def pool(self, name: str) -> Pool:
        """By its own name: "web", "web/ews"."""
        return next(pool for each in self.service.built for pool, _ in each.pools if pool.name == name)

    def backend(self, name: str) -> Backend:
        """By its own name: "web/a"."""
        found = self.pool(name.rpartition("/")[0]).find(name.rpartition("/")[2])
        assert found is not None
        return found

    def client(self, service: str, source: str = "192.0.2.1", port: int = 40000) -> Transport:
        """A client that has connected to the service's first listening port."""
        built = self.built(service)
        listen = built.config.listens[0]
        transport = Transport(source, ("192.0.2.200", listen.port), port)
        wire = built.entrance(listen).buildProtocol(transport.getPeer())
        assert wire is not None
        transport.made(wire)
        return transport

    def session(self, client: Transport) -> Session:
        return next(
            session
            for built in self.service.built
            for session in built.service.sessions
            if session.client.wire is client.wire
        )

    def asked(self) -> str | None:
        """Which host was connected to last, and nobody answered yet; None: nobody."""
        return self.reactor.tcpClients[-1][0] if self.reactor.tcpClients else None

    def answer(self) -> Transport:
        """The server that was asked last takes the connection."""
        host, port, factory, *_ = self.reactor.tcpClients.pop()
        transport = Transport(host, ("192.0.2.200", 50000), port)
        factory.doStart()
        transport.made(factory.buildProtocol(None))
        return transport

    def until(self, done: Callable[[], bool], most: float = 600.0) -> None:
        """Let the time go by, second by second."""
        begun = self.reactor.seconds()
        while not done():
            assert self.reactor.seconds() - begun < most, "it never came"
            self.reactor.advance(1.0)
