"""What a conversation is told of why there is no server: full, or none that is well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.trial.unittest import TestCase

from exproxy import actions, events
from exproxy.settings import WhenFull
from tests.loopback.world import Server, ServerFirst, World
from tests.pools import go_down


class UnavailableTests(TestCase):
    """Sessions whose pool has no server for them."""

    timeout = 15

    def world(self, *servers: Server, limit: int | None = 1) -> World:
        """A world whose conversations note each Unavailable in ``self.told``."""
        self.told: list[events.Unavailable] = []
        told = self.told

        class Noting(ServerFirst):
            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                if isinstance(event, events.Unavailable):
                    told.append(event)
                return super().handle(event)

        world = World(self, Noting, servers)
        for backend in world.pool.backends:
            backend.limit = limit
        return world

    async def served(self, world: World) -> Any:
        """A client that has its server."""
        client = await world.client()
        await client.until(lambda: client.data != b"")
        return client

    async def refused(self, world: World) -> events.Unavailable:
        """What is told to the conversation of a client that gets none."""
        client = await world.client()
        await client.until(lambda: client.data == b"sorry\r\n")
        return self.told[-1]

    async def test_full(self) -> None:
        """A server that is well and at its limit is worth another try."""
        world = self.world(Server("a", b"a"))
        await self.served(world)
        told = await self.refused(world)
        self.assertEqual((told.full, told.reason), (True, "every server of test has reached its limit"))

    async def test_down(self) -> None:
        """Where none is well, limits are no matter; nor where all failed to answer this client."""
        world = self.world(Server("a", b"a"), limit=None)
        await world.server("a").close()
        self.assertFalse((await self.refused(world)).full)
        go_down(world.pool, "a")
        told = await self.refused(world)
        self.assertEqual((told.full, told.reason), (False, "no server of test is usable (a DOWN)"))

    async def test_full_after_a_failure(self) -> None:
        """One has failed this client, the other one is full: full it is."""
        world = self.world(Server("a", b"a"), Server("b", b"b"))
        await world.server("b").close()
        await self.served(world)
        self.assertTrue((await self.refused(world)).full)
        self.assertEqual(len(world.failed), 1)

    async def test_waited_in_vain(self) -> None:
        """Who has waited for a place and got none is told the same."""
        world = self.world(Server("a", b"a"))
        world.pool.when_full = WhenFull("wait", 0.05)
        await self.served(world)
        told = await self.refused(world)
        self.assertEqual((told.full, world.pool.waiting), (True, 0))
