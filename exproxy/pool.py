"""The backends of one target, and the choice among them: filter, then order.

Persistence says where a client belongs, health and the operator who may be chosen, the scheduling who
is best; the store decides between simultaneous claims. All of it is pure but for the store, whose
answers may be Deferreds; where they are none a pick is answered at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy.actions import Outcome, Pass
from exproxy.backend import Backend, Lease
from exproxy.choosing import Picking, first, run, stranger
from exproxy.errors import NoBackend
from exproxy.explaining import explain
from exproxy.health import Flip, announcement
from exproxy.interfaces import ILease, IMarker, IPersistence, IPool, IScheduling, IStore
from exproxy.learning import learn
from exproxy.model import (
    Candidate,
    Choice,
    Claim,
    Facts,
    Key,
    Known,
    Link,
    Persistence,
    Served,
    Together,
)
from exproxy.past import Checked
from exproxy.persistence.companions import Companions
from exproxy.persistence.group import Group
from exproxy.ramp import Ration
from exproxy.scheduling import rendezvous
from exproxy.settings import WhenFull
from exproxy.waiting import Full, Queue


@implementer(IPool)
class Pool:
    """See IPool. ``backends`` is replaced as a whole, never changed in place. ``shared``: its servers' limits
    hold over several processes, each of which has its places."""

    shared = False

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
        recheck: str = "always",
        companions: Companions | None = None,
    ) -> None:
        """``table``: the store's group where there is no Group; the pool's own name by default.
        ``ttl``: seconds that a key lives after its last use; ``slow_ramp``: seconds. ``recheck``: first =
        the later requests of a connection (facts with Served) go where its first one went."""
        self.name = name
        self.backends = tuple(backends)
        self.scheduling = scheduling
        self.persistence = persistence
        self.group = group
        self.store = store
        self.table = group.name if group is not None else table or name
        self.ttl = group.timeout if group is not None else ttl
        self.when_full = when_full
        self.slow_ramp = slow_ramp
        # A strategy that sets cookies knows its new clients again without any key.
        self.marks = IMarker.providedBy(persistence)
        # Choices of clients that were known on several servers.
        self.ambiguous = 0
        self._by_server = {each.server: each for each in self.backends}
        self._clock = clock
        self._on_down = on_down
        # Whether the later requests of a connection go where its first one went.
        self.once = recheck == "first"
        self._companions = companions
        self._waiting: Queue[Choice] = Queue(clock)
        self._ration = Ration()
        self.disagreed = 0  # logins that came to another server than their user's other connections
        # Told of every backend whose state may have changed: workers are to hear of it.
        self.changed: Callable[[Backend], None] = lambda backend: None
        if group is not None:
            group.join(self, store)
        for backend in self.backends:
            self._ramp(backend)

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {', '.join(f'{b.server} {b.state}' for b in self.backends)}>"

    def find(self, server: str) -> Backend | None:
        """That server's backend, or None."""
        return self._by_server.get(server)

    @property
    def waiting(self) -> int:
        """How many clients wait for a free place."""
        return len(self._waiting)

    @property
    def split(self) -> int:
        """How many connections were met on another server than those they belong together with."""
        return self._companions.split if self._companions is not None else 0

    # -- choosing --------------------------------------------------------------------

    def candidates_of(self, facts: Facts) -> tuple[Known, ...]:
        """Where this client may be known, best first."""
        said = self.persistence.candidates(facts)
        return self._companions.beside(facts, said) if self._companions is not None else said

    def keys_of(self, facts: Facts) -> tuple[Key, ...]:
        """What to claim together with a choice."""
        said = self.persistence.remember(facts)
        return self._companions.beside(facts, said) if self._companions is not None else said

    def served(self, facts: Facts) -> Backend | None:
        """Where the earlier requests of this connection went, if that is to be gone by."""
        before = facts.get(Served) if self.once and Together not in facts else None
        return self.find(before.server) if before is not None else None

    def pick(
        self,
        facts: Facts,
        avoiding: Collection[str] = (),
        links: Sequence[Link] = (),
        pinned: Link | None = None,
    ) -> Choice | Deferred[Choice]:
        """See IPool. A pinned link serves as long as it lives, whatever its server's health."""
        if pinned is not None:
            backend = self.find(pinned.server)
            if backend is None or pinned not in links or not backend.meets(pinned.port):
                raise NoBackend(f"the client is pinned to {pinned.server}, which is not here")
            return Choice(backend, None, Persistence.HIT, pinned)
        if not links and self.when_full.policy != "wait" and stranger(self, facts):
            return first(self, facts, avoiding)
        picking = Picking(self, facts, avoiding, links)
        if self.when_full.policy != "wait":
            return run(picking.steps())
        try:
            choice = run(picking.steps())
        except Full:
            return self._wait(picking)
        if isinstance(choice, Deferred):
            late: Deferred[Choice] = choice.addErrback(self._or_wait, picking)
            return late
        return choice

    def _or_wait(self, failure: Failure, picking: Picking) -> Deferred[Choice]:
        return self._wait(picking) if isinstance(failure.value, Full) else fail(failure)

    def _wait(self, picking: Picking) -> Deferred[Choice]:
        return self._waiting.wait(lambda: run(picking.steps()), self.when_full.seconds)

    def may_stay(self, backend: Backend, avoiding: Collection[str]) -> bool:
        """Whether a client that is bound to ``backend`` goes on with it, free place or not."""
        if backend.server in avoiding or not backend.usable_for_known():
            return False
        # Ill in another service of the group: the client goes where it has all of them, if it can.
        group = self.group
        return group is None or group.good_for_known(backend.server) or not self.good_everywhere(avoiding)

    def good_everywhere(self, avoiding: Collection[str] = ()) -> list[Backend]:
        """The backends that a new client can use here and in all other pools of the group."""
        well = [b for b in self.backends if b.server not in avoiding and b.usable_for_new()]
        return [b for b in well if self.group is None or self.group.good_for_new(b.server)]

    def usable(self, avoiding: Collection[str] = (), linked: Collection[str] = ()) -> list[Backend]:
        """Who may be chosen for a new client, who has links to ``linked`` already. Raises NoBackend or
        its kind Full."""
        tried = [b for b in self.backends if b.server not in avoiding] if avoiding else self.backends
        well = [b for b in tried if b.usable_for_new()]
        free = [b for b in well if not b.full() or b.server in linked]
        if not free:
            raise self._none(tried, well)
        # Backups only where no other is left.
        return [b for b in free if not b.backup] or free

    def _none(self, tried: Sequence[Backend], well: list[Backend]) -> NoBackend:
        if well:
            return Full(f"every server of {self.name} has reached its limit")
        if self.backends and not tried:
            return NoBackend(f"every server of {self.name} has failed this client")
        states = ", ".join(f"{b.server} {b.state}" for b in self.backends) or "it has none"
        return NoBackend(f"no server of {self.name} is usable ({states})")

    def schedule(self, facts: Facts, avoiding: Collection[str], linked: Collection[str] = ()) -> Backend:
        """The scheduling's choice among the usable ones; raises as usable() does."""
        usable = self.usable(avoiding, linked)
        if self.group is not None:
            everywhere = self._everywhere(usable)
            self.group.split(self, none=not everywhere)
            usable = everywhere or usable
        candidates, parts = self.candidates(usable)
        if len(candidates) > 1:
            best = next(iter(self.scheduling.order(self.shown(candidates, parts), facts)))
        else:
            best = candidates[0]
        self.scheduling.taken(best)
        if parts:
            self._ration.taken(candidates, parts, best.server)
        return self._by_server[best.server]

    def preferred(
        self, facts: Facts, avoiding: Collection[str] = (), linked: Collection[str] = ()
    ) -> list[Backend]:
        """All that schedule() has to choose from, best first, with nobody taken; raises as it does."""
        usable = self.usable(avoiding, linked)
        candidates, parts = self.candidates(self._everywhere(usable) or usable)
        order = self.scheduling.order(self.shown(candidates, parts), facts)
        return [self._by_server[each.server] for each in order]

    def _everywhere(self, usable: list[Backend]) -> list[Backend]:
        group = self.group
        return usable if group is None else [b for b in usable if group.good_for_new(b.server)]

    def candidates(self, usable: Sequence[Backend]) -> tuple[list[Candidate], dict[str, float]]:
        """What a scheduling is to know of them now, and the ramp's part of each; {} where all are 1."""
        if not self.slow_ramp:
            return [Candidate(b.server, b.weight, b.load + b.elsewhere) for b in usable], {}
        now, ramp = self._clock.seconds(), self.slow_ramp
        parts = {b.server: b.part(now, ramp) for b in usable}
        made = [Candidate(b.server, b.weight * parts[b.server], b.load + b.elsewhere) for b in usable]
        return made, {} if min(parts.values()) >= 1.0 else parts

    def shown(self, candidates: list[Candidate], parts: dict[str, float]) -> list[Candidate]:
        """The candidates, those dampened that have had their ration."""
        return self._ration.shown(candidates, parts) if parts else candidates

    def lodge(self, digest: bytes, avoiding: Collection[str], linked: Collection[str]) -> Backend:
        """A usable server that depends on nothing but the client's key; raises as usable() does."""
        candidates, _ = self.candidates(self.usable(avoiding, linked))
        return self._by_server[rendezvous(digest, candidates)[0].server]

    # -- leases ----------------------------------------------------------------------

    def hold(self, lease: ILease | None, keys: tuple[Key, ...]) -> None:
        """``keys`` live while ``lease`` does."""
        if isinstance(lease, Lease) and keys:
            lease.hold(keys, self.store.hold(self.table, keys))
            if self.group is not None:
                self.group.opened(lease, keys)

    def released(self, lease: Lease) -> None:
        """A lease came back."""
        if self.group is not None:
            self.group.closed(lease)
        self._waiting.freed()

    def cut(self, server: str, reason: str) -> int:
        """End every link to a server; how many there were."""
        backend = self.find(server)
        leases = list(backend.leases) if backend is not None else []
        for lease in leases:
            lease.condemn(reason)
        return len(leases)

    def empty(self, server: str, until: float, *, bound: bool = True) -> int:
        """Ask the clients of a server to leave it within ``until`` seconds, in their protocol's words where
        it has such; how many links those were. Where they go then is for the operator's wish to say. Without
        ``bound`` those are not asked that would only come back: they are known here."""
        backend = self.find(server)
        leases = list(backend.leases) if backend is not None else []
        if not bound:
            leases = [] if self.marks else [lease for lease in leases if not lease.keys]
        for lease in leases:
            lease.leave(until)
        return len(leases)

    def learn(self, facts: Facts, observation: object, server: str, lease: ILease | None = None) -> None:
        """Bind the keys that the strategy sees in ``observation`` to ``server``; ``lease`` holds them.
        A Together moves nothing: it is compared, and what is apart already is counted in ``split``.
        A User moves nothing either: ``disagreed`` counts those who belong elsewhere."""
        if isinstance(observation, Together):
            if self._companions is not None:
                self._companions.joined(self, observation, server, lease)
            return
        learn(self, facts, observation, server, lease)

    # -- single entries --------------------------------------------------------------

    def forget(self, key: Key) -> int | Deferred[int]:
        """See IPool."""
        return self.store.delete(self.table, (key,))

    def move(self, key: Key, server: str) -> Claim | Deferred[Claim]:
        """See IPool."""
        if self.find(server) is None:
            raise ValueError(f"{self.name} has no server {server!r}")
        return self.store.move(self.table, (key,), server, self.ttl)

    # -- health and the operator -----------------------------------------------------

    def told(
        self, backend: Backend, outcome: Outcome, seconds: float, *, by_client: bool = False
    ) -> str | None:
        """Take a check's answer (or a client's failure); the log's sentence where it flips the server."""
        now = self._clock.seconds()
        if not by_client:
            backend.past.checked = Checked(now, outcome, seconds)
        if backend.operator == "maint":
            return None
        flip = backend.health.told(outcome, by_client=by_client)
        if flip is not None:
            backend.past.went(now, backend.health.up)
            backend.past.changed(now, backend.state, "" if isinstance(outcome, Pass) else outcome.reason)
        if flip in (Flip.UP, Flip.UNDRAIN):
            self._ramp(backend)
        self.changed(backend)
        if flip is None:
            return None
        well = [b for b in self.backends if b.usable_for_known()]
        backups = sum(b.backup for b in well)
        text = announcement(backend.name, flip, outcome, seconds, len(well) - backups, backups)
        self.stands(backend, fell=flip is Flip.DOWN)
        return text

    def stands(self, backend: Backend, *, fell: bool) -> None:
        """The state of ``backend`` is another one, ``fell``: it is DOWN now. Its links and those who wait
        hear of it."""
        if fell and self._on_down == "cut":
            self.cut(backend.server, "server is DOWN")
        self._waiting.changed()

    def freed(self) -> None:
        """A place is free that is not one of this process's own links."""
        self._waiting.freed()

    def located(self, backend: Backend, port: int) -> None:
        """The port of ``backend`` was learnt."""
        backend.found_at(port)
        self.changed(backend)

    def operate(self, server: str, state: str, *, leaving: bool = False, reason: str = "") -> None:
        """The operator's wish for a server: ready, drain or maint. One that comes back from maint is
        taken for UP until its first check. ``leaving``: drain means those too that are bound to it."""
        backend = self.find(server)
        if backend is None or state not in ("ready", "drain", "maint"):
            raise ValueError(f"{self.name} has no server {server!r}, or {state!r} is no state")
        now = self._clock.seconds()
        before, backend.operator = backend.operator, state
        backend.leaving = leaving and state == "drain"
        if before == "maint" != state:
            backend.health.restart()
            backend.past.went(now, True)
        if state == "ready" != before:
            self._ramp(backend)
        if state != before:
            backend.past.changed(now, backend.state, reason)
        self.changed(backend)
        self._waiting.changed()

    def replace_backends(self, backends: Sequence[Backend]) -> tuple[list[Backend], list[Backend]]:
        """Have these from now on: (those that are new, those that are gone).

        A server that stays (same name, and same port where it is not learnt) keeps its Backend, with
        counts, health and the operator's wish; a new one ramps. Links to those that are gone live on.
        """
        kept: list[Backend] = []
        new: list[Backend] = []
        for backend in backends:
            old = self.find(backend.server)
            if old is not None and backend.replaces(old):
                old.become(backend)
                kept.append(old)
            else:
                self._ramp(backend)
                kept.append(backend)
                new.append(backend)
        gone = [b for b in self.backends if b not in kept]
        self.backends = tuple(kept)
        self._by_server = {each.server: each for each in kept}
        self._waiting.changed()
        return new, gone

    def _ramp(self, backend: Backend) -> None:
        if self.slow_ramp:
            backend.ramping = self._clock.seconds()

    def explain(self, facts: Facts) -> dict[str, object]:
        """See IPool."""
        return explain(self, facts)
