"""A client that may be known by several keys of equal right: model.AnyOf."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import AnyOf, Choice, Key, Known, Named, Persistence, Source
from exproxy.pool import Pool
from exproxy.store.memory import MemoryStore
from exproxy.testing import check_persistence
from tests.pools import LateStore, Told, chosen, client, go_down, key, lease_of, make_pool
from tests.test_testing import BySource, BySourcePlugin

A, B, C = (key(name, "group") for name in "abc")
WHERE = key("192.0.2.1")


class AnyOfTests(SynchronousTestCase):
    """Three servers; each of the keys leads to the server of its letter where ``bind`` says so."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self.said: list[str] = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)

    def note(self, event: Any) -> None:
        if event.get("log_namespace") == "exproxy.choosing":
            self.said.append(event["log_format"].format(**event))

    def bind(self, found: Key, server: str) -> None:
        """Hold that key for that server, for a minute."""
        self.store.claim("web", (found,), server, 60)

    def pool(self, *candidates: Known, keys: tuple[Key, ...] = (), store: Any = None) -> Pool:
        """A pool whose clients all show that."""
        return make_pool(
            "a",
            "b",
            "c",
            clock=self.clock,
            store=store or self.store,
            persistence=Told(candidates, keys),
            ttl=60.0,
        )

    def pick(self, pool: Pool) -> tuple[str, Persistence]:
        """Server and how it was found."""
        choice = chosen(pool.pick(client()))
        lease_of(choice).release()
        return choice.backend.server, choice.persistence

    def server(self, found: Key) -> str | None:
        """Where the table has that key."""
        claim = self.store.find("web", (found,))
        return claim.server if claim is not None else None

    def test_one_is_known(self) -> None:
        """Where one of the keys is known its server is taken, and nothing is said of it."""
        self.bind(B, "b")
        pool = self.pool(AnyOf((A, B, C), (Named("c"),)))
        self.assertEqual(self.pick(pool), ("b", Persistence.HIT))
        self.assertEqual((pool.ambiguous, self.said), (0, []))

    def test_none_is_known(self) -> None:
        """Where none is, the next candidate is asked; ``then`` alone leads nowhere."""
        self.assertEqual(self.pick(self.pool(AnyOf((A,), (Named("c"),)), Named("b")))[0], "b")
        self.assertNotEqual(self.pick(self.pool(AnyOf((A,), (Named("c"),))))[1], Persistence.HIT)

    def test_several(self) -> None:
        """Of several servers that one is taken to which the first known of the others leads; it is said."""
        self.bind(A, "a")
        self.bind(B, "b")
        self.bind(WHERE, "b")
        pool = self.pool(AnyOf((A, B), (key("unknown"), WHERE, Named("a"))))
        self.assertEqual(self.pick(pool), ("b", Persistence.HIT))
        text = f"web: group {A.digest.hex()} and group {B.digest.hex()} are known on several servers"
        self.assertEqual((pool.ambiguous, self.said), (1, [f"{text} (a, b); b is taken"]))

    def test_several_on_one_server(self) -> None:
        """Keys that all lead to one server are in agreement."""
        self.bind(A, "a")
        self.bind(B, "a")
        pool = self.pool(AnyOf((A, B)))
        self.assertEqual((self.pick(pool)[0], pool.ambiguous), ("a", 0))

    def test_nothing_decides(self) -> None:
        """Where the others lead nowhere, or elsewhere, the first key's server is taken."""
        self.bind(B, "b")
        self.bind(C, "c")
        for then in ((), (WHERE,), (Named("a"),), (Named("zz"), Named("c"))):
            pool = self.pool(AnyOf((A, C, B), then))
            self.assertEqual((self.pick(pool)[0], pool.ambiguous), ("c", 1))

    def test_an_unusable_one(self) -> None:
        """A key of a server that is DOWN is out of the question: there is no doubt then."""
        self.bind(A, "a")
        self.bind(B, "b")
        pool = self.pool(AnyOf((A, B), (Named("a"),)))
        go_down(pool, "a")
        self.assertEqual((self.pick(pool)[0], pool.ambiguous), ("b", 0))

    def test_no_key_moves(self) -> None:
        """Where none can be used the client is a new one, and its keys stay with their servers."""
        self.bind(A, "a")
        self.bind(B, "zz")
        pool = self.pool(AnyOf((A, B)), keys=(WHERE,))
        go_down(pool, "a")
        server, how = self.pick(pool)
        self.assertIs(how, Persistence.NEW)
        self.assertEqual((self.server(A), self.server(B), self.server(WHERE)), ("a", "zz", server))

    def test_refreshed_and_joined(self) -> None:
        """The key that decided is held by the link and refreshed; what the strategy remembers joins it."""
        self.bind(B, "b")
        pool = self.pool(AnyOf((A, B)), keys=(WHERE,))
        lease = lease_of(pool.pick(client()))
        self.assertEqual((lease.keys, self.server(WHERE), self.server(A)), ((B,), "b", None))
        self.clock.advance(1000)
        self.assertEqual(self.server(B), "b")
        lease.release()
        self.clock.advance(59)
        self.assertEqual(self.server(B), "b")
        self.clock.advance(1)
        self.assertIsNone(self.server(B))

    def test_waiting(self) -> None:
        """A pick that waits for a place tries again and again, and is counted once."""
        from exproxy.settings import WhenFull

        self.bind(A, "a")
        self.bind(B, "b")
        pool = self.pool(AnyOf((A, B)))
        pool.when_full = WhenFull("wait", 5.0)
        backend = pool.find("a")
        assert backend is not None
        backend.limit = 0
        waiting: Any = pool.pick(client())
        pool._waiting.changed()
        backend.limit = 1
        pool._waiting.changed()
        lease_of(self.successResultOf(waiting)).release()
        self.assertEqual((pool.ambiguous, len(self.said)), (1, 1))

    def test_late(self) -> None:
        """A store that answers late is asked for each key in turn, and decides just so."""
        late = LateStore(self.clock)
        for found, server in ((A, "a"), (B, "b"), (WHERE, "b")):
            late.inner.claim("web", (found,), server, 60)
        pool = self.pool(AnyOf((A, B), (WHERE,)), store=late)
        picked: Any = pool.pick(client())
        late.answer_all()
        choice = self.successResultOf(picked)
        self.assertEqual((choice.backend.server, pool.ambiguous), ("b", 1))
        lease_of(choice).release()

    def test_late_and_failing(self) -> None:
        """What a store fails to answer is not known; the rest counts."""
        late = LateStore(self.clock)
        late.inner.claim("web", (B,), "b", 60)
        picked: Any = self.pool(AnyOf((A, B)), store=late).pick(client())
        late.answer(OSError("away"))
        late.answer_all()
        self.assertEqual(self.successResultOf(picked).backend.server, "b")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_late_and_gone(self) -> None:
        """A server that goes away while the store is asked is not taken."""
        late = LateStore(self.clock)
        for found, server in ((A, "a"), (B, "b"), (WHERE, "a")):
            late.inner.claim("web", (found,), server, 60)
        pool = self.pool(AnyOf((A, B), (WHERE,)), store=late)
        picked: Any = pool.pick(client())
        late.answer()
        late.answer()
        go_down(pool, "a")
        late.answer_all()
        self.assertEqual((self.successResultOf(picked).backend.server, pool.ambiguous), ("b", 0))

    def test_cancelled(self) -> None:
        """A pick that is given up while its keys are looked up leaves no link behind."""
        late = LateStore(self.clock)
        pool = self.pool(AnyOf((A, B)), store=late)
        picked: Any = pool.pick(client())
        picked.addErrback(lambda failure: None)
        picked.cancel()
        self.assertEqual(sum(each.links for each in pool.backends), 0)

    def test_explained(self) -> None:
        """It is told which keys lead where, what is to decide, and who is taken; nothing is counted."""
        self.bind(A, "a")
        self.bind(B, "b")
        self.bind(WHERE, "b")
        pool = self.pool(AnyOf((A, B), (WHERE,)))
        told: Any = pool.explain(client())
        [found] = told["persistence"]
        self.assertEqual([each["server"] for each in found["any_of"]], ["a", "b"])
        self.assertEqual((found["then"][0]["server"], found["server"], told["server"]), ("b", "b", "b"))
        self.assertEqual((pool.ambiguous, self.said), (0, []))
        go_down(pool, "a")
        go_down(pool, "b")
        told = pool.explain(client())
        self.assertEqual((told["persistence"][0]["server"], told["server"]), (None, "c"))

    def test_contract(self) -> None:
        """A strategy may give them, and remember one of their keys."""

        class Several(BySource):
            def candidates(self, facts: Any) -> Any:
                own, other = (self.keys.digest(word, facts[Source].host.encode()) for word in ("x", "y"))
                return (AnyOf((own, other)),)

            def remember(self, facts: Any) -> Any:
                return (self.candidates(facts)[0].keys[0],)

        class Plugin(BySourcePlugin):
            def strategy(self, options: Any, keys: Any) -> Several:
                return Several(keys)

        check_persistence(Plugin(), observations=[7])


