"""From a configuration to services at work: the pools, strategies, certificates and factories.

Pure wiring: nothing is bound, asked or started here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from exproxy.backend import Backend
from exproxy.config import Config, Listen, Reaching, ServiceConfig, Target
from exproxy.errors import ConfigurationError
from exproxy.health import Health
from exproxy.interfaces import IMarker, IPersistence, IProtocolFactory
from exproxy.locating import Locations
from exproxy.model import ClientAddress, Together
from exproxy.names import is_address
from exproxy.persistence.companions import Companions
from exproxy.persistence.group import Group
from exproxy.persistence.keys import Secrets
from exproxy.pool import Pool
from exproxy.proxied import ProxiedFactory
from exproxy.store.memory import IBoundedStore, MemoryStore
from exproxy.tls.guard import Guard
from exproxy.tls.server import ServerTLS
from exproxy.virtual import Port, Reach, Rules, Shared, VirtualService

# Seconds that a key lives whose strategy has no `timeout` of its own and which is in no group.
TTL = 7200.0


@dataclass(frozen=True, slots=True)
class Built:
    """One service, ready to listen."""

    config: ServiceConfig
    service: VirtualService
    factory: IProtocolFactory
    # Each pool once, with the listening port's target that made it.
    pools: tuple[tuple[Pool, Target], ...]
    # Who a pool is for: the service or one of its routes, whose check is asked.
    owners: dict[Pool, Reaching]
    by_listen: dict[Listen, Port]
    # Of the pools whose servers are asked for their ports.
    locations: dict[Pool, Locations]

    def listening(self, listen: Listen, port: int) -> None:
        """That listening address was given that real port (they differ for port 0)."""
        self.service.listens(listen.host, port, self.by_listen[listen])

    def entrance(self, listen: Listen) -> IProtocolFactory:
        """Who answers at that listening address: the protocol, or first whoever reads the PROXY header."""
        return ProxiedFactory(self.service, self.factory) if listen.accept_proxy else self.factory

    def guard(self) -> Guard | None:
        """What compares the servers' certificates with those shown here; None where nobody asks for it."""
        tls, policy = self.service.server_tls, self.config.extended_protection
        if tls is None or policy == "off":
            return None
        return Guard(self.config.name, policy, lambda: tls.fingerprints)


class Part:
    """The pools of a service's own, or of one of its routes: one for each port and TLS of its servers."""

    def __init__(self, config: Reaching, strategy: IPersistence) -> None:
        self.config = config
        self.strategy = strategy
        self.pools: dict[tuple[int, str], tuple[Pool, Target]] = {}
        self.locations: dict[Pool, Locations] = {}

    def behind(self, listen: Listen) -> tuple[Pool, Target]:
        """The pool of that listening address."""
        target = self.config.target(listen)
        return self.pools[target.port, target.tls_mode]


