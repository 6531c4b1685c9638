"""Requests that were damaged on their way: each is answered or cut, and none fails inside."""

from __future__ import annotations

import random

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from exproxy.admin.api.access import Access, Door
from exproxy.admin.api.app import App
from exproxy.admin.api.channel import AdminFactory
from exproxy.admin.api.limits import Limits
from exproxy.config import AdminToken
from tests.admin.fakes import FakePlane

HOST = b"Host: 127.0.0.1:8404\r\n"
TOKEN = b"operate-operate-operate"
REQUESTS = (
    b"GET /api/v1/status HTTP/1.1\r\n" + HOST + b"\r\n",
    b"PUT /api/v1/servers/ex1/state HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    b'Content-Length: 17\r\n\r\n{"state":"drain"}',
    b"GET /api/v1/events?since=1 HTTP/1.1\r\n" + HOST + b"Accept: text/event-stream\r\n"
    b"Last-Event-ID: 3\r\n\r\n",
    b"POST /api/v1/explain HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    b'Transfer-Encoding: chunked\r\n\r\n11\r\n{"service":"https\r\n2\r\n"}\r\n0\r\n\r\n',
    b"DELETE /api/v1/groups/mapi/entries?client=1.2.3.4 HTTP/1.1\r\n" + HOST + b"Cookie: exproxy=x; a\r\n"
    b"Origin: http://127.0.0.1:8404\r\nIf-Match: *\r\n\r\n",
    b"POST /login HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + TOKEN + b"\r\n"
    b'Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{"token": "x"}',
    b"GET /readyz HTTP/1.0\r\nHost: x\r\nIf-None-Match: a\r\n\r\n",
)  # fmt: skip
PIECES = (
    b"\r\n", b"%", b"%ff", b"..", b"/", b"\x00", b"\xff", b"9" * 30, b"A" * 3000, b"Host: a\r\n", b"{", b"&",
)  # fmt: skip


def damaged(chance: random.Random) -> bytes:
    """One or two requests with up to five bytes or pieces changed."""
    data = bytearray(chance.choice(REQUESTS) * chance.choice((1, 1, 2)))
    for _ in range(chance.randrange(6)):
        at = chance.randrange(len(data))
        how = chance.random()
        if how < 0.4:
            data[at] = chance.randrange(256)
        elif how < 0.6:
            del data[at : at + chance.randrange(1, 9)]
        else:
            data[at:at] = chance.choice(PIECES)
        if not data:
            break
    return bytes(data)


class FuzzTests(SynchronousTestCase):
    def ask(self, data: bytes, access: Access, clock: Clock) -> bytes:
        """What comes back over one connection."""
        app = App(FakePlane(), Door(loopback=True), access, clock)
        factory = AdminFactory(clock, Limits(), app.answer)
        here = IPv4Address("TCP", "127.0.0.1", 8404)
        channel = factory.buildProtocol(here)
        transport = StringTransport(here, IPv4Address("TCP", "127.0.0.1", 50000))
        transport.abortConnection = transport.loseConnection
        channel.makeConnection(transport)
        channel.dataReceived(data)
        channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((clock.getDelayedCalls(), app.hub.readers), ([], []), data)
        return transport.value()

    def test_damaged(self) -> None:
        """Two thousand of them, without and with tokens: no error of ours, no traceback, no token."""
        chance = random.Random(20261125)
        for number in range(2000):
            clock = Clock()
            tokens = (AdminToken("anna", "operate", TOKEN),) if number % 2 else ()
            data = damaged(chance)
            answer = self.ask(data, Access(clock.seconds, tokens), clock)
            self.assertNotIn(b"500 Internal", answer, data)
            self.assertNotIn(b"Traceback", answer, data)
            self.assertNotIn(TOKEN, answer, data)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_twice(self) -> None:
        """Two origins, hosts or tokens are none that may: not the first, not the last."""
        clock = Clock()
        for line in (HOST, b"Origin: http://127.0.0.1:8404\r\n", b"Authorization: Bearer " + TOKEN + b"\r\n"):
            data = REQUESTS[0].replace(HOST, HOST + line * 2 if line != HOST else line * 2)
            access = Access(clock.seconds, (AdminToken("anna", "operate", TOKEN),))
            self.assertNotIn(b" 200 ", self.ask(data, access, clock))