servers = st.sampled_from(["a", "b", "c", "zz", None])


class AnyOfProperties(SynchronousTestCase):
    """Whatever leads wherever."""

    @given(st.lists(servers, max_size=4), st.lists(servers, max_size=3), st.sets(st.sampled_from("abc")))
    def test_early_and_late_agree(
        self, keys: list[str | None], then: list[str | None], down: set[str]
    ) -> None:
        """A store that answers late leads to the same choice, of a usable server, and no key moves."""
        found = tuple(key(f"k{number}") for number in range(len(keys)))
        others = tuple(key(f"t{number}") for number in range(len(then)))
        outcomes = []
        for late in (False, True):
            clock = Clock()
            store: Any = LateStore(clock) if late else MemoryStore(clock)
            inner = store.inner if late else store
            bound = {k: s for k, s in zip((*found, *others), (*keys, *then), strict=True) if s is not None}
            for each, server in bound.items():
                inner.claim("web", (each,), server, 60)
            strategy = Told((AnyOf(found, others),))
            pool = make_pool("a", "b", "c", clock=clock, store=store, persistence=strategy)
            for server in down - {"c"}:
                go_down(pool, server)
            picked: Any = pool.pick(client())
            if not isinstance(picked, Choice):
                store.answer_all()
                picked = self.successResultOf(picked)
            outcomes.append((picked.backend.server, picked.persistence, pool.ambiguous))
            self.assertTrue(picked.backend.usable_for_known())
            for each, server in bound.items():
                claim = inner.find("web", (each,))
                self.assertEqual(claim and claim.server, server)
        self.assertEqual(*outcomes)
