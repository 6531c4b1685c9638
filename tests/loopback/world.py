"""A small world on loopback: backends that misbehave on request, a service before them, clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import defer, reactor, task
from twisted.internet.protocol import Factory

from exproxy import actions, events, listening
from exproxy.accepting import Accepting
from exproxy.access_log import AccessLog
from exproxy.backend import Backend
from exproxy.model import Facts, Key, Named, Source, TLSOptions
from exproxy.persistence.keys import Secrets
from exproxy.poller import poller
from exproxy.pool import Pool
from exproxy.relay import Sweep
from exproxy.scheduling import RoundRobin
from exproxy.session import SessionFactory
from exproxy.store.memory import MemoryStore
from exproxy.virtual import Port, Shared, VirtualService
from tests.certificates import ca_file
from tests.loopback.pairs import Far, server_tls


class Records(AccessLog):
    """An access log that keeps its records."""

    wanted = True

    def __init__(self) -> None:
        super().__init__(reactor, None)
        self.kept: list[dict[str, Any]] = []

    def write(self, record: Any) -> None:
        self.kept.append(dict(record))


class BySource:
    """A strategy: one source, one server."""

    def __init__(self) -> None:
        self._keys = Secrets((b"test",)).keys("test", ())

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        return self.remember(facts)

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        return (self._keys.digest("source", facts[Source].host.encode()),)


class Nobody:
    """A strategy that knows nobody."""

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        return ()

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        return ()


class Server:
    """A backend: greets with its name, echoes what it gets; ``far`` are its connections."""

    def __init__(self, name: str, greeting: bytes = b"", tls: bool = False) -> None:
        self.name = name
        self.greeting = greeting
        self.tls = tls
        self.far: list[Far] = []
        self.port: Any = None

    def listen(self) -> int:
        factory = Factory.forProtocol(self._make)
        factory.noisy = False
        number = self.port.getHost().port if self.port is not None else 0
        self.port = reactor.listenTCP(number, factory, interface="127.0.0.1")
        return self.port.getHost().port

    def _make(self) -> Far:
        far = Far(server_tls() if self.tls else None)
        far.closes = True
        self.far.append(far)
        if self.greeting:
            far.ready.addCallback(lambda _: far.transport.write(self.greeting))
        return far

    async def close(self) -> None:
        await defer.maybeDeferred(self.port.stopListening)
        for far in self.far:
            if not far.gone:
                far.transport.abortConnection()


class World:
    """Made by a test; everything in it is closed at the test's end, and nothing may be left."""

    def __init__(
        self,
        test: Any,
        conversation: Callable[[Any], Any],
        servers: Iterable[Server],
        *,
        persistence: Any = None,
        client_tls: bool = False,
        **service: Any,
    ) -> None:
        self.servers = list(servers)
        self.records = Records()
        self.sweep = Sweep(reactor)
        self.failed: list[tuple[str, str, str]] = []
        shared = Shared(
            reactor,
            self.sweep,
            self.records,
            {server.name: "localhost" for server in self.servers},
            lambda pool, backend, code, reason: self.failed.append((backend.server, code, reason)),
            poller=poller(reactor, self.sweep),
        )
        self.poller = shared.poller
        tls = TLSOptions(str(ca_file())) if any(server.tls for server in self.servers) else None
        if client_tls:
            service["server_tls"] = server_tls()
        strategy = persistence or Nobody()
        self.service = VirtualService("test", shared, persistence=strategy, **service)
        backends = [
            Backend(f"test/{server.name}", server.name, "127.0.0.1", server.listen())
            for server in self.servers
        ]
        self.pool = Pool("test", backends, RoundRobin(), strategy, MemoryStore(reactor), reactor)
        self.port = self.listen(SessionFactory(self.service, conversation), twisted=client_tls)
        self.number = self.port.getHost().port
        self.service.ports[self.number] = Port("implicit" if client_tls else "none", self.pool, tls)
        self.clients: list[Far] = []
        test.addCleanup(lambda: defer.Deferred.fromCoroutine(self.close(test)))

    def listen(self, factory: Any, twisted: bool = False) -> Any:
        """A listening port for it, in the poller where there is one and TLS is not spoken."""
        if self.poller is None or twisted:
            return reactor.listenTCP(0, factory, interface="127.0.0.1")
        sock = listening.bind("127.0.0.1", 0)
        listening.listen(sock)
        assert self.poller.ready()
        port = Accepting(self.poller, sock, factory, self.service.door, self.service.tcp)
        port.startListening()
        return port

    async def client(self) -> Far:
        """A client's connection."""
        from twisted.internet.endpoints import TCP4ClientEndpoint

        far = Far()
        self.clients.append(far)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.number)
        factory = Factory.forProtocol(lambda: far)
        factory.noisy = False
        await endpoint.connect(factory)
        return far

    async def turn(self) -> None:
        """One turn of the reactor."""
        await task.deferLater(reactor, 0.001, lambda: None)

    def server(self, name: str) -> Server:
        return next(server for server in self.servers if server.name == name)

    async def quiet(self) -> None:
        """Until no session is left."""
        if self.service.sessions:
            done: defer.Deferred[None] = defer.Deferred()
            self.service.when_empty.append(lambda: done.callback(None))
            await done

    async def close(self, test: Any) -> None:
        await defer.maybeDeferred(self.port.stopListening)
        for far in self.clients:
            if not far.gone:
                far.transport.abortConnection()
        self.service.cut("test over")
        await self.quiet()
        for server in self.servers:
            await server.close()
        for far in [*self.clients, *(far for server in self.servers for far in server.far)]:
            await far.until(lambda far=far: far.gone)
        await task.deferLater(reactor, 0, lambda: None)
        test.assertEqual([(b.links, b.load) for b in self.pool.backends], [(0, 0)] * len(self.servers))
        test.assertEqual(len(self.sweep), 0)
        if self.poller is not None:
            test.assertEqual((len(self.poller), len(self.poller.alarms)), (0, 0))
            self.poller.close()


class ServerFirst:
    """Pick at once, relay when there: the simplest of protocols."""

    def __init__(self, service: Any) -> None:
        self.told: list[events.Event] = []

    def handle(self, event: events.Event) -> Iterable[actions.Action]:
        self.told.append(event)
        if isinstance(event, events.Began):
            return [actions.Pick(event.facts)]
        if isinstance(event, events.Connected):
            return [actions.Relay()]
        if isinstance(event, events.Unavailable):
            return [actions.ToClient(b"sorry\r\n"), actions.Hangup()]
        return ()
