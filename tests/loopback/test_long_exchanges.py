"""HTTP exchanges that are long, odd, or bound to a log-in, over real connections."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet import defer, reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from exproxy.persistence.companions import Companions
from exproxy.persistence.keys import Secrets
from exproxy.settings import Timeouts
from protocols.http.conversation import Conversation
from tests.http.support import counted
from tests.http.test_channel import CONTINUE, EXPECT, GIGABYTE, OUT_ANSWER, inbound, outbound
from tests.http.test_rts import A1, B1
from tests.loopback.pairs import Far, client_tls
from tests.loopback.world import Server, World

PING = (
    b"POST /Microsoft-Server-ActiveSync?Cmd=Ping HTTP/1.1\r\nHost: mail.example.org\r\n"
    b"Content-Length: 5\r\n\r\nPing!"
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
REFUSAL = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 7\r\n\r\ntoo big"


class Bound(Protocol):
    """A server whose log-in belongs to the connection: `NTLM t1`, `NTLM name`, then only questions."""

    def connectionMade(self) -> None:
        self._data = b""
        self._user = b"nobody"

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, self._data = self._data.partition(b"\r\n\r\n")
            self.transport.write(self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        token = head.partition(b"Authorization: NTLM ")[2].partition(b"\r\n")[0]
        if token == b"TlRM":
            return b"HTTP/1.1 401 x\r\nWWW-Authenticate: NTLM TlRM\r\nContent-Length: 0\r\n\r\n"
        if token:
            self._user = token
        body = self._user + b" " + head.split(b" ")[1]
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class BoundServer(Server):
    """Two of them are behind one round robin."""

    def listen(self) -> int:
        factory = Factory.forProtocol(Bound)
        factory.noisy = False
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        return int(self.port.getHost().port)


def web(test: TestCase, *servers: Server, **service: Any) -> World:
    """A service of HTTP before these, round robin."""
    ids = counted()
    return World(test, lambda served: Conversation(served, ids), servers, **service)


class LongTests(TestCase):
    """Time on an injected clock."""

    timeout = 20

    async def test_35_minutes(self) -> None:
        """An ActiveSync Ping gets its answer after 35 minutes; between two requests a minute is the end."""
        world = web(self, Server("a"), timeouts=Timeouts(answer=2400.0))
        clock = world.service.clock = Clock()
        client = await world.client()
        client.transport.write(PING)
        while not world.server("a").far:
            await world.turn()
        [server] = world.server("a").far
        await server.until(lambda: server.data.endswith(b"Ping!"))
        for _ in range(35):
            clock.advance(60)
            await world.turn()
        self.assertFalse(client.eof)
        server.transport.write(ANSWER)
        await client.until(lambda: bytes(client.data) == ANSWER)
        clock.advance(59)
        await world.turn()
        self.assertFalse(client.eof)
        clock.advance(2)
        await client.until(lambda: client.eof)
        client.transport.loseConnection()

    async def test_silent_stream(self) -> None:
        """A streaming answer may be silent for its idle time, again and again, and not longer."""
        world = web(self, Server("a"), timeouts=Timeouts(idle=1860.0))
        clock = world.service.clock = Clock()
        client = await world.client()
        client.transport.write(PING)
        while not world.server("a").far:
            await world.turn()
        [server] = world.server("a").far
        await server.until(lambda: server.data.endswith(b"Ping!"))
        server.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.until(lambda: client.data.endswith(b"\r\n\r\n"))
        for count in range(1, 4):
            clock.advance(1800)
            server.transport.write(b"1\r\n.\r\n")
            await client.until(lambda count=count: client.data.count(b"1\r\n.\r\n") == count)
        clock.advance(1861)
        await client.until(lambda: client.eof)
        client.transport.loseConnection()


class ChannelTests(TestCase):
    """Outlook Anywhere over two servers with round robin."""

    timeout = 20

    async def _answering(self, server: Server, number: int, end: bytes) -> Far:
        while len(server.far) < number:
            await defer.Deferred.fromCoroutine(self._turn())
        far = server.far[number - 1]
        await far.until(lambda: bytes(far.data).endswith(end))
        return far

    async def _turn(self) -> None:
        done: defer.Deferred[None] = defer.Deferred()
        reactor.callLater(0.001, done.callback, None)
        await done

    async def test_both_on_one(self) -> None:
        """IN and OUT of each virtual connection meet, in either order; the next one goes elsewhere."""
        world = web(self, Server("a"), Server("b"))
        world.pool._companions = Companions(Secrets((b"test",)).keys("test", ()))
        a, b = world.server("a"), world.server("b")
        for turn, (first, second) in enumerate(((A1, B1), (B1, A1))):
            cookie = bytes([turn + 1]) * 16
            used = len(a.far), len(b.far)
            for opening in (first, second):
                body = opening[:32] + cookie + opening[48:]
                client = await world.client()
                request = inbound(EXPECT) if opening is B1 else outbound(EXPECT)
                client.transport.write(request)
                await client.until(lambda client=client: bytes(client.data) == CONTINUE)
                client.transport.write(body)
                number = sum(map(len, (a.far, b.far)))
                while len(a.far) + len(b.far) == number:
                    await world.turn()
            grown = len(a.far) - used[0], len(b.far) - used[1]
            self.assertEqual(grown, ((2, 0), (0, 2))[turn])
        self.assertEqual(world.pool.split, 0)

    async def test_streams_both_ways(self) -> None:
        """What one side sends is at the other before any message has ended."""
        world = web(self, Server("a"))
        client = await world.client()
        client.transport.write(outbound(body=A1))
        server = await self._answering(world.server("a"), 1, A1)
        server.transport.write(OUT_ANSWER + b"\x05\x00")
        await client.until(lambda: client.data.endswith(b"\x05\x00"))
        self.assertIn(b"%d" % GIGABYTE, client.data)
        other = await world.client()
        other.transport.write(inbound(body=B1))
        server = await self._answering(world.server("a"), 2, B1)
        for piece in (b"one", b"two"):
            other.transport.write(piece)
            await server.until(lambda piece=piece, server=server: bytes(server.data).endswith(piece))


class EarlyAnswerTests(TestCase):
    """Answers that come before the request has ended."""

    timeout = 20

    async def _refused(self, tls: bool) -> None:
        world = web(self, Server("a"), client_tls=tls)
        client = await world.client()
        if tls:
            client.ready = defer.Deferred()
            client.transport.startTLS(client_tls())
            await client.ready
        client.transport.write(
            b"POST /ews HTTP/1.1\r\nHost: mail.example.org\r\nContent-Length: 9000000\r\n\r\n"
        )
        while not world.server("a").far:
            await world.turn()
        [server] = world.server("a").far
        await server.until(lambda: b"\r\n\r\n" in server.data)
        server.transport.write(REFUSAL)
        server.transport.loseConnection()
        client.transport.write(b"x" * 400_000)
        await client.until(lambda: client.data.endswith(b"too big"))
        client.transport.loseConnection()
        await world.quiet()

    async def test_close_with_unread_body(self) -> None:
        """A server that refuses a large body and closes is heard, though the body is still on its way."""
        await self._refused(tls=False)

    async def test_close_with_unread_body_over_tls(self) -> None:
        """The same behind TLS."""
        await self._refused(tls=True)

    async def test_body_outlives_the_answer(self) -> None:
        """A server that answers early and stays gets the rest of the body, and then the next request."""
        world = web(self, Server("a"))
        client = await world.client()
        client.transport.write(
            b"POST /ews HTTP/1.1\r\nHost: mail.example.org\r\nContent-Length: 8\r\n\r\nfour"
        )
        while not world.server("a").far:
            await world.turn()
        [server] = world.server("a").far
        await server.until(lambda: server.data.endswith(b"four"))
        server.transport.write(ANSWER)
        await client.until(lambda: bytes(client.data) == ANSWER)
        client.transport.write(b"more" + PING)
        await server.until(lambda: server.data.endswith(b"Ping!"))
        self.assertIn(b"fourmorePOST", bytes(server.data))
        self.assertEqual(len(world.server("a").far), 1)


class BoundTests(TestCase):
    """Log-ins that belong to connections."""

    timeout = 60

    async def test_200_users(self) -> None:
        """200 users over 200 connections, their requests interleaved at random: nobody sees another."""
        world = web(self, BoundServer("a"), BoundServer("b"))
        users = {b"user%d" % number: await world.client() for number in range(200)}
        steps = [user for user in users for _ in range(5)]
        random.Random(3).shuffle(steps)
        turn: dict[bytes, int] = dict.fromkeys(users, 0)
        for asked, user in enumerate(steps, 1):
            client, number = users[user], turn[user]
            turn[user] += 1
            token = (b"Authorization: NTLM %b\r\n" % (b"TlRM" if number == 0 else user)) * (number < 2)
            client.transport.write(b"GET /%d HTTP/1.1\r\nHost: mail\r\n%b\r\n" % (number, token))
            if asked % 20 == 0:
                await world.turn()
        for user, client in users.items():
            await client.until(lambda client=client, user=user: client.data.endswith(user + b" /4"))
            for number in range(1, 5):
                self.assertEqual(bytes(client.data).count(user + b" /%d" % number), 1)
            self.assertEqual(client.data.count(b"user"), 4)
            self.assertNotIn(b"nobody", client.data)
