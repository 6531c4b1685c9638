"""The owner's side of the store: it decides, and every replica hears of it.

One process owns the tables. Whatever changes in them, by a worker's asking or by the owner's own hand, is
told to the replicas of all others; what was only used again is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

from zope.interface import implementer

from exproxy.model import Claim, Key
from exproxy.store.memory import Changed, IBoundedStore, Listed, MemoryStore, Seconds
from exproxy.workers.messages import Answer, Ask, Bound, Entry, Freed, Held, Used

# Keys in one message.
TOGETHER = 1000

# A worker's number.
Worker: TypeAlias = int
LetGo: TypeAlias = Callable[[], None]


class Tell(Protocol):
    """To all replicas but that of one worker, or to that one alone."""

    def __call__(
        self, message: Bound | Freed, *, but: Worker | None = None, to: Worker | None = None
    ) -> None:
        """Send it."""


@implementer(IBoundedStore)
class Owner:
    """See IStore: for the process that owns it every answer is there at once."""

    def __init__(self, clock: Seconds, tell: Tell) -> None:
        self._store = MemoryStore(clock)
        self._tell = tell
        self._holds: dict[Worker, dict[tuple[str, Key], LetGo]] = {}

    def __repr__(self) -> str:
        return f"<Owner of {self._store!r}>"

    def limit(self, group: str, entries: int) -> None:
        """See MemoryStore."""
        self._store.limit(group, entries)

    def size(self, group: str) -> int:
        """See MemoryStore."""
        return self._store.size(group)

    def held(self, group: str) -> int:
        """See MemoryStore."""
        return self._store.held(group)

    def limit_of(self, group: str) -> int:
        """See MemoryStore."""
        return self._store.limit_of(group)

    def by_server(self, group: str) -> dict[str, int]:
        """See MemoryStore."""
        return self._store.by_server(group)

    def entries(self, group: str, server: str | None = None) -> Iterator[tuple[Key, Listed]]:
        """See MemoryStore."""
        return self._store.entries(group, server)

    # -- IStore ----------------------------------------------------------------------

    def find(self, group: str, keys: Sequence[Key]) -> Claim | None:
        """See IStore."""
        return self._store.find(group, keys)

    def claim(self, group: str, keys: Sequence[Key], wanted: str, ttl: float) -> Claim:
        """See IStore."""
        return self._claim(group, keys, wanted, ttl, None)

    def hold(self, group: str, keys: Sequence[Key]) -> LetGo:
        """See IStore."""
        return self._store.hold(group, keys)

    def move(self, group: str, keys: Sequence[Key], server: str, ttl: float) -> Claim:
        """See IStore."""
        return self._move(group, keys, server, ttl, None)

    def delete(self, group: str, keys: Sequence[Key] | None = None, server: str | None = None) -> int:
        """See IStore."""
        gone = self._store.keys(group) if keys is None else tuple(keys)
        gone = tuple(key for key in gone if server in (None, self._server(group, key)))
        count = self._store.delete(group, gone)
        for at in range(0, len(gone), TOGETHER):
            # A replica may still have what is over here.
            self._tell(Freed(group, gone[at : at + TOGETHER]))
        return count

    def watch(self, group: str, changed: Changed) -> LetGo:
        """See IStore."""
        return self._store.watch(group, changed)

    # -- workers ---------------------------------------------------------------------

    def asked(self, worker: Worker, ask: Ask) -> Answer:
        """Carry out what a worker asks for. Its own replica learns of it by the answer, others are told."""
        claim, count = None, 0
        keys, server = ask.keys or (), ask.server or ""
        if ask.deed == "find":
            claim = self._store.find(ask.group, keys)
        elif ask.deed == "claim":
            claim = self._claim(ask.group, keys, server, ask.ttl, worker)
        elif ask.deed == "move":
            claim = self._move(ask.group, keys, server, ask.ttl, worker)
        elif ask.deed == "delete":
            # Told to the asker too, which may ask for all keys of a server.
            count = self.delete(ask.group, ask.keys, ask.server)
        return Answer(ask.number, claim, count, self._entries(ask.group, keys))

    def used(self, worker: Worker, used: Used) -> None:
        """A worker's clients came by these keys. What is not held here any more, or for another server, its
        replica is told of."""
        lost = []
        for key, server in zip(used.keys, used.servers, strict=True):
            if self._server(used.group, key) == server:
                # For the same server a claim does nothing but refresh it.
                self._store.claim(used.group, (key,), server, 0.0)
            else:
                lost.append(key)
        there = self._entries(used.group, lost)
        if there:
            self._tell(Bound(used.group, there), to=worker)
        known = {entry.key for entry in there}
        gone = tuple(key for key in lost if key not in known)
        if gone:
            self._tell(Freed(used.group, gone), to=worker)

    def held_by(self, worker: Worker, held: Held) -> None:
        """A worker's links hold these keys, and those no more."""
        holds = self._holds.setdefault(worker, {})
        for key in held.held:
            if (held.group, key) not in holds:
                holds[held.group, key] = self._store.hold(held.group, (key,))
        for key in held.let_go:
            let_go = holds.pop((held.group, key), None)
            if let_go is not None:
                let_go()

    def gone(self, worker: Worker) -> None:
        """A worker is no more; what its links held lives for its time."""
        for let_go in self._holds.pop(worker, {}).values():
            let_go()

    # -- inside ----------------------------------------------------------------------

    def _claim(self, group: str, keys: Sequence[Key], wanted: str, ttl: float, by: Worker | None) -> Claim:
        new = [key for key in keys if self._store.find(group, (key,)) is None]
        claim = self._store.claim(group, keys, wanted, ttl)
        self._told(group, new, by)
        return claim

    def _move(self, group: str, keys: Sequence[Key], server: str, ttl: float, by: Worker | None) -> Claim:
        claim = self._store.move(group, keys, server, ttl)
        self._told(group, keys, by)
        return claim

    def _told(self, group: str, keys: Sequence[Key], by: Worker | None) -> None:
        entries = self._entries(group, keys)
        if entries:
            self._tell(Bound(group, entries), but=by)

    def _server(self, group: str, key: Key) -> str | None:
        claim = self._store.find(group, (key,))
        return claim.server if claim is not None else None

    def _entries(self, group: str, keys: Sequence[Key]) -> tuple[Entry, ...]:
        found = []
        for key in keys:
            seen = self._store.seen(group, key)
            if seen is not None:
                entry, left = seen
                found.append(Entry(key, entry.server, entry.version, entry.ttl, left))
        return tuple(found)
