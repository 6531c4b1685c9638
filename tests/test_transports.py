"""What a wire may count on, over a transport of Twisted's and over a stream of ours, on real connections."""

from __future__ import annotations

import hashlib
import select
import socket
from typing import Any

from twisted.internet import reactor, task
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from exproxy.settings import TcpOptions
from exproxy.wire import Wire, reason_text
from tests.loopback.pairs import Far, Recorder, pair, stream_pair


async def turns(count: int = 3) -> None:
    """Turns of the reactor."""
    for _ in range(count):
        await task.deferLater(reactor, 0, lambda: None)


class Contract:
    """The contract; subclasses say what the transport is."""

    timeout = 15

    async def ends(self) -> tuple[Wire, Far, Recorder]:
        wire, far = await self.pair()  # type: ignore[attr-defined]
        user = Recorder()
        wire.attach(user)
        return wire, far, user

    async def test_bytes_both_ways(self) -> None:
        """What is written arrives, small and large, and so does what the other end says."""
        wire, far, user = await self.ends()
        block = hashlib.sha256(b"seed").digest() * 65536
        for data in (b"hello", block):
            wire.write(data)
            far.transport.write(data)
        await far.until(lambda: len(far.data) == 5 + len(block))
        await user.until(lambda: len(user.bytes()) == 5 + len(block))
        self.assertEqual(bytes(far.data), b"hello" + block)
        self.assertEqual(user.bytes(), b"hello" + block)

    async def test_order_of_many_writes(self) -> None:
        """Thousands of writes while the other end does not read arrive in their order."""
        wire, far, user = await self.ends()
        far.transport.pauseProducing()
        parts = [b"%06d" % number * 500 for number in range(3000)]
        for part in parts:
            wire.write(part)
        self.assertIn("filled", user.words())
        far.transport.resumeProducing()
        await far.until(lambda: len(far.data) == 3000 * 3000)
        self.assertEqual(bytes(far.data), b"".join(parts))
        self.assertEqual(user.words()[-1], "drained")

    async def test_addresses(self) -> None:
        """Both addresses are those of the connection."""
        wire, far, _ = await self.ends()
        peer, host = far.transport.getPeer(), far.transport.getHost()
        self.assertEqual((wire.local.host, wire.local.port), (peer.host, peer.port))
        self.assertEqual((wire.peer.host, wire.peer.port), (host.host, host.port))

    async def test_pause_and_resume(self) -> None:
        """Nothing is told while the wire is paused, and all of it afterwards."""
        wire, far, user = await self.ends()
        wire.pause()
        far.transport.write(b"kept")
        await task.deferLater(reactor, 0.02, lambda: None)
        self.assertEqual(user.heard, [])
        wire.resume()
        await user.until(lambda: user.bytes() == b"kept")
        far.transport.write(b" and more")
        await user.until(lambda: user.bytes() == b"kept and more")

    async def test_pausing_at_each_piece(self) -> None:
        """A user that pauses whenever it hears something gets megabytes all the same."""
        _, far, user = await self.ends()
        received = user.received

        def once(wire: Any, data: bytes) -> None:
            received(wire, data)
            wire.pause()
            reactor.callLater(0, wire.resume)

        user.received = once  # type: ignore[method-assign]
        far.transport.write(b"x" * 3_000_000)
        await user.until(lambda: len(user.bytes()) == 3_000_000)
        await turns()

    async def test_back_pressure(self) -> None:
        """A paused wire takes no more than the system's buffers; the rest stays with the sender."""
        wire, far, user = await self.ends()
        wire.pause()
        far.transport.write(b"x" * 30_000_000)
        await task.deferLater(reactor, 0.1, lambda: None)
        self.assertGreater(len(far.transport.dataBuffer) + far.transport._tempDataLen, 1_000_000)
        self.assertEqual(user.heard, [])

    async def test_close_sends_what_is_queued(self) -> None:
        """close() comes after megabytes that were written before it; the wire tells its end."""
        wire, far, user = await self.ends()
        far.transport.pauseProducing()
        wire.write(b"x" * 6_000_000)
        wire.close()
        wire.close()
        far.closes = True
        far.transport.resumeProducing()
        await far.until(lambda: far.gone)
        self.assertEqual(len(far.data), 6_000_000)
        await user.until(lambda: "lost" in user.words())
        self.assertEqual(user.heard[-1], ("lost", "closed"))

    async def test_ends_are_told_outside_of_calls(self) -> None:
        """Neither close() nor abort() tells of the end before it returns."""
        for verb in ("close", "abort"):
            wire, _, user = await self.ends()
            getattr(wire, verb)()
            self.assertNotIn("lost", user.words())
            await user.until(lambda user=user: "lost" in user.words())
            self.assertEqual(user.words(), ["lost"])

    async def test_reset_while_full(self) -> None:
        """A reader that is reset while much is queued: whoever was stopped goes on, the end is told."""
        wire, far, user = await self.ends()
        far.transport.pauseProducing()
        wire.write(b"x" * 12_000_000)
        await user.until(lambda: "filled" in user.words())
        far.transport.abortConnection()
        await user.until(lambda: "lost" in user.words())
        self.assertIn("drained", user.words())

    async def test_reset_while_closing(self) -> None:
        """A reader that is reset while we close ends the wire."""
        wire, far, user = await self.ends()
        far.transport.pauseProducing()
        wire.write(b"x" * 12_000_000)
        wire.close()
        await turns()
        far.transport.abortConnection()
        await user.until(lambda: "lost" in user.words())

    async def test_writing_to_nobody(self) -> None:
        """Writes to a peer that is gone end the wire, and never the writer."""
        wire, far, user = await self.ends()
        far.transport.abortConnection()
        await far.until(lambda: far.gone)
        for _ in range(20):
            wire.write(b"x" * 100_000)
        await user.until(lambda: "lost" in user.words())
        wire.write(b"late")

    async def test_a_mistake_in_the_user(self) -> None:
        """An error in whoever hears the bytes is logged and ends that connection only."""
        wire, far, user = await self.ends()
        _, other, heard = await self.ends()

        def wrong(wire: Any, data: bytes) -> None:
            raise ValueError("a mistake")

        user.received = wrong  # type: ignore[method-assign]
        far.transport.write(b"x")
        await user.until(lambda: "lost" in user.words())
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        other.transport.write(b"y")
        await heard.until(lambda: heard.bytes() == b"y")
        self.assertTrue(wire.gone)


