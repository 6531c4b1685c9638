"""A pick that is only played through: who would have this client, with nothing advanced, held or claimed.

It is :class:`exproxy.choosing.Picking` itself that decides, before a pool that forgets what it is told: so
what is said here is what then happens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from exproxy.backend import Backend
from exproxy.choosing import Picking, run
from exproxy.errors import NoBackend
from exproxy.model import Choice, Claim, Facts, Key, Link, Persistence
from exproxy.waiting import Full

if TYPE_CHECKING:
    from exproxy.pool import Pool


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """``server`` None: nobody, for that ``reason``; ``full``: everybody is at the limit. ``found``: keys that
    were looked up, with the server that holds each."""

    server: str | None
    persistence: Persistence | None
    reason: str
    full: bool
    found: Mapping[Key, str | None]


def rehearse(pool: Pool, facts: Facts, links: Sequence[Link] = ()) -> Rehearsed | Deferred[Rehearsed]:
    """Who would have a client with these facts now. A Deferred where the store answers late."""
    stage = _Stage(pool)
    steps = _Played(stage, facts, (), links).steps()  # type: ignore[arg-type]  # it stands for the pool
    try:
        choice = run(steps)
    except NoBackend as error:
        return _nobody(stage, error)
    if isinstance(choice, Deferred):
        return choice.addCallbacks(
            lambda found: _somebody(stage, found), lambda failure: _late_nobody(stage, failure)
        )
    return _somebody(stage, choice)


def _somebody(stage: _Stage, choice: Choice) -> Rehearsed:
    return Rehearsed(choice.backend.server, choice.persistence, "", False, stage.store.found)


def _nobody(stage: _Stage, error: NoBackend) -> Rehearsed:
    return Rehearsed(None, None, error.reason, isinstance(error, Full), stage.store.found)


def _late_nobody(stage: _Stage, failure: Any) -> Rehearsed:
    failure.trap(NoBackend)
    return _nobody(stage, failure.value)


class _Memory:
    """A store that is asked, and remembers nothing new; ``found``: what it was asked for."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.found: dict[Key, str | None] = {}

    def find(self, group: str, keys: Sequence[Key]) -> Claim | Deferred[Claim | None] | None:
        """See IStore."""
        answer = self._store.find(group, keys)
        if isinstance(answer, Deferred):
            return answer.addCallback(lambda claim: self._noted(keys, claim))
        return self._noted(keys, answer)

    def claim(self, group: str, keys: Sequence[Key], wanted: str, ttl: float) -> Claim | Deferred[Claim]:
        """See IStore: as it would be answered."""
        answer = self.find(group, keys)
        if isinstance(answer, Deferred):
            return answer.addCallback(lambda claim: claim or Claim(wanted, 0, True))
        return answer or Claim(wanted, 0, True)

    def move(self, group: str, keys: Sequence[Key], server: str, ttl: float) -> Claim:
        """See IStore: nothing moves."""
        return Claim(server, 0, True)

    def _noted(self, keys: Sequence[Key], claim: Claim | None) -> Claim | None:
        if len(keys) == 1:
            self.found[keys[0]] = claim.server if claim is not None else None
        return claim


class _Stage:
    """A pool that is looked at and not changed; what is not here is the pool's own."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.store = _Memory(pool.store)
        self.ambiguous = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def schedule(self, facts: Facts, avoiding: Collection[str], linked: Collection[str] = ()) -> Backend:
        """As Pool.schedule, but nobody has had a turn."""
        return self._pool.preferred(facts, avoiding, linked)[0]

    def hold(self, lease: object, keys: tuple[Key, ...]) -> None:
        """Nothing is held."""


class _Played(Picking):
    """A pick that takes no lease and tells nobody."""

    __slots__ = ()

    def _take(self, backend: Backend, how: Persistence) -> Choice:
        return Choice(backend, None, how)

    def _tell(self, known: Mapping[str, Key], server: str) -> None:
        """Nobody is told."""
