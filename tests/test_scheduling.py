"""One contract for all schedulings, and what each is for."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.interfaces import IScheduling, ISchedulingPlugin
from exproxy.model import Candidate, Facts, Source
from exproxy.plugins import find, names
from exproxy.scheduling import LeastConnections, RandomChoice, RoundRobin, SourceHash
from tests.pools import client

HOSTS = [f"10.0.{number // 250}.{number % 250}" for number in range(2000)]
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.sampled_from(["a", "b", "c", "d", "e"]),
        st.floats(min_value=1 / 64, max_value=256),
        st.integers(min_value=0, max_value=10_000),
    ),
    max_size=5,
    unique_by=lambda each: each.server,
)


def makers() -> dict[str, Any]:
    """A fresh one of each, with dice that fall the same every time."""
    return {
        "round-robin": RoundRobin(),
        "least-connections": LeastConnections(),
        "source-hash": SourceHash(),
        "random": RandomChoice(random.Random(7)),
    }


def first(scheduling: Any, candidates: list[Candidate], facts: Facts = client()) -> str:
    """Choose and take."""
    best: Candidate = next(iter(scheduling.order(candidates, facts)))
    scheduling.taken(best)
    return best.server


def run(scheduling: Any, weights: dict[str, float], times: int) -> list[str]:
    """Who is chosen for one after another, all servers equally loaded."""
    return [first(scheduling, [Candidate(s, w) for s, w in weights.items()]) for _ in range(times)]


class ContractTests(SynchronousTestCase):
    """What holds for every scheduling."""

    def test_all_are_found(self) -> None:
        """The four are found by the names that a configuration uses, and no fifth is forgotten here."""
        self.assertEqual(set(names(ISchedulingPlugin)), set(makers()))
        for name in makers():
            plugin = find(ISchedulingPlugin, name)
            verifyObject(ISchedulingPlugin, plugin)
            verifyObject(IScheduling, plugin.scheduling(plugin.options()))

    @settings(max_examples=60, deadline=None)
    @given(CANDIDATES, CANDIDATES)
    def test_each_candidate_once(self, before: list[Candidate], candidates: list[Candidate]) -> None:
        """Whatever came before, each candidate is in the order exactly once."""
        for name, scheduling in makers().items():
            if before:
                first(scheduling, before)
            order = list(scheduling.order(candidates, client()))
            self.assertEqual(sorted(order, key=repr), sorted(candidates, key=repr), name)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(CANDIDATES.filter(bool), max_size=5), CANDIDATES)
    def test_order_changes_nothing(self, history: list[list[Candidate]], candidates: list[Candidate]) -> None:
        """Asked twice the answer is the same, the dice excepted."""
        for name, scheduling in makers().items():
            for each in history:
                first(scheduling, each)
            if name != "random":
                once, twice = (list(scheduling.order(candidates, client())) for _ in "12")
                self.assertEqual(once, twice, name)

    def test_nobody_starves(self) -> None:
        """Of 4,000 clients each of three equal servers gets at least a fifth."""
        for name, scheduling in makers().items():
            load: Counter[str] = Counter()
            for number in range(4000):
                candidates = [Candidate(s, 1.0, load[s]) for s in "abc"]
                load[first(scheduling, candidates, client(HOSTS[number % 2000]))] += 1
            self.assertGreater(min(load.values()), 800, (name, load))

    def test_weights_apply(self) -> None:
        """A server of three times the weight gets about three times the clients."""
        for name, scheduling in makers().items():
            load: Counter[str] = Counter()
            for host in HOSTS:
                candidates = [Candidate(s, w, load[s]) for s, w in (("a", 3.0), ("b", 1.0))]
                load[first(scheduling, candidates, client(host))] += 1
            self.assertLess(abs(load["a"] / 2000 - 0.75), 0.03, name)

    def test_scale_does_not_matter(self) -> None:
        """Only the proportion of weights counts: all of them a hundredth choose the same."""
        for name in makers():
            big, small = makers()[name], makers()[name]
            loads: Counter[str] = Counter()
            for host in HOSTS[:200]:
                one = first(big, [Candidate(s, w, loads[s]) for s, w in (("a", 2), ("b", 1))], client(host))
                two = first(
                    small, [Candidate(s, w / 100, loads[s]) for s, w in (("a", 2), ("b", 1))], client(host)
                )
                if name != "random":
                    self.assertEqual(one, two, name)
                loads[one] += 1


class RoundRobinTests(SynchronousTestCase):
    """In turns, smoothly."""

    def test_in_turns(self) -> None:
        """Equal servers come one after the other."""
        self.assertEqual("".join(run(RoundRobin(), {"a": 1, "b": 1, "c": 1}, 9)), "abcabcabc")

    def test_smooth(self) -> None:
        """The light server is never more than one turn of the heavy one's late or early."""
        order = run(RoundRobin(), {"a": 3.0, "b": 1.0}, 400)
        for start in range(0, 400, 4):
            self.assertEqual(order[start : start + 4].count("b"), 1)

    def test_a_server_that_was_away(self) -> None:
        """Back again it does not catch up on what it missed."""
        scheduling = RoundRobin()
        run(scheduling, {"a": 1, "b": 1, "c": 1}, 6)
        run(scheduling, {"a": 1, "b": 1}, 500)
        counts = Counter(run(scheduling, {"a": 1, "b": 1, "c": 1}, 30))
        self.assertEqual(set(counts.values()), {10})

    def test_others_are_not_disturbed(self) -> None:
        """A server that comes and goes leaves the others equal."""
        scheduling = RoundRobin()
        counts: Counter[str] = Counter()
        for number in range(900):
            weights = {"a": 1.0, "b": 1.0, **({"c": 1.0} if number % 7 < 3 else {})}
            counts.update(run(scheduling, weights, 1))
        self.assertLessEqual(abs(counts["a"] - counts["b"]), 2)

    def test_one_of_three_down(self) -> None:
        """The share of the missing one falls on both others alike, and not on its neighbour."""
        counts = Counter(run(RoundRobin(), {"a": 1, "c": 1}, 2000))
        self.assertEqual(counts, {"a": 1000, "c": 1000})


