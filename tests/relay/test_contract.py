"""What every relay owes, over each combination of TCP and TLS and each way of moving, on real connections."""

from __future__ import annotations

import hashlib
import random
import select
from typing import Any

from twisted.internet import defer, reactor, task
from twisted.trial.unittest import TestCase

from exproxy.model import BACKEND, CLIENT
from exproxy.poller import Poller
from exproxy.relay import Sweep, join, lend
from exproxy.relay.bounded import BoundedRelay
from exproxy.relay.copying import CopyingRelay
from exproxy.relay.joined import LOST
from exproxy.relay.lending import StreamLoan
from exproxy.relay.sockets import SocketRelay
from tests.loopback.pairs import Recorder, pair, stream_pair


class User:
    """Who started the relay."""

    def __init__(self) -> None:
        self.over: defer.Deferred[tuple[Any, str]] = defer.Deferred()

    def finished(self, side: Any, reason: str) -> None:
        self.over.callback((side, reason))


class Slowing(Recorder):
    """The user of a sink that stops its source, as a session does."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source

    def filled(self, wire: Any) -> None:
        super().filled(wire)
        self._source.pause()

    def drained(self, wire: Any) -> None:
        super().drained(wire)
        self._source.resume()


class Contract:
    """The contract; subclasses say where TLS is spoken, and what moves the bytes."""

    timeout = 15

    poller: Poller | None = None

    client_tls = False
    backend_tls = False

    # How the wires come about, whether they speak TLS or not.
    pair = staticmethod(pair)

    async def ends(self) -> tuple[Any, Any, Any, Any]:
        client, client_far = await self.pair(self, self.client_tls)
        backend, backend_far = await self.pair(self, self.backend_tls)
        return client, backend, client_far, backend_far

    def join(self, client: Any, backend: Any, idle: float = 60.0, **more: Any) -> tuple[Any, User]:
        user = User()
        relay = join(client, backend, user, self.sweep, idle=idle, poller=self.poller, **more)
        self.assertIsInstance(relay, SocketRelay if self.poller is not None else CopyingRelay)
        return relay, user

    async def joined(self, idle: float = 60.0) -> tuple[Any, Any, Any, Any]:
        client, backend, client_far, backend_far = await self.ends()
        relay, user = self.join(client, backend, idle)
        return relay, user, client_far, backend_far

    def setUp(self) -> None:
        self.clock = task.Clock()
        self.sweep = Sweep(self.clock)

    async def test_bytes_both_ways(self) -> None:
        """What one end sends the other gets, unchanged, and the counts say how much."""
        relay, _, client, backend = await self.joined()
        client.transport.write(b"hello")
        await backend.until(lambda: backend.data == b"hello")
        backend.transport.write(b"world!")
        await client.until(lambda: client.data == b"world!")
        self.assertEqual(relay.counts, {CLIENT: 5, BACKEND: 6})

    async def test_bulk_is_whole(self) -> None:
        """Megabytes arrive whole and in order in both directions at once."""
        _, _, client, backend = await self.joined()
        block = hashlib.sha256(b"seed").digest() * 32768
        client.transport.write(block * 4)
        backend.transport.write(block * 3)
        await backend.until(lambda: len(backend.data) == len(block) * 4)
        await client.until(lambda: len(client.data) == len(block) * 3)
        self.assertEqual(bytes(backend.data), block * 4)
        self.assertEqual(bytes(client.data), block * 3)

    async def test_close_is_passed_on_after_the_bytes(self) -> None:
        """A backend that sends much and closes: the client gets all of it, then the end."""
        _, user, client, backend = await self.joined()
        client.transport.pauseProducing()
        backend.transport.write(b"x" * 3_000_000)
        backend.transport.loseConnection()
        await task.deferLater(reactor, 0.05, lambda: None)
        client.transport.resumeProducing()
        await client.until(lambda: client.eof)
        self.assertEqual(len(client.data), 3_000_000)
        client.transport.loseConnection()
        side, _ = await user.over
        self.assertIs(side, BACKEND)
        self.assertEqual(len(self.sweep), 0)

    async def test_half_close(self) -> None:
        """A client that ends its sending still gets its answer, over TCP."""
        if self.client_tls:
            return
        _, user, client, backend = await self.joined()
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        if not self.backend_tls:
            await backend.until(lambda: backend.eof)
        await backend.until(lambda: backend.data == b"question")
        backend.transport.write(b"answer")
        await client.until(lambda: client.data == b"answer")
        backend.transport.loseConnection()
        await user.over
        self.assertEqual(len(self.sweep), 0)

    async def test_back_pressure(self) -> None:
        """A client that does not read stops the backend; nothing piles up here beyond a few buffers."""
        relay, _, client, backend = await self.joined()
        client.transport.pauseProducing()
        size = 64_000_000
        chunk = b"y" * 1_000_000
        sent = 0

        def push() -> None:
            nonlocal sent
            if sent < size and not backend.gone and backend.transport.producer is None:
                sent += len(chunk)
                backend.transport.write(chunk)

        loop = task.LoopingCall(push)
        done = loop.start(0.001)
        await task.deferLater(reactor, 0.3, lambda: None)
        loop.stop()
        await done
        self.assertLess(relay.counts[BACKEND], 30_000_000)

    async def test_idle_drops_both(self) -> None:
        """Silence for the idle time drops both ends and says so."""
        _, user, client, backend = await self.joined(idle=30)
        self.clock.pump([1.0] * 32)
        side, reason = await user.over
        self.assertIsNone(side)
        self.assertEqual(reason, "idle")
        await client.until(lambda: client.gone)
        await backend.until(lambda: backend.gone)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_traffic_is_not_idle(self) -> None:
        """A byte in either direction begins the idle time anew."""
        _, user, client, backend = await self.joined(idle=30)
        self.clock.pump([1.0] * 20)
        backend.transport.write(b"ping")
        await client.until(lambda: client.data == b"ping")
        self.clock.pump([1.0] * 20)
        self.assertFalse(user.over.called)

    async def test_reset(self) -> None:
        """An end that is reset takes the other with it."""
        _, user, client, backend = await self.joined()
        client.transport.abortConnection()
        await backend.until(lambda: backend.gone or backend.eof)
        backend.transport.loseConnection()
        side, _ = await user.over
        self.assertIs(side, CLIENT)

    async def test_cut(self) -> None:
        """A cut ends both at once, with the reason that was given."""
        relay, user, _, _ = await self.joined()
        relay.cut("maintenance")
        self.assertEqual(await user.over, (None, "maintenance"))

    async def test_what_was_kept_comes_first(self) -> None:
        """Bytes written before the relay, then bytes that a paused wire kept, then what comes."""
        client, backend, client_far, backend_far = await self.ends()
        for wire in (client, backend):
            wire.pause()
            wire.dataReceived(b"kept ")
            wire.write(b"written ")
        relay, _ = self.join(client, backend)
        for far in (client_far, backend_far):
            far.transport.write(b"new")
        for far in (client_far, backend_far):
            await far.until(lambda far=far: far.data == b"written kept new")
        self.assertEqual(relay.counts, {CLIENT: 8, BACKEND: 8})

    async def test_much_that_was_kept(self) -> None:
        """Megabytes that were written before the relay, to an end that reads late, come first and whole."""
        client, backend, client_far, backend_far = await self.ends()
        client_far.transport.pauseProducing()
        client.write(b"a" * 12_000_000)
        self.join(client, backend)
        backend_far.transport.write(b"b" * 3_000_000)
        await task.deferLater(reactor, 0.05, lambda: None)
        client_far.transport.resumeProducing()
        await client_far.until(lambda: len(client_far.data) == 15_000_000)
        self.assertEqual(bytes(client_far.data), b"a" * 12_000_000 + b"b" * 3_000_000)

    async def test_an_end_before_the_relay(self) -> None:
        """A FIN that the wire has told already is passed on."""
        if self.client_tls or self.backend_tls:
            return
        client, backend, client_far, backend_far = await self.ends()
        heard = Recorder()
        client.attach(heard)
        client_far.transport.write(b"question")
        client_far.transport.loseWriteConnection()
        await heard.until(lambda: heard.words() == ["received", "ended"])
        _, user = self.join(client, backend, ended=[CLIENT])
        await backend_far.until(lambda: backend_far.eof)
        backend_far.transport.write(b"answer")
        backend_far.transport.loseConnection()
        await client_far.until(lambda: client_far.data == b"answer")
        self.assertEqual(await user.over, (CLIENT, "closed"))

    async def test_half_close_of_the_backend(self) -> None:
        """A backend that has said all still hears its client, over TCP."""
        if self.client_tls or self.backend_tls:
            return
        _, user, client, backend = await self.joined()
        backend.transport.write(b"all")
        backend.transport.loseWriteConnection()
        await client.until(lambda: client.eof)
        client.transport.write(b"more")
        await backend.until(lambda: backend.data == b"more")
        client.transport.loseConnection()
        self.assertEqual(await user.over, (BACKEND, "closed"))
        self.assertEqual(bytes(client.data), b"all")

    async def test_what_was_queued_survives_a_reset(self) -> None:
        """A backend that is reset: its client, who reads late, gets what had come over; why is said."""
        relay, user, client, backend = await self.joined()
        client.transport.pauseProducing()
        backend.transport.write(b"x" * 12_000_000)
        moved = -1
        while moved != relay.counts[BACKEND]:
            moved = relay.counts[BACKEND]
            await task.deferLater(reactor, 0.05, lambda: None)
        backend.transport.abortConnection()
        await backend.until(lambda: backend.gone)
        client.transport.resumeProducing()
        await client.until(lambda: client.eof)
        client.transport.loseConnection()
        side, reason = await user.over
        self.assertIs(side, BACKEND)
        if not self.backend_tls:
            self.assertEqual(reason, LOST)
        self.assertGreaterEqual(len(client.data), moved)
        self.assertEqual(len(client.data), relay.counts[BACKEND])

    async def test_cut_while_stalled(self) -> None:
        """A cut does not wait for a client that reads nothing."""
        relay, user, client, backend = await self.joined()
        client.transport.pauseProducing()
        backend.transport.write(b"x" * 12_000_000)
        await task.deferLater(reactor, 0.05, lambda: None)
        relay.cut("maintenance")
        relay.cut("something else")
        self.assertEqual(await user.over, (None, "maintenance"))
        await backend.until(lambda: backend.gone)
        self.assertEqual(len(self.sweep), 0)

    async def test_a_reader_that_never_reads(self) -> None:
        """A client that never reads what a lost backend left it is dropped, after the idle time at most."""
        _, user, client, backend = await self.joined()
        client.transport.pauseProducing()
        backend.transport.write(b"x" * 30_000_000)
        await task.deferLater(reactor, 0.1, lambda: None)
        backend.transport.abortConnection()
        await backend.until(lambda: backend.gone)
        # A relay that is stalled does not read the backend; writing to it may tell of its end.
        client.transport.write(b"still there?")
        await task.deferLater(reactor, 0.05, lambda: None)
        self.clock.pump([1.0] * 62)
        await user.over
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_bounded(self) -> None:
        """A bounded relay moves its bytes and gives the wire back with what came after them."""
        client, backend, client_far, backend_far = await self.ends()
        heir = Recorder()
        counts: list[int] = []
        backend.attach(heir)
        lend(client, backend, 10, heir, counts.append)
        client_far.transport.write(b"0123456789rest")
        await backend_far.until(lambda: backend_far.data == b"0123456789")
        await heir.until(lambda: heir.bytes() == b"rest")
        self.assertEqual(counts, [10])

    async def test_bounded_ends_early(self) -> None:
        """A source that ends before its bytes have moved goes back to the heir, who hears of it."""
        client, backend, client_far, _ = await self.ends()
        heir = Recorder()
        counts: list[int] = []
        lend(client, backend, 10, heir, counts.append)
        client_far.transport.write(b"0123")
        client_far.transport.loseConnection()
        await heir.until(lambda: "ended" in heir.words() or "lost" in heir.words())
        self.assertEqual(counts, [4])

    async def test_bounded_bulk(self) -> None:
        """Many megabytes with bytes of another message behind them: each arrives once, in order, and a
        sink that reads slowly slows the source."""
        client, backend, client_far, backend_far = await self.ends()
        heir, body = Slowing(client), random.Random(1).randbytes(8 << 20)
        counts: list[int] = []
        backend.attach(heir)
        backend_far.transport.pauseProducing()
        self.assertIs(
            type(lend(client, backend, len(body), heir, counts.append)),
            StreamLoan if isinstance(self, (FastTests, PlainStreamsTests)) else BoundedRelay,
        )
        client_far.transport.write(body + b"rest")
        await heir.until(lambda: "filled" in heir.words())
        self.assertEqual(counts, [])
        backend_far.transport.resumeProducing()
        await backend_far.until(lambda: len(backend_far.data) >= len(body))
        await heir.until(lambda: heir.bytes() == b"rest")
        self.assertEqual(counts, [len(body)])
        self.assertEqual(hashlib.sha256(backend_far.data).digest(), hashlib.sha256(body).digest())

    async def test_bounded_stopped(self) -> None:
        """Taken back in the middle: what has moved is counted, and the rest comes to the heir."""
        client, backend, client_far, backend_far = await self.ends()
        heir = Recorder()
        counts: list[int] = []
        relay = lend(client, backend, 1 << 30, heir, counts.append)
        client_far.transport.write(b"a" * 100)
        await backend_far.until(lambda: len(backend_far.data) == 100)
        relay.stop()
        relay.stop()
        client_far.transport.write(b"b" * 100)
        await heir.until(lambda: heir.bytes() == b"b" * 100)
        self.assertEqual((counts, len(backend_far.data)), ([100], 100))

    async def test_bounded_sink_lost(self) -> None:
        """A sink that goes in the middle is told to its own user; the source can be taken back."""
        client, backend, client_far, backend_far = await self.ends()
        heir, other = Recorder(), Recorder()
        counts: list[int] = []
        backend.attach(other)
        relay = lend(client, backend, 64 << 20, heir, counts.append)
        client_far.transport.write(bytes(4 << 20))
        await backend_far.until(lambda: len(backend_far.data) > 0)
        backend_far.transport.abortConnection()
        await other.until(lambda: "lost" in other.words())
        relay.stop()
        self.assertEqual(len(counts), 1)

    async def test_bounded_other_direction(self) -> None:
        """While one direction is lent the other one goes on as it did, to the same end of the source."""
        client, backend, client_far, backend_far = await self.ends()
        heir = Recorder()
        backend.attach(heir)
        lend(client, backend, 20, heir, lambda count: None)
        client_far.transport.write(b"0123456789")
        await backend_far.until(lambda: len(backend_far.data) == 10)
        backend_far.transport.write(b"early answer")
        await heir.until(lambda: heir.bytes() == b"early answer")
        client.write(b"on its way")
        await client_far.until(lambda: client_far.data == b"on its way")
        client_far.transport.write(b"0123456789")
        await backend_far.until(lambda: len(backend_far.data) == 20)


class PlainTests(Contract, TestCase):
    """TCP to TCP."""


class FastTests(Contract, TestCase):
    """TCP to TCP, from socket to socket."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    def setUp(self) -> None:
        super().setUp()
        self.poller = Poller(reactor, self.sweep)
        self.addCleanup(self.poller.close)

    async def pair(self, test: Any, tls: bool) -> tuple[Any, Any]:  # type: ignore[override]
        return await stream_pair(self, tls, self.poller)


class ClientTlsTests(Contract, TestCase):
    """TLS to TCP."""

    client_tls = True


class BackendTlsTests(Contract, TestCase):
    """TCP to TLS."""

    backend_tls = True


class BothTlsTests(Contract, TestCase):
    """TLS to TLS."""

    client_tls = backend_tls = True


class Streams:
    """Both wires are on streams of ours."""

    pair = staticmethod(stream_pair)
    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"


class PlainStreamsTests(Streams, Contract, TestCase):
    """TCP to TCP, copied from stream to stream; what is lent passes from socket to socket."""


class ClientTlsStreamsTests(Streams, ClientTlsTests):
    """TLS to TCP, over streams."""


class BackendTlsStreamsTests(Streams, BackendTlsTests):
    """TCP to TLS, over streams."""


class BothTlsStreamsTests(Streams, BothTlsTests):
    """TLS to TLS, over streams."""
