"""Ends that come at bad moments: nothing is left, whatever the conversation was doing."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet import reactor, task
from twisted.internet.error import ConnectError
from twisted.trial.unittest import TestCase

from exproxy import actions, client_session, events, links
from exproxy.model import BACKEND
from exproxy.settings import Timeouts
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

    async def test_choosing_fails(self) -> None:
        """A scheduling that fails at the second choice: the client is refused and does not wait for ever."""
        world = World(self, ServerFirst, [Server("a"), Server("b")])
        await world.server("a").close()
        await world.server("b").close()
        pick, picks = world.pool.pick, []

        def broken(*arguments: Any) -> Any:
            picks.append(arguments)
            if len(picks) == 2:
                raise RuntimeError("a mistake")
            return pick(*arguments)

        world.pool.pick = broken  # type: ignore[method-assign, assignment]
        client = await world.client()
        await client.until(lambda: client.eof)
        self.assertEqual(client.data, b"sorry\r\n")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_a_server_that_does_not_answer(self) -> None:
        """A server that does not even accept is given up after timeouts.connect, and the next is tried."""
        world = World(self, ServerFirst, [Server("a"), Server("b", b"b")], timeouts=Timeouts(connect=0.1))
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            nobody.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(nobody.getsockname())
            world.pool.backends[0].port = nobody.getsockname()[1]
            for _ in range(2):
                client = await world.client()
                await client.until(lambda client=client: client.data == b"b")
            for filler in fillers:
                filler.close()
        self.assertEqual(set(world.failed), {("a", "L4TOUT", "no answer")})

    async def test_no_conversation(self) -> None:
        """A protocol that cannot even make its conversation drops the client and is logged."""

        def broken(service: Any) -> Any:
            raise RuntimeError("a mistake")

        world = World(self, broken, [Server("a")])
        with contextlib.suppress(
            ConnectError
        ):  # the reset may come before the client knows that it was connected
            client = await world.client()
            await client.until(lambda: client.gone)
        world.clients.clear()
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
        """Two ends that read nothing and are reset together are noticed, without the idle time."""
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

    async def test_slow_and_silent_readers(self) -> None:
        """At the end a client that reads on is waited for, one that has stopped reading is dropped."""
        self.patch(client_session, "LINGER", 0.2)

        class Parting(ServerFirst):
            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                if isinstance(event, events.Data):
                    return [actions.ToClient(b"x" * 30_000_000), actions.Hangup("done")]
                return ()

        world = World(self, Parting, [Server("a")])
        slow, silent = await world.client(), await world.client()
        for client in (slow, silent):
            client.transport.write(b"?")
        silent.transport.pauseProducing()
        await slow.until(lambda: len(slow.data) > 1_000_000)
        steps = 0
        while not slow.eof:
            # Ten pauses, each longer than half the patience, and bytes between them.
            slow.transport.pauseProducing()
            await task.deferLater(reactor, 0.12 if steps < 10 else 0.0, lambda: None)
            slow.transport.resumeProducing()
            await world.turn()
            steps += 1
        self.assertEqual(len(slow.data), 30_000_000)
        await world.turn()
        silent.transport.resumeProducing()
        await silent.until(lambda: silent.gone)
        self.assertLess(len(silent.data), 30_000_000)
        slow.transport.loseConnection()
        await world.quiet()

    async def test_a_server_that_keeps_its_half_open(self) -> None:
        """A link that is closed and whose server does not answer that is dropped after a while."""
        self.patch(links, "LINGER", 0.1)

        class Closing(ServerFirst):
            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                if isinstance(event, events.Connected):
                    return [actions.SetDeadline("close", 0.1)]
                if isinstance(event, events.Deadline):
                    return [actions.Close(BACKEND)]
                return super().handle(event)

        world = World(self, Closing, [Server("a", tls=True)])
        await world.client()
        while not world.server("a").far:
            await world.turn()
        [far] = world.server("a").far
        await far.ready
        far.transport.pauseProducing()
        [session_] = world.service.sessions
        while len(session_._ends) > 1:
            await world.turn()
        self.assertEqual(world.pool.backends[0].links, 0)
