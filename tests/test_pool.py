"""The choice: who is known goes back, who is new is scheduled, nobody is lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy import waiting as waiting_room
from exproxy.backend import Backend, Lease
from exproxy.errors import NoBackend
from exproxy.interfaces import IPool
from exproxy.model import Link, Named, Persistence, Served, User
from exproxy.persistence.fallback import Chain, learners
from exproxy.pool import Pool
from exproxy.settings import WhenFull
from exproxy.store.memory import MemoryStore
from tests.pools import (
    BAD,
    GOOD,
    LEAVING,
    BySource,
    LateStore,
    Told,
    backends,
    chosen,
    client,
    come_up,
    go_down,
    key,
    lease_of,
    make_pool,
)


def counts(pool: Pool) -> dict[str, tuple[int, int]]:
    """Links and load of each server."""
    return {b.server: (b.links, b.load) for b in pool.backends}


def server_of(pool: Pool, host: str = "192.0.2.1", avoiding: tuple[str, ...] = ()) -> str:
    """Where a client from there goes; its lease comes back at once."""
    lease = lease_of(pool.pick(client(host), avoiding))
    lease.release()
    return lease.backend.server


class ChoiceTests(SynchronousTestCase):
    """Without persistence: filter, then order."""

    def test_interface(self) -> None:
        """It is what sessions expect."""
        self.assertTrue(verifyObject(IPool, make_pool("a")))

    def test_one_of_three_down(self) -> None:
        """With b down a and c differ by less than 1 %."""
        pool = make_pool("a", "b", "c")
        go_down(pool, "b")
        went = Counter(server_of(pool) for _ in range(1000))
        self.assertNotIn("b", went)
        self.assertLess(abs(went["a"] - went["c"]), 10)

    def test_the_choice(self) -> None:
        """It names the backend and how it was found, and holds a lease."""
        choice = chosen(make_pool("a").pick(client()))
        self.assertEqual(
            (choice.backend.name, choice.persistence, choice.reused), ("web/a", Persistence.NONE, None)
        )
        self.assertIs(lease_of(choice).backend, choice.backend)

    def test_avoiding(self) -> None:
        """Servers that have just failed this client are left out, even all of them."""
        pool = make_pool("a", "b")
        self.assertEqual(server_of(pool, avoiding=("a",)), "b")
        error = self.assertRaises(NoBackend, pool.pick, client(), ("a", "b"))
        self.assertEqual(error.reason, "every server of web has failed this client")

    def test_nobody_up(self) -> None:
        """Where nothing is UP the client is refused, and the reason says what each server is."""
        pool = make_pool("a", "b", "c")
        go_down(pool, "a")
        pool.operate("b", "maint")
        pool.operate("c", "drain")
        error = self.assertRaises(NoBackend, pool.pick, client())
        self.assertEqual(error.reason, "no server of web is usable (a DOWN, b MAINT, c DRAIN)")

    def test_no_servers(self) -> None:
        """A pool without servers says so."""
        self.assertIn("it has none", self.assertRaises(NoBackend, make_pool().pick, client()).reason)

    def test_backups(self) -> None:
        """A backup is chosen only where no other server is usable."""
        pool = make_pool("a", "b", "c")
        pool.backends[2].backup = True
        self.assertEqual({server_of(pool) for _ in range(20)}, {"a", "b"})
        go_down(pool, "a")
        pool.operate("b", "drain")
        self.assertEqual(server_of(pool), "c")

    def test_weights(self) -> None:
        """Weights apply, and 0 means no new clients."""
        pool = make_pool("a", "b", "c")
        for backend, weight in zip(pool.backends, (3, 1, 0), strict=True):
            backend.weight = weight
        self.assertEqual(Counter(server_of(pool) for _ in range(40)), {"a": 30, "b": 10})

    def test_released(self) -> None:
        """Given back, nothing is left of a lease."""
        pool = make_pool("a")
        lease = lease_of(pool.pick(client()))
        self.assertEqual(counts(pool), {"a": (1, 1)})
        lease.release()
        self.assertEqual(counts(pool), {"a": (0, 0)})

    def test_repr(self) -> None:
        """A pool shows its servers' states."""
        pool = make_pool("a", "b")
        go_down(pool, "a")
        self.assertEqual(repr(pool), "<Pool web: a DOWN, b no check>")


