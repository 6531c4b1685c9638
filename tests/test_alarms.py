"""Alarms: in time, in order, and with one timer for each length."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.alarms import Alarms


class Sleeper:
    """Notes when it was late."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.late: list[float] = []

    def too_late(self) -> None:
        self.late.append(self.clock.seconds())


class AlarmsTests(SynchronousTestCase):
    """On a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.alarms = Alarms(self.clock)

    def sleeper(self) -> Sleeper:
        return Sleeper(self.clock)

    def test_in_time(self) -> None:
        """Each comes after its own length, whatever was set before."""
        long, short = self.sleeper(), self.sleeper()
        self.alarms.set(long, 5.0)
        self.clock.advance(1)
        self.alarms.set(short, 2.0)
        self.clock.pump([0.5] * 20)
        self.assertEqual((long.late, short.late), ([5.0], [3.0]))
        self.assertEqual(len(self.alarms), 0)

    def test_one_timer(self) -> None:
        """A thousand alarms of one length have one timer, and each comes in its time."""
        sleepers = [self.sleeper() for _ in range(1000)]
        for each in sleepers:
            self.alarms.set(each, 5.0)
            self.clock.advance(0.001)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([0.001] * 6000)
        for number, each in enumerate(sleepers):
            [late] = each.late
            self.assertTrue(0 <= late - (5.0 + number * 0.001) < 0.002)

    def test_taken_back(self) -> None:
        """One that was taken back never comes; nor does another's end disturb it."""
        gone, stays = self.sleeper(), self.sleeper()
        self.alarms.set(gone, 5.0)
        self.alarms.set(stays, 5.0)
        self.alarms.unset(gone, 5.0)
        self.alarms.unset(gone, 5.0)
        self.alarms.unset(gone, 7.0)
        self.clock.pump([1.0] * 6)
        self.assertEqual((gone.late, stays.late), ([], [5.0]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_takes_anothers_back(self) -> None:
        """Of two whose time has come together the first may take the second one's back."""
        second = self.sleeper()
        alarms = self.alarms

        class First(Sleeper):
            def too_late(self) -> None:
                super().too_late()
                alarms.unset(second, 1.0)
                alarms.set(self, 1.0)

        first = First(self.clock)
        alarms.set(first, 1.0)
        alarms.set(second, 1.0)
        self.clock.pump([1.0, 1.0])
        self.assertEqual((first.late, second.late), ([1.0, 2.0], []))

    def test_closed(self) -> None:
        """Nothing is left, and it can be used again."""
        sleeper = self.sleeper()
        self.alarms.set(sleeper, 1.0)
        self.alarms.close()
        self.alarms.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.alarms.set(sleeper, 1.0)
        self.clock.advance(1)
        self.assertEqual(len(sleeper.late), 1)
