"""The store of one process: answers at once, bounded, oldest first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from zope.interface import implementer

from exproxy.interfaces import IStore
from exproxy.model import Claim, Key

# Entries of a group, where nothing else was said: about 30 MB.
LIMIT = 100_000
# So many of the oldest are looked at when one must go; those that a link holds are spared.
LOOKED_AT = 8

Changed = Callable[[Key, "str | None"], None]


class Seconds(Protocol):
    """The clock."""

    def seconds(self) -> float:
        """Now."""


class Entry:
    """A key's server, until when, and how many links hold it."""

    __slots__ = ("expires", "holds", "server", "ttl", "version")

    def __init__(self, server: str, version: int, ttl: float, expires: float) -> None:
        self.server = server
        self.version = version
        self.ttl = ttl
        self.expires = expires
        self.holds = 0


@implementer(IStore)
class MemoryStore:
    """See IStore. Every call is O(1) but delete by server; expiry costs no timer: the oldest entries
    of a group are looked at whenever one is added."""

    def __init__(self, clock: Seconds) -> None:
        self._clock = clock
        self._groups: dict[str, OrderedDict[Key, Entry]] = {}
        self._limits: dict[str, int] = {}
        self._watchers: dict[str, list[Changed]] = {}

    def limit(self, group: str, entries: int) -> None:
        """Bound a group to so many entries."""
        self._limits[group] = entries

    def size(self, group: str) -> int:
        """How many entries a group has, expired ones that nobody met included."""
        return len(self._groups.get(group, ()))

    def find(self, group: str, keys: Sequence[Key]) -> Claim | None:
        """See IStore."""
        table = self._groups.get(group)
        if table:
            for key in keys:
                entry = self._live(table, key)
                if entry is not None:
                    return Claim(entry.server, entry.version, False)
        return None

    def claim(self, group: str, keys: Sequence[Key], wanted: str, ttl: float) -> Claim:
        """See IStore."""
        table = self._groups.setdefault(group, OrderedDict())
        held = next((e for key in keys if (e := self._live(table, key)) is not None), None)
        server, version = (held.server, held.version) if held is not None else (wanted, 1)
        for key in keys:
            entry = self._live(table, key)
            if entry is None:
                self._put(group, table, key, server, version, ttl)
            elif entry.server == server:
                self._refresh(table, key, entry, ttl)
        return Claim(server, version, held is None)

    def hold(self, group: str, keys: Sequence[Key]) -> Callable[[], None]:
        """See IStore. A key's time begins anew when its last hold is let go."""
        table = self._groups.setdefault(group, OrderedDict())
        held = [(key, entry) for key in keys if (entry := self._live(table, key)) is not None]
        for _, entry in held:
            entry.holds += 1

        def let_go() -> None:
            for key, entry in held:
                entry.holds -= 1
                if table.get(key) is entry:
                    self._refresh(table, key, entry, entry.ttl)
            held.clear()

        return let_go

    def move(self, group: str, keys: Sequence[Key], server: str, ttl: float) -> Claim:
        """See IStore."""
        table = self._groups.setdefault(group, OrderedDict())
        version = 1
        for key in keys:
            entry = self._live(table, key)
            if entry is None:
                self._put(group, table, key, server, 1, ttl)
                continue
            moved = entry.server != server
            entry.server = server
            entry.version += moved
            version = max(version, entry.version)
            self._refresh(table, key, entry, ttl)
            if moved:
                self._tell(group, key, server)
        return Claim(server, version, True)

    def delete(self, group: str, keys: Sequence[Key] | None = None, server: str | None = None) -> int:
        """See IStore. Neither keys nor server: all of the group."""
        table = self._groups.get(group, OrderedDict())
        doomed = list(table if keys is None else keys)
        count = 0
        for key in doomed:
            entry = table.get(key)
            if entry is not None and server in (None, entry.server):
                del table[key]
                count += 1
                self._tell(group, key, None)
        return count

    def watch(self, group: str, changed: Changed) -> Callable[[], None]:
        """See IStore."""
        watchers = self._watchers.setdefault(group, [])
        watchers.append(changed)

        def stop() -> None:
            if changed in watchers:
                watchers.remove(changed)

        return stop

    # -- inside ----------------------------------------------------------------------

    def _live(self, table: OrderedDict[Key, Entry], key: Key) -> Entry | None:
        entry = table.get(key)
        if entry is None or entry.holds or entry.expires > self._clock.seconds():
            return entry
        del table[key]
        return None

    def _refresh(self, table: OrderedDict[Key, Entry], key: Key, entry: Entry, ttl: float) -> None:
        entry.ttl = ttl
        entry.expires = self._clock.seconds() + ttl
        table.move_to_end(key)

    def _put(
        self, group: str, table: OrderedDict[Key, Entry], key: Key, server: str, version: int, ttl: float
    ) -> None:
        self._make_room(table, self._limits.get(group, LIMIT))
        table[key] = Entry(server, version, ttl, self._clock.seconds() + ttl)

    def _make_room(self, table: OrderedDict[Key, Entry], limit: int) -> None:
        now = self._clock.seconds()
        for key in [key for key, _ in zip(table, range(2), strict=False)]:
            if not table[key].holds and table[key].expires <= now:
                del table[key]
        if len(table) >= limit:
            oldest = [key for key, _ in zip(table, range(LOOKED_AT), strict=False)]
            del table[next((key for key in oldest if not table[key].holds), oldest[0])]

    def _tell(self, group: str, key: Key, server: str | None) -> None:
        for changed in tuple(self._watchers.get(group, ())):
            changed(key, server)
