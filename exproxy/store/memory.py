"""The store of one process: answers at once, bounded, least recently used first."""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from zope.interface import implementer

from exproxy.interfaces import IStore
from exproxy.model import Claim, Key

# Entries of a group, where nothing else was said: about 30 MB.
LIMIT = 100_000
# Expired entries that are cleared away whenever one is added: more than one, so that they get fewer.
CLEARED = 2

Changed = Callable[[Key, "str | None"], None]


class Seconds(Protocol):
    """The clock."""

    def seconds(self) -> float:
        """Now."""


class IBoundedStore(IStore):
    """An IStore whose groups have limits."""

    def limit(group: str, entries: int) -> None:
        """Bound a group to so many entries; what is too much goes with the next addition."""

    def size(group: str) -> int:
        """How many entries a group has here, expired ones that nobody met included."""

    def held(group: str) -> int:
        """How many of them links hold."""

    def limit_of(group: str) -> int:
        """How many entries a group may have."""

    def by_server(group: str) -> dict[str, int]:
        """How many entries each server has here, expired ones included."""

    def entries(group: str, server: str | None = None) -> Iterator[tuple[Key, Listed]]:
        """The entries of a group that are here, or of one server in it, those used last first."""


class Entry:
    """A key's server, until when, and how many links hold it."""

    __slots__ = ("expires", "holds", "server", "ttl", "version")

    def __init__(self, server: str, version: int) -> None:
        self.server = server
        self.version = version
        self.ttl = 0.0
        self.expires = 0.0
        self.holds = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry as it is shown: how many links hold it, its time, and what is left of that (None: it is
    held)."""

    server: str
    holds: int
    ttl: float
    left: float | None


class Table:
    """The entries of one group. Those that a link holds stand apart, where age is no matter."""

    __slots__ = ("free", "held", "limit", "servers")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # How many entries each server has: to count them anew takes long.
        self.servers: Counter[str] = Counter()
        self.free: OrderedDict[Key, Entry] = OrderedDict()
        self.held: OrderedDict[Key, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self.free) + len(self.held)

    def get(self, key: Key, now: float) -> Entry | None:
        """The entry, unless its time is over."""
        entry = self.held.get(key)
        if entry is None:
            entry = self.free.get(key)
            if entry is not None and entry.expires <= now:
                del self.free[key]
                self.servers[entry.server] -= 1
                return None
        return entry

    def put(self, key: Key, entry: Entry, now: float) -> None:
        """A new entry; the expired and the least recently used make room for it."""
        for _ in range(CLEARED):
            if self.free and next(iter(self.free.values())).expires <= now:
                self._drop(self.free)
        while len(self) >= self.limit:
            self._drop(self.free or self.held)
        # A claim may name a key twice.
        if key in self.free:
            self.pop(key)
        self.free[key] = entry
        self.servers[entry.server] += 1

    def _drop(self, among: OrderedDict[Key, Entry]) -> None:
        _, entry = among.popitem(last=False)
        self.servers[entry.server] -= 1

    def rebind(self, entry: Entry, server: str, version: int) -> None:
        """It is another server's."""
        self.servers[entry.server] -= 1
        self.servers[server] += 1
        entry.server, entry.version = server, version

    def refresh(self, key: Key, entry: Entry, ttl: float, now: float) -> None:
        """It was used."""
        entry.ttl = ttl
        entry.expires = now + ttl
        among = self.held if entry.holds else self.free
        # Another key of the same claim may just have taken its room.
        if among.get(key) is entry:
            among.move_to_end(key)

    def hold(self, key: Key, entry: Entry) -> None:
        """A link more holds it."""
        if not entry.holds:
            self.held[key] = self.free.pop(key)
        entry.holds += 1

    def let_go(self, key: Key, entry: Entry, now: float) -> None:
        """A link less; after the last its time begins anew."""
        entry.holds -= 1
        if not entry.holds and self.held.get(key) is entry:
            self.free[key] = self.held.pop(key)
            self.refresh(key, entry, entry.ttl, now)

    def pop(self, key: Key) -> Entry | None:
        """Take it out."""
        entry = self.held.pop(key, None) or self.free.pop(key, None)
        if entry is not None:
            self.servers[entry.server] -= 1
        return entry


