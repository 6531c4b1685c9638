"""The record of a connection: bytes are counted once, for the request that they belong to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import Persistence, Source
from exproxy.record import AccessRecord
from exproxy.tally import Tally


class AccessRecordTests(SynchronousTestCase):
    """Written with the connection's totals."""

    wanted = True

    def setUp(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.tally = Tally()
        service: Any = SimpleNamespace(
            name="web", clock=Clock(), access_log=self, tally=self.tally, records=True
        )
        self.record = AccessRecord(service, Source("192.0.2.1", 1024))

    def write(self, record: dict[str, Any]) -> None:
        """As the access log."""
        self.lines.append(record)

    def counts(self) -> list[tuple[int, int]]:
        return [(line["bytes_in"], line["bytes_out"]) for line in self.lines]

    def test_a_connection(self) -> None:
        """Without a count of its own it has the totals."""
        self.record.write(120, 4000, final=True)
        self.assertEqual(self.counts(), [(120, 4000)])

    def test_requests_sent_ahead(self) -> None:
        """What a client sent ahead counts for the request it is, however that one ends."""
        self.record.merge({"bytes_in": 100, "bytes_out": 500})
        self.record.write(170, 500)
        self.record.merge({"status": 502})
        self.record.write(170, 800, final=True)
        self.assertEqual(self.counts(), [(100, 500), (70, 300)])

    def test_one_after_the_other(self) -> None:
        """Requests that are not counted have what came since the last record."""
        self.record.merge({"status": 400})
        self.record.write(100, 500)
        self.record.merge({"status": 400})
        self.record.write(150, 900, final=True)
        self.assertEqual(self.counts(), [(100, 500), (50, 400)])

    def test_noted(self) -> None:
        """Bytes of a long connection count while they flow, for service and backend, and once."""
        backend = SimpleNamespace(server="a", tally=Tally())
        self.record.note(50, 60)
        self.assertEqual(self.tally.bytes_in, 0, "it has no server yet")
        choice: Any = SimpleNamespace(backend=backend, persistence=Persistence.NEW)
        self.record.connected(choice)
        for received, sent in ((50, 60), (50, 60), (70, 60)):
            self.record.note(received, sent)
        self.assertEqual((backend.tally.bytes_in, backend.tally.bytes_out), (70, 60))
        self.record.write(100, 200, final=True)
        for tally in (self.tally, backend.tally):
            self.assertEqual((tally.bytes_in, tally.bytes_out), (100, 200))
        self.assertEqual(self.counts(), [(100, 200)])

    def test_nothing_after_a_request(self) -> None:
        """A connection that ends after its last request has no line of its own."""
        self.record.write(100, 500)
        self.record.write(100, 500, final=True)
        self.assertEqual(len(self.lines), 1)
