"""One table in several processes: the owner decides, the replicas know."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.errors import StoreSilent
from exproxy.interfaces import IStore
from exproxy.model import Claim, Key
from exproxy.store.memory import IBoundedStore
from exproxy.workers.owner import TOGETHER
from exproxy.workers.replica import GATHERED, SILENCE
from tests.workers.crew import Crew, claim_of, key

A, B, C = key("a"), key("b"), key("c")


class StoreTests(SynchronousTestCase):
    """Two workers; `one` and `two` are their replicas."""

    def setUp(self) -> None:
        self.crew = Crew(2)
        self.clock = self.crew.clock
        self.owner = self.crew.owner
        self.one, self.two = self.crew.replicas[1], self.crew.replicas[2]

    def claim(self, worker: int, *keys: Key, server: str = "ex1", ttl: float = 100.0) -> Claim:
        """A worker's claim, carried and answered."""
        answer = self.crew.replicas[worker].claim("g", keys, server, ttl)
        self.crew.carry()
        found = claim_of(answer)
        assert found is not None
        return found

    def find(self, worker: int, *keys: Key) -> str | None:
        """Where a worker finds keys, once the owner has answered."""
        answer = self.crew.replicas[worker].find("g", keys)
        self.crew.carry()
        found = claim_of(answer)
        return found.server if found is not None else None

    def gathered(self) -> None:
        """What is told now and then is told and carried."""
        self.clock.advance(GATHERED)
        self.crew.carry()

    # -- deciding --------------------------------------------------------------------

    def test_interfaces(self) -> None:
        """Both ends are stores."""
        for store in (self.owner, self.one):
            self.assertTrue(verifyObject(IStore, store))
            self.assertTrue(verifyObject(IBoundedStore, store))

    def test_simultaneous_claims(self) -> None:
        """Two workers claim one key at the same moment for different servers: one server for both."""
        mine = self.one.claim("g", (A,), "ex1", 100.0)
        other = self.two.claim("g", (A,), "ex2", 100.0)
        self.crew.carry()
        first, second = claim_of(mine), claim_of(other)
        assert first is not None and second is not None
        self.assertEqual((first.server, second.server), ("ex1", "ex1"))
        self.assertEqual((first.won, second.won), (True, False))
        self.assertEqual(self.owner.find("g", (A,)), Claim("ex1", first.version, False))

    def test_hit(self) -> None:
        """What one worker has claimed the other one knows without asking."""
        self.claim(1, A)
        answer = self.two.find("g", (A,))
        assert isinstance(answer, Claim)
        self.assertEqual((answer.server, answer.won), ("ex1", False))
        self.assertEqual(self.two.claim("g", (A,), "ex2", 100.0), answer)

    def test_miss(self) -> None:
        """What no replica knows the owner is asked for; it need not know it either."""
        self.assertIsNone(self.find(1, A))
        self.owner.claim("g", (A,), "ex1", 100.0)
        self.crew.lines[1].down.clear()
        self.assertIsInstance(self.one.find("g", (A,)), Deferred)
        self.assertEqual(self.find(1, A), "ex1")
        self.assertIsInstance(self.one.find("g", (A,)), Claim)

    def test_first_of_several(self) -> None:
        """A key that is not known here may be the better one: the owner is asked although the second is."""
        self.claim(1, B, server="ex2")
        self.owner.claim("g", (A,), "ex1", 100.0)
        self.crew.lines[1].down.clear()
        self.assertEqual(self.find(1, A, B), "ex1")

    def test_keys_that_join(self) -> None:
        """A claim of a known key and a free one is the owner's: the free one joins for everybody."""
        self.claim(1, A)
        self.assertEqual(self.claim(2, A, B, server="ex2").server, "ex1")
        answer = self.one.find("g", (B,))
        assert isinstance(answer, Claim)
        self.assertEqual(answer.server, "ex1")

    def test_no_keys(self) -> None:
        """Nothing is found by nothing, and nobody is asked."""
        self.assertIsNone(self.one.find("g", ()))
        self.assertEqual(len(self.crew.lines[1].up), 0)

    # -- moving and deleting -----------------------------------------------------------

    def test_move(self) -> None:
        """A moved key is moved in every worker, and whoever watches hears of it there."""
        seen: dict[int, list[tuple[Key, str | None]]] = {1: [], 2: []}
        for number, replica in self.crew.replicas.items():
            replica.watch("g", lambda *change, number=number: seen[number].append(change))
        self.claim(1, A)
        answer = self.two.move("g", (A,), "ex2", 100.0)
        self.crew.carry()
        moved = claim_of(answer)
        assert moved is not None
        self.assertEqual((moved.server, moved.won), ("ex2", True))
        self.assertEqual(seen, {1: [(A, "ex2")], 2: [(A, "ex2")]})
        self.assertEqual([self.find(1, A), self.find(2, A)], ["ex2", "ex2"])

    def test_the_owners_own_move(self) -> None:
        """What the operator moves or deletes at the owner is so in all workers."""
        self.claim(1, A)
        self.owner.move("g", (A,), "ex2", 100.0)
        self.crew.carry()
        self.assertEqual([self.find(1, A), self.find(2, A)], ["ex2", "ex2"])
        self.assertEqual(self.owner.delete("g", (A,)), 1)
        self.crew.carry()
        self.assertEqual([self.find(1, A), self.find(2, A)], [None, None])

    def test_delete(self) -> None:
        """Keys that a worker deletes, by themselves or by their server, are gone everywhere."""
        self.claim(1, A)
        self.claim(1, B, server="ex2")
        self.claim(1, C, server="ex2")
        counted: list[int] = []
        for keys, server in (((A,), None), (None, "ex2")):
            answer = self.two.delete("g", keys, server)
            assert isinstance(answer, Deferred)
            self.crew.carry()
            answer.addCallback(counted.append)
        self.assertEqual(counted, [1, 2])
        self.assertEqual([self.find(1, each) for each in (A, B, C)], [None, None, None])

    def test_many_deleted(self) -> None:
        """A table of many keys is deleted in messages of a bounded size."""
        keys = [key(str(number)) for number in range(TOGETHER + 5)]
        for each in keys:
            self.owner.claim("g", (each,), "ex1", 100.0)
        self.crew.carry()
        self.assertEqual(self.owner.delete("g"), TOGETHER + 5)
        self.assertEqual(len(self.crew.lines[1].down), 2)
        self.crew.carry()
        self.assertEqual((self.one.size("g"), self.owner.size("g")), (0, 0))

    # -- time --------------------------------------------------------------------------

    def test_used(self) -> None:
        """A client that keeps coming to one worker keeps its key alive at the owner, and for all others."""
        self.claim(1, A, ttl=10.0)
        for _ in range(4):
            self.clock.advance(6.0)
            self.assertEqual(claim_of(self.one.claim("g", (A,), "ex1", 10.0)).server, "ex1")  # type: ignore[union-attr]
            self.gathered()
        self.assertEqual(self.find(2, A), "ex1")
        self.clock.advance(11.0)
        self.assertIsNone(self.find(2, A))
        self.assertIsNone(self.find(1, A))

    def test_held(self) -> None:
        """A link of any worker keeps its key; when it ends, the key's time begins anew."""
        self.claim(1, A, ttl=10.0)
        let_go = self.one.hold("g", (A,))
        self.gathered()
        self.assertEqual((self.owner.held("g"), self.one.held("g")), (1, 1))
        self.clock.advance(50.0)
        self.assertEqual(self.find(2, A), "ex1")
        let_go()
        self.gathered()
        self.assertEqual((self.owner.held("g"), self.one.held("g")), (0, 0))
        self.clock.advance(9.0)
        self.assertEqual(self.find(2, A), "ex1")
        self.clock.advance(11.0)
        self.assertIsNone(self.find(2, A))

    def test_short_holds(self) -> None:
        """What was held for a moment only the owner never hears of; two links are one hold."""
        self.claim(1, A)
        self.one.hold("g", (A,))()
        self.gathered()
        self.assertEqual(len(self.crew.lines[1].up), 0)
        first, second = self.one.hold("g", (A,)), self.one.hold("g", (A,))
        self.gathered()
        first()
        first()
        self.gathered()
        self.assertEqual(self.owner.held("g"), 1)
        second()
        self.gathered()
        self.assertEqual(self.owner.held("g"), 0)

    def test_a_worker_dies(self) -> None:
        """Its holds go with it, those of others stay."""
        self.claim(1, A, B)
        for number, held in ((1, A), (1, B), (2, B)):
            self.crew.replicas[number].hold("g", (held,))
        self.gathered()
        self.assertEqual(self.owner.held("g"), 2)
        self.crew.dies(1)
        self.assertEqual(self.owner.held("g"), 1)

    def test_used_after_it_was_deleted(self) -> None:
        """A use that was under way when its key was deleted does not bring it back."""
        self.claim(1, A)
        self.one.claim("g", (A,), "ex1", 100.0)
        self.owner.delete("g", (A,))
        self.gathered()
        self.assertIsNone(self.owner.find("g", (A,)))
        self.assertIsNone(self.find(1, A))

    def test_used_after_it_was_moved(self) -> None:
        """A use of a key that has moved meanwhile tells the worker where it is now."""
        self.claim(1, A)
        self.one.claim("g", (A,), "ex1", 100.0)
        self.owner.move("g", (A,), "ex2", 100.0)
        self.crew.lines[1].down.clear()
        self.gathered()
        self.assertEqual(self.find(1, A), "ex2")

    # -- in which order ------------------------------------------------------------------

    def test_what_was_learnt_before_is_known(self) -> None:
        """One worker learns a key, its client goes to another worker: that one finds it, although the owner
        reads it first."""
        self.one.move("g", (A,), "ex1", 100.0)
        answer = self.two.find("g", (A,))
        self.crew.rise(2)
        self.crew.fall(2)
        found = claim_of(answer)
        assert found is not None
        self.assertEqual(found.server, "ex1")

    def test_questions_of_many(self) -> None:
        """Each worker asks for what the next one has learnt: all find it, whoever is read first."""
        crew = Crew(5)
        for first in crew.lines:
            group = f"g{first}"
            asked = []
            for number, replica in crew.replicas.items():
                replica.move(group, (key(str(number)),), "ex1", 100.0)
            for number, replica in crew.replicas.items():
                asked.append(replica.find(group, (key(str(number % 5 + 1)),)))
            crew.rise(first)
            crew.carry()
            self.assertTrue(all(claim_of(each) for each in asked))

    # -- silence -------------------------------------------------------------------------

    def test_silence(self) -> None:
        """An owner that does not answer in time is given up, at once for those who come later, until it is
        heard again; both is said once."""
        self.crew.lines[1].mute = True
        waiting = [self.one.find("g", (each,)) for each in (A, B)]
        self.clock.advance(SILENCE / 2)
        waiting.append(self.one.claim("g", (C,), "ex1", 100.0))
        self.assertFalse(self.one.silent)
        self.clock.advance(SILENCE / 2)
        for each in (*waiting, self.one.find("g", (C,))):
            assert isinstance(each, Deferred)
            self.failureResultOf(each, StoreSilent)
        self.assertTrue(self.one.silent)
        self.crew.lines[1].mute = False
        self.crew.carry()
        self.assertFalse(self.one.silent)
        self.assertEqual(self.claim(1, C).server, "ex1")
        said = [event["log_format"] for event in self.flushLoggedErrors()]
        self.assertEqual(said, [])

    def test_late_but_not_too_late(self) -> None:
        """Each question has its own time."""
        self.crew.lines[1].mute = True
        self.one.find("g", (A,))
        self.clock.advance(SILENCE * 0.9)
        self.crew.lines[1].mute = False
        self.crew.carry()
        later = self.one.find("g", (B,))
        self.clock.advance(SILENCE * 0.9)
        self.crew.carry()
        self.assertIsNone(claim_of(later))
        self.assertFalse(self.one.silent)

    def test_cancelled(self) -> None:
        """A client that has gone is not waited for; its answer is nobody's."""
        answer = self.one.find("g", (A,))
        assert isinstance(answer, Deferred)
        answer.addErrback(lambda failure: None)
        answer.cancel()
        self.crew.carry()
        self.clock.advance(SILENCE)
        self.assertFalse(self.one.silent)

    def test_the_owner_is_gone(self) -> None:
        """Nobody waits for one that is gone, and nothing is left in the clock."""
        waiting = self.one.find("g", (A,))
        self.one.hold("g", (A,))
        self.one.lost()
        assert isinstance(waiting, Deferred)
        self.failureResultOf(waiting, StoreSilent)
        self.one.hold("g", (B,))()
        self.assertEqual(self.clock.getDelayedCalls(), [])
