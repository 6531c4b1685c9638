"""The queue of those who wait for a free place."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.errors import NoBackend
from exproxy.waiting import Full, Queue


class QueueTests(SynchronousTestCase):
    """First come, first served; every attempt's outcome counts, early or late."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.queue: Queue[str] = Queue(self.clock)
        self.places: list[str] = []
        self.attempts = 0

    def attempt(self) -> str:
        """A place, where there is one."""
        self.attempts += 1
        if not self.places:
            raise Full("full")
        return self.places.pop()

    def refused(self) -> str:
        """Nobody is there any more."""
        self.attempts += 1
        raise NoBackend("all are down")

    def tearDown(self) -> None:
        self.assertEqual((len(self.queue), self.clock.getDelayedCalls()), (0, []))

    def test_order(self) -> None:
        """The first who came is the first who is served, one for each place."""
        first, second = self.queue.wait(self.attempt, 5), self.queue.wait(self.attempt, 5)
        for place, served in (("x", first), ("y", second)):
            self.places.append(place)
            self.queue.freed()
            self.assertEqual(self.successResultOf(served), place)

    def test_refused(self) -> None:
        """What is refused for another reason waits no more, and the place is the next one's."""
        first, second = self.queue.wait(self.refused, 5), self.queue.wait(self.attempt, 5)
        self.places.append("x")
        self.queue.freed()
        self.failureResultOf(first, NoBackend)
        self.assertEqual(self.successResultOf(second), "x")

    def test_one_leaves_because_of_another(self) -> None:
        """Who left while another one was told is not tried any more."""
        first, second = self.queue.wait(self.refused, 5), self.queue.wait(self.attempt, 5)
        first.addErrback(lambda failure: second.cancel())
        self.places.append("x")
        self.queue.freed()
        self.failureResultOf(second, CancelledError)
        self.assertEqual((self.attempts, self.places), (1, ["x"]))

    def test_all_try(self) -> None:
        """When servers come everybody tries, not the first only."""
        waiting = [self.queue.wait(self.attempt, 5) for _ in range(3)]
        self.places += ["x", "y", "z"]
        self.queue.changed()
        self.assertEqual([self.successResultOf(each) for each in waiting], ["z", "y", "x"])

    def test_too_late(self) -> None:
        """Its time over, one is refused."""
        waiting = self.queue.wait(self.attempt, 5)
        self.clock.advance(5)
        self.failureResultOf(waiting, NoBackend)

    def test_late_place(self) -> None:
        """An attempt that is answered late serves when it is answered, and is not repeated meanwhile."""
        answers: list[Deferred[str]] = []

        def late() -> Deferred[str]:
            answers.append(Deferred())
            return answers[-1]

        waiting = self.queue.wait(late, 5)
        self.queue.freed()
        self.queue.freed()
        self.assertEqual(len(answers), 1)
        answers[0].callback("x")
        self.assertEqual(self.successResultOf(waiting), "x")

    def test_late_and_full(self) -> None:
        """A place that becomes free while a late attempt fails is tried again at once."""
        answers: list[Deferred[str]] = []

        def late() -> Deferred[str]:
            answers.append(Deferred())
            return answers[-1]

        waiting = self.queue.wait(late, 5)
        self.queue.freed()
        self.queue.freed()
        answers[0].errback(Full("full"))
        self.assertEqual(len(answers), 2)
        answers[1].errback(Full("full"))
        self.assertEqual(len(answers), 2)
        self.queue.freed()
        answers[2].callback("x")
        self.assertEqual(self.successResultOf(waiting), "x")

    def test_late_and_refused(self) -> None:
        """A late attempt that is refused ends the wait."""
        waiting = self.queue.wait(lambda: fail(NoBackend("all are down")), 5)
        self.queue.freed()
        self.failureResultOf(waiting, NoBackend)

    def test_leaving_during_a_late_attempt(self) -> None:
        """Who leaves takes the attempt along, by cancel and by time."""
        cancelled: list[str] = []
        for leave in (lambda each: each.cancel(), lambda each: self.clock.advance(5)):
            waiting = self.queue.wait(lambda: Deferred(lambda _: cancelled.append("late")), 5)
            self.queue.freed()
            leave(waiting)
            self.failureResultOf(waiting, CancelledError, NoBackend)
        self.assertEqual(cancelled, ["late", "late"])
