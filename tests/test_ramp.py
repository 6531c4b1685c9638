"""The slow ramp's share and ration."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import Candidate
from exproxy.ramp import FLOOR, Ration, share

OLD = Candidate("old", 1.0, 10)
BACK = Candidate("back", 0.25, 0)
PARTS = {"old": 1.0, "back": 0.25}


class ShareTests(SynchronousTestCase):
    """From nearly nothing to all, as time goes."""

    def test_grows_with_the_time(self) -> None:
        """Half of the ramp is half of the share."""
        self.assertEqual([share(t, 60.0) for t in (15.0, 30.0, 45.0)], [0.25, 0.5, 0.75])

    def test_floor(self) -> None:
        """At its first moment a server has a little, so that it is met at all."""
        self.assertEqual(share(0.0, 60.0), FLOOR)

    def test_end(self) -> None:
        """At the end and after it the share is whole."""
        self.assertEqual([share(t, 60.0) for t in (60.0, 1e9)], [1.0, 1.0])

    def test_no_ramp(self) -> None:
        """A ramp of 0 seconds is none."""
        self.assertEqual(share(0.0, 0.0), 1.0)


class RationTests(SynchronousTestCase):
    """A ramping server gets its part of the latest choices, and looks busy otherwise."""

    def test_first_it_looks_busy(self) -> None:
        """An idle server that has just come back is shown as busier, for its weight, than any other."""
        old, back = Ration().shown([OLD, BACK], PARTS)
        self.assertIs(old, OLD)
        self.assertGreater((back.load + 1) / back.weight, (old.load + 1) / old.weight)

    def test_after_its_turns_it_looks_as_it_is(self) -> None:
        """With a fifth of the weights, it is shown as it is after five choices of others."""
        ration = Ration()
        for count in range(5):
            self.assertIsNot(ration.shown([OLD, BACK], PARTS)[1], BACK, count)
            ration.taken([OLD, BACK], PARTS, "old")
        self.assertIs(ration.shown([OLD, BACK], PARTS)[1], BACK)

    def test_being_chosen_costs(self) -> None:
        """Chosen, it waits for its next turn."""
        ration = Ration()
        for server in ["old"] * 5 + ["back"]:
            ration.taken([OLD, BACK], PARTS, server)
        self.assertIsNot(ration.shown([OLD, BACK], PARTS)[1], BACK)

    def test_showing_changes_nothing(self) -> None:
        """Asking twice gives the same answer."""
        ration = Ration()
        self.assertEqual(ration.shown([OLD, BACK], PARTS), ration.shown([OLD, BACK], PARTS))

    def test_all_alike(self) -> None:
        """Servers that ramp alike are shown as they are."""
        ration = Ration()
        both = [Candidate("old", 0.1, 3), Candidate("back", 0.1, 0)]
        self.assertEqual(ration.shown(both, {"old": 0.1, "back": 0.1}), both)

    def test_little_is_saved_up(self) -> None:
        """A thousand choices without it do not entitle it to a burst."""
        ration = Ration()
        for _ in range(1000):
            ration.taken([OLD, BACK], PARTS, "old")
        burst = 0
        while ration.shown([OLD, BACK], PARTS)[1] is BACK:
            ration.taken([OLD, BACK], PARTS, "back")
            burst += 1
        self.assertLessEqual(burst, 2)
