"""Persistence tables as the status shows them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from exproxy.admin.status import Group, Source

if TYPE_CHECKING:
    from exproxy.service import ExproxyService

# Client addresses that are shown of each table.
SOURCES = 10


class Tables:
    """Of one process."""

    def __init__(self, service: ExproxyService) -> None:
        self._service = service

    def groups(self) -> tuple[Group, ...]:
        """Every table that a pool of ours has: groups, and services that are in none."""
        names: dict[str, dict[str, None]] = {}
        for one in self._service.built:
            for pool, _ in one.pools:
                names.setdefault(pool.table, {})[one.service.name] = None
        return tuple(self._group(name, tuple(services)) for name, services in names.items())

    def _group(self, name: str, services: tuple[str, ...]) -> Group:
        store = self._service.builder.store
        sources: Counter[str] = Counter()
        for one in self._service.built:
            if one.service.name in services:
                sources.update(dict(one.service.most_sources(SOURCES)))
        top = tuple(Source(host, count) for host, count in sources.most_common(SOURCES))
        return Group(
            name,
            services,
            store.size(name),
            store.limit_of(name),
            store.held(name),
            store.by_server(name),
            top,
        )
