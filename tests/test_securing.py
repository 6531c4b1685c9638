"""Connecting through a poller, with and without TLS: what holds of Twisted's connects holds of these."""

from __future__ import annotations

import select
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from exproxy.connect import connect
from exproxy.poller import Poller
from exproxy.relay import Sweep
from exproxy.stream import Stream
from exproxy.tls.secured import SecuredStream
from tests import test_connect
from tests.loopback.pairs import Recorder, client_tls


class PolledTests(test_connect.ConnectTests):
    """The same connects, by the poller."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    def setUp(self) -> None:
        super().setUp()
        self.poller = Poller(reactor, Sweep(reactor))
        self.patch(test_connect, "connect", self.connect)
        self.addCleanup(self.over)

    def connect(self, *args: Any, **words: Any) -> Any:
        """connect() with the poller."""
        return connect(*args, poller=self.poller, **words)

    async def over(self) -> None:
        """Nothing is watched, nobody waits."""
        for _ in range(3):
            await deferLater(reactor, 0, lambda: None)
        self.assertEqual((len(self.poller), len(self.poller.alarms)), (0, 0))
        self.assertEqual(len(self.poller.handshakes), 0)
        self.poller.close()

    async def test_on_streams(self) -> None:
        """The wires are on streams, plain and secured ones, whose sessions are kept for the next."""
        plain = await self.connect(reactor, "127.0.0.1", self.listen(test_connect.Silent), timeout=5)
        self.assertIs(type(plain.transport), Stream)
        tls = client_tls()
        port = self.tls_server()
        for number in range(2):
            wire = await self.connect(reactor, "127.0.0.1", port, timeout=5, tls=tls)
            self.assertIs(type(wire.transport), SecuredStream)
            self.assertEqual(wire.tls.resumed, bool(number))
            heard = Recorder()
            wire.attach(heard)
            self.factory.there[-1].transport.write(b"220 ready")
            await heard.until(lambda heard=heard: heard.bytes() == b"220 ready")
            wire.abort()
        plain.attach(Recorder())
        plain.abort()
        await self.until_gone()