class LinksTests(SynchronousTestCase):
    """What the session has already."""

    LINK = Link(3, "a", "127.0.0.11", 443)

    def test_reused(self) -> None:
        """A server to which the session has a link comes back with that link, and counts nothing."""
        pool = make_pool("a")
        choice = chosen(pool.pick(client(), links=(self.LINK,)))
        self.assertEqual((choice.reused, choice.lease), (self.LINK, None))
        self.assertEqual(counts(pool), {"a": (0, 0)})

    def test_other_port(self) -> None:
        """A link to another port of that server is another thing."""
        choice = chosen(make_pool("a").pick(client(), links=(Link(1, "a", "127.0.0.11", 25),)))
        self.assertIsNone(choice.reused)

    def test_full_but_linked(self) -> None:
        """A full server serves those that have a link to it."""
        pool = make_pool("a", limit=1)
        pool.pick(client())
        self.assertEqual(chosen(pool.pick(client(), links=(self.LINK,))).reused, self.LINK)

    def test_known_full_but_linked(self) -> None:
        """So it does for a client that is bound to it."""
        pool = make_pool("a", "b", limit=1, persistence=BySource())
        lease_of(pool.pick(client()))
        choice = chosen(pool.pick(client(), links=(self.LINK,)))
        self.assertEqual((choice.reused, choice.persistence), (self.LINK, Persistence.HIT))

    def test_pinned(self) -> None:
        """Pinned, it is that link, even where the server is drained or DOWN for others."""
        pool = make_pool("a", "b")
        go_down(pool, "a")
        choice = chosen(pool.pick(client(), links=(self.LINK,), pinned=self.LINK))
        self.assertEqual((choice.reused, choice.lease, choice.backend.server), (self.LINK, None, "a"))

    def test_pinned_to_what_is_gone(self) -> None:
        """Pinned to a link that is gone, or to a server or port of another pool, there is no choice."""
        other, port = Link(1, "z", "127.0.0.99", 443), Link(1, "a", "127.0.0.11", 80)
        for links, pinned in (((), self.LINK), ((other,), other), ((port,), port)):
            self.assertRaises(NoBackend, make_pool("a", "b").pick, client(), links=links, pinned=pinned)


