"""From a configuration to services at work: the pools, strategies, certificates and factories.

Pure wiring: nothing is bound, asked or started here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from exproxy.backend import Backend
from exproxy.config import Config, Listen, ServiceConfig, Target
from exproxy.health import Health
from exproxy.interfaces import IPersistence, IProtocolFactory
from exproxy.names import is_address
from exproxy.persistence.group import Group
from exproxy.persistence.keys import Secrets
from exproxy.pool import Pool
from exproxy.store.memory import MemoryStore
from exproxy.tls.server import ServerTLS
from exproxy.virtual import Port, Rules, Shared, VirtualService

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
    by_listen: dict[Listen, tuple[Pool, Target]]

    def listening(self, listen: Listen, port: int) -> None:
        """That listening address was given that real port (they differ for port 0)."""
        pool, target = self.by_listen[listen]
        self.service.ports[port] = Port(listen.tls, pool, target.tls)


class Builder:
    """Builds the services of one configuration over shared tables."""

    def __init__(self, config: Config, shared: Shared, secrets: Secrets) -> None:
        self._config = config
        self._shared = shared
        self._secrets = secrets
        self.store = MemoryStore(shared.reactor)
        self.groups: dict[str, Group] = {}

    def build(self) -> list[Built]:
        """All services, in the file's order."""
        for name, group in self._config.groups.items():
            self.groups[name] = Group(name, timeout=group.timeout, on_move=group.on_move)
            self.store.limit(name, group.limit)
        return [self._service(each) for each in self._config.services.values()]

    def _service(self, config: ServiceConfig) -> Built:
        strategy = self._strategy(config)
        pools: dict[tuple[int, str], tuple[Pool, Target]] = {}
        by_listen: dict[Listen, tuple[Pool, Target]] = {}
        targets = {(t.port, t.tls_mode) for t in map(config.target, config.listens)}
        for listen in config.listens:
            target = config.target(listen)
            key = (target.port, target.tls_mode)
            if key not in pools:
                name = config.name if len(targets) == 1 else f"{config.name}:{target.port}"
                pools[key] = (self._pool(name, config, strategy, target), target)
            by_listen[listen] = pools[key]
        service = self._virtual(config, strategy)
        factory = config.protocol.plugin.factory(service)
        return Built(config, service, factory, tuple(pools.values()), by_listen)

    def _virtual(self, config: ServiceConfig, strategy: IPersistence) -> VirtualService:
        files = [(each.cert, each.key) for each in config.certificates]
        alpn: Iterable[bytes] = getattr(config.protocol.plugin, "alpn", ())
        written = config.backend.tls_written
        return VirtualService(
            config.name,
            self._shared,
            options=config.protocol.options,
            timeouts=config.timeouts,
            limits=config.limits,
            tcp=config.tcp,
            trusted_proxies=config.trusted_proxies,
            host_name=config.host_name,
            retries=config.retries,
            rules=Rules(config.allow, config.deny),
            persistence=strategy,
            server_tls=ServerTLS(files, tuple(alpn)) if files else None,
            backend_tls=config.backend.tls if written else None,
        )

    def _strategy(self, config: ServiceConfig) -> IPersistence:
        keys = self._secrets.keys(config.group or config.name, config.servers)
        strategy: IPersistence = config.persistence.plugin.strategy(config.persistence.options, keys)
        return strategy

    def _pool(self, name: str, config: ServiceConfig, strategy: IPersistence, target: Target) -> Pool:
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
        )

    def _backend(self, pool: str, server: str, config: ServiceConfig, target: Target) -> Backend:
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
        )
