"""Limits over several workers: never more than there may be, and nobody refused while there is room."""

from __future__ import annotations

import random

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from exproxy.workers import messages as said
from exproxy.workers.lending import Lending, kept
from exproxy.workers.places import PATIENCE
from tests.workers.crew import Crew

WHAT = "web/ex1"


class Site:
    """Workers whose clients take places; `taken` by worker."""

    def __init__(self, workers: int, limit: int) -> None:
        self.crew = Crew(workers)
        self.crew.limit(WHAT, limit)
        self.limit = limit
        self.taken = dict.fromkeys(self.crew.lines, 0)

    def take(self, worker: int) -> bool:
        """A client comes, and waits as long as there is something to wait for; whether it has a place."""
        places, had = self.crew.places[worker], list[bool]()

        def attempt(_: None = None) -> None:
            asked = places.more(self.taken[worker])
            if asked is not None:
                asked.addCallback(attempt)
                return
            had.append(not places.full(self.taken[worker]))
            if had[0]:
                self.taken[worker] += 1
                places.use(self.taken[worker])

        attempt()
        self.crew.carry()
        if not had:
            self.crew.clock.advance(PATIENCE)
        assert sum(self.taken.values()) <= self.limit
        return had[0]

    def leave(self, worker: int) -> None:
        """One of its clients goes."""
        self.taken[worker] -= 1
        self.crew.places[worker].use(self.taken[worker])
        self.crew.carry()


class LimitsTests(SynchronousTestCase):
    def test_all_in_one_worker(self) -> None:
        """One worker may have every place, though the others began with some."""
        for limit in (1, 2, 3, 10, 100):
            site = Site(4, limit)
            for worker in site.taken:
                site.crew.places[worker].use(0)
            site.crew.carry()
            self.assertEqual([site.take(1) for _ in range(limit + 2)], [True] * limit + [False] * 2)

    def test_exact(self) -> None:
        """Whatever comes and goes where: a client is refused if and only if every place is taken."""
        for seed in range(30):
            dice = random.Random(seed)
            workers, limit = dice.randint(2, 5), dice.choice([1, 2, 3, 7, 40, 200])
            site = Site(workers, limit)
            for _ in range(400):
                worker = dice.randint(1, workers)
                if site.taken[worker] and dice.random() < 0.48:
                    site.leave(worker)
                else:
                    room = sum(site.taken.values()) < limit
                    self.assertEqual(site.take(worker), room, (seed, site.taken))

    def test_a_place_goes_to_who_waits(self) -> None:
        """A worker that was told that there are none hears of the first that is free."""
        site = Site(2, 2)
        self.assertTrue(site.take(1) and site.take(1))
        self.assertFalse(site.take(2))
        site.crew.freed.clear()
        site.leave(1)
        self.assertEqual(site.crew.freed, [2])
        self.assertTrue(site.take(2))
        self.assertFalse(site.take(1))

    def test_without_asking(self) -> None:
        """Where there are many places clients do not wait for anybody's word."""
        site = Site(2, 1000)
        site.crew.places[1].use(0)
        site.crew.carry()
        for _ in range(300):
            self.assertIsNone(site.crew.places[1].more(site.taken[1]))
            site.take(1)
            site.crew.carry()

    def test_what_is_kept(self) -> None:
        """A worker gives back what it does not use but for a few."""
        site = Site(2, 1000)
        for _ in range(600):
            site.take(1)
        for _ in range(600):
            site.leave(1)
        self.assertLessEqual(site.crew.places[1].granted, 2 * kept(1000, 2))
        self.assertEqual(site.crew.lending.lent(WHAT), site.crew.places[1].granted)

    def test_a_worker_dies(self) -> None:
        """Its places come back, also those that it was asked for and had not given yet."""
        site = Site(3, 3)
        self.assertTrue(site.take(1) and site.take(2) and site.take(2))
        site.crew.lines[2].mute = True
        asked = site.crew.places[3].more(0)
        assert asked is not None
        site.crew.carry()
        self.assertFalse(asked.called)
        site.crew.dies(2)
        site.taken[2] = 0
        site.crew.carry()
        self.assertTrue(asked.called)
        self.assertTrue(site.take(3) and site.take(3))
        self.assertFalse(site.take(1))

    def test_a_silent_owner(self) -> None:
        """Nobody waits longer than PATIENCE: without a word there are no more places."""
        site = Site(2, 10)
        site.crew.lines[1].mute = True
        asked = site.crew.places[1].more(0)
        assert isinstance(asked, Deferred)
        site.crew.clock.advance(PATIENCE)
        self.assertTrue(asked.called)
        self.assertIsNone(site.crew.places[1].more(0))
        self.assertTrue(site.crew.places[1].full(0))
        site.crew.lines[1].mute = False
        site.crew.carry()
        self.assertTrue(site.take(1))

    def test_many_wait_for_one(self) -> None:
        """Those who wait share one question; who is cancelled does not take anything."""
        site = Site(2, 1)
        asked = [site.crew.places[1].more(0) for _ in range(3)]
        self.assertEqual(len(site.crew.lines[1].up), 1)
        first = asked[0]
        assert first is not None
        first.addErrback(lambda failure: None)
        first.cancel()
        site.crew.carry()
        self.assertTrue(all(each is not None and each.called for each in asked))
        self.assertTrue(site.take(1))

    def test_another_limit(self) -> None:
        """A limit that is raised lets those in who wait; a lower one is kept to as places become free."""
        site = Site(2, 1)
        self.assertTrue(site.take(1))
        self.assertFalse(site.take(2))
        site.limit = 2
        site.crew.lending.limit(WHAT, 2)
        site.crew.carry()
        self.assertTrue(site.take(2))
        site.crew.lending.limit(WHAT, 1)
        site.leave(1)
        self.assertFalse(site.take(1))

    def test_unknown(self) -> None:
        """What no limit is known of is not answered: a worker of another configuration asks for it."""
        sent: list[object] = []
        lending = Lending(2, lambda worker, message: sent.append(message))
        lending.want(1, said.Want("nobody"))
        lending.give(1, said.Give("nobody", 1))
        self.assertEqual(sent, [])

    def test_nothing_waits_at_the_end(self) -> None:
        """A worker that ends leaves no timer."""
        site = Site(2, 1)
        asked = site.crew.places[1].more(0)
        site.crew.places[1].stop()
        self.assertTrue(asked is not None and asked.called)
        self.assertEqual(site.crew.clock.getDelayedCalls(), [])