class PersistenceTests(SynchronousTestCase):
    """Who is known goes where he was."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self.pool = self.make(BySource())

    def make(self, persistence: object) -> Pool:
        """A pool of three over the common store."""
        return make_pool("a", "b", "c", clock=self.clock, store=self.store, persistence=persistence, ttl=60.0)

    def pick(self, host: str = "192.0.2.1", pool: Pool | None = None) -> tuple[str, Persistence]:
        """Server and how it was found."""
        choice = chosen((pool or self.pool).pick(client(host)))
        lease_of(choice).release()
        return choice.backend.server, choice.persistence

    def test_new_then_hit(self) -> None:
        """The first time a client is new, then it is known."""
        server, how = self.pick()
        self.assertIs(how, Persistence.NEW)
        for _ in range(5):
            self.assertEqual(self.pick(), (server, Persistence.HIT))

    def test_hits_do_not_advance(self) -> None:
        """A client that returns takes nobody's turn."""
        self.assertEqual([self.pick(host)[0] for host in ("1", "1", "1", "2", "1", "3")], list("aaabac"))

    def test_time(self) -> None:
        """Forgotten after its time without a link, and refreshed by each use."""
        self.pick()
        for _ in range(4):
            self.clock.advance(40)
            self.assertIs(self.pick()[1], Persistence.HIT)
        self.clock.advance(60)
        self.assertIs(self.pick()[1], Persistence.NEW)

    def test_an_open_link_keeps_it(self) -> None:
        """While a link is open its client is remembered, and for its time after."""
        lease = lease_of(self.pool.pick(client()))
        self.clock.advance(10_000)
        self.assertEqual(self.pick(), (lease.backend.server, Persistence.HIT))
        self.clock.advance(10_000)
        lease.release()
        self.clock.advance(59)
        self.assertIs(self.pick()[1], Persistence.HIT)

    def test_moved_when_down(self) -> None:
        """The client of a server that is DOWN moves, and stays where it moved to."""
        server, _ = self.pick()
        go_down(self.pool, server)
        other, how = self.pick()
        self.assertIs(how, Persistence.MOVED)
        come_up(self.pool, server)
        self.assertEqual(self.pick(), (other, Persistence.HIT))

    def test_moved_when_it_failed_him(self) -> None:
        """So does the client that a server has just failed, for the next time as well."""
        server, _ = self.pick()
        choice = chosen(self.pool.pick(client(), avoiding={server}))
        lease_of(choice).release()
        self.assertIs(choice.persistence, Persistence.MOVED)
        self.assertEqual(self.pick(), (choice.backend.server, Persistence.HIT))

    def test_drained(self) -> None:
        """A drained server keeps those that it knows and gets nobody new."""
        self.pick("1")
        self.pool.operate("a", "drain")
        self.assertEqual(self.pick("1"), ("a", Persistence.HIT))
        self.assertNotIn("a", {self.pick(str(number))[0] for number in range(2, 30)})

    def test_drained_by_its_check(self) -> None:
        """A server that asks for nobody new itself is treated alike."""
        self.pick("1")
        self.pool.told(self.pool.backends[0], LEAVING, 0.0)
        self.assertEqual(self.pick("1"), ("a", Persistence.HIT))
        self.assertNotIn("a", {self.pick(str(number))[0] for number in range(2, 30)})

    def test_maintenance(self) -> None:
        """In maintenance it keeps nobody."""
        self.pick("1")
        self.pool.operate("a", "maint")
        self.assertIs(self.pick("1")[1], Persistence.MOVED)

    def test_named(self) -> None:
        """A candidate that names its server needs no table."""
        self.assertEqual(self.pick(pool=self.make(Told([Named("c")]))), ("c", Persistence.HIT))

    def test_named_nobody(self) -> None:
        """A name of no server of ours is no hit."""
        self.assertNotEqual(self.pick(pool=self.make(Told([Named("zz")])))[1], Persistence.HIT)

    def test_best_usable_candidate(self) -> None:
        """Of several candidates the first with a usable server wins, not the first that is known."""
        self.store.claim("web", (key("second"),), "b", 60)
        pool = self.make(Told([Named("a"), key("first"), key("second"), Named("c")]))
        self.assertEqual(self.pick(pool=pool)[0], "a")
        go_down(pool, "a")
        self.assertEqual(self.pick(pool=pool), ("b", Persistence.HIT))
        go_down(pool, "b")
        self.assertEqual(self.pick(pool=pool), ("c", Persistence.HIT))

    def test_a_server_that_is_gone(self) -> None:
        """Bound to a server that the pool no longer has, a client moves."""
        self.store.claim("web", (key("192.0.2.1"),), "zz", 60)
        server, how = self.pick()
        self.assertIs(how, Persistence.MOVED)
        self.assertEqual(self.pick(), (server, Persistence.HIT))

    def test_claimed_by_another(self) -> None:
        """A key that is claimed already decides, though it was no candidate."""
        self.store.claim("web", (key("k"),), "c", 60)
        pool = self.make(Told([], [key("k")]))
        self.assertEqual(self.pick(pool=pool), ("c", Persistence.HIT))
        self.assertEqual(sum(b.links for b in pool.backends), 0)

    def test_claimed_for_one_that_is_down(self) -> None:
        """Where the one it decides for is not usable, the key moves."""
        self.store.claim("web", (key("k"),), "a", 60)
        pool = self.make(Told([], [key("k")]))
        go_down(pool, "a")
        server, how = self.pick(pool=pool)
        self.assertIs(how, Persistence.MOVED)
        claim = self.store.find("web", (key("k"),))
        self.assertEqual(claim and claim.server, server)

    def test_tables(self) -> None:
        """Pools of one table know each other's clients."""
        one, two = (
            make_pool(
                "a", "b", name=name, clock=self.clock, store=self.store, persistence=BySource(), table="imap"
            )
            for name in ("imap:143", "imap:993")
        )
        for number in range(10):
            host = str(number)
            self.assertEqual(self.pick(host, one)[0], self.pick(host, two)[0])

    def test_learnt(self) -> None:
        """A key learnt after the choice leads back, and is refreshed by each use."""
        choice = chosen(self.pool.pick(client("1")))
        lease = lease_of(choice)
        self.pool.learn(client("1"), User("ann"), choice.backend.server, lease)
        self.clock.advance(10_000)
        lease.release()
        for number in range(2, 6):
            self.clock.advance(40)
            facts = client(str(number)).plus(User("ann"))
            again = chosen(self.pool.pick(facts))
            lease_of(again).release()
            self.assertEqual((again.backend.server, again.persistence), ("a", Persistence.HIT))

    def learnt(self, strategy: Any, store: Any = None) -> tuple[Pool, Lease]:
        """A pool that has learnt of its first client, on a, that it is ann; and that client's lease."""
        pool = make_pool(
            "a", "b", clock=self.clock, store=store or self.store, persistence=strategy, ttl=60.0
        )
        lease = Lease(pool.backends[0], pool.released)
        pool.learn(client("1"), User("ann"), "a", lease)
        return pool, lease

    def found(self, kind: str = "user") -> str | None:
        """Whom the table has for ann."""
        claim = self.store.find("web", (key("ann", kind),))
        return claim.server if claim is not None else None

    def test_learnt_of_a_server(self) -> None:
        """Who learns is told the server that the client is with, and all that was known at the choice."""
        strategy = BySource()
        self.learnt(strategy)
        self.assertEqual(strategy.observed, [client("1").plus(Served("a"))])

    def test_lifetime(self) -> None:
        """A learnt key has its learner's time, from the end of the last link that holds it."""
        for lifetime in (5.0, 500.0):
            _, lease = self.learnt(BySource(lifetime))
            self.clock.advance(1000)
            self.assertEqual(self.found(), "a")
            lease.release()
            self.clock.advance(lifetime - 1)
            self.assertEqual(self.found(), "a")
            self.clock.advance(1)
            self.assertIsNone(self.found())

    def test_lifetime_after_a_hit(self) -> None:
        """A learnt key that led a client back has its own time still, not the pool's."""
        pool, lease = self.learnt(BySource(5.0))
        again = chosen(pool.pick(client("2").plus(User("ann"))))
        self.assertEqual((again.backend.server, again.persistence), ("a", Persistence.HIT))
        lease.release()
        self.clock.advance(100)
        self.assertEqual(self.found(), "a")
        lease_of(again).release()
        self.clock.advance(5)
        self.assertIsNone(self.found())

    def test_lifetimes_of_a_chain(self) -> None:
        """Of two persistences one behind the other each learns with its own time."""
        times = (5.0, 50.0, 500.0)
        first, second, third = (BySource(time, f"{time:g}") for time in times)
        chain = Chain(Chain(first, second), third)
        self.assertEqual(tuple(each.lifetime for each in learners(chain)), times)
        _, lease = self.learnt(chain)
        lease.release()
        for time in times:
            self.clock.advance(time - self.clock.seconds() - 1)
            self.assertEqual(self.found(f"{time:g}"), "a")
            self.clock.advance(1)
            self.assertIsNone(self.found(f"{time:g}"))

    def test_a_user_is_not_moved(self) -> None:
        """A person whose name comes after the choice stays bound as before; the disagreement is counted."""
        pool, _ = self.learnt(BySource())
        lease = Lease(pool.backends[1], pool.released)
        pool.learn(client("2"), User("ann"), "b", lease)
        self.assertEqual((self.found(), pool.disagreed), ("a", 1))

    def test_learnt_late(self) -> None:
        """With a store that answers late the link holds its key all the same, from the answer on."""
        late = LateStore(self.clock)
        _, lease = self.learnt(BySource(5.0), late)
        self.assertEqual(late.inner.held("web"), 0)
        late.answer()
        self.assertEqual(late.inner.held("web"), 1)
        lease.release()
        self.assertEqual(late.inner.held("web"), 0)

    def test_learnt_too_late(self) -> None:
        """A link that has ended before the store answers holds nothing; nor does a store that fails."""
        late = LateStore(self.clock)
        pool, lease = self.learnt(BySource(5.0), late)
        lease.release()
        late.answer()
        pool.learn(client("1"), User("bob"), "a", lease)
        late.answer(OSError("away"))
        self.assertEqual((late.inner.held("web"), late.inner.size("web")), (0, 1))

    def test_nothing_learnt(self) -> None:
        """What a strategy makes nothing of, or no learner is asked about, is nothing."""
        self.pool.learn(client(), object(), "a")
        self.make(Told()).learn(client(), User("ann"), "a")
        self.assertEqual(self.store.size("web"), 0)


