"""The list of workloads, and the configurations that they run with."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import configurations
from bench.configurations import PORTS, Site
from bench.load.__main__ import KINDS
from bench.workloads import CROWD, IN_PATH, RELAYED, Workload, workloads
from exproxy.config import load
from tests.certificates import ca_file, pem, rsa_pem


def named(name: str, every: list[Workload]) -> Workload:
    """The one of that name."""
    return next(each for each in every if each.name == name)


class WorkloadsTests(SynchronousTestCase):
    """What is measured."""

    def test_well_formed(self) -> None:
        """Names are unique; kinds and services exist; the first one begins with new processes."""
        for quick in (False, True):
            every = workloads(quick, 65_536)
            self.assertEqual(len({each.name for each in every}), len(every))
            self.assertTrue(all(each.kind in KINDS for each in every))
            self.assertTrue(all(each.services <= set(PORTS) for each in every))
            self.assertTrue(every[0].fresh)

    def test_goals(self) -> None:
        """Each goal has the workloads that are held to it, in the mode that it is meant for."""
        found = {
            (each.name, each.mode): (each.goal.reach, each.goal.then) for each in workloads(False, 65_536)
        }
        wanted = {
            **{(f"bulk-{count}-{way}", RELAYED): (0.5, 0.33) for count in (1, 16) for way in ("up", "down")},
            ("ping-pong-1000", RELAYED): (1.1, 1.0),
            ("tcp-short", RELAYED): (1.4, 1.1),
            ("http-keep-alive", IN_PATH): (1.4, 1.1),
            **{(f"https-plain-{key}", IN_PATH): (1.5, 1.2) for key in ("ec", "rsa")},
            **{(f"https-again-{key}", IN_PATH): (2.0, 1.3) for key in ("ec", "rsa")},
            **{(f"handshake-full-{key}", IN_PATH): (1.3, 1.0) for key in ("ec", "rsa")},
            ("workers", IN_PATH): (1.15, 1.05),
        }
        self.assertEqual({name: found.get(name) for name in wanted}, wanted)

    def test_crowd(self) -> None:
        """10,000 connections, or as many as the limit of open files lets a proxy have."""
        self.assertEqual(max(e.options.get("connections", 0) for e in workloads(False, 65_536)), CROWD)
        self.assertIn("ping-pong-9000", {each.name for each in workloads(False, 20_000)})

    def test_idle(self) -> None:
        """Idle HTTPS connections are as many as those of the crowd; fewer where it has to be quick."""
        for files, quick, count in ((65_536, False, CROWD), (20_000, False, 9000), (65_536, True, 1000)):
            idle = named("https-idle", workloads(quick, files))
            self.assertEqual(idle.options["connections"], count)
            self.assertTrue(idle.memory and not idle.longer)

    def test_memory_from_new_processes(self) -> None:
        """Memory is measured in processes that have no old memory to fill."""
        self.assertTrue(all(each.fresh for each in workloads(False, 65_536) if each.memory))

    def test_bulk_is_whole(self) -> None:
        """One stream and sixteen move the same in one go, and there are both ways."""
        every = workloads(True, 65_536)
        for way in ("up", "down"):
            one, many = (named(f"bulk-{count}-{way}", every).options for count in (1, 16))
            self.assertEqual(one["block"], 16 * many["block"])


class ConfigurationsTests(SynchronousTestCase):
    """The same services everywhere."""

    def setUp(self) -> None:
        """A site in a folder of its own."""
        holder = tempfile.TemporaryDirectory(prefix="exproxy-bench-")
        self.addCleanup(holder.cleanup)
        certificates = {"ec": pem("mail.bench.test"), "rsa": rsa_pem("mail.bench.test")}
        folder = Path(holder.name)
        self.site = Site(folder, "127.0.41.1", "127.0.42.1", ca_file(), certificates, 10_000)

    def test_exproxy(self) -> None:
        """exproxy's is valid and listens on every port that the others do."""
        path = self.site.folder / "exproxy.yaml"
        path.write_text(configurations.exproxy(self.site))
        config = load(path, host_name="proxy.example.com")
        ports = {each.port for service in config.services.values() for each in service.listens}
        self.assertEqual(ports, {port for name, port in PORTS.items() if name != "https"})

    def test_others(self) -> None:
        """HAProxy and nginx listen on the same ports; nginx on those of TCP only with its stream module."""
        listening = {name: f"127.0.41.1:{port}" for name, port in PORTS.items() if name != "https"}
        haproxy = configurations.haproxy(self.site)
        nginx = configurations.nginx(self.site, None, True)
        without = configurations.nginx(self.site, None, False)
        for name, where in listening.items():
            self.assertIn(f"bind {where}", haproxy)
            self.assertIn(f"listen {where}", nginx)
            self.assertEqual(f"listen {where}" in without, name not in configurations.STREAMS)

    def test_tuning(self) -> None:
        """HAProxy's variants differ in their one setting."""
        plain = configurations.haproxy(self.site)
        tuned = configurations.haproxy(self.site, tuning="tune.bufsize 262144")
        self.assertEqual(set(tuned.splitlines()) - set(plain.splitlines()), {"  tune.bufsize 262144"})
        spliced = configurations.haproxy(self.site, options=("option splice-response",))
        self.assertEqual(set(spliced.splitlines()) - set(plain.splitlines()), {"  option splice-response"})
