"""Sessions over real connections: choosing, redispatch, holding, refusing, ending, and nothing left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet import reactor, task
from twisted.trial.unittest import TestCase

from exproxy import actions, events
from exproxy.actions import Hangup, Hold, Idle, Pick, Relay, Release, Retry, StartTLS, ToBackend, ToClient
from exproxy.model import BACKEND, CLIENT, TLS
from exproxy.settings import Limits, Networks, Timeouts
from exproxy.virtual import Rules
from tests.loopback.pairs import client_tls
from tests.loopback.world import BySource, Server, ServerFirst, World


class SessionTests(TestCase):
    """The session, with small conversations."""

    timeout = 15

    async def test_relays(self) -> None:
        """A client is given a server, and bytes go both ways."""
        world = World(self, ServerFirst, [Server("a", b"hello from a\r\n")])
        client = await world.client()
        await client.until(lambda: client.data == b"hello from a\r\n")
        client.transport.write(b"hi")
        server = world.server("a").far[0]
        await server.until(lambda: server.data == b"hi")
        client.transport.loseConnection()
        await world.quiet()
        [record] = world.records.kept
        self.assertEqual(record["server"], "a")
        self.assertEqual((record["bytes_in"], record["bytes_out"]), (2, 14))
        self.assertEqual(record["reason"], "client closed")

    async def test_counts(self) -> None:
        """A conversation counts one, or several at once, in its service's counts."""

        class Counting(ServerFirst):
            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                counted = [actions.Count("calls"), actions.Count("calls", 3), actions.Count("binds")]
                return [*(counted if isinstance(event, events.Began) else ()), *super().handle(event)]

        world = World(self, Counting, [Server("a", b"a")])
        client = await world.client()
        await client.until(lambda: client.data == b"a")
        self.assertEqual(world.service.counts, {"calls": 4, "binds": 1})

    async def test_round_robin(self) -> None:
        """Clients go from server to server."""
        world = World(self, ServerFirst, [Server("a", b"a"), Server("b", b"b")])
        seen = []
        for _ in range(4):
            client = await world.client()
            await client.until(lambda client=client: client.data)
            seen.append(bytes(client.data))
        self.assertEqual(sorted(seen), [b"a", b"a", b"b", b"b"])

    async def test_persistence(self) -> None:
        """One source stays on one server."""
        world = World(self, ServerFirst, [Server("a", b"a"), Server("b", b"b")], persistence=BySource())
        seen = set()
        for _ in range(4):
            client = await world.client()
            await client.until(lambda client=client: client.data)
            seen.add(bytes(client.data))
            client.transport.loseConnection()
            await world.quiet()
        self.assertEqual(len(seen), 1)
        self.assertEqual([r["persistence"] for r in world.records.kept], ["new", "hit", "hit", "hit"])

    async def test_redispatch(self) -> None:
        """A server that refuses is passed over, its health is told, the client sees nothing of it."""
        world = World(self, ServerFirst, [Server("a", b"a"), Server("b", b"b")])
        await world.server("a").close()
        for _ in range(2):
            client = await world.client()
            await client.until(lambda client=client: client.data == b"b")
        self.assertEqual(world.failed[0][:2], ("a", "L4CON"))

    async def test_nothing_left(self) -> None:
        """Where no server answers the client is refused in the protocol's words."""
        world = World(self, ServerFirst, [Server("a"), Server("b")])
        for server in world.servers:
            await server.close()
        client = await world.client()
        await client.until(lambda: client.eof)
        self.assertEqual(client.data, b"sorry\r\n")
        client.transport.loseConnection()
        await world.quiet()
        self.assertEqual(world.records.kept[0]["reason"], "refused: no server")

    async def test_early_bytes_are_held(self) -> None:
        """What a client says before its server is there arrives there, once and in order."""
        world = World(self, ServerFirst, [Server("a")])
        client = await world.client()
        client.transport.write(b"one")
        client.transport.write(b"two")
        await task.deferLater(reactor, 0.02, lambda: None)
        server = world.server("a").far[0]
        client.transport.write(b"three")
        await server.until(lambda: server.data == b"onetwothree")

    async def test_tls_in_and_out(self) -> None:
        """TLS may end here and begin anew towards the server; the facts say so."""
        facts = []

        class Noting(ServerFirst):
            def handle(self, event: Any) -> Any:
                if isinstance(event, events.Began):
                    facts.append(event.facts)
                return super().handle(event)

        world = World(self, Noting, [Server("a", b"secret", tls=True)], client_tls=True)
        client = await world.client()
        client.transport.startTLS(client_tls())
        await client.until(lambda: client.data == b"secret")
        self.assertEqual(facts[0][TLS].server_name, "localhost")
        self.assertEqual(facts[0][TLS].version, "TLSv1.3")

    async def test_rubbish_instead_of_tls(self) -> None:
        """A client that speaks no TLS on a TLS port is dropped, and logged."""
        world = World(self, ServerFirst, [Server("a")], client_tls=True)
        client = await world.client()
        client.transport.write(b"GET / HTTP/1.0\r\n\r\n" * 10)
        await client.until(lambda: client.gone)
        await world.quiet()
        self.assertEqual(len(world.records.kept), 1)
        self.assertEqual(world.server("a").far, [])

    async def test_silence_instead_of_tls(self) -> None:
        """A client that says nothing on a TLS port is dropped in time."""
        world = World(
            self, ServerFirst, [Server("a")], client_tls=True, timeouts=Timeouts(tls_handshake=0.05)
        )
        client = await world.client()
        await client.until(lambda: client.gone)
        await world.quiet()
        self.assertEqual(world.records.kept[0]["reason"], "TLS handshake timed out")

    async def test_who_may_not_come(self) -> None:
        """deny, the limits of connections and of one source: closed at once."""
        denied = World(self, ServerFirst, [Server("a")], rules=Rules(deny=Networks.parse(["127.0.0.0/8"])))
        client = await denied.client()
        await client.until(lambda: client.gone)
        few = World(self, ServerFirst, [Server("a", b"a")], limits=Limits(per_source=1))
        first = await few.client()
        await first.until(lambda: first.data == b"a")
        second = await few.client()
        await second.until(lambda: second.gone)
        first.transport.loseConnection()
        await few.quiet()
        third = await few.client()
        await third.until(lambda: third.data == b"a")

    async def test_retry(self) -> None:
        """A conversation that finds its server wanting is given another one, and the server is blamed."""

        class Picky(ServerFirst):
            def handle(self, event: Any) -> Any:
                if isinstance(event, events.Connected):
                    return ()
                if isinstance(event, events.Data) and event.side is BACKEND:
                    if event.data.startswith(b"4"):
                        return [Retry("421")]
                    return [ToClient(event.data), Relay()]
                return super().handle(event)

        world = World(self, Picky, [Server("a", b"421 no"), Server("b", b"220 yes")])
        for _ in range(2):
            client = await world.client()
            await client.until(lambda client=client: client.data == b"220 yes")
        self.assertEqual(world.failed[0], ("a", "L7RSP", "421"))

    async def test_all_unwilling(self) -> None:
        """Retries end: when every server was tried, the client is refused."""

        class Unwilling(ServerFirst):
            def handle(self, event: Any) -> Any:
                return [Retry("no")] if isinstance(event, events.Connected) else super().handle(event)

        world = World(self, Unwilling, [Server("a"), Server("b")])
        client = await world.client()
        await client.until(lambda: client.eof)
        self.assertEqual(client.data, b"sorry\r\n")
        self.assertEqual({name for name, _, _ in world.failed}, {"a", "b"})

    async def test_failing_conversation(self) -> None:
        """An exception in a conversation closes its connection, is logged, and shows the client nothing."""

        class Broken(ServerFirst):
            def handle(self, event: Any) -> Any:
                if isinstance(event, events.Data):
                    raise RuntimeError("a mistake")
                return ()

        world = World(self, Broken, [Server("a")])
        client = await world.client()
        client.transport.write(b"x")
        await client.until(lambda: client.gone)
        await world.quiet()
        self.assertEqual(client.data, b"")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(world.records.kept[0]["reason"], "internal error")

    async def test_hold_and_release(self) -> None:
        """Held bytes are kept back, in order, until they are released."""

        class Holding(ServerFirst):
            def handle(self, event: Any) -> Iterable[actions.Action]:
                self.told.append(event)
                if isinstance(event, events.Data) and event.data == b"one":
                    return [Hold(CLIENT), actions.SetDeadline("later", 0.05)]
                if isinstance(event, events.Data):
                    return [ToClient(b"<" + event.data + b">")]
                if isinstance(event, events.Deadline):
                    return [ToClient(b"released "), Release(CLIENT)]
                return ()

        world = World(self, Holding, [Server("a")])
        client = await world.client()
        client.transport.write(b"one")
        await task.deferLater(reactor, 0.01, lambda: None)
        client.transport.write(b"two")
        await task.deferLater(reactor, 0.01, lambda: None)
        client.transport.write(b"three")
        await client.until(lambda: client.data == b"released <twothree>")

    async def test_held_bytes_are_bounded(self) -> None:
        """A side that is held is not read beyond limits.max-held."""
        sessions: list[Any] = []

        class Deaf(ServerFirst):
            def handle(self, event: Any) -> Any:
                return [Hold(CLIENT)] if isinstance(event, events.Began) else ()

        world = World(self, Deaf, [Server("a")], limits=Limits(max_held=1000))
        client = await world.client()
        client.transport.write(b"x" * 5_000_000)
        await task.deferLater(reactor, 0.1, lambda: None)
        sessions.extend(world.service.sessions)
        self.assertLess(len(sessions[0].client.held), 600_000)

    async def test_links_are_reused_and_idle(self) -> None:
        """A second Pick that leads to the same server gets the same link; load counts requests in flight."""

        class Asking(ServerFirst):
            def handle(self, event: Any) -> Iterable[actions.Action]:
                if isinstance(event, events.Began):
                    self.facts = event.facts
                elif isinstance(event, events.Data) and event.side is CLIENT:
                    self.asked = event.data
                    return [Pick(self.facts)]
                elif isinstance(event, events.Connected):
                    return [ToBackend(self.asked + (b"+" if event.reused else b""))]
                elif isinstance(event, events.Data) and event.link is not None:
                    return [ToClient(event.data), Idle(event.link)]
                return ()

        world = World(self, Asking, [Server("a")], persistence=BySource())
        backend = world.pool.backends[0]
        client = await world.client()
        client.transport.write(b"1")
        server_list = world.server("a").far
        while not server_list or not server_list[0].data:
            await task.deferLater(reactor, 0.001, lambda: None)
        self.assertEqual((backend.links, backend.load), (1, 1))
        server_list[0].transport.write(b"one")
        await client.until(lambda: client.data == b"one")
        self.assertEqual((backend.links, backend.load), (1, 0))
        client.transport.write(b"2")
        await server_list[0].until(lambda: server_list[0].data == b"12+")
        self.assertEqual((backend.links, backend.load), (1, 1))
        self.assertEqual(len(server_list), 1)

    async def test_starttls_drops_what_came_before(self) -> None:
        """Plain text behind STARTTLS never reaches the conversation: no command is injected."""

        class Upgrading(ServerFirst):
            def handle(self, event: Any) -> Iterable[actions.Action]:
                if isinstance(event, events.Data):
                    if event.data.startswith(b"STARTTLS"):
                        return [ToClient(b"go"), StartTLS(CLIENT)]
                    return [ToClient(b"heard " + event.data)]
                return ()

        world = World(self, Upgrading, [Server("a")])
        from tests.loopback.pairs import server_tls

        world.service.server_tls = server_tls()
        client = await world.client()
        client.transport.write(b"STARTTLS")
        await client.until(lambda: client.data == b"go")
        client.transport.startTLS(client_tls())
        client.transport.write(b"inside")
        await client.until(lambda: client.data == b"goheard inside")

    async def test_backend_dies(self) -> None:
        """A server that is reset in mid-answer ends its client, not the service."""
        world = World(self, ServerFirst, [Server("a", b"a")])
        client = await world.client()
        await client.until(lambda: client.data == b"a")
        world.server("a").far[0].transport.abortConnection()
        await client.until(lambda: client.eof)
        client.transport.loseConnection()
        await world.quiet()
        self.assertIn("backend lost", world.records.kept[0]["reason"])

    async def test_client_leaves_while_connecting(self) -> None:
        """A client that goes during its Pick leaves no lease behind."""
        world = World(self, ServerFirst, [Server("a")], timeouts=Timeouts(connect=5))
        client = await world.client()
        client.transport.abortConnection()
        await client.until(lambda: client.gone)
        await world.quiet()

    async def test_refused_client_that_goes_on_talking(self) -> None:
        """A refusal is read by a client that is still sending: no reset eats it."""

        class Refusing(ServerFirst):
            def handle(self, event: Any) -> Any:
                if isinstance(event, events.Data):
                    return [ToClient(b"go away"), Hangup("refused")]
                return ()

        world = World(self, Refusing, [Server("a")])
        client = await world.client()
        client.transport.write(b"x" * 300_000)
        await client.until(lambda: client.eof)
        self.assertEqual(client.data, b"go away")
        client.transport.write(b"x" * 300_000)
        client.transport.loseConnection()
        await world.quiet()
        self.assertEqual(world.records.kept[0]["reason"], "refused")

    async def test_cut(self) -> None:
        """Cutting a service drops both ends of every session, whatever they were doing."""
        world = World(self, ServerFirst, [Server("a", b"a")])
        clients = [await world.client() for _ in range(5)]
        for client in clients:
            await client.until(lambda client=client: client.data == b"a")
        world.service.cut("maintenance")
        await world.quiet()
        self.assertEqual({r["reason"] for r in world.records.kept}, {"maintenance"})