class FullTests(SynchronousTestCase):
    """Per-server limits and ``when-full``."""

    def setUp(self) -> None:
        self.clock = Clock()

    def make(self, policy: WhenFull, *servers: str, persistence: object = None) -> Pool:
        """A pool whose servers take one link each."""
        return make_pool(
            *servers, clock=self.clock, limit=1, when_full=policy, persistence=persistence or BySource()
        )

    def wait(self, pool: Pool, host: str) -> Deferred[object]:
        """A pick that must wait."""
        waiting = pool.pick(client(host))
        assert isinstance(waiting, Deferred)
        self.assertNoResult(waiting)
        return waiting  # type: ignore[return-value]

    def test_next(self) -> None:
        """A full server is passed over, and where all are full the client is refused."""
        pool = self.make(WhenFull("next"), "a", "b")
        self.assertEqual({lease_of(pool.pick(client(host))).backend.server for host in "12"}, {"a", "b"})
        error = self.assertRaises(NoBackend, pool.pick, client("3"))
        self.assertEqual(error.reason, "every server of web has reached its limit")

    def test_next_for_the_bound(self) -> None:
        """A client whose server is full goes elsewhere for this link, and stays bound."""
        pool = self.make(WhenFull("next"), "a", "b")
        first = lease_of(pool.pick(client("1")))
        elsewhere = chosen(pool.pick(client("1")))
        self.assertEqual((elsewhere.backend.server, elsewhere.persistence), ("b", Persistence.MOVED))
        first.release()
        self.assertEqual(server_of(pool, "1"), "a")

    def test_refuse(self) -> None:
        """A client whose server is full is refused at once, others being free or not."""
        pool = self.make(WhenFull("refuse"), "a", "b")
        lease_of(pool.pick(client("1")))
        self.assertRaises(NoBackend, pool.pick, client("1"))

    def test_wait(self) -> None:
        """The first who waits gets the place that becomes free, and nothing is left of the wait."""
        pool = self.make(WhenFull("wait", 5.0), "a")
        lease = lease_of(pool.pick(client("1")))
        first, second = self.wait(pool, "2"), self.wait(pool, "3")
        lease.release()
        got = lease_of(self.successResultOf(first))  # type: ignore[arg-type]
        self.assertNoResult(second)
        self.assertEqual(counts(pool), {"a": (1, 1)})
        got.release()
        lease_of(self.successResultOf(second)).release()  # type: ignore[arg-type]
        self.assertEqual((counts(pool), pool.waiting, self.clock.getDelayedCalls()), ({"a": (0, 0)}, 0, []))

    def test_wait_in_vain(self) -> None:
        """After its time a waiting client is refused."""
        pool = self.make(WhenFull("wait", 5.0), "a")
        lease_of(pool.pick(client("1")))
        waiting = self.wait(pool, "2")
        self.clock.advance(5)
        self.assertIn("5 s", self.failureResultOf(waiting, NoBackend).value.reason)
        self.assertEqual(pool.waiting, 0)

    def test_wait_for_the_own_server(self) -> None:
        """A bound client waits for its own server, and another one's free place is not its."""
        pool = self.make(WhenFull("wait", 5.0), "a", "b")
        own, other = (lease_of(pool.pick(client(host))) for host in "12")
        waiting = self.wait(pool, "1")
        for _ in range(5):
            other.release()
            other = lease_of(pool.pick(client("2")))
        self.assertNoResult(waiting)
        self.assertEqual(pool.waiting, 1)
        own.release()
        choice = chosen(self.successResultOf(waiting))  # type: ignore[arg-type]
        self.assertEqual((choice.backend.server, choice.persistence), ("a", Persistence.HIT))
        self.assertEqual(counts(pool), {"a": (1, 1), "b": (1, 1)})

    def test_leaving(self) -> None:
        """A client that leaves is out of the queue, and no lease is taken for it."""
        pool = self.make(WhenFull("wait", 5.0), "a")
        lease = lease_of(pool.pick(client("1")))
        waiting = self.wait(pool, "2")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        lease.release()
        self.assertEqual((counts(pool), pool.waiting, self.clock.getDelayedCalls()), ({"a": (0, 0)}, 0, []))

    def test_a_server_comes_back(self) -> None:
        """Waiting clients go to a server that comes UP, as many as it takes."""
        pool = self.make(WhenFull("wait", 5.0), "a", "b")
        go_down(pool, "b")
        lease_of(pool.pick(client("1")))
        first, second = self.wait(pool, "2"), self.wait(pool, "3")
        come_up(pool, "b")
        self.assertEqual(lease_of(self.successResultOf(first)).backend.server, "b")  # type: ignore[arg-type]
        self.assertNoResult(second)
        second.cancel()
        self.failureResultOf(second, CancelledError)

    def test_all_servers_go(self) -> None:
        """Where the last server goes down nobody waits on."""
        pool = self.make(WhenFull("wait", 5.0), "a")
        lease_of(pool.pick(client("1")))
        waiting = self.wait(pool, "2")
        go_down(pool, "a")
        self.failureResultOf(waiting, NoBackend)
        self.assertEqual((pool.waiting, self.clock.getDelayedCalls()), (0, []))

    def test_the_own_server_goes(self) -> None:
        """A client that waits for its own server moves when that goes down."""
        pool = self.make(WhenFull("wait", 5.0), "a", "b")
        lease_of(pool.pick(client("1")))
        waiting = self.wait(pool, "1")
        go_down(pool, "a")
        choice = chosen(self.successResultOf(waiting))  # type: ignore[arg-type]
        self.assertEqual((choice.backend.server, choice.persistence), ("b", Persistence.MOVED))

    def test_the_queue_is_bounded(self) -> None:
        """More than so many do not wait."""
        self.patch(waiting_room, "LONGEST", 2)
        pool = self.make(WhenFull("wait", 5.0), "a")
        lease_of(pool.pick(client("1")))
        queued = [self.wait(pool, host) for host in "23"]
        self.assertRaises(NoBackend, pool.pick, client("4"))
        for waiting in queued:
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)

    def test_leaving_while_another_is_served(self) -> None:
        """A client that leaves in the very moment in which another one is served loses no lease."""
        pool = self.make(WhenFull("wait", 5.0), "a", "b", persistence=Told())
        leases = [lease_of(pool.pick(client(host))) for host in "12"]
        first, second = self.wait(pool, "3"), self.wait(pool, "4")
        first.addCallback(lambda choice: second.cancel())
        second.addErrback(lambda failure: None)
        for lease in leases:
            lease.release()
        self.assertEqual(sum(b.links for b in pool.backends), 1)
        self.assertEqual((pool.waiting, self.clock.getDelayedCalls()), (0, []))


