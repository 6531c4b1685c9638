"""A virtual service at work: what its sessions share. Wired by :mod:`exproxy.service`."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from exproxy.access_log import AccessLog
from exproxy.backend import Backend
from exproxy.connect import connect, shown
from exproxy.interfaces import IBackend, IMarker, IPersistence, IService, IWire
from exproxy.locating import Locations
from exproxy.model import Listening, TLSOptions
from exproxy.pool import Pool
from exproxy.rate import Rate
from exproxy.relay import Poller, Sweep
from exproxy.routes import Answer, Route
from exproxy.settings import Limits, Networks, TcpOptions, Timeouts
from exproxy.tally import Tally
from exproxy.tls.client import ClientTLS, client_context
from exproxy.tls.server import ServerTLS
from exproxy.wire import Wire, plain

if TYPE_CHECKING:
    from exproxy.session import Session

# At most so many lines a minute and reason about clients that were not let in.
REFUSAL_LINES = 6


@dataclass(frozen=True, slots=True)
class Reach:
    """A route's pool on one listening port, and how it is reached; ``connect`` is seconds.

    ``locations``: where its servers' ports are learnt, None where they are configured.
    """

    pool: Pool
    backend_tls: TLSOptions | None
    connect: float
    locations: Locations | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """A listening port: how clients begin there, and which pool is behind it.

    ``pool`` None: what no route takes is answered without a server. ``routes``: the pools of the others.
    """

    tls: str
    pool: Pool | None
    backend_tls: TLSOptions | None = None
    routes: Mapping[str, Reach] = field(default_factory=dict)
    locations: Locations | None = None
    backend_starttls: TLSOptions | None = None

    def reach(self, pool: Pool) -> Reach | None:
        """How a route's pool is reached; None for the service's own."""
        return next((each for each in self.routes.values() if each.pool is pool), None)


@dataclass(frozen=True, slots=True)
class Rules:
    """Who is let in."""

    allow: Networks | None = None
    deny: Networks | None = None

    def admit(self, host: str) -> bool:
        """deny wins over allow; no rule lets everybody in."""
        if self.deny is not None and host in self.deny:
            return False
        return self.allow is None or host in self.allow


@dataclass
class Shared:
    """What all services of one process share."""

    reactor: Any
    sweep: Sweep
    access_log: AccessLog
    # The configured address of each server: the name that its certificate is verified for.
    addresses: Mapping[str, str] = field(default_factory=dict)
    # Failed client connects are news for whoever keeps the servers' health.
    failed: Callable[[Pool, Any, str, str], None] = lambda pool, backend, code, reason: None
    # By name; each service adds itself.
    services: dict[str, IService] = field(default_factory=dict)
    # Who relays plain TCP; None where the system has no epoll.
    poller: Poller | None = None
    # Of sessions: each gets the next.
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))


@implementer(IService)
class VirtualService:
    """Provides IService to plugins, and to sessions everything else that they need."""

    def __init__(
        self,
        name: str,
        shared: Shared,
        *,
        protocol: str = "",
        options: Any = None,
        timeouts: Timeouts = Timeouts(),
        limits: Limits = Limits(),
        tcp: TcpOptions = TcpOptions(),
        trusted_proxies: Networks = Networks(),
        host_name: str = "localhost",
        retries: int = 3,
        rules: Rules = Rules(),
        persistence: IPersistence | None = None,
        server_tls: ServerTLS | None = None,
        backend_tls: TLSOptions | None = None,
        routes: tuple[Route, ...] = (),
        answer: Answer | None = None,
        strategies: Mapping[str, IPersistence] | None = None,
        hsts: bytes | None = None,
    ) -> None:
        self.name, self.protocol = name, protocol
        self.siblings: Mapping[str, IService] = MappingProxyType(shared.services)
        self.options, self.retries = options, retries
        self.timeouts, self.limits = timeouts, limits
        self.trusted_proxies, self.host_name = trusted_proxies, host_name
        self.server_tls, self.backend_tls = server_tls, backend_tls
        self.routes, self.answer, self.hsts = routes, answer, hsts
        self.reactor = self.clock = shared.reactor
        self.sweep, self.poller, self.access_log = shared.sweep, shared.poller, shared.access_log
        self.log = Logger(namespace=f"exproxy.service.{name}")
        self.ports: dict[int, Port] = {}
        self._addresses: list[tuple[str, int]] = []
        self.sessions: dict[Session, None] = {}
        self.draining, self.tally = False, Tally()
        self.counts: Counter[str] = Counter()  # of actions.Count, by name
        self._shared = shared
        self._tcp, self._rules = tcp, rules
        # By route; the service's own under None.
        self._persistence: dict[str | None, IPersistence | None] = {None: persistence}
        self._persistence.update(strategies or {})
        self._sources: Counter[str] = Counter()
        self._rate = Rate(limits.per_source_rate)
        self._client_tls: dict[tuple[TLSOptions, str], ClientTLS] = {}
        self._contexts: dict[TLSOptions, Any] = {}
        self._refused: Counter[str] = Counter()
        self._quiet_until = 0.0
        self.when_empty: list[Callable[[], None]] = []
        shared.services[name] = self

    # -- IService --------------------------------------------------------------------

    def marker(self, target: str | None = None) -> IMarker | None:
        """See IService."""
        strategy = self._persistence.get(target)
        return strategy if IMarker.providedBy(strategy) else None

    def port_tls(self, port: int) -> str:
        """See IService."""
        return self.ports[port].tls

    def backend_starttls(self, port: int) -> TLSOptions | None:
        """See IService."""
        return self.ports[port].backend_starttls

    def listenings(self) -> tuple[Listening, ...]:
        """See IService."""
        return tuple(Listening(host, port, self._backends(port)) for host, port in self._addresses)

    def _backends(self, port: int) -> tuple[IBackend, ...]:
        pool = self.ports[port].pool
        return pool.backends if pool is not None else ()

    def listens(self, host: str, port: int, behind: Port) -> None:
        """It listens there now; ``port`` is the real one."""
        self.ports[port] = behind
        self._addresses.append((host, port))

    # -- for sessions ----------------------------------------------------------------

    def pool(self, target: str | None, port: int) -> Pool:
        """The pool of that route, or the port's own for None; KeyError where there is none."""
        behind = self.ports[port]
        pool = behind.pool if target is None else behind.routes[target].pool
        if pool is None:
            raise KeyError(f"service {self.name} has no servers of its own")
        return pool

    def objection(self, address: Any) -> str | None:
        """Why a client from there may not come in now; None where it may, and is counted."""
        host, _ = plain(address)
        reason = self._objection(host)
        if reason is not None:
            self.refused(host, reason)
        return reason

    def refused(self, host: str, reason: str) -> None:
        """Say that a client from there was not let in, unless the same was said often just now. There must
        be few different reasons."""
        self._refused[reason] += 1
        self.tally.refused += 1
        now = self.clock.seconds()
        if self._refused[reason] <= REFUSAL_LINES or now >= self._quiet_until:
            self._quiet_until = now + 60.0
            self.log.warn("{service} refused {host}: {reason}", service=self.name, host=host, reason=reason)

    def _objection(self, host: str) -> str | None:
        if self.draining:
            return "it is being stopped"
        if not self._rules.admit(host):
            return "not allowed by `allow:` and `deny:`"
        if len(self.sessions) >= self.limits.connections:
            return f"limits.connections ({self.limits.connections}) reached"
        if self._sources[host] >= self.limits.per_source:
            return f"limits.per-source ({self.limits.per_source}) reached"
        if not self._rate.admits(host, self.clock.seconds()):
            return f"limits.per-source-rate ({self.limits.per_source_rate} a minute) reached"
        return None

    def opened(self, session: Session) -> None:
        """A session began."""
        session.number = next(self._shared.numbers)
        self.sessions[session] = None
        self.tally.came(len(self.sessions))
        self._sources[session.record.peer.host] += 1

    def closed(self, session: Session) -> None:
        """A session is over."""
        del self.sessions[session]
        host = session.record.peer.host
        self._sources[host] -= 1
        if not self._sources[host]:
            del self._sources[host]
        if not self.sessions:
            waiting, self.when_empty = self.when_empty, []
            for each in waiting:
                each()

    def connect(self, pool: Pool, backend: IBackend, client: IWire) -> Deferred[Wire]:
        """A Deferred of a wire to that backend for that client, its TLS handshake done where there is TLS."""
        behind = self.ports[client.local.listening]
        reach = behind.reach(pool)
        way = behind if reach is None else reach
        options, locations = way.backend_tls, way.locations

        def attempt() -> Deferred[Wire]:
            return connect(
                self.reactor,
                backend.host,
                backend.port,
                timeout=self.timeouts.connect if reach is None else reach.connect,
                tls=self.client_tls(options, backend.server) if options is not None else None,
                handshake=self.timeouts.tls_handshake,
                tcp=self._tcp,
                **shown(backend.client_address, client.peer, client.local),
            )

        if locations is None:
            return attempt()
        assert isinstance(backend, Backend)
        return locations.connect(backend, attempt)

    def client_tls(self, options: TLSOptions, server: str) -> ClientTLS:
        """How to speak TLS to that server; kept, since a context is dear."""
        found = self._client_tls.get((options, server))
        if found is None:
            context = self._contexts.get(options)
            if context is None:
                context = self._contexts[options] = client_context(options)
            name = self._shared.addresses.get(server, server)
            found = self._client_tls[options, server] = ClientTLS(options, name, context)
        return found

    def failed(self, pool: Pool, backend: IBackend, code: str, reason: str) -> None:
        """A client met a backend that did not answer as it should."""
        self.tally.failed(code)
        assert isinstance(backend, Backend)
        backend.tally.failed(code)
        self.log.info(
            "{backend} failed a client: {code}, {reason}", backend=backend.name, code=code, reason=reason
        )
        self._shared.failed(pool, backend, code, reason)

    def retried(self, backend: IBackend, *, elsewhere: bool) -> None:
        """A client tries again after that backend; ``elsewhere``: not with it."""
        assert isinstance(backend, Backend)
        self.tally.retried(elsewhere)
        backend.tally.retried(elsewhere)

    def sources(self, most: int) -> list[tuple[str, int]]:
        """The addresses that have the most sessions now, and how many each has."""
        return self._sources.most_common(most)

    def tune(self, wire: Wire) -> None:
        """Set the service's socket options on a client's wire."""
        wire.tune(self._tcp)

    # -- the end ---------------------------------------------------------------------

    def drain(self, until: float) -> None:
        """Let nobody in any more, and tell the sessions."""
        self.draining = True
        for session in list(self.sessions):
            session.drain(until)

    def cut(self, reason: str) -> None:
        """Drop every session."""
        for session in list(self.sessions):
            session.cut(reason)
