"""One pick on its way: where the client is bound, who is free, who is best, whose claim won.

Written as a generator that gives the Deferreds of a store that answers late, and nothing where
answers are there at once: :func:`run` turns it into a Choice or into a Deferred of one.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from exproxy.backend import Backend, Lease
from exproxy.errors import NoBackend, StoreSilent
from exproxy.model import AnyOf, Choice, Claim, Facts, Key, Known, Link, Named, Persistence, Together
from exproxy.waiting import Full

if TYPE_CHECKING:
    from exproxy.pool import Pool

# Deferreds out, their values in, a Choice at the end.
Steps = Generator[Any, Any, Choice]
# So often a choice is made anew because its server went away while the store was asked.
ROUNDS = 4

log = Logger()


class Picking:
    """What one pick is asked for, and what it has found out."""

    __slots__ = (
        "_bound",
        "_facts",
        "_found",
        "_linked",
        "_links",
        "_pool",
        "_silent",
        "_stale",
        "_told",
        "avoiding",
    )

    def __init__(self, pool: Pool, facts: Facts, avoiding: Collection[str], links: Sequence[Link]) -> None:
        self._pool = pool
        self._facts = facts
        self._links = links
        self._linked = {link.server for link in links} if links else ()
        # Of a client that is known on several servers, once for each pick.
        self._told = False
        # The store was asked, and is silent.
        self._silent = False
        self.avoiding = avoiding

    def steps(self) -> Steps:
        """Ends with a Choice whose lease is taken; raises NoBackend, or its kind Full."""
        for _ in range(ROUNDS):
            choice = yield from (self._shared_round() if self._pool.shared else self._round())
            backend = choice.backend
            assert isinstance(backend, Backend)
            if backend.usable_for_known():
                return choice
            if choice.lease is not None:
                choice.lease.release()
        raise NoBackend(f"the servers of {self._pool.name} come and go")

    def _shared_round(self) -> Steps:
        """A round where processes share the limits: it is Full only once no server has places elsewhere.

        One server is waited for at a time, and what comes is taken at once: to wait for one while having
        another's place would have two processes take them from each other for ever.
        """
        while True:
            try:
                return (yield from self._round())
            except Full:
                asked = self._elsewhere()
                if asked is None:
                    raise
                yield asked

    def _elsewhere(self) -> Deferred[None] | None:
        for backend in self._pool.backends:
            if (
                backend.places is not None
                and backend.server not in self.avoiding
                and backend.usable_for_new()
            ):
                asked = backend.places.more(len(backend.leases))
                if asked is not None:
                    return asked
        return None

    def _room(self, backend: Backend) -> Generator[Any, Any, None]:
        """Wait until it is known whether another process has a place for this server."""
        places = backend.places
        while places is not None and self._full(backend):
            asked = places.more(len(backend.leases))
            if asked is None:
                return
            yield asked

    def _round(self) -> Steps:
        # What the client was bound by, to whom, and the keys that say so but do not serve.
        self._found: Key | None = None
        self._bound: str | None = None
        self._stale: list[Key] = []
        pool = self._pool
        before = pool.served(self._facts)
        followed = before is not None and pool.may_stay(before, self.avoiding)
        stay = before if followed else (yield from self._known())
        if stay is None:
            return (yield from self._new())
        if pool.shared:
            yield from self._room(stay)
        if self._full(stay):
            if pool.when_full.policy != "next":
                raise Full(f"{stay.name} has reached its limit")
            # Only this link goes elsewhere; its client stays bound.
            return self._take(
                pool.schedule(self._facts, {*self.avoiding, stay.server}, self._linked), Persistence.MOVED
            )
        return self._take(stay, Persistence.HIT) if followed else (yield from self._again(stay))

    def _again(self, stay: Backend) -> Steps:
        """The client goes where it was; its key is refreshed, and its other keys join."""
        pool, found = self._pool, self._found
        choice = self._take(stay, Persistence.HIT)
        keys = pool.keys_of(self._facts)
        if found is not None and (not keys or keys[0] != found):
            # The first key decides, and it is this one that led here.
            keys = (found, *(key for key in keys if key != found))
        if keys:
            claim = pool.store.claim(pool.table, keys, stay.server, pool.ttl)
            if isinstance(claim, Deferred):
                claim = yield from self._asked(claim, choice.lease)
            # The other keys may belong to a server of their own (an address that several share).
            if found is not None:
                pool.hold(choice.lease, (found,))
            elif claim is None or claim.server == stay.server:
                pool.hold(choice.lease, keys)
        return choice

    def _known(self) -> Generator[Any, Any, Backend | None]:
        """The first candidate that resolves to a server which may go on serving this client."""
        for candidate in self._pool.candidates_of(self._facts):
            if isinstance(candidate, AnyOf):
                backend = yield from self._any_of(candidate)
            else:
                backend = yield from self._one(candidate)
            if backend is not None:
                return backend
        return None

    def _one(self, candidate: Named | Key) -> Generator[Any, Any, Backend | None]:
        server = yield from self._resolved(candidate)
        if server is None:
            return None
        key = candidate if isinstance(candidate, Key) else None
        backend = self._usable(server)
        if backend is not None:
            self._found = key
            return backend
        self._bound = self._bound or server
        if key is not None:
            self._stale.append(key)
        return None

    def _any_of(self, candidate: AnyOf) -> Generator[Any, Any, Backend | None]:
        """Of the servers that its keys lead to, one that can be used."""
        known: dict[str, Key] = {}
        for key in candidate.keys:
            server = yield from self._resolved(key)
            if server is not None and self._usable(server) is not None:
                known.setdefault(server, key)
        led = None
        for other in candidate.then if len(known) > 1 else ():
            led = yield from self._resolved(other)
            if led is not None:
                break
        # The store may have been asked for long: who was usable then need not be now.
        known = {server: key for server, key in known.items() if self._usable(server) is not None}
        if not known:
            return None
        server = preferred(known, led)
        if len(known) > 1:
            self._tell(known, server)
        self._found = known[server]
        return self._pool.find(server)

    def _tell(self, known: Mapping[str, Key], server: str) -> None:
        if not self._told:
            self._told = True
            self._pool.ambiguous += 1
            log.warn(
                "{pool}: {keys} are known on several servers ({servers}); {server} is taken",
                pool=self._pool.name,
                keys=" and ".join(f"{key.kind} {key.digest.hex()}" for key in known.values()),
                servers=", ".join(known),
                server=server,
            )

    def _resolved(self, candidate: Named | Key) -> Generator[Any, Any, str | None]:
        """The server that it leads to, usable or not."""
        if isinstance(candidate, Named):
            return candidate.server
        claim = self._pool.store.find(self._pool.table, (candidate,))
        if isinstance(claim, Deferred):
            claim = yield from self._asked(claim)
        return claim.server if claim is not None else None

    def _usable(self, server: str) -> Backend | None:
        """Its backend, where it may go on serving this client."""
        backend = self._pool.find(server)
        return backend if backend is not None and self._pool.may_stay(backend, self.avoiding) else None

    def _new(self) -> Steps:
        pool, facts = self._pool, self._facts
        keys = pool.keys_of(facts)
        how = Persistence.MOVED if self._bound is not None else Persistence.NEW
        if self._silent:
            return self._unasked(keys, how)
        if self._lodging(keys):
            return self._take(pool.lodge(keys[0].digest, self.avoiding, self._linked), how)
        chosen = pool.schedule(facts, self.avoiding, self._linked)
        if not keys and not self._stale:
            if how is Persistence.NEW and not pool.marks:
                how = Persistence.NONE
            return self._take(chosen, how)
        choice = self._take(chosen, how)
        claim = None
        if not self._stale:
            answer = pool.store.claim(pool.table, keys, chosen.server, pool.ttl)
            claim = (yield from self._asked(answer, choice.lease)) if isinstance(answer, Deferred) else answer
            if self._silent:
                if choice.lease is not None:
                    choice.lease.release()
                return self._unasked(keys, how)
            if claim is None or claim.server == chosen.server:
                pool.hold(choice.lease, keys)
                return choice
            won = pool.find(claim.server)
            if pool.shared and won is not None:
                yield from self._room(won)
            winner = self._winner(claim)
            if winner is not None:
                if choice.lease is not None:
                    choice.lease.release()
                choice = self._take(winner, Persistence.HIT)
                pool.hold(choice.lease, keys)
                return choice
        return (yield from self._moved((*self._stale, *(k for k in keys if k not in self._stale)), choice))

    def _unasked(self, keys: tuple[Key, ...], how: Persistence) -> Choice:
        """The store is silent: every process that knows as little takes this client to the same server."""
        pool = self._pool
        known = (key for each in pool.candidates_of(self._facts) for key in keys_in(each))
        key = next(iter(keys), None) or next(known, None)
        if key is None:
            return self._take(pool.schedule(self._facts, self.avoiding, self._linked), how)
        return self._take(pool.lodge(key.digest, self.avoiding, self._linked), how)

    def _moved(self, keys: tuple[Key, ...], choice: Choice) -> Steps:
        pool = self._pool
        answer = pool.store.move(pool.table, keys, choice.backend.server, pool.ttl)
        if isinstance(answer, Deferred):
            yield from self._asked(answer, choice.lease)
        pool.hold(choice.lease, keys)
        return Choice(choice.backend, choice.lease, Persistence.MOVED, choice.reused)

    def _winner(self, claim: Claim) -> Backend | None:
        """Whom a simultaneous claim of the same client won for, where it can be used here."""
        backend = self._pool.find(claim.server)
        if backend is None or not self._pool.may_stay(backend, self.avoiding) or self._full(backend):
            return None
        return backend

    def _lodging(self, keys: tuple[Key, ...]) -> bool:
        """Whether the client is bound to a server that other services of the group still have for it,
        with none that all of them have: it keeps its binding, and lodges elsewhere for this service.

        Moving it would have the services pull it to and fro.
        """
        group, pool = self._pool.group, self._pool
        if group is None or self._bound is None or not keys or self._bound in self.avoiding:
            return False
        return group.alive(self._bound) and not pool.good_everywhere(self.avoiding)

    def _full(self, backend: Backend) -> bool:
        return backend.full() and backend.server not in self._linked

    def _take(self, backend: Backend, how: Persistence) -> Choice:
        for link in self._links:
            if link.server == backend.server and backend.meets(link.port):
                return Choice(backend, None, how, link)
        return Choice(backend, Lease(backend, self._pool.released), how)

    def _asked(self, answer: Deferred[Any], lease: Any = None) -> Generator[Any, Any, Any]:
        """What a store says late; None where it fails, for its memory is no reason to refuse a client.
        ``lease`` goes back where the pick is given up."""
        answer.addErrback(self._forgetful)
        try:
            return (yield answer)
        except BaseException:
            if lease is not None:
                lease.release()
            raise

    def _forgetful(self, failure: Failure) -> Failure | None:
        if isinstance(failure.value, CancelledError):
            return failure
        if isinstance(failure.value, StoreSilent):
            # It has said so itself, once for all of its clients.
            self._silent = True
            return None
        log.failure("{pool}: the store does not answer", failure, pool=self._pool.name)
        return None


def keys_in(candidate: Known) -> tuple[Key, ...]:
    """What of it is looked up."""
    if isinstance(candidate, AnyOf):
        return candidate.keys
    return (candidate,) if isinstance(candidate, Key) else ()


def again(pool: Pool, facts: Facts, link: Link) -> bool:
    """Whether Picking would come to ``link`` without asking or counting anybody: its server is the first that
    the client is known on, outright (a cookie of ours names it), or where its connection went first.

    False only means that it is not as easy as that. The calls are few on purpose: this is asked for
    each request of a kept connection.
    """
    stay = pool.served(facts) if pool.once else None
    if stay is None:
        persistence = pool.persistence
        said = persistence.candidates(facts)
        if not said or type(said[0]) is not Named or Together in facts or persistence.remember(facts):
            return False
        stay = pool.find(said[0].server)
    if stay is None or stay.server != link.server or not stay.usable_for_known():
        return False
    if link.port != stay.port and not stay.meets(link.port):
        return False
    return pool.group is None or pool.may_stay(stay, ())


def stranger(pool: Pool, facts: Facts) -> bool:
    """Whether nothing is known of a client and nothing will be kept, so that nothing need be asked."""
    if pool.shared or pool.served(facts) is not None:
        return False
    return not pool.candidates_of(facts) and not pool.keys_of(facts)


def first(pool: Pool, facts: Facts, avoiding: Collection[str]) -> Choice:
    """What Picking would come to for a stranger."""
    backend = pool.schedule(facts, avoiding)
    how = Persistence.NEW if pool.marks else Persistence.NONE
    return Choice(backend, Lease(backend, pool.released), how)


def preferred(known: Mapping[str, Key], led: str | None) -> str:
    """Of several servers of equal right the one that something else leads to, or the first."""
    return led if led is not None and led in known else next(iter(known))


def run(steps: Steps) -> Choice | Deferred[Choice]:
    """Drive the steps; only a store that answers late makes a Deferred of it."""
    try:
        answer = next(steps)
    except StopIteration as end:
        choice: Choice = end.value
        return choice
    return Deferred.fromCoroutine(_late(steps, answer))


async def _late(steps: Steps, waiting: Deferred[Any]) -> Choice:
    try:
        while True:
            try:
                value = await waiting
            except CancelledError as error:
                waiting = steps.throw(error)
            else:
                waiting = steps.send(value)
    except StopIteration as end:
        choice: Choice = end.value
        return choice