class LateTests(SynchronousTestCase):
    """A store that answers late, or never."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = LateStore(self.clock)

    def make(self, *servers: str, **settings: object) -> Pool:
        """A pool over that store."""
        return make_pool(
            *servers,
            clock=self.clock,
            store=self.store,
            persistence=BySource(),
            **settings,  # type: ignore[arg-type]
        )

    def pick(self, pool: Pool, host: str = "192.0.2.1") -> Deferred[object]:
        """A pick that is not answered yet."""
        picked = pool.pick(client(host))
        assert isinstance(picked, Deferred)
        self.assertNoResult(picked)
        return picked  # type: ignore[return-value]

    def test_new_then_hit(self) -> None:
        """It comes to the same as with a store that is here."""
        pool = self.make("a", "b")
        for how in (Persistence.NEW, Persistence.HIT):
            picked = self.pick(pool)
            self.store.answer_all()
            choice = chosen(self.successResultOf(picked))  # type: ignore[arg-type]
            self.assertEqual((choice.backend.server, choice.persistence), ("a", how))

    def test_two_at_once(self) -> None:
        """Of two simultaneous claims of one client one wins, and both use it."""
        pool = self.make("a", "b")
        both = [self.pick(pool), self.pick(pool)]
        self.store.answer_all()
        choices = [chosen(self.successResultOf(each)) for each in both]  # type: ignore[arg-type]
        self.assertEqual({choice.backend.server for choice in choices}, {"a"})
        self.assertEqual([choice.persistence for choice in choices], [Persistence.NEW, Persistence.HIT])
        self.assertEqual(counts(pool), {"a": (2, 2), "b": (0, 0)})

    def test_many_at_once(self) -> None:
        """Clients whose claims are on their way count already, so that they spread."""
        pool = self.make("a", "b", limit=5)
        picks = [self.pick(pool, str(number)) for number in range(10)]
        self.store.answer_all()
        for each in picks:
            self.successResultOf(each)
        self.assertEqual(counts(pool), {"a": (5, 5), "b": (5, 5)})

    def test_given_up(self) -> None:
        """A pick that is cancelled, at whatever step, leaves nothing behind."""
        pool = self.make("a", "b")
        for answered in range(2):
            picked = self.pick(pool)
            for _ in range(answered):
                self.store.answer()
            picked.cancel()
            self.failureResultOf(picked, CancelledError)
            self.store.waiting.clear()
            self.assertEqual(counts(pool), {"a": (0, 0), "b": (0, 0)})

    def test_moving_given_up(self) -> None:
        """So does one that is cancelled while its key moves."""
        pool = self.make("a", "b")
        self.store.inner.claim("web", (key("192.0.2.1"),), "a", 60)
        go_down(pool, "a")
        picked = self.pick(pool)
        self.store.answer()
        self.assertEqual(counts(pool)["b"], (1, 1))
        picked.cancel()
        self.failureResultOf(picked, CancelledError)
        self.assertEqual(counts(pool)["b"], (0, 0))

    def test_down_in_the_meantime(self) -> None:
        """A server that goes down while the store is asked is not chosen."""
        pool = self.make("a", "b")
        picked = self.pick(pool)
        self.store.answer()
        go_down(pool, "a")
        self.store.answer_all()
        self.assertEqual(chosen(self.successResultOf(picked)).backend.server, "b")  # type: ignore[arg-type]
        self.assertEqual(counts(pool)["a"], (0, 0))

    def test_the_store_fails(self) -> None:
        """A store that fails is no reason to refuse a client; the log says so."""
        pool = self.make("a", "b")
        picked = self.pick(pool)
        self.store.answer(OSError("gone"))
        self.store.answer(OSError("gone"))
        choice = chosen(self.successResultOf(picked))  # type: ignore[arg-type]
        self.assertEqual(choice.persistence, Persistence.NEW)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 2)

    def test_waiting_and_late(self) -> None:
        """Where it waits for a free place too, it gets it, once."""
        pool = self.make("a", limit=1, when_full=WhenFull("wait", 5.0))
        first = self.pick(pool, "1")
        self.store.answer_all()
        lease = lease_of(self.successResultOf(first))  # type: ignore[arg-type]
        second, third = self.pick(pool, "2"), self.pick(pool, "3")
        self.store.answer_all()
        lease.release()
        self.store.answer_all()
        again = lease_of(self.successResultOf(second))  # type: ignore[arg-type]
        self.assertNoResult(third)
        self.assertEqual((counts(pool), pool.waiting), ({"a": (1, 1)}, 1))
        again.release()
        self.assertNoResult(third)
        third.cancel()
        self.failureResultOf(third, CancelledError)
        self.assertEqual((counts(pool), pool.waiting, self.clock.getDelayedCalls()), ({"a": (0, 0)}, 0, []))

    def test_explained_without_the_store(self) -> None:
        """The explanation does not wait for it."""
        explained = self.make("a").explain(client())
        self.assertEqual((explained["server"], explained["order"]), ("a", ["a"]))


class HealthTests(SynchronousTestCase):
    """Flips are told once, in HAProxy's words, with who is left."""

    def test_down_and_up(self) -> None:
        """The log's sentences."""
        pool = make_pool("a", "b")
        self.assertEqual(
            go_down(pool, "a"),
            'Server web/a is DOWN, reason: Layer4 connection problem, info: "Connection refused", '
            "check duration: 3ms. 1 active and 0 backup servers left.",
        )
        self.assertIsNone(pool.told(pool.backends[0], BAD, 0.0))
        self.assertIn("2 active and 0 backup servers online.", come_up(pool, "a") or "")

    def test_backups_are_counted_apart(self) -> None:
        """Active and backup servers."""
        pool = make_pool("a", "b", "c")
        pool.backends[2].backup = True
        self.assertIn("1 active and 1 backup servers left.", go_down(pool, "a") or "")

    def test_maintenance(self) -> None:
        """An answer that comes in maintenance is not heard; after it the server is UP until its check."""
        pool = make_pool("a", "b")
        go_down(pool, "a")
        pool.operate("a", "maint")
        for _ in range(5):
            self.assertIsNone(pool.told(pool.backends[0], BAD, 0.0))
        pool.operate("a", "ready")
        self.assertEqual(pool.backends[0].state, "no check")
        self.assertIsNotNone(pool.told(pool.backends[0], BAD, 0.0))

    def test_drained_and_down(self) -> None:
        """The checks of a drained server go on."""
        pool = make_pool("a", "b")
        pool.operate("a", "drain")
        self.assertIsNotNone(go_down(pool, "a"))
        pool.operate("a", "ready")
        self.assertEqual(pool.backends[0].state, "DOWN")

    def test_unknown(self) -> None:
        """No such server, no such state."""
        pool = make_pool("a")
        self.assertRaises(ValueError, pool.operate, "z", "ready")
        self.assertRaises(ValueError, pool.operate, "a", "off")


