"""Long HTTP bodies over real connections, lent to the relay on their way."""

from __future__ import annotations

import random
import select
from typing import Any

from twisted.internet import defer, reactor
from twisted.trial.unittest import TestCase

from exproxy.access_log import AccessLog
from exproxy.backend import Backend
from exproxy.persistence.none import NoPersistence
from exproxy.pool import Pool
from exproxy.relay import Sweep
from exproxy.scheduling import RoundRobin
from exproxy.session import Session
from exproxy.store.memory import MemoryStore
from exproxy.virtual import Port, Shared, VirtualService
from protocols.http.conversation import Conversation
from protocols.http.request_ids import RequestIds
from tests.loopback.pairs import pair, stream_pair

BODY = random.Random(3).randbytes(3 << 20)
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(BODY)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)


class LentTests(TestCase):
    """One session between two real connections."""

    timeout = 20

    async def pair(self) -> tuple[Any, Any]:
        return await pair(self, False)

    async def setUp(self) -> None:
        wire, self.client = await self.pair()
        backend, self.server = await self.pair()
        self.records = AccessLog(reactor, None)
        self.backend = Backend("web/a", "a", "127.0.0.1", backend.peer.port)
        shared = Shared(reactor, Sweep(reactor), self.records)
        service: Any = VirtualService("web", shared)
        strategy = NoPersistence()
        pool = Pool("web", [self.backend], RoundRobin(), strategy, MemoryStore(reactor), reactor)
        service.ports[wire.local.listening] = Port("none", pool)
        service.connect = lambda pool, chosen, client, caller: caller.connected(backend)
        self.session = Session(service, wire, Conversation(service, RequestIds(b"t")))
        self.session.begin()
        self.addCleanup(lambda: defer.Deferred.fromCoroutine(self.leave()))

    async def leave(self) -> None:
        """Whatever happened, everything comes back."""
        self.session.cut("the test is over")
        for far in (self.client, self.server):
            far.transport.abortConnection()
            await far.until(lambda far=far: far.gone)
        while self.session.service.sessions:
            pause: defer.Deferred[None] = defer.Deferred()
            reactor.callLater(0.01, pause.callback, None)
            await pause
        self.assertEqual((self.backend.links, self.backend.load), (0, 0))

    async def asked(self, data: bytes, until: bytes) -> None:
        self.client.transport.write(data)
        await self.server.until(lambda: self.server.data.endswith(until))

    async def test_down(self) -> None:
        """A long answer arrives whole, and the next request goes over the same connections."""
        for _ in range(3):
            self.server.data.clear()
            self.client.data.clear()
            await self.asked(GET, b"\r\n\r\n")
            self.server.transport.write(LONG + BODY)
            await self.client.until(lambda: len(self.client.data) >= len(LONG + BODY))
            self.assertEqual(bytes(self.client.data), LONG + BODY)

    async def test_up(self) -> None:
        """A long request arrives whole, with another one right behind it, and both are answered."""
        self.client.transport.write(POST + BODY + GET)
        await self.server.until(lambda: BODY[-100:] in self.server.data)
        self.assertEqual(bytes(self.server.data.partition(b"\r\n\r\n")[2]), BODY)
        self.server.data.clear()
        self.server.transport.write(OK)
        await self.server.until(lambda: self.server.data.endswith(b"\r\n\r\n"))
        self.server.transport.write(OK)
        await self.client.until(lambda: bytes(self.client.data) == OK + OK)

    async def test_client_goes(self) -> None:
        """A client that goes in the middle of a long answer takes the server's connection with it."""
        await self.asked(GET, b"\r\n\r\n")
        self.server.transport.write(LONG + BODY[: 1 << 20])
        await self.client.until(lambda: len(self.client.data) > 1 << 19)
        self.client.transport.abortConnection()
        await self.server.until(lambda: self.server.gone or self.server.eof)

    async def test_server_goes(self) -> None:
        """A server that goes in the middle leaves the client with what it has said, and the end."""
        await self.asked(GET, b"\r\n\r\n")
        self.server.transport.write(LONG + BODY[: 1 << 20])
        self.server.transport.loseConnection()
        await self.client.until(lambda: self.client.gone or self.client.eof)
        self.assertEqual(bytes(self.client.data), LONG + BODY[: 1 << 20])

    async def test_slow_client(self) -> None:
        """A client that does not read stops its server, and gets all when it does."""
        await self.asked(GET, b"\r\n\r\n")
        self.client.transport.pauseProducing()
        self.server.transport.write(LONG + BODY)
        pause: defer.Deferred[None] = defer.Deferred()
        reactor.callLater(0.1, pause.callback, None)
        await pause
        self.client.transport.resumeProducing()
        await self.client.until(lambda: len(self.client.data) >= len(LONG + BODY))
        self.assertEqual(bytes(self.client.data), LONG + BODY)


class StreamLentTests(LentTests):
    """The same over streams."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    async def pair(self) -> tuple[Any, Any]:
        return await stream_pair(self, False)
