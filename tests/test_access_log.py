"""The access log: whole lines, few writes, and nothing that a full disk could hurt."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from exproxy import access_log
from exproxy.access_log import FLUSH_LINES, FLUSH_SECONDS, PIPE, AccessLog, timestamp
from tests.folders import folder


class AccessLogTests(SynchronousTestCase):
    """Records into a file."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = folder(self) / "access.log"
        self.log = AccessLog(self.clock, self.path)
        self.log.open()
        self.addCleanup(self.log.close)

    def records(self, path: Path | None = None) -> list[dict[str, Any]]:
        text = (path or self.path).read_text(encoding="utf-8")
        self.assertTrue(text == "" or text.endswith("\n"))
        return [json.loads(line) for line in text.splitlines()]

    def test_whole_lines(self) -> None:
        """Into a pipe, which several processes may write to, go no more whole lines at once than it takes at
        once; a record that is longer goes by itself."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        log = AccessLog(self.clock, "stdout")
        log.open(inherited=writing)
        self.assertEqual(log.fileno(), writing)
        written: list[bytes] = []
        self.patch(access_log, "_write", lambda number, data: written.append(data))
        for length in (100, PIPE, *[100] * 50):
            log.write({"text": "ü" * length})
        log.flush()
        log.close()
        self.assertTrue(all(part.endswith(b"\n") for part in written))
        self.assertEqual(sum(part.count(b"\n") for part in written), 52)
        self.assertEqual(sum(len(part) > PIPE for part in written), 1)
        self.assertGreater(len(written), 3)

    def test_inherited(self) -> None:
        """Two processes that have one file open append to it."""
        other = AccessLog(self.clock, self.path)
        other.open(os.dup(self.log.fileno()))
        self.addCleanup(other.close)
        for number in range(4):
            log = (self.log, other)[number % 2]
            log.write({"number": number})
            log.flush()
        self.assertEqual([record["number"] for record in self.records()], [0, 1, 2, 3])

    def test_timestamp(self) -> None:
        """Times are UTC with milliseconds."""
        self.assertEqual(timestamp(0), "1970-01-01T00:00:00.000Z")
        self.assertEqual(timestamp(1700000000.9996), "2023-11-14T22:13:20.999Z")

    def test_gathered(self) -> None:
        """Lines are written together, half a second after the first."""
        for number in range(3):
            self.log.write({"service": "imap", "number": number})
        self.assertEqual(self.records(), [])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(FLUSH_SECONDS)
        self.assertEqual([record["number"] for record in self.records()], [0, 1, 2])
        self.assertEqual(list(self.records()[0]), ["time", "service", "number"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_do_not_wait(self) -> None:
        """Enough lines are written at once, and leave no timer."""
        for number in range(FLUSH_LINES):
            self.log.write({"number": number})
        self.assertEqual(len(self.records()), FLUSH_LINES)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_whatever_clients_say(self) -> None:
        """Line ends, quotes, any script and half a surrogate pair stay inside one line of JSON."""
        values = ['a"b\\c', "line\r\nend\u2028", "müller 田中", "half \ud800 a pair"]
        for value in values:
            self.log.write({"user": value, "path": Path("/owa"), "bytes": b"\xff"})
        self.log.flush()
        self.assertEqual(len(self.path.read_bytes().split(b"\n")), 5)
        lines = self.path.read_bytes().decode("utf-8").split("\n")[:-1]
        self.assertEqual([json.loads(line)["user"] for line in lines], values)

    def test_appends(self) -> None:
        """A file that is there is continued."""
        self.log.write({"number": 1})
        self.log.close()
        self.log.open()
        self.log.write({"number": 2})
        self.log.flush()
        self.assertEqual([record["number"] for record in self.records()], [1, 2])

    def test_rotation(self) -> None:
        """After reopen() the old file has all that came before, the new one what comes after."""
        self.log.write({"number": 1})
        old = self.path.rename(self.path.with_suffix(".old"))
        self.log.reopen()
        self.log.write({"number": 2})
        self.log.flush()
        self.assertEqual([record["number"] for record in self.records(old)], [1])
        self.assertEqual([record["number"] for record in self.records()], [2])

    def test_rotation_that_fails(self) -> None:
        """A folder that went away: the old file stays, and nothing piles up."""
        self.log.write({"number": 1})
        moved = self.path.parent.rename(self.path.parent.with_suffix(".moved"))
        self.addCleanup(shutil.rmtree, moved)
        self.assertRaises(OSError, self.log.reopen)
        self.log.write({"number": 2})
        self.log.flush()
        self.assertEqual([record["number"] for record in self.records(moved / self.path.name)], [1, 2])

    def test_rotation_of_stdout(self) -> None:
        """Standard output stays what it was at open(), whatever twistd has put there since."""
        first, second = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", first)
        log = AccessLog(self.clock, "stdout")
        log.open()
        self.patch(sys, "stdout", second)
        log.reopen()
        log.write({"number": 1})
        log.close()
        self.assertIn('"number":1', first.getvalue())
        self.assertEqual(second.getvalue(), "")

    def test_close(self) -> None:
        """close() writes what is queued and leaves no timer, also the second time."""
        self.log.write({"number": 1})
        self.log.close()
        self.log.close()
        self.assertEqual(len(self.records()), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_missing_folder(self) -> None:
        """A folder that is not there is an error at open(), with the path in its text."""
        log = AccessLog(self.clock, "/nonexistent/access.log")
        self.assertIn("/nonexistent/access.log", str(self.assertRaises(OSError, log.open)))

    def test_none(self) -> None:
        """No destination: nothing is kept and no timer runs."""
        log = AccessLog(self.clock, None)
        log.open()
        log.write({"number": 1})
        log.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stdout(self) -> None:
        """Standard output is the one that was there at open(), and stays open."""
        first, second = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", first)
        log = AccessLog(self.clock, "stdout")
        log.open()
        self.patch(sys, "stdout", second)
        log.write({"number": 1})
        log.close()
        self.assertEqual(json.loads(first.getvalue())["number"], 1)
        self.assertFalse(first.closed)
        self.assertEqual(second.getvalue(), "")

    def test_full_disk(self) -> None:
        """A disk that is full costs lines and is said once; nobody is told but the log."""
        if not Path("/dev/full").exists():
            return
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        log = AccessLog(self.clock, "/dev/full")
        log.open()
        for _ in range(3):
            log.write({"number": 1})
            self.clock.advance(FLUSH_SECONDS)
        log.close()
        errors = [event for event in events if event["log_level"].name == "error"]
        self.assertEqual(len(errors), 1)
        self.assertIn("No space left", errors[0]["why"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
