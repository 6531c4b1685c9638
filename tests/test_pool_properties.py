"""Whatever happens in whatever order: counts hold, and nobody goes where nobody may go."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Outcome
from exproxy.backend import Backend, Lease
from exproxy.errors import NoBackend
from exproxy.interfaces import ISchedulingPlugin
from exproxy.model import Choice, Persistence
from exproxy.persistence.group import Group
from exproxy.plugins import find
from exproxy.pool import Pool
from exproxy.settings import WhenFull
from exproxy.store.memory import MemoryStore
from tests.pools import BAD, GOOD, LEAVING, BySource, LateStore, client, key, make_pool

SERVERS = ("a", "b", "c")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["pick"] * 6
            + ["release"] * 3
            + ["busy", "cancel", "good", "bad", "bad", "leaving", "drain", "maint", "ready", "ready"]
            + ["wait", "answer", "cut", "reload"]
        ),
        st.integers(0, 5),
    ),
    max_size=70,
)


class World:
    """Two pools of one group, their clients, and what must hold of them at any time."""

    def __init__(
        self, test: SynchronousTestCase, late: bool, policy: str, limit: int | None, name: str
    ) -> None:
        self.test = test
        self.clock = Clock()
        self.late = late
        self.store: Any = LateStore(self.clock) if late else MemoryStore(self.clock)
        self.group = Group("g", timeout=30.0, on_move="cut", notice=lambda text: None)
        plugin = find(ISchedulingPlugin, name)
        self.pools = [
            make_pool(
                *SERVERS,
                clock=self.clock,
                name=pool,
                store=self.store,
                persistence=BySource(),
                scheduling=plugin.scheduling(plugin.options()),
                group=self.group,
                limit=limit,
                slow_ramp=20.0,
                when_full=WhenFull(policy, 5.0 if policy == "wait" else 0.0),  # type: ignore[arg-type]
            )
            for pool in ("one", "two")
        ]
        self.leases: list[Lease] = []
        self.picks: list[Deferred[Choice]] = []
        self.ends: list[Any] = []
        self.gone: list[Backend] = []

    def step(self, what: str, number: int) -> None:
        """Do it, and look."""
        pool = self.pools[number % 2]
        backend = pool.find(SERVERS[number % 3])
        if what == "pick":
            self.pick(pool, str(number))
        elif what == "release" and self.leases:
            self.leases.pop(number % len(self.leases)).release()
        elif what == "busy" and self.leases:
            self.ends.append(self.leases[number % len(self.leases)].busy())
        elif what == "cancel" and self.picks:
            self.picks.pop(number % len(self.picks)).cancel()
        elif what == "answer" and self.late and self.store.waiting:
            self.store.answer()
        elif what == "wait":
            self.clock.advance(number * 2)
        elif what == "reload":
            _, gone = pool.replace_backends(make_pool(*SERVERS[: 2 + number % 2]).backends)
            self.gone += gone
        elif backend is not None:
            self.server_step(what, pool, backend)
        self.look()

    def server_step(self, what: str, pool: Pool, backend: Backend) -> None:
        """Something about one server."""
        outcomes: dict[str, Outcome] = {"good": GOOD, "bad": BAD, "leaving": LEAVING}
        if what in outcomes:
            pool.told(backend, outcomes[what], 0.0)
        elif what in ("drain", "maint", "ready"):
            pool.operate(backend.server, what)
        elif what == "cut":
            pool.cut(backend.server, "test")

    def pick(self, pool: Pool, host: str) -> None:
        """A client comes."""
        stays = self.stays(pool, host)
        try:
            picked = pool.pick(client(host))
        except NoBackend:
            return
        if not isinstance(picked, Deferred):
            if stays is not None:
                self.test.assertEqual((picked.backend.server, picked.persistence), (stays, Persistence.HIT))
            self.chosen(picked)
            return
        self.picks.append(picked)
        picked.addCallback(self.chosen)
        picked.addErrback(lambda failure: None)

    def stays(self, pool: Pool, host: str) -> str | None:
        """The server that this client must meet: bound, with room, and well in all pools."""
        if self.late:
            return None
        claim = self.store.find("g", (key(host),))
        backend = pool.find(claim.server) if claim is not None else None
        if backend is None or backend.full() or not self.group.good_for_known(backend.server):
            return None
        return backend.server

    def chosen(self, choice: Choice) -> None:
        """A choice: never one that is DOWN or in maintenance."""
        assert isinstance(choice.backend, Backend) and isinstance(choice.lease, Lease)
        self.test.assertTrue(choice.backend.health.up)
        self.test.assertNotEqual(choice.backend.operator, "maint")
        if choice.persistence is Persistence.NEW:
            self.test.assertTrue(choice.backend.usable_for_new() or self.late)
        lease = choice.lease
        self.leases.append(lease)

        def cut(reason: str) -> None:
            lease.release()
            if lease in self.leases:
                self.leases.remove(lease)

        lease.cut = cut

    def backends(self) -> list[Backend]:
        """All there are and were."""
        return [b for pool in self.pools for b in pool.backends] + self.gone

    def look(self) -> None:
        """Counts are what the leases say, limits are kept."""
        for backend in self.backends():
            mine = [lease for lease in self.leases if lease.backend is backend]
            under_way = backend.links - len(mine)
            self.test.assertGreaterEqual(under_way, 0)
            self.test.assertLessEqual(under_way, len(self.picks))
            self.test.assertGreaterEqual(backend.load, 0)
            if backend.limit is not None:
                self.test.assertLessEqual(backend.links, backend.limit)

    def end(self) -> None:
        """Everybody leaves: nothing may be left."""
        for picked in self.picks:
            picked.cancel()
        while self.leases:
            self.leases.pop().release()
        for end in self.ends:
            end()
        for backend in self.backends():
            self.test.assertEqual((backend.links, backend.load), (0, 0))
        self.test.assertEqual([pool.waiting for pool in self.pools], [0, 0])
        self.test.assertEqual(self.clock.getDelayedCalls(), [])
        self.test.assertEqual(self.group._open, {})
        inner = self.store.inner if self.late else self.store
        self.test.assertEqual(inner.held("g"), 0)


class PoolProperties(SynchronousTestCase):
    """Random sequences of picks, releases, checks, operators, reloads and late answers."""

    @settings(max_examples=100, deadline=None)
    @given(
        STEPS,
        st.booleans(),
        st.sampled_from(["next", "wait", "refuse"]),
        st.sampled_from([None, 1, 2]),
        st.sampled_from(["round-robin", "least-connections", "source-hash", "random"]),
    )
    def test_whatever_happens(
        self, steps: list[tuple[str, int]], late: bool, policy: str, limit: int | None, name: str
    ) -> None:
        """Counts are never negative and zero at the end; the known stay; nobody meets a dead server."""
        world = World(self, late, policy, limit, name)
        for what, number in steps:
            world.step(what, number)
        world.end()
