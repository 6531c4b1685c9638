"""The soak: its streams, its faults, what it judges by; and a few seconds of it with everything once."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from bench.soak.clients.kinds import KINDS
from bench.soak.faults import AFTER, FAULTS, Fault, explained, schedule, turns
from bench.soak.judging import growth, left, tables
from bench.soak.logs import AccessLog, bad_lines
from bench.soak.looking import View, descriptors
from bench.soak.site import POOLS, PORTS, Site, configuration
from bench.soak.stream import BLOCK, Comparison, Wrong, whole
from exproxy.config import load
from tests.certificates import ca_file, pem

ROOT = Path(__file__).resolve().parent.parent.parent


class StreamTests(SynchronousTestCase):
    """Bytes that say whose they are."""

    def wrong(self, expected: int, data: bytes, length: int = 10 * BLOCK) -> str:
        """What is said of that data in that stream."""
        comparison = Comparison(expected, length)
        return str(self.assertRaises(Wrong, comparison.take, data))

    def test_the_same(self) -> None:
        """A stream is the same each time, however it is cut."""
        for length in (1, BLOCK, 17 * BLOCK + 5):
            comparison = Comparison(7, length)
            data = whole(7, length)
            self.assertEqual(len(data), length)
            for at in range(0, length, 999):
                comparison.take(data[at : at + 999])
            self.assertEqual(comparison.left, 0)

    def test_another(self) -> None:
        """Another's bytes are named as such, at the begin and within a stream."""
        self.assertIn("block 0 of stream 8 in stream 7", self.wrong(7, whole(8, BLOCK)))
        crossed = whole(7, 2 * BLOCK) + whole(9, 6 * BLOCK)[5 * BLOCK :]
        self.assertIn("block 5 of stream 9 in stream 7", self.wrong(7, crossed))

    def test_damaged(self) -> None:
        """One wrong byte is found; so is one too many."""
        data = bytearray(whole(7, 3 * BLOCK))
        data[5000] ^= 1
        self.assertIn("other bytes at byte 5000 of stream 7", self.wrong(7, bytes(data)))
        self.assertIn("more than", self.wrong(7, whole(7, BLOCK) + b"x", BLOCK))


class FaultsTests(SynchronousTestCase):
    """The schedule, and what it accounts for."""

    def test_repeatable(self) -> None:
        """One seed, one schedule."""
        self.assertEqual(schedule(5, 600), schedule(5, 600))
        self.assertNotEqual(schedule(5, 600), schedule(6, 600))

    def test_bounds(self) -> None:
        """All kinds are there, nothing lasts to the end, no server has two at a time, steady ones none."""
        for seed in range(50):
            plan = schedule(seed, 1200)
            self.assertEqual({each.what for each in plan}, set(FAULTS))
            self.assertTrue(all(1 < each.begin < each.end <= 1200 - 12 for each in plan))
            self.assertEqual({each.what for each in schedule(seed, 300)}, set(FAULTS))
            self.assertTrue({each.server for each in plan} <= set(POOLS["shaky"]))
            for server in POOLS["shaky"]:
                mine = sorted((each for each in plan if each.server == server), key=lambda each: each.begin)
                ends = [each.end for each in mine]
                self.assertTrue(all(end < each.begin for end, each in zip(ends, mine[1:], strict=False)))

    def test_turns(self) -> None:
        """Begins and ends come in the order of time."""
        every = list(turns(schedule(1, 100)))
        times = [time for time, _, _ in every]
        self.assertEqual(times, sorted(times))
        self.assertEqual(sum(begins for _, begins, _ in every) * 2, len(every))

    def outcome(self, **changes: Any) -> dict[str, Any]:
        """A cut of a client of server a."""
        return {"what": "cut", "pool": "shaky", "server": "a", "since": 109.0, "until": 111.0, **changes}

    def test_explained(self) -> None:
        """A fault of the client's own server at that time; of any in the pool where the server is unknown."""
        plan = [Fault("stop", "a", 10.0, 12.0)]
        for changes, right in (
            ({}, True),
            ({"server": "b"}, False),
            ({"server": ""}, True),
            ({"server": "", "pool": "steady"}, False),
            ({"since": 112 + AFTER - 0.1, "until": 200.0}, True),
            ({"since": 112 + AFTER + 0.1, "until": 200.0}, False),
            ({"since": 105.0, "until": 109.9}, False),
            ({"what": "wrong"}, False),
            ({"what": "lied"}, False),
        ):
            self.assertEqual(explained(self.outcome(**changes), plan, 100.0), right, changes)
        self.assertTrue(explained(self.outcome(what="lied"), [Fault("lie", "a", 10.0, 12.0)], 100.0))


