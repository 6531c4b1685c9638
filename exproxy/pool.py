"""The backends of one target, and the choice among them: filter, then order.

Persistence says where a client belongs, health and the operator who may be chosen, the scheduling who
is best; the store decides between simultaneous claims. All of it is pure but for the store, whose
answers may be Deferreds; where they are none a pick is answered at once.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from exproxy.actions import Outcome
from exproxy.backend import Backend, Lease
from exproxy.errors import NoBackend
from exproxy.explaining import explain
from exproxy.health import Flip, announcement
from exproxy.interfaces import ILearner, IPersistence, IPool, IScheduling, IStore
from exproxy.model import Choice, Facts, Key, Link, Named, Persistence
from exproxy.persistence.group import Group
from exproxy.settings import WhenFull
from exproxy.waiting import Queue

# A generator of store answers, Deferreds or not, that ends with a Choice.
Steps = Generator[Any, Any, Choice]


@implementer(IPool)
class Pool:
    """See IPool. ``backends`` is replaced as a whole, never changed in place."""

    def __init__(
        self,
        name: str,
        backends: Sequence[Backend],
        scheduling: IScheduling,
        persistence: IPersistence,
        store: IStore,
        clock: IReactorTime,
        *,
        group: Group | None = None,
        table: str | None = None,
        ttl: float = 7200.0,
        when_full: WhenFull = WhenFull(),
        slow_ramp: float = 0.0,
        on_down: str = "keep",
    ) -> None:
        """``table``: the store's group where there is no Group; the pool's own name by default.
        ``ttl``: seconds that a key lives after its last use; ``slow_ramp``: seconds."""
        self.name = name
        self.backends = tuple(backends)
        self.scheduling = scheduling
        self.persistence = persistence
        self.group = group
        self.slow_ramp = slow_ramp
        self._store = store
        self._clock = clock
        self._table = group.name if group is not None else table or name
        self._ttl = group.timeout if group is not None else ttl
        self._when_full = when_full
        self._on_down = on_down
        self._waiting: Queue[Choice] = Queue(clock)
        if group is not None:
            group.pools.append(self)
        if slow_ramp:
            for backend in self.backends:
                backend.ramping = clock.seconds()

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {', '.join(f'{b.server} {b.state}' for b in self.backends)}>"

    def find(self, server: str) -> Backend | None:
        """That server's backend, or None."""
        return next((each for each in self.backends if each.server == server), None)

    # -- choosing --------------------------------------------------------------------

    def pick(
        self,
        facts: Facts,
        avoiding: Collection[str] = (),
        links: Sequence[Link] = (),
        pinned: Link | None = None,
    ) -> Choice | Deferred[Choice]:
        """See IPool."""
        if pinned is not None:
            backend = self.find(pinned.server)
            if backend is None or pinned not in links:
                raise NoBackend(f"the client is pinned to {pinned.server}, which is not here")
            return Choice(backend, None, Persistence.HIT, pinned)
        return _run(self._choose(facts, avoiding, links))

    def _choose(self, facts: Facts, avoiding: Collection[str], links: Sequence[Link]) -> Steps:
        bound = yield from self._bound(facts)
        keys = self.persistence.remember(facts)
        if bound is not None and self._may_stay(bound, avoiding):
            if not bound.full() or any(link.server == bound.server for link in links):
                if keys:
                    yield self._store.claim(self._table, keys, bound.server, self._ttl)
                return self._take(bound, Persistence.HIT, keys, links)
            if self._when_full.policy != "next":
                waited: Choice = yield self._full(facts, avoiding, links)
                return waited
            # Only this connection goes elsewhere; its client stays bound.
            return self._take(self._scheduled(facts, {*avoiding, bound.server}), Persistence.NEW, (), links)
        try:
            chosen = self._scheduled(facts, avoiding)
        except _Full:
            late: Choice = yield self._full(facts, avoiding, links)
            return late
        if not keys:
            how = Persistence.MOVED if bound is not None else Persistence.NONE
            return self._take(chosen, how if self._speaks(facts) or bound else Persistence.NONE, (), links)
        return (yield from self._claimed(facts, keys, chosen, bound, avoiding, links))

    def _claimed(
        self,
        facts: Facts,
        keys: tuple[Key, ...],
        chosen: Backend,
        bound: Backend | None,
        avoiding: Collection[str],
        links: Sequence[Link],
    ) -> Steps:
        how = Persistence.NEW if bound is None else Persistence.MOVED
        claim = None
        if bound is None:
            claim = yield self._store.claim(self._table, keys, chosen.server, self._ttl)
        if claim is None or claim.server != chosen.server:
            winner = self.find(claim.server) if claim is not None else None
            if winner is not None and self._may_stay(winner, avoiding) and not winner.full():
                chosen, how = winner, Persistence.HIT
            else:
                old = claim.server if claim is not None else bound.server if bound is not None else None
                yield self._store.move(self._table, keys, chosen.server, self._ttl)
                how = Persistence.MOVED
                self._moved(keys, old)
        return self._take(chosen, how, keys, links)

    def _bound(self, facts: Facts) -> Generator[Any, Any, Backend | None]:
        """Where the client belongs, usable or not: the first candidate that resolves."""
        for candidate in self.persistence.candidates(facts):
            if isinstance(candidate, Named):
                server = candidate.server
            else:
                claim = yield self._store.find(self._table, (candidate,))
                if claim is None:
                    continue
                server = claim.server
            backend = self.find(server)
            if backend is not None:
                return backend
        return None

    def _may_stay(self, backend: Backend, avoiding: Collection[str]) -> bool:
        if backend.server in avoiding or not backend.usable_for_known():
            return False
        group = self.group
        if group is None or group.good_for_known(backend.server):
            return True
        # It is ill in another service of the group: the client goes where it has all of them, if it can.
        return not any(group.good_for_new(b.server) for b in self.backends if b.usable_for_new())

    def _speaks(self, facts: Facts) -> bool:
        return bool(self.persistence.candidates(facts))

    def _scheduled(self, facts: Facts, avoiding: Collection[str]) -> Backend:
        usable = self.usable(avoiding)
        now = self._clock.seconds()
        candidates = {b.server: b.candidate(now, self.slow_ramp) for b in usable}
        allowed = self._paced(usable, candidates)
        best = next(iter(self.scheduling.order([candidates[b.server] for b in allowed], facts)))
        self.scheduling.taken(best)
        backend = next(b for b in allowed if b.server == best.server)
        if backend.ramping is not None:
            backend.credit -= 1
        return backend

    def usable(self, avoiding: Collection[str] = ()) -> list[Backend]:
        """Who may be chosen for a new client. Raises NoBackend, or its kind _Full."""
        tried = [b for b in self.backends if b.server not in avoiding]
        well = [b for b in tried if b.usable_for_new()]
        # Backups only where no other is left.
        well = [b for b in well if not b.backup] or well
        free = [b for b in well if not b.full()]
        if not free:
            if well:
                raise _Full(f"every server of {self.name} has reached its limit")
            if not tried:
                raise NoBackend(f"every server of {self.name} has failed this client")
            states = ", ".join(f"{b.server} {b.state}" for b in self.backends)
            raise NoBackend(f"no server of {self.name} is usable ({states})")
        if self.group is not None:
            everywhere = [b for b in free if self.group.good_for_new(b.server)]
            return everywhere or free
        return free

    def _paced(self, usable: list[Backend], candidates: dict[str, Any]) -> list[Backend]:
        """Leave a ramping server out of most turns: its share of *new clients* is its ramp's share, whatever
        the scheduling thinks of its being idle."""
        ramping = [b for b in usable if b.ramping is not None]
        if not ramping or len(ramping) == len(usable):
            return usable
        total = sum(each.weight for each in candidates.values())
        for backend in ramping:
            backend.credit = min(2.0, backend.credit + candidates[backend.server].weight / total)
        return [b for b in usable if b.ramping is None or b.credit >= 1]

    def _full(self, facts: Facts, avoiding: Collection[str], links: Sequence[Link]) -> Deferred[Choice]:
        if self._when_full.policy != "wait":
            raise NoBackend(f"every server of {self.name} has reached its limit")

        def attempt() -> Choice | None:
            if all(b.full() for b in self.backends if b.usable_for_new()):
                return None
            choice = _run(self._choose(facts, avoiding, links))
            return choice if isinstance(choice, Choice) else None

        return self._waiting.wait(attempt, self._when_full.seconds)

    def _take(
        self, backend: Backend, how: Persistence, keys: tuple[Key, ...], links: Sequence[Link]
    ) -> Choice:
        reused = next(
            (link for link in links if link.server == backend.server and link.port == backend.port), None
        )
        if reused is not None:
            return Choice(backend, None, how, reused)
        let_go = self._store.hold(self._table, keys) if keys else None

        def released(_: Backend) -> None:
            if let_go is not None:
                let_go()
            self._waiting.freed()

        return Choice(backend, Lease(backend, released, keys), how)

    def _moved(self, keys: tuple[Key, ...], old: str | None) -> None:
        if self.group is None or self.group.on_move != "cut" or old is None:
            return
        for pool in self.group.pools:
            backend = pool.find(old)
            if backend is not None:
                _cut([lease for lease in backend.leases if set(lease.keys) & set(keys)], "client moved")

    # -- what is learnt later --------------------------------------------------------

    def learn(self, facts: Facts, observation: object, server: str) -> None:
        """Bind the keys that the strategy sees in ``observation`` to ``server``."""
        strategy: Any = self.persistence
        if ILearner.providedBy(strategy):
            keys = strategy.observe(facts, observation)
            if keys:
                self._store.move(self._table, keys, server, self._ttl)

    # -- health and the operator -----------------------------------------------------

    def told(
        self, backend: Backend, outcome: Outcome, seconds: float, *, by_client: bool = False
    ) -> str | None:
        """Take a check's answer (or a client's failure); the log's sentence where it flips the server."""
        flip = backend.health.told(outcome, by_client=by_client)
        if flip is None:
            return None
        if flip is Flip.UP:
            self._ramp(backend)
        elif flip is Flip.DOWN and self._on_down == "cut":
            self.cut(backend.server, "server is DOWN")
        well = [b for b in self.backends if b.usable_for_known()]
        backups = sum(b.backup for b in well)
        return announcement(backend.name, flip, outcome, seconds, len(well) - backups, backups)

    def operate(self, server: str, state: str) -> None:
        """The operator's wish for a server: ready, drain or maint."""
        backend = self.find(server)
        if backend is None or state not in ("ready", "drain", "maint"):
            raise ValueError(f"{self.name} has no server {server!r}, or {state!r} is no state")
        if state == "ready" and backend.operator != "ready":
            self._ramp(backend)
        backend.operator = state

    def cut(self, server: str, reason: str) -> int:
        """End every link to a server; how many there were."""
        backend = self.find(server)
        return _cut(list(backend.leases), reason) if backend is not None else 0

    def _ramp(self, backend: Backend) -> None:
        if self.slow_ramp:
            backend.ramping = self._clock.seconds()
            backend.credit = 0.0

    def explain(self, facts: Facts) -> dict[str, object]:
        """See IPool."""
        return explain(self, facts, self._store, self._table, self._clock.seconds())


class _Full(NoBackend):
    """There are usable servers, and all of them have reached their limits."""


def _cut(leases: list[Lease], reason: str) -> int:
    for lease in leases:
        if lease.cut is not None:
            lease.cut(reason)
    return len(leases)


def _run(steps: Steps) -> Choice | Deferred[Choice]:
    """Drive the steps; only a store that answers late makes a Deferred of it."""
    try:
        answer = next(steps)
        while not isinstance(answer, Deferred):
            answer = steps.send(answer)
    except StopIteration as end:
        choice: Choice = end.value
        return choice
    return Deferred.fromCoroutine(_late(steps, answer))


async def _late(steps: Steps, waiting: Deferred[Any]) -> Choice:
    try:
        while True:
            try:
                value = await waiting
            except NoBackend as error:
                waiting = steps.throw(error)
                continue
            answer = steps.send(value)
            while not isinstance(answer, Deferred):
                answer = steps.send(answer)
            waiting = answer
    except StopIteration as end:
        choice: Choice = end.value
        return choice
