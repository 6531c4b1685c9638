"""Sockets taken out of Twisted's transports: what was under way comes along, and the transport is silent."""

from __future__ import annotations

import gc
import os
import socket
import weakref
from typing import Any

from twisted.internet import reactor, tcp
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from exproxy import detaching
from exproxy.wire import Wire
from tests.loopback.pairs import Far, Recorder, pair


async def accepted(test: Any) -> tuple[Wire, Far]:
    """A wire that was accepted, where pair() gives one that connected."""
    wires: list[Wire] = []
    factory = Factory.forProtocol(lambda: Wire(wires.append))
    factory.noisy = False
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    far = Far()
    client = Factory.forProtocol(lambda: far)
    client.noisy = False
    from twisted.internet.endpoints import TCP4ClientEndpoint

    await TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(client)
    while not wires:
        await deferLater(reactor, 0.001, lambda: None)
    await port.stopListening()

    async def clean() -> None:
        far.transport.abortConnection()
        await far.until(lambda: far.gone)

    test.addCleanup(clean)
    return wires[0], far


class DetachingTests(TestCase):
    """Real connections."""

    timeout = 15

    def taken(self, wire: Wire) -> detaching.Detached:
        self.assertTrue(wire.detachable)
        given = wire.detach()
        assert given is not None
        self.addCleanup(given.socket.close)
        return given

    async def test_both_kinds(self) -> None:
        """A wire that connected and one that was accepted give their sockets, which go on working."""
        for make in (accepted, lambda test: pair(test, False)):
            wire, far = await make(self)
            wire.attach(Recorder())
            given = self.taken(wire)
            self.assertEqual((given.unread, given.unsent), (b"", b""))
            given.socket.send(b"from the socket")
            await far.until(lambda far=far: far.data == b"from the socket")
            self.assertTrue(given.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            self.assertNotIn(given.socket, [getattr(r, "socket", None) for r in reactor.getReaders()])

    async def test_what_is_under_way(self) -> None:
        """Bytes that nobody has been told, and bytes that are not with the system yet, come along."""
        wire, _ = await pair(self, False)
        wire.attach(Recorder())
        wire.pause()
        wire.dataReceived(b"one ")
        wire.dataReceived(b"two")
        wire.write(b"three ")
        wire.write(b"four")
        given = self.taken(wire)
        self.assertEqual((given.unread, given.unsent), (b"one two", b"three four"))

    async def test_half_sent(self) -> None:
        """Of a long write the rest comes along that the system has not taken."""
        wire, far = await pair(self, False)
        wire.attach(Recorder())
        far.transport.pauseProducing()
        wire.write(b"x" * 12_000_000)
        await deferLater(reactor, 0.05, lambda: None)
        given = self.taken(wire)
        self.assertTrue(0 < len(given.unsent) < 12_000_000)
        given.socket.close()
        far.transport.resumeProducing()
        await far.until(lambda: far.eof)
        self.assertEqual(len(far.data) + len(given.unsent), 12_000_000)

    async def test_a_fin_is_not_lost(self) -> None:
        """An end that was told already is told by the socket once more."""
        wire, far = await pair(self, False)
        user = Recorder()
        wire.attach(user)
        far.transport.loseWriteConnection()
        await user.until(lambda: user.words() == ["ended"])
        self.assertEqual(self.taken(wire).socket.recv(10), b"")

    async def test_silent_afterwards(self) -> None:
        """The wire takes every call, does nothing, and tells nobody of the end."""
        wire, far = await pair(self, False)
        user = Recorder()
        wire.attach(user)
        transport: Any = wire.transport
        given = self.taken(wire)
        self.assertFalse(wire.detachable)
        self.assertIsNone(wire.detach())
        for verb in ("pause", "resume", "close", "abort"):
            getattr(wire, verb)()
        wire.close(half=True)
        wire.write(b"late")
        self.assertEqual(wire.acknowledged(), 0)
        for verb in ("loseConnection", "abortConnection", "resumeProducing", "pauseProducing", "doWrite"):
            getattr(transport, verb)()
        transport.write(b"late")
        self.assertIn("gone", repr(wire))
        given.socket.close()
        await far.until(lambda: far.eof)
        await deferLater(reactor, 0, lambda: None)
        self.assertEqual(user.heard, [])
        self.assertEqual(bytes(far.data), b"")

    async def test_in_the_middle_of_a_read(self) -> None:
        """A user that takes the socket when it hears bytes, with more to be written in the same turn."""
        wire, far = await pair(self, False)
        user = Recorder()
        given: list[Any] = []

        def received(wire: Any, data: bytes) -> None:
            wire.write(b"answer")
            given.append(wire.detach())
            user._note("received", data)

        user.received = received  # type: ignore[method-assign]
        wire.attach(user)
        wire.write(b"before ")
        far.transport.write(b"question")
        await user.until(lambda: bool(given))
        self.addCleanup(given[0].socket.close)
        given[0].socket.send(given[0].unsent)
        await far.until(lambda: far.data == b"before answer")

    async def test_who_has_none_to_give(self) -> None:
        """TLS, a wire that is closing, half closed or gone, and other transports keep their sockets."""
        secure, _ = await pair(self, True)
        halved, _ = await pair(self, False)
        halved.close(half=True)
        gone, _ = await pair(self, False)
        gone.abort()
        for wire in (secure, halved, gone):
            wire.attach(Recorder())
            self.assertFalse(wire.detachable)
            self.assertIsNone(wire.detach())
        self.assertFalse(detaching.detachable(object()))

    async def test_an_end_that_twisted_has_begun(self) -> None:
        """Whatever way a transport is ending, it keeps its socket."""
        for verb in ("loseConnection", "abortConnection", "loseWriteConnection"):
            wire, _ = await pair(self, False)
            wire.attach(Recorder())
            getattr(wire.transport, verb)()
            self.assertFalse(wire.detachable)

    async def test_a_transport_of_our_own(self) -> None:
        """A kind of Twisted's transports (links from clients' addresses have one) gives its socket too."""

        class Ours(tcp.Client):
            pass

        wire, far = await pair(self, False)
        wire.attach(Recorder())
        wire.transport.__class__ = Ours
        self.taken(wire).socket.send(b"here")
        await far.until(lambda: far.data == b"here")

    async def test_this_twisted(self) -> None:
        """This Twisted's transports have all that is needed; where one lacks something, none is taken."""
        wire, _ = await pair(self, False)
        self.assertTrue(wire.detachable)
        self.patch(detaching, "_NEEDED", (*detaching._NEEDED, "something_of_another_twisted"))
        self.assertFalse(wire.detachable)

    async def test_nothing_keeps_the_transport(self) -> None:
        """The transport goes when its socket is taken, without the garbage collector; so does the wire."""
        for make in (accepted, lambda test: pair(test, False)):
            wire, _ = await make(self)
            wire.attach(Recorder())
            transport = weakref.ref(wire.transport)
            given = self.taken(wire)
            await deferLater(reactor, 0, lambda: None)
            gc.disable()
            try:
                del wire
                self.assertIsNone(transport())
            finally:
                gc.enable()
            before = len(os.listdir("/proc/self/fd"))
            given.socket.close()
            self.assertEqual(len(os.listdir("/proc/self/fd")), before - 1)
            self.assertFalse([r for r in reactor.getReaders() if type(r) is tcp.Client and not r.connected])
