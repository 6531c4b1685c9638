"""The smaller parts: standings, shares, reports, the order of hearing, when a worker is started."""

from __future__ import annotations

from collections import Counter

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.backend import Lease
from exproxy.model import Key
from exproxy.workers import messages as said
from exproxy.workers.hearing import ROUNDS, Hearing
from exproxy.workers.reports import Reports, merged
from exproxy.workers.respawning import FIRST, LONGEST, WELL, Respawning
from exproxy.workers.shares import SOURCES, Shares, changed, notable
from exproxy.workers.standing import Changes, by_name, follow
from tests.pools import come_up, go_down, make_pool


class StandingTests(SynchronousTestCase):
    """One pool of the supervisor, and the same one of a worker."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.ours = make_pool("ex1", "ex2", clock=self.clock, slow_ramp=10.0)
        self.theirs = make_pool("ex1", "ex2", clock=self.clock, slow_ramp=10.0, on_down="cut")
        self.changes = Changes({"web": self.ours}, self.clock.seconds)

    def tell(self, server: str) -> said.Standing | None:
        """Tell the worker of one server, where there is news."""
        backend = self.ours.find(server)
        assert backend is not None
        told = self.changes.of("web", backend)
        if told is not None:
            follow(self.theirs, told, self.clock.seconds())
        return told

    def states(self) -> list[tuple[str, str]]:
        """Both sides' words."""
        return [(a.state, b.state) for a, b in zip(self.ours.backends, self.theirs.backends, strict=True)]

    def test_snapshot(self) -> None:
        """A worker that begins stands where the supervisor does."""
        go_down(self.ours, "ex1")
        self.ours.operate("ex2", "drain")
        for each in self.changes.all():
            follow(self.theirs, each, self.clock.seconds())
        self.assertEqual(self.states(), [("DOWN", "DOWN"), ("DRAIN", "DRAIN")])

    def test_flips(self) -> None:
        """UP and DOWN are followed; what went down is cut there where the pool cuts."""
        ended: list[str] = []
        backend = self.theirs.find("ex1")
        assert backend is not None
        lease = Lease(backend, self.theirs.released)
        lease.cut = ended.append
        go_down(self.ours, "ex1")
        self.assertIsNotNone(self.tell("ex1"))
        self.assertEqual(ended, ["server is DOWN"])
        self.assertIsNone(self.tell("ex1"))
        come_up(self.ours, "ex1")
        self.assertIsNotNone(self.tell("ex1"))
        self.assertTrue(backend.health.up)

    def test_ramp(self) -> None:
        """A ramp goes on in the worker from where it is, and its end is no news."""
        self.clock.advance(20.0)
        go_down(self.ours, "ex1")
        come_up(self.ours, "ex1")
        self.clock.advance(5.0)
        self.tell("ex1")
        backend = self.theirs.find("ex1")
        assert backend is not None
        self.assertEqual(backend.part(self.clock.seconds(), 10.0), 0.5)
        self.clock.advance(6.0)
        self.assertIsNone(self.tell("ex1"))
        go_down(self.ours, "ex1")
        self.tell("ex1")
        come_up(self.ours, "ex1")
        told = self.tell("ex1")
        self.assertEqual(told.ramped if told is not None else None, 0.0)

    def test_addresses(self) -> None:
        """Resolved addresses are followed; a port only where it is learnt."""
        backend = self.ours.find("ex1")
        assert backend is not None
        backend.host, backend.port = "192.0.2.9", 4444
        self.tell("ex1")
        other = self.theirs.find("ex1")
        assert other is not None
        self.assertEqual((other.host, other.port), ("192.0.2.9", 443))
        other.located = True
        backend.host = None
        self.tell("ex1")
        self.assertEqual((other.host, other.port), (None, 4444))

    def test_unknown_server(self) -> None:
        """A server that a worker does not have is nobody's."""
        follow(make_pool("ex9"), self.changes.all()[0], 0.0)

    def test_names(self) -> None:
        """Pools of one name are told apart in the order of the configuration."""
        pools = [make_pool("a", name=name) for name in ("web", "web", "mail", "web")]
        self.assertEqual(list(by_name(pools)), ["web", "web#2", "mail", "web#3"])

    def test_told_of(self) -> None:
        """Whoever watches a pool hears of checks, of the operator and of ports."""
        heard: list[str] = []
        self.ours.changed = lambda backend: heard.append(backend.server)
        go_down(self.ours, "ex1")
        self.ours.operate("ex2", "maint")
        self.ours.located(self.ours.backends[0], 5)
        self.assertEqual(heard, ["ex1", "ex2", "ex1"])


