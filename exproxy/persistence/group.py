"""A persistence group: one table that several services share, so that one client meets one server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from exproxy.backend import Backend, Lease
from exproxy.interfaces import IStore
from exproxy.model import Key

if TYPE_CHECKING:
    from exproxy.pool import Pool

log = Logger()


def _warn(text: str) -> None:
    log.warn("{text}", text=text)


class Group:
    """The pools that share a table. ``timeout``: seconds that an entry lives after its last use.

    ``on_move``: what becomes of a moved client's links to its old server in all these pools, keep
    or cut. ``notice(text)`` is told when no server is usable in all of them, and when one is again.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout: float = 7200.0,
        on_move: str = "keep",
        notice: Callable[[str], None] = _warn,
    ) -> None:
        self.name = name
        self.timeout = timeout
        self.on_move = on_move
        self.pools: list[Pool] = []
        self._notice = notice
        self._split = False
        self._open: dict[Key, dict[Lease, None]] = {}

    def __repr__(self) -> str:
        return f"<Group {self.name}: {', '.join(pool.name for pool in self.pools)}>"

    def join(self, pool: Pool, store: IStore) -> None:
        """One pool more; all of a group have the same store."""
        if not self.pools and self.on_move == "cut":
            store.watch(self.name, self._moved)
        self.pools.append(pool)

    # -- who is well -----------------------------------------------------------------

    def good_for_new(self, server: str) -> bool:
        """Whether a new client could use that server in every pool."""
        return all(b.usable_for_new() for b in self._backends(server))

    def good_for_known(self, server: str) -> bool:
        """Whether a bound client can use that server in every pool."""
        return all(b.usable_for_known() for b in self._backends(server))

    def alive(self, server: str) -> bool:
        """Whether a bound client can use that server in some pool."""
        return any(b.usable_for_known() for b in self._backends(server))

    def split(self, pool: Pool, none: bool) -> None:
        """Whether ``none`` of a pool's usable servers is usable in all pools; told when it changes."""
        if none != self._split:
            self._split = none
            state = (
                "no server is usable in all its services"
                if none
                else "a server is usable in all its services again"
            )
            self._notice(f"group {self.name}, seen from {pool.name}: {state}")

    def _backends(self, server: str) -> list[Backend]:
        return [b for pool in self.pools if (b := pool.find(server)) is not None]

    # -- clients that move -----------------------------------------------------------

    def opened(self, lease: Lease, keys: tuple[Key, ...]) -> None:
        """A link of a client that is bound by ``keys``."""
        if self.on_move == "cut":
            for key in keys:
                self._open.setdefault(key, {})[lease] = None

    def closed(self, lease: Lease) -> None:
        """That link is gone."""
        for key in lease.keys:
            leases = self._open.get(key)
            if leases is not None:
                leases.pop(lease, None)
                if not leases:
                    del self._open[key]

    def links(self, key: Key) -> int:
        """How many links a client that is bound by ``key`` has; counted for ``on_move`` cut only."""
        return len(self._open.get(key, ()))

    def _moved(self, key: Key, server: str | None) -> None:
        if server is None:
            return
        for lease in list(self._open.get(key, ())):
            if lease.backend.server != server:
                lease.condemn(f"client moved to {server}")
