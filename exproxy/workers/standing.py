"""How the servers stand: what the supervisor finds out, and the workers go by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from exproxy.backend import Backend
from exproxy.pool import Pool
from exproxy.workers.messages import Standing


def by_name(pools: Iterable[Pool]) -> dict[str, Pool]:
    """The pools by names that are the same in all processes of one configuration: pools that go by one name
    (a port with and without TLS behind it) have a number too."""
    found: dict[str, Pool] = {}
    for pool in pools:
        name, number = pool.name, 2
        while name in found:
            name, number = f"{pool.name}#{number}", number + 1
        found[name] = pool
    return found


def standing(name: str, pool: Pool, backend: Backend, now: float) -> Standing:
    """The state of one server in the pool of that name; ``now`` is the clock's."""
    ramped = None
    if backend.ramping is not None and backend.part(now, pool.slow_ramp) < 1.0:
        ramped = now - backend.ramping
    health = backend.health
    return Standing(
        name,
        backend.server,
        backend.host,
        backend.port,
        health.up,
        health.draining,
        health.asked,
        backend.operator,
        ramped,
        backend.leaving,
        backend.weight,
    )


def follow(pool: Pool, told: Standing, now: float) -> None:
    """Have the server stand in this pool as it is told; whose links that ends, and who has waited for it,
    hears of it at once. A server that is not known here is nobody's."""
    backend = pool.find(told.server)
    if backend is None:
        return
    was = backend.health.up
    backend.host = told.host
    if told.port and told.port != backend.port and backend.located:
        backend.found_at(told.port)
    backend.health.become(up=told.up, draining=told.draining, asked=told.asked)
    backend.operator, backend.leaving, backend.weight = told.operator, told.leaving, told.weight
    backend.ramping = now - told.ramped if told.ramped is not None and pool.slow_ramp else None
    pool.stands(backend, fell=was and not told.up)


class Changes:
    """Which servers stand otherwise than when they were told of last."""

    def __init__(self, pools: Mapping[str, Pool], clock: Callable[[], float]) -> None:
        self._pools = pools
        self._clock = clock
        self._told: dict[tuple[str, str], Standing] = {}

    def all(self) -> tuple[Standing, ...]:
        """Every server as it stands."""
        now = self._clock()
        return tuple(standing(name, p, b, now) for name, p in self._pools.items() for b in p.backends)

    def of(self, name: str, backend: Backend) -> Standing | None:
        """That server, where it stands otherwise than before."""
        found = standing(name, self._pools[name], backend, self._clock())
        key = (name, backend.server)
        before = self._told.get(key)
        self._told[key] = found
        return None if before is not None and _same(before, found) else found


def _same(before: Standing, now: Standing) -> bool:
    """But for how long it has ramped, unless it has begun anew."""
    begun = now.ramped is not None and (before.ramped is None or now.ramped < before.ramped)
    fields = ("host", "port", "up", "draining", "asked", "operator", "leaving", "weight")
    return not begun and all(getattr(before, each) == getattr(now, each) for each in fields)
