"""A virtual service at work: what its sessions share. Wired by :mod:`exproxy.service`."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from exproxy.access_log import AccessLog
from exproxy.backend import Backend
from exproxy.connect import Connecting, Promise, begin, shown, tell
from exproxy.dialling import Caller
from exproxy.door import Door
from exproxy.interfaces import IBackend, IMarker, IPersistence, IService, IWire
from exproxy.locating import Locations
from exproxy.model import Listening, Source, TLSOptions
from exproxy.poller import Poller
from exproxy.pool import Pool
from exproxy.rate import Rate
from exproxy.refusals import Refusals
from exproxy.relay import Sweep
from exproxy.routes import Answer, Route
from exproxy.settings import Limits, Networks, TcpOptions, Timeouts
from exproxy.socket_options import numbers_of
from exproxy.tally import Tally
from exproxy.tls.client import ClientTLS, client_context
from exproxy.tls.server import ServerTLS
from exproxy.wire import Wire, plain

if TYPE_CHECKING:
    from exproxy.passage import Passage
    from exproxy.session import Session


# Who is present: a client connection, with a conversation or without one.
Present: TypeAlias = "Session | Passage"


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

    @property
    def plain(self) -> bool:
        """Whether both sides are TCP and nothing else, and the servers' ports are known."""
        return (
            self.backend_tls is None
            and self.backend_starttls is None
            and self.locations is None
            and self.tls in ("none", "passthrough")
        )

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
    # Whether what becomes of connections and requests is counted.
    counting: bool = True
    # Who relays plain TCP; None where the system has no epoll.
    poller: Poller | None = None

    @property
    def recorded(self) -> bool:
        """Whether anybody wants to know what becomes of connections and requests."""
        return self.counting or self.access_log.wanted

    # Of sessions: each gets the next.
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))