class CutTests(SynchronousTestCase):
    """Links that must end."""

    def test_on_down_cut(self) -> None:
        """Every link to a server that goes down is ended, and no other."""
        pool = make_pool("a", "b", on_down="cut")
        told: list[str] = []
        for _ in range(4):
            lease = lease_of(pool.pick(client()))
            lease.cut = lambda reason, lease=lease: (told.append(lease.backend.server), lease.release())  # type: ignore[misc]
        go_down(pool, "a")
        self.assertEqual(told, ["a", "a"])
        self.assertEqual(counts(pool), {"a": (0, 0), "b": (2, 2)})

    def test_on_down_keep(self) -> None:
        """By default they go on."""
        pool = make_pool("a", "b")
        lease = lease_of(pool.pick(client()))
        go_down(pool, "a")
        self.assertIsNone(lease.condemned)

    def test_cut(self) -> None:
        """By hand, and how many there were; links that are being made find their sentence."""
        pool = make_pool("a")
        lease = lease_of(pool.pick(client()))
        self.assertEqual((pool.cut("a", "maintenance"), pool.cut("z", "maintenance")), (1, 0))
        self.assertEqual(lease.condemned, "maintenance")


class ReplacementTests(SynchronousTestCase):
    """Reload in place."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.pool = make_pool("a", "b", clock=self.clock, persistence=BySource(), slow_ramp=100.0)

    def test_who_is_new_and_who_is_gone(self) -> None:
        """What stays is the same Backend, what is new and gone is told."""
        old_b = self.pool.backends[1]
        new, gone = self.pool.replace_backends(backends("b", "c"))
        self.assertEqual(([b.server for b in new], [b.server for b in gone]), (["c"], ["a"]))
        self.assertIs(self.pool.find("b"), old_b)
        self.assertIsNone(self.pool.find("a"))

    def test_what_stays_keeps_its_state(self) -> None:
        """Counts, health and the operator's wish stay; weight and limit are the new ones."""
        lease = lease_of(self.pool.pick(client()))
        self.pool.operate("a", "drain")
        self.pool.replace_backends(backends("a", "b", weight=5))
        kept = self.pool.find("a")
        assert kept is not None
        self.assertEqual((kept.links, kept.operator, kept.weight), (1, "drain", 5))
        lease.release()
        self.assertEqual(kept.links, 0)

    def test_new_servers_ramp(self) -> None:
        """A server that comes with a reload gets its share little by little."""
        self.clock.advance(1000)
        self.pool.replace_backends(backends("a", "b", "c"))
        went = Counter(server_of(self.pool, str(number)) for number in range(60))
        self.assertLessEqual(went["c"], 1)

    def test_clients_of_a_server_that_is_gone(self) -> None:
        """They move; their links live on and come back without harm."""
        lease = lease_of(self.pool.pick(client()))
        self.pool.replace_backends(backends("b"))
        self.assertEqual(server_of(self.pool), "b")
        lease.release()
        self.assertEqual(lease.backend.links, 0)

    def test_another_port(self) -> None:
        """The same server on another port is another backend."""
        new, gone = self.pool.replace_backends([Backend("web/a", "a", "127.0.0.11", 444), *backends("b")])
        self.assertEqual(([b.port for b in new], [b.port for b in gone]), ([444], [443]))