class Builder:
    """Builds the services of one configuration over shared tables."""

    def __init__(
        self, config: Config, shared: Shared, secrets: Secrets, store: IBoundedStore | None = None
    ) -> None:
        """``store``: that of several processes; one of this process's own by default."""
        self._config = config
        self._shared = shared
        self.secrets = secrets
        self.store: IBoundedStore = store if store is not None else MemoryStore(shared.reactor)
        self.groups: dict[str, Group] = {}

    def build(self) -> list[Built]:
        """All services, in the file's order."""
        for name, group in self._config.groups.items():
            self.groups[name] = Group(name, timeout=group.timeout, on_move=group.on_move)
            self.store.limit(name, group.limit)
        return [self._service(each) for each in self._config.services.values()]

    def _service(self, config: ServiceConfig) -> Built:
        own = self._part(config, config.listens) if config.answer is None else None
        parts = {
            each.route.name: self._part(each, config.listens)
            for each in config.routes
            if each.route.answer is None
        }
        together = [*([own] if own is not None else []), *parts.values()]
        _distinct_cookies(config.name, together)
        service = self._virtual(config, own, parts)
        return Built(
            config,
            service,
            config.protocol.plugin.factory(service),
            tuple(each for part in together for each in part.pools.values()),
            {pool: part.config for part in together for pool, _ in part.pools.values()},
            {listen: _port(config, listen, own, parts) for listen in config.listens},
            {pool: each for part in together for pool, each in part.locations.items()},
        )

    def _part(self, config: Reaching, listens: Iterable[Listen]) -> Part:
        part = Part(config, self._strategy(config))
        targets = [config.target(listen) for listen in listens]
        several = len({(target.port, target.tls_mode) for target in targets}) > 1
        for target in targets:
            key = (target.port, target.tls_mode)
            if key not in part.pools:
                name = f"{config.name}:{target.port}" if several else config.name
                pool = self._pool(name, config, part.strategy, target)
                part.pools[key] = (pool, target)
                if config.locator is not None:
                    wait = config.health.timeout
                    part.locations[pool] = Locations(self._shared.reactor, pool, config.locator, wait)
        return part

    def _virtual(self, config: ServiceConfig, own: Part | None, parts: dict[str, Part]) -> VirtualService:
        shown = config.certificates
        alpn: Iterable[bytes] = getattr(config.protocol.plugin, "alpn", ())
        written = config.backend.tls_written
        return VirtualService(
            config.name,
            self._shared,
            protocol=config.protocol.name,
            options=config.protocol.options,
            timeouts=config.timeouts,
            limits=config.limits,
            tcp=config.tcp,
            trusted_proxies=config.trusted_proxies,
            host_name=config.host_name,
            retries=config.retries,
            rules=Rules(config.allow, config.deny),
            persistence=own.strategy if own is not None else None,
            routes=tuple(each.route for each in config.routes),
            answer=config.answer,
            strategies={name: part.strategy for name, part in parts.items()},
            server_tls=ServerTLS(shown, tuple(alpn), config.tls) if shown else None,
            hsts=config.hsts,
            backend_tls=config.backend.tls if written else None,
        )

    def _strategy(self, config: Reaching) -> IPersistence:
        keys = self.secrets.keys(config.group or config.name, config.servers)
        strategy: IPersistence = config.persistence.plugin.strategy(config.persistence.options, keys)
        return strategy

    def _companions(self, config: Reaching) -> Companions | None:
        if Together not in config.protocol.plugin.gives:
            return None
        return Companions(self.secrets.keys(config.group or config.name, config.servers))

    def _pool(self, name: str, config: Reaching, strategy: IPersistence, target: Target) -> Pool:
        options = config.persistence.options
        group = self.groups.get(config.group) if config.group is not None else None
        if group is None and hasattr(options, "limit"):
            self.store.limit(config.name, options.limit)
        return Pool(
            name,
            [self._backend(name, server, config, target) for server in config.servers],
            config.scheduling.plugin.scheduling(config.scheduling.options),
            strategy,
            self.store,
            self._shared.reactor,
            group=group,
            table=config.name,
            ttl=getattr(options, "timeout", TTL),
            when_full=config.when_full,
            slow_ramp=config.slow_ramp,
            on_down=config.on_down,
            recheck=getattr(options, "recheck", "always"),
            companions=self._companions(config),
        )

    def _backend(self, pool: str, server: str, config: Reaching, target: Target) -> Backend:
        real = self._config.servers[server]
        return Backend(
            f"{pool}/{server}",
            server,
            real.address if is_address(real.address) else None,
            target.port,
            weight=real.weight,
            limit=real.limit,
            backup=real.backup,
            health=Health(config.health.rise, config.health.fall),
            client_address=ClientAddress(config.backend.send_proxy, config.transparent),
        )


def _port(config: ServiceConfig, listen: Listen, own: Part | None, parts: dict[str, Part]) -> Port:
    """What is behind one listening address."""
    connect = {each.route.name: each.route.timeouts.connect for each in config.routes}
    routes = {}
    for name, part in parts.items():
        pool, target = part.behind(listen)
        routes[name] = Reach(pool, target.tls, connect[name], part.locations.get(pool))
    if own is None:
        return Port(listen.tls, None, None, routes)
    pool, target = own.behind(listen)
    locations = own.locations.get(pool)
    if target.tls_mode == "starttls":
        return Port(listen.tls, pool, None, routes, locations, backend_starttls=target.tls)
    return Port(listen.tls, pool, target.tls, routes, locations)


def _distinct_cookies(service: str, parts: Iterable[Part]) -> None:
    """Two memories under one cookie name would each take the other's cookie for a forged one."""
    named: dict[bytes, str] = {}
    for part in parts:
        memory = part.config.group or part.config.name
        if IMarker.providedBy(part.strategy):
            cookie: bytes = part.strategy.cookie
            if named.setdefault(cookie, memory) != memory:
                raise ConfigurationError(
                    f"service {service}: {named[cookie]} and {memory} remember apart, but with one cookie, "
                    f"{cookie.decode()}; give them one group, or remove `cookie:`"
                )
