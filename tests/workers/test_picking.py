"""Choices in several processes at once: one server for a key, limits to the last place, no endless wait."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from exproxy.backend import Lease
from exproxy.errors import NoBackend
from exproxy.model import Choice
from exproxy.pool import Pool
from exproxy.settings import WhenFull
from exproxy.waiting import Full
from exproxy.workers.lending import kept
from exproxy.workers.places import Borrowed
from exproxy.workers.replica import SILENCE
from tests.pools import BySource, client, make_pool
from tests.workers.crew import Crew

SERVERS = ("ex1", "ex2", "ex3")


class PickingTests(SynchronousTestCase):
    """A pool in each of two workers."""

    def setUp(self) -> None:
        self.crew = Crew(2)
        self.borrowed: dict[tuple[int, str], Borrowed] = {}

    def pools(self, limit: int | None = None, **settings: Any) -> list[Pool]:
        """The same pool twice; a server's limit is that of both together."""
        made = []
        for number, replica in self.crew.replicas.items():
            pool = make_pool(*SERVERS, clock=self.crew.clock, store=replica, limit=limit, **settings)
            pool.shared = limit is not None
            for backend in pool.backends if limit is not None else ():
                assert limit is not None
                self.crew.lending.limit(backend.name, limit)
                send = self.crew._up(number)
                places = Borrowed(self.crew.clock, backend.name, kept(limit, 2), send, pool.freed)
                backend.places = self.borrowed[number, backend.name] = places
            made.append(pool)
        hear = self.crew._hear

        def heard(number: int, message: Any) -> None:
            what = getattr(message, "what", None)
            if what is not None:
                self.crew.places[number] = self.borrowed[number, what]
            hear(number, message)

        self.crew._hear = heard  # type: ignore[method-assign]  # each worker has places of several servers
        return made

    def outcomes(self, picks: list[Any]) -> list[Choice | None]:
        """What became of the picks; None where there was nobody."""
        found: list[Choice | None] = []
        for pick in picks:
            if isinstance(pick, Deferred):
                self.crew.carry()
                pick.addErrback(lambda failure: failure.trap(NoBackend) and None)
                pick.addCallback(found.append)
            else:
                found.append(pick)
        self.assertEqual(len(found), len(picks))
        return found

    def test_storm(self) -> None:
        """Many clients at once in both workers: as many as there are places, in all servers, and no more."""
        pools = self.pools(limit=4)
        picks = [pool.pick(client(f"192.0.2.{at}")) for at in range(10) for pool in pools]
        found = [each for each in self.outcomes(picks) if each is not None]
        self.assertEqual(len(found), 12)
        for server in SERVERS:
            self.assertEqual(sum(each.backend.server == server for each in found), 4)

    def test_any_order(self) -> None:
        """Whatever is heard first, and whoever comes and goes: every choice comes to an end."""
        for seed in range(40):
            dice = random.Random(seed)
            self.crew = Crew(2)
            self.borrowed = {}
            limit = dice.choice([1, 2, 5, 40])
            pools = self.pools(limit=limit)
            waiting: list[Any] = []
            taken: list[Choice] = []
            for at in range(200):
                if dice.random() < 0.5:
                    waiting.append(self.begun(dice.choice(pools), at, taken))
                elif taken and dice.random() < 0.6:
                    lease = taken.pop(dice.randrange(len(taken))).lease
                    assert isinstance(lease, Lease)
                    lease.release()
                for _ in range(dice.randint(0, 3)):
                    dice.choice((self.crew.rise, self.crew.fall))(dice.randint(1, 2))
                self.assertLessEqual(len(taken), 3 * limit)
            self.crew.carry()
            self.assertEqual([each for each in waiting if not each], [], seed)

    def begun(self, pool: Pool, at: int, taken: list[Choice]) -> list[bool]:
        """A client's choice; [True] once it is over."""
        over: list[bool] = []

        def chosen(choice: Choice) -> None:
            over.append(True)
            taken.append(choice)

        def refused(failure: Any) -> None:
            failure.trap(NoBackend)
            over.append(True)

        try:
            pick = pool.pick(client(f"192.0.2.{at % 250}"))
        except NoBackend:
            over.append(True)
            return over
        if isinstance(pick, Deferred):
            pick.addCallbacks(chosen, refused)
        else:
            chosen(pick)
        return over

    def test_waiting(self) -> None:
        """`when-full: wait`: who waits in one worker has the place that becomes free in the other."""
        pools = self.pools(limit=1, when_full=WhenFull("wait", 60.0))
        taken = self.outcomes([pools[0].pick(client(f"192.0.2.{at}")) for at in range(3)])
        waiting = pools[1].pick(client())
        assert isinstance(waiting, Deferred)
        self.crew.carry()
        self.assertNoResult(waiting)
        assert taken[0] is not None and isinstance(taken[0].lease, Lease)
        taken[0].lease.release()
        self.crew.carry()
        choice = self.successResultOf(waiting)
        self.assertEqual(choice.backend.server, taken[0].backend.server)

    def test_full(self) -> None:
        """Where every place is taken, a worker that has none says Full, after asking once."""
        pools = self.pools(limit=1)
        self.outcomes([pools[0].pick(client(f"192.0.2.{at}")) for at in range(3)])
        self.outcomes([pools[1].pick(client())])
        with self.assertRaises(Full):
            pools[1].pick(client())

    def test_one_key(self) -> None:
        """One client in both workers at the same moment: one server."""
        pools = self.pools(persistence=BySource())
        picks = [pool.pick(client()) for pool in pools for _ in range(3)]
        servers = {each.backend.server for each in self.outcomes(picks) if each is not None}
        self.assertEqual(len(servers), 1)

    def test_silent_owner(self) -> None:
        """Nobody decides: each worker takes a client where its key leads to, the same server in both; later
        ones without any waiting."""
        pools = self.pools(persistence=BySource())
        for line in self.crew.lines.values():
            line.mute = True
        first = [pool.pick(client()) for pool in pools]
        self.assertTrue(all(isinstance(each, Deferred) for each in first))
        self.crew.clock.advance(SILENCE)
        servers = [each.backend.server for each in self.outcomes(first) if each is not None]
        self.assertEqual((len(servers), len(set(servers))), (2, 1))
        spread = set()
        for at in range(20):
            both = [pool.pick(client(f"192.0.2.{at}")) for pool in pools]
            found = [each.backend.server for each in self.outcomes(both) if each is not None]
            self.assertEqual((len(found), len(set(found))), (2, 1))
            spread.add(found[0])
        self.assertEqual(spread, set(SERVERS))
