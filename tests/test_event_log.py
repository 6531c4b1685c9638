"""The event log: Twisted's events as lines of JSON."""

from __future__ import annotations

import io
import json
from typing import Any

from twisted.logger import ILogObserver, Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.event_log import EventLog


class EventLogTests(SynchronousTestCase):
    """Events through a logger of our own."""

    def setUp(self) -> None:
        self.file = io.StringIO()
        self.observer = EventLog(self.file)
        self.log = Logger(namespace="exproxy.monitor", observer=LogPublisher(self.observer))

    def last(self) -> dict[str, Any]:
        text = self.file.getvalue()
        self.assertTrue(text.endswith("\n"))
        record: dict[str, Any] = json.loads(text.splitlines()[-1])
        return record

    def test_interface(self) -> None:
        """It is a log observer."""
        self.assertTrue(verifyObject(ILogObserver, self.observer))

    def test_fields(self) -> None:
        """Time, level, namespace and the formatted text."""
        self.log.warn("Server {name} is DOWN", name="imap/ex1")
        record = self.last()
        self.assertEqual(list(record), ["time", "level", "from", "text"])
        self.assertRegex(record["time"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(
            [record["level"], record["from"], record["text"]],
            ["warn", "exproxy.monitor", "Server imap/ex1 is DOWN"],
        )

    def test_worker(self) -> None:
        """What a worker has said stands there with its number, and its traceback apart."""
        self.log.error("{text}", text="worker 2: oops", worker=2, worker_traceback="line 1")
        record = self.last()
        self.assertEqual((record["worker"], record["traceback"]), (2, "line 1"))

    def test_one_line(self) -> None:
        """A text of several lines stays one line of JSON."""
        self.log.info("one\ntwo {what}", what='"müller"')
        self.assertEqual(self.file.getvalue().count("\n"), 1)
        self.assertEqual(self.last()["text"], 'one\ntwo "müller"')

    def test_failure(self) -> None:
        """A failure's traceback is a field of its own."""
        try:
            raise ValueError("a mistake")
        except ValueError:
            self.log.failure("it failed")
        record = self.last()
        self.assertEqual((record["level"], record["text"]), ("critical", "it failed"))
        self.assertIn("ValueError: a mistake", record["traceback"])

    def test_poor_events(self) -> None:
        """An event without any of it, and one that cannot be formatted, still make a line."""
        self.observer({})
        self.assertEqual((self.last()["level"], self.last()["from"], self.last()["text"]), ("info", "", ""))
        self.log.info("missing {key}")
        self.assertIn("key", self.last()["text"])
