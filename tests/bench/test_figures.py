"""Medians, percentiles, ratios, goals, and the sharing of time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.figures import Budget, Goal, Round, percentile, ratio, summary


class PercentileTests(SynchronousTestCase):
    """Nearest rank."""

    def test_ranks(self) -> None:
        """The least value that is not below the share."""
        values = [5.0, 1.0, 3.0, 2.0, 4.0]
        self.assertEqual([percentile(values, share) for share in (0.0, 0.5, 0.6, 0.99, 1.0)], [1, 3, 3, 5, 5])

    def test_nothing(self) -> None:
        """Nothing has no percentile."""
        self.assertIsNone(percentile([], 0.5))


class SummaryTests(SynchronousTestCase):
    """What is said of several rounds."""

    def test_medians(self) -> None:
        """Costs, rates and latencies are medians, each for itself; the extremes are kept."""
        found = summary(
            [
                Round(10, 1.0, 0.1, 0.0, p50=1.0, p99=2.0),
                Round(10, 2.0, 0.9, 0.1, p50=3.0, p99=9.0),
                Round(10, 5.0, 0.2, 0.0, p50=2.0, p99=4.0),
            ]
        )
        assert found is not None
        self.assertEqual((found.cost, found.low, found.high), (0.02, 0.01, 0.09))
        self.assertEqual((found.rate, found.p50, found.p99, found.rounds), (5.0, 2.0, 4.0, 3))

    def test_disturbed(self) -> None:
        """Of the time that the proxy was ready, the share without a processor; the worst round counts."""
        found = summary([Round(1, 1.0, 0.5, 0.0), Round(1, 1.0, 0.3, 0.1)])
        assert found is not None
        self.assertAlmostEqual(found.disturbed, 0.25)

    def test_busy(self) -> None:
        """The share of the time in which the proxy ran."""
        found = summary([Round(1, 2.0, 0.5, 0.0)])
        assert found is not None
        self.assertEqual(found.busy, 0.25)

    def test_no_latency(self) -> None:
        """Bulk has none."""
        found = summary([Round(1, 1.0, 1.0, 0.0)])
        assert found is not None
        self.assertIsNone(found.p50)

    def test_nothing_done(self) -> None:
        """A round without work does not count, and none of them is no summary."""
        self.assertIsNone(summary([Round(0, 1.0, 1.0, 0.0)]))


class GoalTests(SynchronousTestCase):
    """What is reached."""

    def test_verdicts(self) -> None:
        """The farther goal, the nearer one, neither; a goal is reached by being equal to it."""
        goal = Goal(1.4, 1.1)
        self.assertEqual(
            [goal.verdict(r) for r in (1.0, 1.1, 1.2, 1.4, 1.5)], ["then"] * 2 + ["reach"] * 2 + ["no"]
        )

    def test_nothing_to_say(self) -> None:
        """Without a goal or without a ratio there is no verdict."""
        self.assertEqual([Goal().verdict(1.0), Goal(1.0, 0.5).verdict(None)], ["", ""])

    def test_ratio(self) -> None:
        """Ours divided by theirs, where there are both."""
        self.assertEqual(
            [ratio(1.0, 2.0), ratio(None, 2.0), ratio(1.0, None), ratio(1.0, 0.0)], [0.5] + [None] * 3
        )


class BudgetTests(SynchronousTestCase):
    """The time that all may take together."""

    def setUp(self) -> None:
        """100 seconds for workloads of weight 1, 1 and 2."""
        self.now = 1000.0
        self.budget = Budget(100.0, 4.0, lambda: self.now)

    def test_first_round(self) -> None:
        """Each workload has one round, however little time is left."""
        self.budget.begin(1.0)
        self.now += 90.0
        self.assertTrue(self.budget.another(0, 50.0))

    def test_share(self) -> None:
        """Another round is begun where one like the last fits into the workload's share."""
        self.budget.begin(1.0)
        self.now += 15.0
        self.assertTrue(self.budget.another(1, 10.0))
        self.assertFalse(self.budget.another(1, 10.1))

    def test_shares_what_is_left(self) -> None:
        """What a workload did not use is for the others."""
        self.budget.begin(1.0)
        self.budget.begin(1.0)
        self.assertTrue(self.budget.another(1, 33.0))
        self.assertFalse(self.budget.another(1, 34.0))
        self.budget.begin(2.0)
        self.assertTrue(self.budget.another(1, 99.0))

    def test_over(self) -> None:
        """At the end nothing new begins."""
        self.assertFalse(self.budget.over)
        self.now += 100.0
        self.assertTrue(self.budget.over)