class SharesTests(SynchronousTestCase):
    def test_loads(self) -> None:
        """Each worker hears what all others carry; who is gone carries nothing."""
        shares = Shares()
        shares.loads(1, said.Loads({"web/a": 3, "web/b": 1}))
        shares.loads(2, said.Loads({"web/a": 4}))
        shares.loads(3, said.Loads({"web/b": 5}))
        shares.loads(1, said.Loads({"web/b": 0}))
        self.assertEqual(shares.others(1, ["web/a", "web/b"]), said.Loads({"web/a": 4, "web/b": 5}))
        self.assertEqual((shares.load("web/a"), shares.load("nobody")), (7, 0))
        shares.gone(2)
        self.assertEqual(shares.others(1, ["web/a"]), said.Loads({"web/a": 0}))

    def test_sources(self) -> None:
        """Sources are added up over the others; a worker's word on a service is its last one."""
        shares = Shares()
        shares.sources(1, said.Sources({"web": {"a": 2}, "mail": {"a": 9}}, {}))
        shares.sources(2, said.Sources({"web": {"a": 3, "b": 1}}, {}))
        shares.sources(3, said.Sources({"web": {"a": 4}}, {}))
        shares.sources(3, said.Sources({"web": {}}, {}))
        told = shares.other_sources(3, {"web": {"a": 7}}, ["web"])
        self.assertEqual(told, said.Sources({"web": {"a": 5, "b": 1}}, {"web": {"a": 7}}))
        shares.gone(1)
        self.assertEqual(shares.other_sources(3, {}, ["web"]).counts, {"web": {"a": 3, "b": 1}})

    def test_changed(self) -> None:
        """Only what is another figure is told of."""
        self.assertEqual(
            changed({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "d": 1}), {"b": 5, "d": 1, "c": 0}
        )

    def test_notable(self) -> None:
        """Sources that are far from the limit are not told of, and never more than so many."""
        counts = Counter({"a": 1, "b": 62, "c": 63})
        self.assertEqual(notable(counts, 1000, 2), {"b": 62, "c": 63})
        self.assertEqual(notable(counts, 10, 2), dict(counts))
        many = {str(number): number for number in range(1, SOURCES + 100)}
        self.assertEqual(min(notable(many, 1, 2).values()), 100)


class ReportsTests(SynchronousTestCase):
    def test_merged(self) -> None:
        """Numbers are added, lists and texts put beside each other; what is each one's own stays apart."""
        whole = merged(
            {
                2: {"n": 1.5, "list": [2], "text": "b", "same": "x", "tree": {"b": 1}, "each": {"pid": 20}},
                1: {
                    "n": 2,
                    "list": [1],
                    "text": "a",
                    "same": "x",
                    "tree": {"a": 1, "b": 2},
                    "each": {"pid": 10},
                },
            }
        )
        self.assertEqual(
            whole,
            {
                "n": 3.5,
                "list": [1, 2],
                "text": ["a", "b"],
                "same": "x",
                "tree": {"a": 1, "b": 3},
                "each": {"1": {"pid": 10}, "2": {"pid": 20}},
            },
        )
        self.assertEqual(merged({}), {})

    def test_a_worker_dies(self) -> None:
        """What it had counted stays counted; what it had open is no more."""
        reports = Reports()
        reports.told(1, {"web": {"sessions": 5, "counts": {"x": 10}}})
        reports.told(2, {"web": {"sessions": 1, "counts": {"x": 1}}})
        reports.gone(1)
        reports.gone(1)
        self.assertEqual(reports.whole(), {"web": {"sessions": 1, "counts": {"x": 11}}})
        reports.told(1, {"web": {"sessions": 2, "counts": {"x": 2}}})
        self.assertEqual(reports.whole(), {"web": {"sessions": 3, "counts": {"x": 13}}})