@implementer(IService)
class VirtualService:
    """Provides IService to plugins, and to sessions everything else that they need.

    Where several processes carry traffic ``elsewhere`` are the connections that sources had in the others a
    moment ago, and ``arrivals`` who came here since the others were told.
    """

    draining = False
    elsewhere: Mapping[str, int] = MappingProxyType({})

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
        self.options, self.retries, self.host_name = options, retries, host_name
        self.timeouts, self.limits, self.trusted_proxies = timeouts, limits, trusted_proxies
        self.server_tls, self.backend_tls = server_tls, backend_tls
        self.routes, self.answer, self.hsts = routes, answer, hsts
        self.reactor = self.clock = shared.reactor
        self.sweep, self.poller, self.access_log = shared.sweep, shared.poller, shared.access_log
        self.log = Logger(namespace=f"exproxy.service.{name}")
        self.ports, self._addresses = dict[int, Port](), list[tuple[str, int]]()
        self.sessions: dict[Present, None] = {}
        self._passing: dict[int, bool] = {}  # by listening port: whether its clients need no session
        self.records, self.tally = shared.recorded, Tally()
        self.counts: Counter[str] = Counter()  # of actions.Count, by name
        self.arrivals: Counter[str] = Counter()  # by source, since other processes were told
        self._shared = shared
        self.tcp, self.numbers, self._rules = tcp, numbers_of(tcp), rules
        # By route; the service's own under None.
        self._persistence: dict[str | None, IPersistence | None] = {None: persistence}
        self._persistence.update(strategies or {})
        self._sources: Counter[str] = Counter()
        self._rate = Rate(limits.per_source_rate)
        self._client_tls: dict[tuple[TLSOptions, str, bool], ClientTLS] = {}
        self._contexts: dict[TLSOptions, Any] = {}
        self._refusals = Refusals(name, self.clock, self.log)
        self.door = Door(name, self.clock, self.sessions, limits.connections)
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
        host = address.host if isinstance(address, Source) else plain(address)[0]
        reason = self._objection(host)
        if reason is not None:
            self.refused(host, reason)
        return reason

    def refused(self, host: str, reason: str) -> None:
        """Say that a client from there was not let in, unless the same was said often just now. There must
        be few different reasons."""
        self._refusals.refused(host, reason)
        self.tally.refused += 1

    @property
    def sources(self) -> Mapping[str, int]:
        """How many connections each client's address has here."""
        return self._sources

    @property
    def refusals(self) -> Mapping[str, int]:
        """How many clients were not let in, by reason."""
        return self._refusals.count

    def charge(self, came: Mapping[str, int]) -> None:
        """These sources have come to other processes of ours so often; it counts for their rate here."""
        now = self.clock.seconds()
        for host, times in came.items():
            self._rate.charge(host, times, now)

    def _objection(self, host: str) -> str | None:
        if self.draining:
            return "it is being stopped"
        if not self._rules.admit(host):
            return "not allowed by `allow:` and `deny:`"
        if self.door.full:
            # Where whoever accepts cannot wait (no epoll).
            return f"limits.connections ({self.limits.connections}) reached"
        if self._sources.get(host, 0) + self.elsewhere.get(host, 0) >= self.limits.per_source:
            return f"limits.per-source ({self.limits.per_source}) reached"
        if self.limits.per_source_rate and not self._rate.admits(host, self.clock.seconds()):
            return f"limits.per-source-rate ({self.limits.per_source_rate} a minute) reached"
        if self.door.places is not None and self.limits.per_source_rate:
            self.arrivals[host] += 1
        return None

    def opened(self, session: Present) -> None:
        """A session began."""
        session.number = next(self._shared.numbers)
        self.sessions[session] = None
        self.tally.came(len(self.sessions))
        self._sources[session.record.peer.host] += 1
        self.door.entered()

    def closed(self, session: Present) -> None:
        """A session is over."""
        del self.sessions[session]
        host = session.record.peer.host
        self._sources[host] -= 1
        if not self._sources[host]:
            del self._sources[host]
        self.door.left()
        if not self.sessions:
            waiting, self.when_empty = self.when_empty, []
            for each in waiting:
                each()

    def passes(self, port: int) -> Pool | None:
        """The pool of a listening port that is nothing but a choice and a relay, where its protocol is; else
        None."""
        behind = self.ports[port]
        return behind.pool if behind.plain and self.poller is not None else None

    def connect(self, pool: Pool, backend: IBackend, client: IWire, caller: Caller) -> Connecting:
        """Connect to that backend for that client: ``caller`` is told of a wire, its TLS handshake done where
        there is TLS."""
        behind = self.ports[client.local.listening]
        reach = behind.reach(pool)
        way = behind if reach is None else reach
        timeout = self.timeouts.connect if reach is None else reach.connect
        if way.locations is None:
            return self._begin(way, timeout, backend, client, caller)

        def attempt() -> Deferred[Wire]:
            promise = Promise()
            promise.begun = self._begin(way, timeout, backend, client, promise)
            return promise.wire

        assert isinstance(backend, Backend)
        found = way.locations.connect(backend, attempt)
        tell(found, caller)
        return found

    def _begin(
        self,
        way: Port | Reach,
        timeout: float,
        backend: IBackend,
        client: IWire,
        caller: Caller,
    ) -> Connecting:
        options = way.backend_tls
        return begin(
            self.reactor,
            caller,
            backend.host,
            backend.port,
            timeout=timeout,
            tls=self.client_tls(options, backend.server) if options is not None else None,
            handshake=self.timeouts.tls_handshake,
            tcp=self.tcp,
            poller=self.poller,
            **shown(backend.client_address, client.peer, client.local),
        )

    def client_tls(self, options: TLSOptions, server: str, *, resume: bool = True) -> ClientTLS:
        """How to speak TLS to that server; kept, since a context is dear. ``resume``: sessions may be."""
        key = options, server, resume
        found = self._client_tls.get(key)
        if found is None:
            context = self._contexts.get(options)
            if context is None:
                context = self._contexts[options] = client_context(options)
            name = self._shared.addresses.get(server, server)
            found = self._client_tls[key] = ClientTLS(options, name, context, resume=resume)
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

    def most_sources(self, most: int) -> list[tuple[str, int]]:
        """The addresses that have the most sessions now, and how many each has."""
        return self._sources.most_common(most)

    def tune(self, wire: Wire) -> None:
        """Set the service's socket options on a client's wire."""
        wire.tune(self.tcp)

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
