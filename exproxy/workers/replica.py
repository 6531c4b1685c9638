"""A worker's side of the store: what is known here is answered at once, the rest the owner is asked.

What an owner does not say within SILENCE is decided without it, and so is everything else until it is heard
again: :class:`exproxy.errors.StoreSilent`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from exproxy.errors import StoreSilent
from exproxy.model import Claim, Key
from exproxy.store.memory import Changed, IBoundedStore, Listed, MemoryStore
from exproxy.workers.messages import Answer, Ask, Bound, Entry, Freed, Held, Used

# Seconds after which the owner counts as silent.
SILENCE = 0.2
# Seconds for which uses and holds are gathered before the owner hears of them.
GATHERED = 0.5
# Keys in one message about uses or holds.
TOGETHER = 1000

Send: TypeAlias = Callable[[Any], None]


@implementer(IBoundedStore)
class Replica:
    """See IStore. ``silent``: the owner has not answered in time, and was not heard since."""

    log = Logger()

    def __init__(self, clock: IReactorTime, send: Send) -> None:
        self.silent = False
        self._clock = clock
        self._send = send
        self._store = MemoryStore(clock)
        self._number = 0
        # By number, oldest first: what becomes of the answer, and when it was asked for.
        self._asked: dict[int, tuple[Ask, Deferred[Any], float]] = {}
        self._patience: IDelayedCall | None = None
        self._gathering: IDelayedCall | None = None
        self._over = False
        # (group, key): the server that it was used for.
        self._used: dict[tuple[str, Key], str] = {}
        # How many links hold a key; which of them the owner has to hear of, and which it knows.
        self._holds: dict[tuple[str, Key], int] = {}
        self._touched: dict[tuple[str, Key], None] = {}
        self._told: set[tuple[str, Key]] = set()

    def __repr__(self) -> str:
        state = "silent owner" if self.silent else f"{len(self._asked)} questions"
        return f"<Replica {state}, {self._store!r}>"

    def limit(self, group: str, entries: int) -> None:
        """See MemoryStore: as many are kept here at the most, too."""
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

    def find(self, group: str, keys: Sequence[Key]) -> Claim | Deferred[Claim | None] | None:
        """See IStore."""
        if not keys:
            return None
        claim = self._store.find(group, keys[:1])
        return claim if claim is not None else self._ask("find", group, tuple(keys))

    def claim(self, group: str, keys: Sequence[Key], wanted: str, ttl: float) -> Claim | Deferred[Claim]:
        """See IStore. Answered here where all keys are known: then there is nothing to decide."""
        first = None
        for key in keys:
            claim = self._store.find(group, (key,))
            if claim is None:
                return self._ask("claim", group, tuple(keys), wanted, ttl)
            first = first or claim
        if first is None:
            return self._ask("claim", group, tuple(keys), wanted, ttl)
        self._store.claim(group, keys, first.server, ttl)
        for key in keys:
            claim = self._store.find(group, (key,))
            if claim is not None and claim.server == first.server:
                self._used[group, key] = first.server
        self._gather()
        return first

    def hold(self, group: str, keys: Sequence[Key]) -> Callable[[], None]:
        """See IStore."""
        let_go = self._store.hold(group, keys)
        held = [(group, key) for key in dict.fromkeys(keys)]
        for each in held:
            self._holds[each] = self._holds.get(each, 0) + 1
            self._touch(each)

        def released() -> None:
            for each in held:
                self._holds[each] -= 1
                if not self._holds[each]:
                    del self._holds[each]
                self._touch(each)
            held.clear()
            let_go()

        return released

    def move(self, group: str, keys: Sequence[Key], server: str, ttl: float) -> Claim | Deferred[Claim]:
        """See IStore."""
        return self._ask("move", group, tuple(keys), server, ttl)

    def delete(
        self, group: str, keys: Sequence[Key] | None = None, server: str | None = None
    ) -> int | Deferred[int]:
        """See IStore."""
        return self._ask("delete", group, None if keys is None else tuple(keys), server)

    def watch(self, group: str, changed: Changed) -> Callable[[], None]:
        """See IStore: changes are told when the owner's word of them is here."""
        return self._store.watch(group, changed)

    # -- the owner's words -----------------------------------------------------------

    def heard(self) -> None:
        """The owner has said something: it is there."""
        if self.silent:
            self.silent = False
            self.log.info("the owner of the persistence tables answers again")

    def answered(self, answer: Answer) -> None:
        """The answer to a question, which nobody may be waiting for any more."""
        found = self._asked.pop(answer.number, None)
        if found is None:
            return
        ask, waiting, _ = found
        self._put(ask.group, answer.entries)
        waiting.callback(answer.count if ask.deed == "delete" else answer.claim)

    def bound(self, bound: Bound) -> None:
        """These are held as said there."""
        self._put(bound.group, bound.entries)

    def freed(self, freed: Freed) -> None:
        """These are held no more."""
        self._store.delete(freed.group, freed.keys)

    def lost(self) -> None:
        """The owner is gone for good: nobody waits for it."""
        self._hush("has gone")
        for call in (self._patience, self._gathering):
            if call is not None and call.active():
                call.cancel()
        self._patience = self._gathering = None
        self._over = True

    # -- inside ----------------------------------------------------------------------

    def _put(self, group: str, entries: Sequence[Entry]) -> None:
        for each in entries:
            self._store.put(group, each.key, each.server, each.version, each.ttl, each.left)

    def _ask(
        self,
        deed: str,
        group: str,
        keys: tuple[Key, ...] | None,
        server: str | None = None,
        ttl: float = 0.0,
    ) -> Deferred[Any]:
        if self.silent:
            return fail(StoreSilent("the owner of the persistence tables is silent"))
        self._number += 1
        number = self._number
        ask = Ask(number, deed, group, keys, server, ttl)
        waiting: Deferred[Any] = Deferred(lambda _: self._asked.pop(number, None) and None)
        self._asked[number] = (ask, waiting, self._clock.seconds())
        # At once: what the client hears next may bring it to another worker, which asks too.
        self._send(ask)
        if self._patience is None:
            self._patience = self._clock.callLater(SILENCE, self._look)
        return waiting

    def _look(self) -> None:
        self._patience = None
        oldest = next(iter(self._asked.values()), None)
        if oldest is None:
            return
        left = oldest[2] + SILENCE - self._clock.seconds()
        if left > 0:
            self._patience = self._clock.callLater(left, self._look)
        else:
            self._hush(f"has not answered for {SILENCE:g} s")

    def _hush(self, why: str) -> None:
        if not self.silent:
            self.silent = True
            self.log.error(
                "the owner of the persistence tables {why}: until it is heard again, clients that are not "
                "known here are taken where a hash of their key leads to",
                why=why,
            )
        asked, self._asked = self._asked, {}
        for _, waiting, _ in asked.values():
            waiting.errback(StoreSilent("the owner of the persistence tables is silent"))

    def _touch(self, which: tuple[str, Key]) -> None:
        self._touched[which] = None
        self._gather()

    def _gather(self) -> None:
        if self._gathering is None and not self._over:
            self._gathering = self._clock.callLater(GATHERED, self.flush)

    def flush(self) -> None:
        """Tell the owner what was used and held since the last time."""
        if self._gathering is not None and self._gathering.active():
            self._gathering.cancel()
        self._gathering = None
        used, self._used = self._used, {}
        by_group: dict[str, list[tuple[Key, str]]] = {}
        for (group, key), server in used.items():
            by_group.setdefault(group, []).append((key, server))
        for group, pairs in by_group.items():
            for at in range(0, len(pairs), TOGETHER):
                part = pairs[at : at + TOGETHER]
                self._send(Used(group, tuple(k for k, _ in part), tuple(s for _, s in part)))
        self._flush_holds()

    def _flush_holds(self) -> None:
        touched, self._touched = self._touched, {}
        changes: dict[str, tuple[list[Key], list[Key]]] = {}
        for which in touched:
            held, told = which in self._holds, which in self._told
            if held == told:
                continue
            (self._told.add if held else self._told.discard)(which)
            changes.setdefault(which[0], ([], []))[not held].append(which[1])
        for group, (held_now, let_go) in changes.items():
            for at in range(0, max(len(held_now), len(let_go)), TOGETHER):
                part = slice(at, at + TOGETHER)
                self._send(Held(group, tuple(held_now[part]), tuple(let_go[part])))