@implementer(IBoundedStore)
class MemoryStore:
    """See IStore. Every call but delete by server is O(1) for each key; expiry costs no timer.

    Where keys of one claim are held for several servers the first held key decides.
    """

    def __init__(self, clock: Seconds) -> None:
        self._clock = clock
        self._tables: dict[str, Table] = {}
        self._watchers: dict[str, list[Changed]] = {}
        self._versions = itertools.count(1)

    def __repr__(self) -> str:
        return f"<MemoryStore {', '.join(f'{name}: {len(table)}' for name, table in self._tables.items())}>"

    def limit(self, group: str, entries: int) -> None:
        """Bound a group to so many entries; what is too much goes with the next addition."""
        self._table(group).limit = entries

    def size(self, group: str) -> int:
        """How many entries a group has, expired ones that nobody met included."""
        table = self._tables.get(group)
        return len(table) if table is not None else 0

    def held(self, group: str) -> int:
        """How many of them links hold."""
        table = self._tables.get(group)
        return len(table.held) if table is not None else 0

    def limit_of(self, group: str) -> int:
        """How many entries a group may have."""
        table = self._tables.get(group)
        return table.limit if table is not None else LIMIT

    def by_server(self, group: str) -> dict[str, int]:
        """How many entries each server has, expired ones that nobody met included."""
        table = self._tables.get(group)
        return {} if table is None else {server: count for server, count in table.servers.items() if count}

    def entries(self, group: str, server: str | None = None) -> Iterator[tuple[Key, Listed]]:
        """The entries of a group, or of one server in it, those used last first; change nothing meanwhile."""
        table, now = self._tables.get(group), self._clock.seconds()
        if table is None:
            return
        for among, held in ((table.held, True), (table.free, False)):
            for key in reversed(among):
                entry = among[key]
                if server in (None, entry.server) and (held or entry.expires > now):
                    left = None if held else entry.expires - now
                    yield key, Listed(entry.server, entry.holds, entry.ttl, left)

    def find(self, group: str, keys: Sequence[Key]) -> Claim | None:
        """See IStore."""
        table = self._tables.get(group)
        if table is not None:
            now = self._clock.seconds()
            for key in keys:
                entry = table.get(key, now)
                if entry is not None:
                    return Claim(entry.server, entry.version, False)
        return None

    def claim(self, group: str, keys: Sequence[Key], wanted: str, ttl: float) -> Claim:
        """See IStore."""
        table, now = self._table(group), self._clock.seconds()
        entries = [table.get(key, now) for key in keys]
        first = next((entry for entry in entries if entry is not None), None)
        server = first.server if first is not None else wanted
        version = first.version if first is not None else next(self._versions)
        for key, entry in zip(keys, entries, strict=True):
            if entry is None:
                self._add(table, key, server, version, ttl, now)
            elif entry.server == server:
                table.refresh(key, entry, entry.ttl, now)
        return Claim(server, version, first is None)

    def hold(self, group: str, keys: Sequence[Key]) -> Callable[[], None]:
        """See IStore. A key's time begins anew when its last hold is let go."""
        table, now = self._table(group), self._clock.seconds()
        held = [(key, entry) for key in keys if (entry := table.get(key, now)) is not None]
        for key, entry in held:
            table.hold(key, entry)

        def let_go() -> None:
            if held:
                now = self._clock.seconds()
                for key, entry in held:
                    table.let_go(key, entry, now)
                held.clear()

        return let_go

    def move(self, group: str, keys: Sequence[Key], server: str, ttl: float) -> Claim:
        """See IStore."""
        table, now = self._table(group), self._clock.seconds()
        version = next(self._versions)
        moved = []
        for key in keys:
            entry = table.get(key, now)
            if entry is None:
                self._add(table, key, server, version, ttl, now)
                continue
            if entry.server != server:
                moved.append(key)
            table.rebind(entry, server, version)
            table.refresh(key, entry, ttl, now)
        for key in moved:
            self._tell(group, key, server)
        return Claim(server, version, True)

    def delete(self, group: str, keys: Sequence[Key] | None = None, server: str | None = None) -> int:
        """See IStore. Neither keys nor server: all of the group."""
        table, now = self._table(group), self._clock.seconds()
        count = 0
        for key in [*table.free, *table.held] if keys is None else keys:
            entry = table.get(key, now)
            if entry is not None and server in (None, entry.server):
                table.pop(key)
                count += 1
                self._tell(group, key, None)
        return count

    def keys(self, group: str) -> tuple[Key, ...]:
        """All keys of a group, expired ones that nobody met included."""
        table = self._tables.get(group)
        return (*table.free, *table.held) if table is not None else ()

    def seen(self, group: str, key: Key) -> tuple[Entry, float] | None:
        """An entry, and how many seconds it lives unless it is used or held; None where there is none."""
        table, now = self._tables.get(group), self._clock.seconds()
        entry = table.get(key, now) if table is not None else None
        return None if entry is None else (entry, max(0.0, entry.expires - now))

    def put(self, group: str, key: Key, server: str, version: int, ttl: float, left: float) -> None:
        """Have an entry as somebody else keeps it, who decides: in place of what is held here. One that
        leads to another server than before has moved, and is told."""
        table, now = self._table(group), self._clock.seconds()
        entry = table.get(key, now)
        moved = entry is not None and entry.server != server
        if entry is None:
            entry = Entry(server, version)
            table.put(key, entry, now)
        entry.server, entry.version = server, version
        table.refresh(key, entry, ttl, now)
        entry.expires = now + left
        if moved:
            self._tell(group, key, server)

    def watch(self, group: str, changed: Changed) -> Callable[[], None]:
        """See IStore."""
        watchers = self._watchers.setdefault(group, [])
        watchers.append(changed)

        def stop() -> None:
            if changed in watchers:
                watchers.remove(changed)

        return stop

    # -- inside ----------------------------------------------------------------------

    def _table(self, group: str) -> Table:
        table = self._tables.get(group)
        if table is None:
            table = self._tables[group] = Table(LIMIT)
        return table

    def _add(self, table: Table, key: Key, server: str, version: int, ttl: float, now: float) -> None:
        entry = Entry(server, version)
        table.put(key, entry, now)
        table.refresh(key, entry, ttl, now)

    def _tell(self, group: str, key: Key, server: str | None) -> None:
        for changed in tuple(self._watchers.get(group, ())):
            changed(key, server)
