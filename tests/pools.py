"""Pools and their parts for tests: strategies that know what they are told, a store that answers late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from exproxy.actions import Drain, Fail, Pass
from exproxy.backend import Backend, Lease
from exproxy.interfaces import ILearner, IPersistence, IStore
from exproxy.model import Choice, Claim, Destination, Facts, Key, Known, Named, Source, User
from exproxy.persistence.none import NoPersistence
from exproxy.pool import Pool
from exproxy.scheduling import round_robin
from exproxy.store.memory import MemoryStore

GOOD = Pass()
BAD = Fail("L4CON", "connect", "Connection refused")
LEAVING = Drain("404")


def client(host: str = "192.0.2.1") -> Facts:
    """The facts of a client from there."""
    return Facts(Source(host, 40000), Destination("192.0.2.200", 443))


def key(text: str, kind: str = "source") -> Key:
    """A key that a test can read."""
    return Key(kind, text.encode())


def backends(*servers: str, pool: str = "web", **settings: Any) -> list[Backend]:
    """Backends named like their servers, on port 443."""
    return [
        Backend(f"{pool}/{server}", server, f"127.0.0.{number}", 443, **settings)
        for number, server in enumerate(servers, 11)
    ]


@implementer(IPersistence, ILearner)
class BySource:
    """One key: the source's text. Learns a User as a key of its own ``kind``, and knows it again."""

    def __init__(self, lifetime: float | None = None, kind: str = "user") -> None:
        self.lifetime = lifetime
        self.kind = kind
        self.observed: list[Facts] = []

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        """See IPersistence."""
        user = facts.get(User)
        return (key(user.name, self.kind), *self.remember(facts)) if user else self.remember(facts)

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence."""
        return (key(facts[Source].host),)

    def observe(self, facts: Facts, observation: object) -> tuple[Key, ...]:
        """See ILearner."""
        self.observed.append(facts)
        return (key(observation.name, self.kind),) if isinstance(observation, User) else ()


@implementer(IPersistence)
class Told:
    """Candidates and keys as told."""

    def __init__(self, candidates: Sequence[Known] = (), keys: Sequence[Key] = ()) -> None:
        self.known = tuple(candidates)
        self.keys = tuple(keys)

    def candidates(self, facts: Facts) -> tuple[Known, ...]:
        """See IPersistence."""
        return self.known

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence."""
        return self.keys


@implementer(IStore)
class LateStore:
    """A memory store whose find, claim and move are carried out and answered only when told to."""

    def __init__(self, clock: Clock) -> None:
        self.inner = MemoryStore(clock)
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def answer(self, error: Exception | None = None) -> None:
        """Answer the oldest question."""
        deferred, ask = self.waiting.pop(0)
        if error is not None:
            deferred.errback(error)
        else:
            deferred.callback(ask())

    def answer_all(self) -> None:
        """Answer until nobody asks any more."""
        while self.waiting:
            self.answer()

    def _later(self, ask: Callable[[], Any]) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()
        self.waiting.append((deferred, ask))
        return deferred

    def find(self, group: str, keys: Sequence[Key]) -> Deferred[Claim | None]:
        """See IStore."""
        return self._later(lambda: self.inner.find(group, keys))

    def claim(self, group: str, keys: Sequence[Key], wanted: str, ttl: float) -> Deferred[Claim]:
        """See IStore."""
        return self._later(lambda: self.inner.claim(group, keys, wanted, ttl))

    def hold(self, group: str, keys: Sequence[Key]) -> Callable[[], None]:
        """See IStore."""
        return self.inner.hold(group, keys)

    def move(self, group: str, keys: Sequence[Key], server: str, ttl: float) -> Deferred[Claim]:
        """See IStore."""
        return self._later(lambda: self.inner.move(group, keys, server, ttl))

    def delete(self, group: str, keys: Sequence[Key] | None = None, server: str | None = None) -> int:
        """See IStore."""
        return self.inner.delete(group, keys, server)

    def watch(self, group: str, changed: Callable[[Key, str | None], None]) -> Callable[[], None]:
        """See IStore."""
        return self.inner.watch(group, changed)


def make_pool(
    *servers: str,
    clock: Clock | None = None,
    name: str = "web",
    persistence: Any = None,
    scheduling: Any = None,
    store: Any = None,
    limit: int | None = None,
    **settings: Any,
) -> Pool:
    """A pool of these servers; round robin, no persistence and a memory store unless told."""
    clock = clock or Clock()
    return Pool(
        name,
        backends(*servers, pool=name, limit=limit),
        scheduling or round_robin.scheduling(None),
        persistence or NoPersistence(),
        store or MemoryStore(clock),
        clock,
        **settings,
    )


def chosen(choice: Choice | Deferred[Choice]) -> Choice:
    """The Choice, which must be there."""
    assert isinstance(choice, Choice), choice
    return choice


def lease_of(choice: Choice | Deferred[Choice]) -> Lease:
    """Its lease, which must be there."""
    lease = chosen(choice).lease
    assert isinstance(lease, Lease)
    return lease


def go_down(pool: Pool, server: str) -> str | None:
    """Fail as many checks as it takes."""
    backend = pool.find(server)
    assert backend is not None
    text = None
    while backend.health.up:
        text = pool.told(backend, BAD, 0.003)
    return text


def come_up(pool: Pool, server: str) -> str | None:
    """Pass as many checks as it takes."""
    backend = pool.find(server)
    assert backend is not None
    text = pool.told(backend, GOOD, 0.001)
    while not backend.health.up:
        text = pool.told(backend, GOOD, 0.001)
    return text
