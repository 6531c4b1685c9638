"""The memory store: claims, holds, limits and times."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.interfaces import IStore
from exproxy.model import Key
from exproxy.store.memory import MemoryStore
from tests.pools import key

A, B, C, D = (key(letter) for letter in "ABCD")


class MemoryStoreTests(SynchronousTestCase):
    """One process, one table for each group."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)

    def where(self, wanted: Key, group: str = "g") -> str | None:
        """The server that a key is held for."""
        claim = self.store.find(group, (wanted,))
        return claim.server if claim is not None else None

    def test_interface(self) -> None:
        """It is a store."""
        self.assertTrue(verifyObject(IStore, self.store))

    def test_find_nothing(self) -> None:
        """A key that nobody claimed is not held."""
        self.assertIsNone(self.store.find("g", (A, B)))

    def test_claim(self) -> None:
        """The first claim wins and is found."""
        self.assertTrue(self.store.claim("g", (A,), "one", 60).won)
        self.assertEqual(self.where(A), "one")

    def test_claim_is_decided_once(self) -> None:
        """The second one is told who won."""
        self.store.claim("g", (A,), "one", 60)
        claim = self.store.claim("g", (A,), "two", 60)
        self.assertEqual((claim.server, claim.won), ("one", False))
        self.assertEqual(self.where(A), "one")

    def test_free_keys_join(self) -> None:
        """Of several keys the one that is held decides for the free ones."""
        self.store.claim("g", (B,), "one", 60)
        claim = self.store.claim("g", (A, B, C), "two", 60)
        self.assertEqual((claim.server, claim.won), ("one", False))
        self.assertEqual([self.where(each) for each in (A, B, C)], ["one"] * 3)

    def test_keys_of_several_servers(self) -> None:
        """The first that is held decides, and no other one is taken away."""
        self.store.claim("g", (A,), "one", 60)
        self.store.claim("g", (B,), "two", 60)
        self.assertEqual(self.store.claim("g", (A, B, C), "one", 60).server, "one")
        self.assertEqual([self.where(each) for each in (A, B, C)], ["one", "two", "one"])

    def test_find_takes_the_first(self) -> None:
        """Of several keys the first that is held answers."""
        self.store.claim("g", (B,), "one", 60)
        self.store.claim("g", (C,), "two", 60)
        claim = self.store.find("g", (A, B, C))
        self.assertEqual(claim and claim.server, "one")

    def test_groups_are_apart(self) -> None:
        """One key in two groups is two entries."""
        self.store.claim("g", (A,), "one", 60)
        self.assertIsNone(self.where(A, "other"))

    def test_time(self) -> None:
        """An entry ends with its time."""
        self.store.claim("g", (A,), "one", 60)
        self.clock.advance(59)
        self.assertEqual(self.where(A), "one")
        self.clock.advance(1)
        self.assertIsNone(self.where(A))
        self.assertEqual(self.store.size("g"), 0)

    def test_use_refreshes(self) -> None:
        """Claimed again for the same server the time begins anew; finding alone does not."""
        self.store.claim("g", (A, B), "one", 60)
        self.clock.advance(40)
        self.store.claim("g", (A,), "one", 60)
        self.store.find("g", (B,))
        self.clock.advance(40)
        self.assertEqual((self.where(A), self.where(B)), ("one", None))

    def test_a_refresh_keeps_its_time(self) -> None:
        """A key that was given another time than others keeps it when it is claimed together with them."""
        self.store.move("g", (A,), "one", 5)
        self.store.claim("g", (A, B), "one", 60)
        self.clock.advance(5)
        self.assertEqual((self.where(A), self.where(B)), (None, "one"))

    def test_lost_claim_does_not_refresh_another_server(self) -> None:
        """A claim for another server refreshes the entry that it meets, since its client is there."""
        self.store.claim("g", (A,), "one", 60)
        self.clock.advance(40)
        self.store.claim("g", (A,), "two", 60)
        self.clock.advance(40)
        self.assertEqual(self.where(A), "one")

    def test_hold(self) -> None:
        """A key that a link holds has no end, and a new time after it."""
        self.store.claim("g", (A,), "one", 60)
        let_go = self.store.hold("g", (A,))
        self.clock.advance(1000)
        self.assertEqual(self.where(A), "one")
        let_go()
        self.clock.advance(59)
        self.assertEqual(self.where(A), "one")
        self.clock.advance(1)
        self.assertIsNone(self.where(A))

    def test_let_go_twice(self) -> None:
        """Letting go is counted once for each hold."""
        self.store.claim("g", (A,), "one", 60)
        first, second = self.store.hold("g", (A,)), self.store.hold("g", (A,))
        first()
        first()
        self.clock.advance(1000)
        self.assertEqual((self.where(A), self.store.held("g")), ("one", 1))
        second()
        self.assertEqual(self.store.held("g"), 0)

    def test_hold_of_nothing(self) -> None:
        """Holding a key that is not there does nothing."""
        self.store.hold("g", (A,))()
        self.assertEqual(self.store.size("g"), 0)

    def test_limit(self) -> None:
        """The least recently used goes first."""
        self.store.limit("g", 2)
        for each in (A, B):
            self.store.claim("g", (each,), "one", 60)
        self.store.claim("g", (A,), "one", 60)
        self.store.claim("g", (C,), "one", 60)
        self.assertEqual([self.where(each) for each in (A, B, C)], ["one", None, "one"])
        self.assertEqual(self.store.size("g"), 2)

    def test_limit_spares_what_is_held(self) -> None:
        """However old it is, a held entry stays while there are others."""
        self.store.limit("g", 20)
        old = [key(f"old{number}") for number in range(15)]
        self.store.claim("g", old, "one", 60)
        self.store.hold("g", old)
        for number in range(100):
            self.store.claim("g", (key(f"new{number}"),), "two", 60)
        self.assertEqual({self.where(each) for each in old}, {"one"})
        self.assertEqual(self.store.size("g"), 20)

    def test_limit_is_kept_where_all_are_held(self) -> None:
        """The table never grows beyond it, and letting go of what went does nothing."""
        self.store.limit("g", 2)
        ends = []
        for each in (A, B, C):
            self.store.claim("g", (each,), "one", 60)
            ends.append(self.store.hold("g", (each,)))
        self.assertEqual([self.where(each) for each in (A, B, C)], [None, "one", "one"])
        for end in ends:
            end()
        self.assertEqual((self.store.size("g"), self.store.held("g")), (2, 0))

    def test_more_keys_than_room(self) -> None:
        """A claim of more keys than fit keeps the last of them."""
        self.store.limit("g", 1)
        self.store.claim("g", (A,), "one", 60)
        self.store.claim("g", (B, C, A), "two", 60)
        self.assertEqual(self.store.size("g"), 1)

    def test_expired_ones_make_room(self) -> None:
        """Each addition clears expired entries away, so that a quiet table does not keep them."""
        for number in range(50):
            self.store.claim("g", (key(f"old{number}"),), "one", 60)
        self.clock.advance(60)
        for number in range(25):
            self.store.claim("g", (key(f"new{number}"),), "one", 60)
        self.assertEqual(self.store.size("g"), 25)

    def test_move(self) -> None:
        """Moved keys belong to the new server, with a later version."""
        before = self.store.claim("g", (A,), "one", 60)
        after = self.store.move("g", (A, B), "two", 60)
        self.assertEqual((after.server, after.won), ("two", True))
        self.assertGreater(after.version, before.version)
        self.assertEqual([self.where(each) for each in (A, B)], ["two", "two"])

    def test_moved_while_held(self) -> None:
        """A held key moves, and stays held."""
        self.store.claim("g", (A,), "one", 60)
        let_go = self.store.hold("g", (A,))
        self.store.move("g", (A,), "two", 60)
        self.clock.advance(1000)
        self.assertEqual(self.where(A), "two")
        let_go()
        self.assertEqual(self.store.held("g"), 0)

    def test_delete(self) -> None:
        """Keys go by themselves, or all those of a server, or all."""
        self.store.claim("g", (A, B), "one", 60)
        self.store.claim("g", (C, D), "two", 60)
        self.store.hold("g", (C,))
        self.assertEqual(self.store.delete("g", (A, key("Z"))), 1)
        self.assertEqual(self.store.delete("g", (C,), server="one"), 0)
        self.assertEqual(self.store.delete("g", server="two"), 2)
        self.assertEqual(self.store.delete("g"), 1)
        self.assertEqual(self.store.size("g"), 0)

    def test_watch(self) -> None:
        """Moves and deletes are told, claims and moves to the same server are not."""
        seen: list[tuple[Key, str | None]] = []
        stop = self.store.watch("g", lambda *change: seen.append(change))
        self.store.claim("g", (A,), "one", 60)
        self.store.move("g", (A,), "one", 60)
        self.store.move("g", (A,), "two", 60)
        self.store.delete("g", (A,))
        self.assertEqual(seen, [(A, "two"), (A, None)])
        stop()
        stop()
        self.store.claim("g", (A,), "one", 60)
        self.store.delete("g")
        self.assertEqual(len(seen), 2)

    def test_listed(self) -> None:
        """Entries are listed last used first, held ones before the others, of one server or all; no expired
        ones."""
        self.store.claim("g", (A,), "one", 10.0)
        self.store.claim("g", (B,), "two", 20.0)
        self.store.claim("g", (C,), "one", 5.0)
        let_go = self.store.hold("g", (A,))
        self.clock.advance(6)
        listed = list(self.store.entries("g"))
        self.assertEqual([each for each, _ in listed], [A, B])
        self.assertEqual([(each.holds, each.left) for _, each in listed], [(1, None), (0, 14.0)])
        self.assertEqual([each for each, _ in self.store.entries("g", "two")], [B])
        self.assertEqual(self.store.by_server("g"), {"one": 2, "two": 1})
        self.assertEqual((list(self.store.entries("x")), self.store.by_server("x")), ([], {}))
        let_go()
        self.store.limit("g", 7)
        self.assertEqual(self.store.limit_of("g"), 7)

    def test_repr(self) -> None:
        """It shows how many entries each group has, and none of them."""
        self.store.claim("g", (A, B), "one", 60)
        self.assertEqual(repr(self.store), "<MemoryStore g: 2>")

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["claim", "move", "hold", "let go", "delete", "wait"]),
                st.integers(0, 7),
                st.sampled_from(["one", "two"]),
            ),
            max_size=60,
        )
    )
    def test_bounded_whatever_happens(self, steps: list[tuple[str, int, str]]) -> None:
        """After any sequence the table is within its limit, its counts are right, and holds that are all let
        go leave none."""
        clock = Clock()
        store = MemoryStore(clock)
        store.limit("g", 4)
        ends = []
        for what, number, server in steps:
            keys = (key(str(number)), key(str(number // 2)))
            if what == "claim":
                claim = store.claim("g", keys, server, 10)
                self.assertEqual(claim.won, claim.server == server and claim.won)
            elif what == "move":
                store.move("g", keys, server, 10)
            elif what == "hold":
                ends.append(store.hold("g", keys))
            elif what == "let go" and ends:
                ends.pop(number % len(ends))()
            elif what == "delete":
                store.delete("g", keys[:1])
            elif what == "wait":
                clock.advance(number)
            self.assertLessEqual(store.size("g"), 4)
            self.assertEqual(sum(store.by_server("g").values()), store.size("g"))
            self.assertGreaterEqual(min(store.by_server("g").values(), default=0), 0)
        for end in ends:
            end()
        self.assertEqual(store.held("g"), 0)
