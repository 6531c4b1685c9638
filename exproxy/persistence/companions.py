"""Connections that belong together by what they show, beside any persistence: see model.Together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from exproxy.interfaces import IKeys, ILease
from exproxy.model import Claim, Facts, Key, Together

if TYPE_CHECKING:
    from exproxy.pool import Pool

T = TypeVar("T")

log = Logger()


class Companions:
    """The keys of what belongs together, in one pool. ``split``: how often it was found apart."""

    def __init__(self, keys: IKeys) -> None:
        self.split = 0
        self._keys = keys

    def __repr__(self) -> str:
        return f"<Companions: {self.split} split>"

    def beside(self, facts: Facts, said: tuple[T, ...]) -> tuple[T | Key, ...]:
        """``said`` is the persistence's; the key of a Together among the facts goes before or after it."""
        shown = facts.get(Together)
        if shown is None:
            return said
        key = self._key(shown)
        return (key, *said) if shown.first else (*said, key)

    def joined(self, pool: Pool, shown: Together, server: str, lease: ILease | None) -> None:
        """A connection that is with ``server`` already shows this: whether the others are there too."""
        keys = (self._key(shown),)
        answer = pool.store.claim(pool.table, keys, server, pool.ttl)
        if isinstance(answer, Deferred):
            answer.addCallbacks(lambda claim: self._compared(pool, shown, server, claim), _unknown)
        else:
            self._compared(pool, shown, server, answer)
        pool.hold(lease, keys)

    def _compared(self, pool: Pool, shown: Together, server: str, claim: Claim) -> None:
        if claim.server != server:
            self.split += 1
            log.warn(
                "{pool}: one half of a pair ({kind}) is with {server}, the other with {other}",
                pool=pool.name,
                kind=shown.kind,
                server=server,
                other=claim.server,
            )

    def _key(self, shown: Together) -> Key:
        return self._keys.digest(f"together-{shown.kind}", shown.value)


def _unknown(failure: Failure) -> None:
    """A store that does not answer: nothing is known, and nothing is said."""