class JudgingTests(SynchronousTestCase):
    """Leaks and memory."""

    def test_left(self) -> None:
        """More of anything than before, by kind; a session or a lease at all."""
        wires = Counter({"exproxy.wire.Wire": 2})
        before = View(Counter({"TCP connection": 1}), wires, sessions=Counter(a=1))
        self.assertEqual(left(before, View()), {})
        after = View(
            Counter({"TCP connection": 3}), Counter({"exproxy.wire.Wire": 3}), Counter(tick=1), Counter(a=1)
        )
        self.assertEqual(
            left(before, after),
            {
                "descriptors": {"TCP connection": 2},
                "objects": {"exproxy.wire.Wire": 1},
                "timers": {"tick": 1},
                "sessions": {"a": 1},
            },
        )

    def test_kept(self) -> None:
        """Idle pipes and tables may grow, up to their limits."""
        kept = View(Counter(pipe=32), Counter({"exproxy.model.Key": 1000}))
        self.assertEqual(left(View(), kept), {})
        self.assertEqual(tables(View(), kept), {"exproxy.model.Key": 1000})
        over = View(Counter(pipe=33), Counter({"protocols.http.framing.Framing": 5000}))
        self.assertEqual(left(View(), over)["descriptors"], {"pipe": 1})
        self.assertEqual(left(View(), over)["objects"], {"protocols.http.framing.Framing": 904})

    def test_growth(self) -> None:
        """A line through the last two thirds: a warm-up does not count, a slow leak does."""
        flat = growth([(5.0 * n, (50 << 20) + min(n, 70) * 100_000) for n in range(240)])
        assert flat is not None
        self.assertAlmostEqual(flat.slope, 0.0)
        self.assertFalse(flat.bad)
        leak = growth([(5.0 * n, (50 << 20) + n * 4096 + n % 2 * 8192) for n in range(240)])
        assert leak is not None
        self.assertAlmostEqual(leak.slope, 4096 * 720 / (1 << 20), 1)
        self.assertTrue(leak.bad)
        self.assertIsNone(growth([(0.0, 1), (5.0, 2)]))

    def test_descriptors(self) -> None:
        """Kinds of descriptors are told apart."""
        import os
        import socket

        if not Path("/proc/self/fd").exists():
            return
        before = descriptors(os.getpid())
        with socket.socket() as door, socket.socket(socket.AF_UNIX):
            door.bind(("127.0.0.1", 0))
            door.listen()
            ends = os.pipe()
            more = descriptors(os.getpid()) - before
            for end in ends:
                os.close(end)
        self.assertEqual(more, {"listening socket": 1, "other socket": 1, "pipe": 2})


class LogsTests(SynchronousTestCase):
    """What ought not to be in a log."""

    def setUp(self) -> None:
        """A folder."""
        holder = tempfile.TemporaryDirectory(prefix="exproxy-soak-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def test_bad_lines(self) -> None:
        """Tracebacks and critical lines are counted and shown."""
        log = self.folder / "log"
        fine = "[a#info] well\n[a#error] p has no server available!\n"
        log.write_text(f"{fine}[a#critical] bad\nTraceback (most recent call last):\n  here\n")
        count, shown = bad_lines(log)
        self.assertEqual(count, 2)
        self.assertIn("  here", shown)

    def test_rotation(self) -> None:
        """No line is lost or counted twice over rotations; records of whom is wanted are kept."""
        path = self.folder / "access.log"
        log = AccessLog(path)
        log.wanted["c:2"] = []
        for number in range(4):
            path.write_text(json.dumps({"client": f"c:{number}", "reason": "done"}) + "\n")
            log.rotate()
        path.write_text("{\n")
        log.finish()
        self.assertEqual((log.lines, log.broken, log.reasons["done"]), (5, 1, 4))
        self.assertEqual([each["client"] for each in log.wanted["c:2"]], ["c:2"])
        self.assertEqual(list(self.folder.iterdir()), [])


class ConfigurationTests(SynchronousTestCase):
    """What exproxy is started with."""

    def test_valid(self) -> None:
        """It is good, and both pools have every service on ports below 10000."""
        holder = tempfile.TemporaryDirectory(prefix="exproxy-soak-")
        self.addCleanup(holder.cleanup)
        folder = Path(holder.name)
        file = folder / "exproxy.yaml"
        file.write_text(configuration(Site(folder, "127.64.0", ca_file(), pem("mail.soak.test"))))
        config = load(file)
        self.assertEqual(len(config.services), len(POOLS) * len(PORTS))
        self.assertTrue(all(port < 10_000 for port in PORTS.values()))


class WholeTests(SynchronousTestCase):
    """A soak, as short as it can be."""

    @skipUnless(sys.platform == "linux", "it looks into /proc")
    def test_everything_once(self) -> None:
        """Every kind of client and of fault once, and nothing is left and nothing wrong."""
        with tempfile.TemporaryDirectory(prefix="exproxy-soak-") as out:
            argv = [sys.executable, "-m", "bench.soak", "--seconds", "8", "--clients", "6", "--seed", SEED]
            done = subprocess.run(
                [*argv, "--out", out], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            made = json.loads(Path(out, "soak.json").read_text())
        self.assertEqual({each["what"] for each in made["faults"]}, set(FAULTS))
        self.assertEqual([kind for kind in KINDS if not made["kinds"][kind]["whole"]], [])


SEED = "1"
