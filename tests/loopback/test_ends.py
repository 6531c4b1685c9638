"""Ends that come at bad moments: nothing is left, whatever the conversation was doing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.trial.unittest import TestCase

from exproxy import actions, events
from tests.loopback.pairs import client_tls
from tests.loopback.world import Server, ServerFirst, World


class EndsTests(TestCase):
    """Small conversations that end in the middle of something."""

    timeout = 15

    async def test_fails_at_connected(self) -> None:
        """A conversation that fails when its server is there takes that link with it."""

        class Broken(ServerFirst):
            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                if isinstance(event, events.Connected):
                    raise RuntimeError("a mistake")
                return super().handle(event)

        world = World(self, Broken, [Server("a", tls=True)])
        client = await world.client()
        await world.quiet()
        await client.until(lambda: client.gone)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        [far] = world.server("a").far
        await far.until(lambda: far.gone)

    async def test_hangs_up_at_connected(self) -> None:
        """A conversation that hangs up when its server is there leaves at once, and not after a wait."""

        class Hasty(ServerFirst):
            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                if isinstance(event, events.Connected):
                    return [actions.Hangup("changed its mind")]
                return super().handle(event)

        world = World(self, Hasty, [Server("a")])
        client = await world.client()
        await client.until(lambda: client.eof)
        client.transport.loseConnection()
        while not world.server("a").far:
            await world.turn()
        [far] = world.server("a").far
        await far.until(lambda: far.gone or far.eof)
        await world.quiet()
        self.assertEqual(world.records.kept[0]["reason"], "changed its mind")

    async def test_no_conversation(self) -> None:
        """A protocol that cannot even make its conversation drops the client and is logged."""

        def broken(service: Any) -> Any:
            raise RuntimeError("a mistake")

        world = World(self, broken, [Server("a")])
        client = await world.client()
        await client.until(lambda: client.gone)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(world.service.sessions, {})

    async def test_the_access_log_fails(self) -> None:
        """A record that cannot be written does not keep its session alive."""
        world = World(self, ServerFirst, [Server("a", b"a")])

        def fail(record: Any) -> None:
            raise OSError("no space left")

        world.records.write = fail  # type: ignore[method-assign]
        client = await world.client()
        await client.until(lambda: client.data == b"a")
        client.transport.loseConnection()
        await world.quiet()
        await world.turn()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    async def test_cut_while_both_ends_are_full(self) -> None:
        """Two ends that read nothing are cut all the same."""
        world = World(self, ServerFirst, [Server("a")])
        client = await world.client()
        while not world.server("a").far:
            await world.turn()
        [far] = world.server("a").far
        for end in (client, far):
            end.transport.pauseProducing()
            end.transport.write(b"x" * 8_000_000)
        for _ in range(50):
            await world.turn()
        world.service.cut("enough")
        await world.quiet()
        self.assertEqual(world.records.kept[0]["reason"], "enough")

    async def test_both_ends_reset_while_full(self) -> None:
        """Two ends that read nothing and are reset together are noticed, and nothing waits for the idle time."""
        for tls in (False, True):
            world = World(self, ServerFirst, [Server("a", tls=tls)], client_tls=tls)
            client = await world.client()
            if tls:
                client.transport.startTLS(client_tls())
            while not world.server("a").far:
                await world.turn()
            [far] = world.server("a").far
            await far.ready
            for end in (client, far):
                end.transport.pauseProducing()
                end.transport.write(b"x" * 12_000_000)
            for _ in range(100):
                await world.turn()
            client.transport.abortConnection()
            far.transport.abortConnection()
            await world.quiet()
