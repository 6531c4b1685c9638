"""Named deadlines: each comes once, in its time, however many share the one timer."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.deadlines import Deadlines


class DeadlinesTests(SynchronousTestCase):
    """Deadlines on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.come: list[tuple[str, float]] = []
        self.then: dict[str, Callable[[], None]] = {}
        self.deadlines = Deadlines(self.clock, self._came)

    def _came(self, name: str) -> None:
        self.come.append((name, self.clock.seconds()))
        self.then.get(name, lambda: None)()

    def test_comes_once(self) -> None:
        """A deadline comes when its time has come, once, and leaves no timer."""
        self.deadlines.set("head", 10)
        self.clock.advance(9.5)
        self.assertEqual(self.come, [])
        self.clock.advance(0.5)
        self.clock.advance(100)
        self.assertEqual(self.come, [("head", 10)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_timer_for_all(self) -> None:
        """Any number of names share one timer, and each has its own time."""
        for seconds in (30, 10, 20):
            self.deadlines.set(f"in {seconds}", seconds)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([10] * 3)
        self.assertEqual(self.come, [("in 10", 10), ("in 20", 20), ("in 30", 30)])

    def test_set_again_later(self) -> None:
        """Setting it again moves it back without another timer."""
        self.deadlines.set("body", 10)
        timer = self.clock.getDelayedCalls()[0]
        self.clock.advance(6)
        self.deadlines.set("body", 10)
        self.assertEqual(self.clock.getDelayedCalls(), [timer])
        self.clock.advance(6)
        self.assertEqual(self.come, [])
        self.clock.advance(4)
        self.assertEqual(self.come, [("body", 16)])

    def test_set_again_earlier(self) -> None:
        """Setting it again sooner moves it forward."""
        self.deadlines.set("idle", 100)
        self.deadlines.set("idle", 5)
        self.clock.advance(5)
        self.assertEqual(self.come, [("idle", 5)])

    def test_taken_back(self) -> None:
        """None takes one back and leaves the others; an unknown name is no matter."""
        self.deadlines.set("a", 1)
        self.deadlines.set("b", 2)
        self.deadlines.set("a", None)
        self.deadlines.set("never set", None)
        self.clock.pump([1, 1, 1])
        self.assertEqual(self.come, [("b", 2)])

    def test_clear(self) -> None:
        """clear() takes back all of them and the timer, also twice."""
        self.deadlines.set("a", 1)
        self.deadlines.clear()
        self.deadlines.clear()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(10)
        self.assertEqual(self.come, [])

    def test_set_while_one_comes(self) -> None:
        """One that is set while another comes does not delay a third one."""
        self.deadlines.set("first", 1)
        self.deadlines.set("third", 2)
        self.then["first"] = lambda: self.deadlines.set("second", 60)
        self.clock.pump([1, 1])
        self.assertEqual(self.come, [("first", 1), ("third", 2)])
        self.clock.advance(59)
        self.assertEqual(self.come[2:], [("second", 61)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_taken_back_while_another_comes(self) -> None:
        """Of two that come together, the first may take the second back."""
        self.deadlines.set("first", 1)
        self.deadlines.set("second", 1)
        self.then["first"] = lambda: self.deadlines.set("second", None)
        self.clock.advance(1)
        self.assertEqual([name for name, _ in self.come], ["first"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clear_while_one_comes(self) -> None:
        """A deadline that ends everything leaves no timer and no other deadline."""
        for name in ("first", "second"):
            self.deadlines.set(name, 1)
        self.deadlines.set("third", 5)
        self.then["first"] = self.deadlines.clear
        self.clock.pump([1, 10])
        self.assertEqual([name for name, _ in self.come], ["first"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_once(self) -> None:
        """Zero or less comes at the next turn, not inside set()."""
        self.deadlines.set("now", 0)
        self.deadlines.set("before", -5)
        self.assertEqual(self.come, [])
        self.clock.advance(0)
        self.assertEqual({name for name, _ in self.come}, {"now", "before"})