class Resets(Contract):
    """In the system's words."""

    async def test_abort(self) -> None:
        """abort() resets the connection, whatever is queued, and says so in Twisted's words."""
        wire, far, user = await self.ends()
        far.transport.pauseProducing()
        wire.write(b"x" * 6_000_000)
        wire.abort()
        await user.until(lambda: "lost" in user.words())
        self.assertEqual(user.heard[-1][1], reason_text(Failure(ConnectionAborted())))
        far.transport.resumeProducing()
        await far.until(lambda: far.gone)
        self.assertLess(len(far.data), 6_000_000)

    async def test_reset(self) -> None:
        """A reset is told once, in Twisted's words."""
        _, far, user = await self.ends()
        far.transport.abortConnection()
        await user.until(lambda: "lost" in user.words())
        self.assertEqual(user.heard, [("lost", reason_text(Failure(ConnectionLost())))])


class PlainContract(Resets):
    """What TLS has not: half-closes, and a socket whose words are those that were said."""

    async def test_half_close_of_ours(self) -> None:
        """After our end the other side still answers, and its own end is told."""
        wire, far, user = await self.ends()
        wire.write(b"question")
        wire.close(half=True)
        await far.until(lambda: far.eof)
        self.assertEqual(bytes(far.data), b"question")
        far.transport.write(b"answer")
        await user.until(lambda: user.bytes() == b"answer")
        far.transport.loseWriteConnection()
        await user.until(lambda: "ended" in user.words())
        await turns()
        self.assertNotIn("lost", user.words())
        wire.close()
        await user.until(lambda: "lost" in user.words())
        self.assertEqual(user.heard[-1], ("lost", "closed"))

    async def test_half_close_with_much_queued(self) -> None:
        """Our end comes after all that was written before it, and what is written after it is lost."""
        wire, far, _ = await self.ends()
        far.transport.pauseProducing()
        wire.write(b"x" * 6_000_000)
        wire.close(half=True)
        far.transport.resumeProducing()
        await far.until(lambda: far.eof)
        self.assertEqual(len(far.data), 6_000_000)

    async def test_half_close_of_theirs(self) -> None:
        """A FIN is told once, after the bytes before it; we may go on writing."""
        wire, far, user = await self.ends()
        far.transport.write(b"all")
        far.transport.loseWriteConnection()
        await user.until(lambda: user.words() == ["received", "ended"])
        for _ in range(3):
            wire.pause()
            wire.resume()
            await turns()
        wire.write(b"answer")
        await far.until(lambda: far.data == b"answer")
        self.assertEqual(user.words(), ["received", "ended"])

    async def test_a_fin_while_paused(self) -> None:
        """A FIN that comes while the wire is paused is told when it is resumed."""
        wire, far, user = await self.ends()
        wire.pause()
        far.transport.write(b"all")
        far.transport.loseWriteConnection()
        await task.deferLater(reactor, 0.02, lambda: None)
        self.assertEqual(user.heard, [])
        wire.resume()
        await user.until(lambda: user.words() == ["received", "ended"])

    async def test_options(self) -> None:
        """TCP_NODELAY and the options of the service are on the socket."""
        wire, _, _ = await self.ends()
        wire.tune(TcpOptions(60, 30))
        transport: Any = wire.transport
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        self.assertTrue(transport.getTcpNoDelay())
        self.assertTrue(transport.getTcpKeepAlive())
        sock = transport.getHandle()
        self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 60)

    async def test_acknowledged(self) -> None:
        """What the other end has taken is counted, as far as the system tells."""
        wire, far, _ = await self.ends()
        before = wire.acknowledged()
        wire.write(b"0123456789")
        await far.until(lambda: len(far.data) == 10)
        if before:
            self.assertEqual(wire.acknowledged() - before, 10)