class Endless:
    """A worker that asks again whenever it is heard."""

    def __init__(self) -> None:
        self.asked = 0

    def read(self) -> list[said.Message]:
        """One more find."""
        self.asked += 1
        return [said.Ask(self.asked, "find", "g", (Key("user", b"a"),))]


class HearingTests(SynchronousTestCase):
    def test_order(self) -> None:
        """Of one worker's words the finds come last, all else in its order."""
        done: list[object] = []
        hearing = Hearing(Clock(), dict, lambda n, ask: done.append(ask.number), lambda n, m: done.append(m))
        asks = [said.Ask(number, deed, "g", ()) for number, deed in ((1, "find"), (2, "move"), (3, "claim"))]
        hearing.heard(1, [*asks, said.Ready()])
        self.assertEqual(done, [2, 3, said.Ready(), 1])

    def test_a_turn_has_an_end(self) -> None:
        """Workers that never stop asking are answered, but not all in one turn of the reactor."""
        clock, speaker, answered = Clock(), Endless(), list[int]()
        hearing = Hearing(
            clock, lambda: {1: speaker}, lambda n, ask: answered.append(ask.number), lambda n, m: None
        )
        hearing.heard(1, speaker.read())
        self.assertEqual(answered, list(range(1, ROUNDS + 1)))
        [later] = clock.getDelayedCalls()
        later.func()
        later.cancel()
        self.assertEqual(answered, list(range(1, 2 * ROUNDS + 1)))
        hearing.stop()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_forgotten(self) -> None:
        """Who is no more is not answered."""
        answered: list[tuple[int, int]] = []
        speaker = Endless()
        hearing = Hearing(
            Clock(), lambda: {2: speaker}, lambda n, ask: answered.append((n, ask.number)), lambda n, m: None
        )
        hearing.heard(2, speaker.read())
        answered.clear()
        hearing.forget(2)
        hearing.heard(1, [said.Ask(77, "move", "g", ())])
        self.assertEqual(answered, [(1, 77)])


class RespawningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.spawned: list[int] = []
        self.respawning = Respawning(self.clock, 2, self.spawned.append)
        self.respawning.start()

    def died(self, number: int) -> float:
        """It dies; seconds until there is another one."""
        self.respawning.died(number)
        before, waited = len(self.spawned), 0.0
        self.clock.advance(0)
        while len(self.spawned) == before:
            self.clock.advance(0.25)
            waited += 0.25
        return waited

    def test_start(self) -> None:
        """All at once."""
        self.assertEqual(self.spawned, [1, 2])

    def test_at_once(self) -> None:
        """One that has lived for a while is replaced at once, whenever it dies, and so is one early death."""
        self.clock.advance(WELL)
        self.assertEqual([self.died(1), self.died(1)], [0.0, 0.0])
        self.clock.advance(WELL)
        self.assertEqual(self.died(1), 0.0)
        self.assertEqual(self.spawned[2:], [1, 1, 1])

    def test_again_and_again(self) -> None:
        """One that dies right after it began is waited with, longer each time, up to a limit; the others do
        not wait."""
        waits = [self.died(1) for _ in range(10)]
        self.assertEqual(waits[:4], [0.0, FIRST, 2 * FIRST, 4 * FIRST])
        self.assertEqual(waits[-1], LONGEST)
        self.assertEqual(self.died(2), 0.0)
        self.clock.advance(WELL)
        self.assertEqual(self.died(1), 0.0)

    def test_stop(self) -> None:
        """After the stop nobody is started, and nothing waits."""
        self.respawning.died(1)
        self.respawning.stop()
        self.respawning.died(2)
        self.assertEqual(self.clock.getDelayedCalls(), [])
