"""exproxy.rate: so many times a minute for each source."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.rate import SOURCES, Rate


class RateTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        """As many as a minute allows may come at once; one more may not, and does no harm."""
        rate = Rate(5)
        self.assertEqual([rate.admits("a", 100.0) for _ in range(7)], [True] * 5 + [False] * 2)
        self.assertTrue(rate.admits("b", 100.0))

    def test_elsewhere(self) -> None:
        """What a source was let in elsewhere counts here, and never for more than a minute."""
        rate = Rate(5)
        rate.charge("a", 3, 100.0)
        self.assertEqual([rate.admits("a", 100.0) for _ in range(3)], [True, True, False])
        rate.charge("a", 100, 100.0)
        self.assertTrue(rate.admits("a", 160.0))
        Rate(0).charge("a", 3, 100.0)

    def test_in_time(self) -> None:
        """The next may come when its share of the minute is over, and all after a minute."""
        rate = Rate(6)
        for _ in range(7):
            rate.admits("a", 0.0)
        self.assertFalse(rate.admits("a", 9.9))
        self.assertTrue(rate.admits("a", 10.0))
        self.assertFalse(rate.admits("a", 10.1))
        self.assertEqual([rate.admits("a", 90.0) for _ in range(7)], [True] * 6 + [False])

    def test_everybody(self) -> None:
        """0 is no limit."""
        rate = Rate(0)
        self.assertTrue(all(rate.admits("a", 0.0) for _ in range(10_000)))

    def test_bounded(self) -> None:
        """Many sources do not fill the memory, and the latest are still known."""
        rate = Rate(1)
        for number in range(2 * SOURCES):
            rate.admits(str(number), 0.0)
        self.assertLessEqual(len(rate._full), SOURCES)
        self.assertFalse(rate.admits(str(2 * SOURCES - 1), 0.0))
