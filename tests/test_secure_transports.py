"""What a wire may count on under TLS, over a transport of Twisted's and over a stream of ours."""

from __future__ import annotations

import select
import socket
from typing import Any

from twisted.internet import reactor, task
from twisted.internet.interfaces import ISSLTransport
from twisted.trial.unittest import TestCase

from exproxy.wire import Wire
from tests.loopback.pairs import Far, pair, stream_pair
from tests.test_transports import Contract, Resets, turns


class SecureContract(Contract):
    """The contract without half-closes and without sockets to give, which TLS has not."""

    async def test_what_is_told(self) -> None:
        """The wire has the TLS fact, and its transport says that it is one of TLS."""
        wire, _, _ = await self.ends()
        assert wire.tls is not None
        self.assertEqual(wire.tls.version, "TLSv1.3")
        self.assertIsNotNone(wire.tls.certificate)
        self.assertTrue(ISSLTransport.providedBy(wire.transport))
        self.assertFalse(wire.detachable)

    async def test_a_half_close_is_none(self) -> None:
        """Asking for a half-close does nothing."""
        wire, far, _ = await self.ends()
        wire.close(half=True)
        wire.write(b"still here")
        await far.until(lambda: far.data == b"still here")

    async def test_their_goodbye(self) -> None:
        """close_notify ends the wire, after the bytes before it."""
        _, far, user = await self.ends()
        far.transport.write(b"all")
        far.transport.loseConnection()
        await user.until(lambda: "lost" in user.words())
        self.assertEqual(user.heard, [("received", b"all"), ("lost", "closed")])

    async def test_a_truncation(self) -> None:
        """TCP that ends without close_notify is a loss, told after the bytes before it."""
        _, far, user = await self.ends()
        far.transport.write(b"half")
        await user.until(lambda: user.bytes() == b"half")
        # Below TLS.
        raw(far).shutdown(socket.SHUT_WR)
        await user.until(lambda: "lost" in user.words())
        self.assertNotEqual(user.heard[-1], ("lost", "closed"))


class TwistedTests(SecureContract, TestCase):
    """A transport of Twisted's, which has words of its own for a reset."""

    async def pair(self) -> tuple[Wire, Far]:
        return await pair(self, True)


class StreamTests(SecureContract, Resets, TestCase):
    """A stream of ours."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    async def pair(self) -> tuple[Wire, Far]:
        return await stream_pair(self, True)

    async def test_paused_wires_are_told_nothing(self) -> None:
        """Nothing decrypted is kept for a paused wire: it stays where it is, encrypted."""
        wire, far, user = await self.ends()
        wire.pause()
        for _ in range(20):
            far.transport.write(b"x" * 1000)
            await turns()
        await task.deferLater(reactor, 0.02, lambda: None)
        self.assertFalse(wire._kept)
        wire.resume()
        await user.until(lambda: len(user.bytes()) == 20_000)


def raw(far: Far) -> socket.socket:
    """The socket below a TLS transport of Twisted's."""
    transport: Any = far.transport
    found: socket.socket = transport.socket
    return found
