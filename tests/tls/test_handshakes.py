"""The budget of handshakes: so many a turn, in turn, and none lost."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from exproxy.tls.handshakes import PER_TURN, Handshakes


class Turns:
    """Stands for the poller: what is put off is done when the test says so."""

    def __init__(self) -> None:
        self.put_off: list[Callable[[], None]] = []

    def later(self, call: Callable[[], None]) -> None:
        self.put_off.append(call)

    def turn(self) -> int:
        """One turn; how much was done in it."""
        calls, self.put_off = self.put_off, []
        for call in calls:
            call()
        return len(calls)


class Step:
    """A handshake of ``steps`` steps; ``case.said`` is the list of whose turn it was."""

    def __init__(self, name: int, case: HandshakesTests, steps: int = 1) -> None:
        self.name, self.case, self.steps = name, case, steps
        self.failed = False

    def shake(self) -> None:
        self.case.said.append(self.name)
        self.steps -= 1
        if self.steps:
            self.case.handshakes.put(self, self.case.turns.later)

    def fail(self) -> None:
        self.failed = True


class HandshakesTests(SynchronousTestCase):
    """Handshakes with a fake poller."""

    def setUp(self) -> None:
        self.turns = Turns()
        self.handshakes = Handshakes()
        self.said: list[int] = []

    def put(self, name: int, steps: int = 1) -> Step:
        step = Step(name, self, steps)
        self.handshakes.put(step, self.turns.later)
        return step

    def test_a_few(self) -> None:
        """Few are served in the first turn, in order, and nothing is asked for after that."""
        for name in range(3):
            self.put(name)
        self.assertEqual(self.said, [])
        self.assertEqual(self.turns.turn(), 1)
        self.assertEqual(self.said, [0, 1, 2])
        self.assertEqual(self.turns.turn(), 0)

    def test_a_flood(self) -> None:
        """Of many a turn serves so many, the first first, until all have been served."""
        count = 10 * PER_TURN + 1
        for name in range(count):
            self.put(name)
        turns = 0
        while self.turns.turn():
            turns += 1
            self.assertLessEqual(len(self.said), turns * PER_TURN)
        self.assertEqual(turns, 11)
        self.assertEqual(self.said, list(range(count)))

    def test_in_turn(self) -> None:
        """One that needs several steps waits behind those that came meanwhile."""
        self.put(0, steps=3)
        self.put(1, steps=2)
        self.turns.turn()
        self.put(2)
        while self.turns.turn():
            pass
        self.assertEqual(self.said, [0, 1, 0, 1, 2, 0])

    def test_urgent(self) -> None:
        """Connections to servers come first, in their order, and use the same budget."""
        for name in range(PER_TURN):
            self.put(name)
        for name in (100, 101):
            self.handshakes.put(Step(name, self), self.turns.later, urgent=True)
        self.turns.turn()
        self.assertEqual(self.said, [100, 101, *range(PER_TURN - 2)])
        self.turns.turn()
        self.assertEqual(self.said[-2:], [PER_TURN - 2, PER_TURN - 1])

    def test_put_twice(self) -> None:
        """Whoever is in the queue already keeps its place."""
        first = self.put(0)
        self.put(1)
        self.handshakes.put(first, self.turns.later)
        self.turns.turn()
        self.assertEqual(self.said, [0, 1])

    def test_dropped(self) -> None:
        """Whoever is gone has no turn."""
        first = self.put(0)
        self.put(1)
        self.handshakes.drop(first)
        self.handshakes.drop(first)
        self.turns.turn()
        self.assertEqual(self.said, [1])
        self.assertEqual(len(self.handshakes), 0)

    def test_a_mistake(self) -> None:
        """One that raises is ended and logged; the others have their turn."""

        class Wrong(Step):
            def shake(self) -> None:
                raise ValueError("a mistake")

        wrong = Wrong(0, self)
        self.handshakes.put(wrong, self.turns.later)
        self.put(1)
        self.turns.turn()
        self.assertTrue(wrong.failed)
        self.assertEqual(self.said, [1])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
