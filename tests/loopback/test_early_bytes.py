"""Much that comes before its server is there: whole and in order, whatever was held where."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from twisted.trial.unittest import TestCase

from exproxy import actions, events
from exproxy.model import CLIENT
from exproxy.settings import Limits
from tests.loopback.pairs import client_tls
from tests.loopback.world import Server, ServerFirst, World

STREAM = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(16384))


class Counted:
    """Picks at the first bytes, sends the first ten itself, lends the client out for the rest of the
    stream but its last ten, and forwards those itself again."""

    def __init__(self, service: Any) -> None:
        self._first = b""
        self._left = len(STREAM)

    def handle(self, event: events.Event) -> Iterable[actions.Action]:
        if isinstance(event, events.Began):
            self._facts = event.facts
        elif isinstance(event, events.Data) and event.side is CLIENT:
            if not self._first:
                self._first = event.data
                return [actions.Pick(self._facts)]
            self._left -= len(event.data)
            return [actions.ToBackend(event.data)]
        elif isinstance(event, events.Connected):
            self._left -= len(self._first)
            return [
                actions.ToBackend(self._first),
                actions.Relay((CLIENT,), self._left - 10),
            ]
        elif isinstance(event, events.Relayed):
            self._left -= event.count
        return ()


class EarlyBytesTests(TestCase):
    """Half a megabyte that begins before the server is chosen."""

    timeout = 15

    async def _through(self, conversation: Any, tls: bool, held: int) -> None:
        world = World(self, conversation, [Server("a")], client_tls=tls, limits=Limits(max_held=held))
        client = await world.client()
        if tls:
            client.transport.startTLS(client_tls())
        client.transport.write(STREAM)
        while not world.server("a").far:
            await world.turn()
        far = world.server("a").far[0]
        await far.until(lambda: len(far.data) >= len(STREAM))
        self.assertEqual(hashlib.sha256(far.data).hexdigest(), hashlib.sha256(STREAM).hexdigest())

    async def test_relayed(self) -> None:
        """An endless relay moves what was held first, over TCP."""
        await self._through(ServerFirst, False, 1000)

    async def test_relayed_from_tls(self) -> None:
        """An endless relay moves what was held first, over TLS, which delivers after it was paused."""
        await self._through(ServerFirst, True, 1000)

    async def test_lent(self) -> None:
        """A bounded relay moves what was held first, over TCP."""
        await self._through(Counted, False, 1000)

    async def test_lent_from_tls(self) -> None:
        """A bounded relay moves what was held first, over TLS."""
        for held in (100, 1000, 20_000, 65536):
            await self._through(Counted, True, held)
