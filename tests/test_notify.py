"""What the service manager is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.notify import Notify
from tests.folders import folder


class NotifyTests(SynchronousTestCase):
    """A real datagram socket in the manager's place, and a clock of ours."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = folder(self) / "notify"
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.setblocking(False)
        self.manager.bind(str(self.path))

    def told(self, **environ: str) -> Notify:
        self.environ = {"NOTIFY_SOCKET": str(self.path), "HOME": "/", **environ}
        notify = Notify.taken_from(self.environ, self.clock)
        self.addCleanup(notify.close)
        return notify

    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.manager.recv(4096).decode())
            except BlockingIOError:
                return found

    def test_ready(self) -> None:
        """Readiness comes with a status of one line."""
        self.told().ready("9 services\non 14 addresses")
        self.assertEqual(self.heard(), ["READY=1\nSTATUS=9 services on 14 addresses"])

    def test_stopping(self) -> None:
        """An end that may take long is announced."""
        self.told().stopping("waits for 3 connections")
        self.assertEqual(self.heard(), ["STOPPING=1\nSTATUS=waits for 3 connections"])

    def test_reloading(self) -> None:
        """A reload says when it began, as Type=notify-reload needs it."""
        self.clock.advance(2.5)
        self.told().reloading()
        self.assertEqual(self.heard(), ["RELOADING=1\nMONOTONIC_USEC=2500000"])

    def test_signs_of_life(self) -> None:
        """They begin with readiness, come twice a span, and end with close()."""
        notify = self.told(WATCHDOG_USEC="10000000", WATCHDOG_PID=str(os.getpid()))
        self.clock.advance(20)
        self.assertEqual(self.heard(), [])
        notify.ready("well")
        self.assertEqual(self.heard()[1:], ["WATCHDOG=1"])
        self.clock.pump([5.0, 5.0])
        self.assertEqual(self.heard(), ["WATCHDOG=1"] * 2)
        notify.close()
        notify.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ready_again(self) -> None:
        """After a reload it is ready again, with no second row of signs."""
        notify = self.told(WATCHDOG_USEC="10000000")
        notify.ready("one")
        notify.ready("two")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_another_process_is_watched(self) -> None:
        """Signs that are wanted of another process are not ours to give."""
        notify = self.told(WATCHDOG_USEC="10000000", WATCHDOG_PID="1")
        notify.ready("well")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_strange_span(self) -> None:
        """A span that is no number of microseconds wants nothing."""
        for span in ("", "0", "-5", "soon"):
            self.told(WATCHDOG_USEC=span).ready("well")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_taken_from_the_environment(self) -> None:
        """What is meant for us is not handed on to our children."""
        self.told(WATCHDOG_USEC="10000000", WATCHDOG_PID=str(os.getpid()))
        self.assertEqual(self.environ, {"HOME": "/"})

    def test_nobody_asked(self) -> None:
        """Without a manager nothing is said, and no timer runs."""
        notify = Notify.taken_from({"WATCHDOG_USEC": "1000"}, self.clock)
        notify.ready("well")
        notify.stopping("over")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_listens(self) -> None:
        """A manager that is gone, or reads nothing, does not stop us."""
        notify = self.told()
        for _ in range(5_000):
            notify.stopping("x" * 100)
        self.manager.close()
        Path(self.path).unlink()
        notify.ready("well")

    def test_abstract_address(self) -> None:
        """A name that begins with @ is one without a file."""
        name = f"exproxy-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0" + name)
            Notify(self.clock, "@" + name).ready("well")
            self.assertEqual(manager.recv(100), b"READY=1\nSTATUS=well")
