"""A persistence group: one table that several services share, so that one client meets one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exproxy.pool import Pool


class Group:
    """The pools that share a table. ``timeout``: seconds that an entry lives after its last use.

    ``on_move``: what becomes of a moved client's connections to its old server, keep or cut.
    """

    def __init__(self, name: str, *, timeout: float = 7200.0, on_move: str = "keep") -> None:
        self.name = name
        self.timeout = timeout
        self.on_move = on_move
        self.pools: list[Pool] = []

    def __repr__(self) -> str:
        return f"<Group {self.name}: {', '.join(pool.name for pool in self.pools)}>"

    def good_for_new(self, server: str) -> bool:
        """Whether a new client could use that server in every pool."""
        return all(b.usable_for_new() for pool in self.pools if (b := pool.find(server)) is not None)

    def good_for_known(self, server: str) -> bool:
        """Whether a bound client can use that server in every pool."""
        return all(b.usable_for_known() for pool in self.pools if (b := pool.find(server)) is not None)