class TwistedTests(PlainContract, TestCase):
    """A transport of Twisted's."""

    async def pair(self) -> tuple[Wire, Far]:
        return await pair(self, False)

    async def test_no_socket_to_give(self) -> None:
        """Twisted's transports keep their sockets."""
        wire, _, _ = await self.ends()
        self.assertFalse(wire.detachable)
        self.assertIsNone(wire.detach())


class StreamTests(PlainContract, TestCase):
    """A stream of ours."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    async def pair(self) -> tuple[Wire, Far]:
        return await stream_pair(self)

    async def test_reset_after_a_half_close(self) -> None:
        """A peer that has ended its sending and is reset later is noticed, though nobody writes to it."""
        _, far, user = await self.ends()
        far.transport.loseWriteConnection()
        await user.until(lambda: user.words() == ["ended"])
        far.transport.abortConnection()
        await user.until(lambda: user.words() == ["ended", "lost"])

    async def test_detach(self) -> None:
        """What was kept and what is queued come along, and then the wire is silent."""
        wire, far, user = await self.ends()
        wire.pause()
        wire.dataReceived(b"kept")
        far.transport.pauseProducing()
        wire.write(b"x" * 12_000_000)
        self.assertTrue(wire.detachable)
        given = wire.detach()
        assert given is not None
        self.addCleanup(given.socket.close)
        self.assertEqual(given.unread, b"kept")
        self.assertTrue(0 < len(given.unsent) <= 12_000_000)
        self.assertFalse(wire.detachable)
        for verb in ("pause", "resume", "close", "abort"):
            getattr(wire, verb)()
        wire.write(b"late")
        far.transport.abortConnection()
        await turns()
        self.assertEqual([word for word in user.words() if word != "filled"], [])

    async def test_who_has_none_to_give(self) -> None:
        """A wire that is closing, half closed or gone keeps its socket."""
        for end in ("close", "abort", "half"):
            wire, _, _ = await self.ends()
            wire.close(half=True) if end == "half" else getattr(wire, end)()
            self.assertFalse(wire.detachable)
            self.assertIsNone(wire.detach())