class LeastConnectionsTests(SynchronousTestCase):
    """The least loaded for its weight."""

    def test_least(self) -> None:
        """The one with fewest is first, and the order goes on by load."""
        order = LeastConnections().order(
            [Candidate("a", 1, 5), Candidate("b", 1, 2), Candidate("c", 1, 3)], client()
        )
        self.assertEqual([each.server for each in order], ["b", "c", "a"])

    def test_for_its_weight(self) -> None:
        """Four on a server of weight 5 are less than one on a server of weight 1."""
        order = LeastConnections().order([Candidate("a", 1, 1), Candidate("b", 5, 4)], client())
        self.assertEqual([each.server for each in order], ["b", "a"])

    def test_an_idle_server_counts_its_weight(self) -> None:
        """Idle with a weight of 1/16, it is no better than fifteen clients on a full one."""
        order = LeastConnections().order([Candidate("a", 1, 14), Candidate("b", 1 / 16, 0)], client())
        self.assertEqual([each.server for each in order], ["a", "b"])

    def test_equals_take_turns(self) -> None:
        """Where all are equally loaded nobody is always the first."""
        counts = Counter(run(LeastConnections(), {"a": 1, "b": 1, "c": 1}, 300))
        self.assertEqual(set(counts.values()), {100})


class SourceHashTests(SynchronousTestCase):
    """One address, one server, with the least of moves."""

    def place(self, *servers: str, weights: dict[str, float] | None = None) -> dict[str, str]:
        """Where each client goes."""
        candidates = [Candidate(s, (weights or {}).get(s, 1.0)) for s in servers]
        return {host: first(SourceHash(), candidates, client(host)) for host in HOSTS}

    def test_same_again(self) -> None:
        """The order of the candidates and their load do not matter."""
        self.assertEqual(self.place("a", "b", "c"), self.place("c", "a", "b"))

    def test_only_the_clients_of_the_removed_server_move(self) -> None:
        """Without b its clients spread over a and c, and nobody else moves."""
        before, after = self.place("a", "b", "c"), self.place("a", "c")
        moved = {host for host in HOSTS if before[host] != after[host]}
        self.assertEqual(moved, {host for host in HOSTS if before[host] == "b"})
        spread = Counter(after[host] for host in moved)
        self.assertLess(abs(spread["a"] / len(moved) - 0.5), 0.08)

    def test_ramping_moves_clients_one_way(self) -> None:
        """While b's weight grows clients only move to b, never between the others."""
        before = self.place("a", "b", "c", weights={"b": 1 / 16})
        for part in (0.25, 0.5, 1.0):
            after = self.place("a", "b", "c", weights={"b": part})
            self.assertEqual({after[host] for host in HOSTS if after[host] != before[host]}, {"b"})
            before = after

    def test_ports_do_not_matter(self) -> None:
        """Two connections of one client go to one server."""
        candidates = [Candidate(s) for s in "abc"]
        other = client().plus(Source("192.0.2.1", 5))
        self.assertEqual(first(SourceHash(), candidates), first(SourceHash(), candidates, other))

    def test_without_a_source(self) -> None:
        """Where no address is known all clients are one."""
        order = list(SourceHash().order([Candidate(s) for s in "abc"], Facts()))
        self.assertEqual(len(order), 3)


class RandomTests(SynchronousTestCase):
    """The better of two drawn by lot."""

    def test_the_worst_of_many_is_hardly_chosen(self) -> None:
        """The most loaded server is never preferred to the one that was drawn with it."""
        scheduling = RandomChoice(random.Random(3))
        candidates = [Candidate(s, 1.0, load) for s, load in (("a", 9), ("b", 1), ("c", 1))]
        counts = Counter(first(scheduling, candidates) for _ in range(500))
        self.assertNotIn("a", counts)

    def test_loads_stay_close(self) -> None:
        """Of 3,000 clients on ten servers nobody has more than a few above the average."""
        scheduling = RandomChoice(random.Random(5))
        load: Counter[str] = Counter()
        for _ in range(3000):
            load[first(scheduling, [Candidate(s, 1.0, load[s]) for s in "abcdefghij"])] += 1
        self.assertLessEqual(max(load.values()) - 300, 8)

    def test_dice_are_given(self) -> None:
        """The same dice fall the same way."""
        one, two = (run(RandomChoice(random.Random(1)), {"a": 1, "b": 1, "c": 1}, 20) for _ in "12")
        self.assertEqual(one, two)