class ExplanationTests(SynchronousTestCase):
    """Why a client goes where it goes."""

    def test_for_a_known_client(self) -> None:
        """The key, its server, and every server with its state."""
        pool = make_pool("a", "b", "c", "d", persistence=BySource(), limit=2)
        lease_of(pool.pick(client()))
        go_down(pool, "c")
        pool.backends[3].backup = True
        explained = pool.explain(client())
        self.assertEqual(explained["server"], "a")
        self.assertEqual(explained["order"], ["b", "a"])
        self.assertEqual(
            explained["persistence"],
            [{"kind": "source", "digest": b"192.0.2.1".hex(), "server": "a", "stays": True}],
        )
        shown = explained["backends"]
        assert isinstance(shown, list)
        self.assertEqual(
            [each["why"] for each in shown], ["usable", "usable", "DOWN", "a backup, not needed"]
        )

    def test_reasons(self) -> None:
        """Full, drained, without weight, ramping."""
        clock = Clock()
        pool = make_pool("a", "b", "c", "d", clock=clock, slow_ramp=100.0)
        pool.backends[0].limit = 0
        pool.operate("b", "drain")
        for backend in pool.backends:
            backend.health.told(GOOD)
        pool.backends[2].weight = 0
        shown = pool.explain(client())["backends"]
        assert isinstance(shown, list)
        self.assertEqual(
            [each["why"] for each in shown],
            ["full (0 of 0)", "DRAIN", "its weight is 0", "usable, in its slow ramp"],
        )

    def test_changes_nothing(self) -> None:
        """Asked a hundred times, the next client goes where it would have gone."""
        pool = make_pool("a", "b", "c", persistence=BySource())
        server_of(pool, "1")
        for _ in range(100):
            pool.explain(client("9"))
        self.assertEqual(server_of(pool, "2"), "b")
        self.assertEqual(counts(pool), dict.fromkeys("abc", (0, 0)))

    def test_refused(self) -> None:
        """Where a client would be refused the reason is there."""
        pool = make_pool("a", persistence=Told([Named("a")]))
        go_down(pool, "a")
        explained = pool.explain(client())
        self.assertEqual(
            (explained["server"], explained["refused"]), (None, "no server of web is usable (a DOWN)")
        )
        self.assertEqual(explained["persistence"], [{"named": "a", "server": "a", "stays": False}])
