"""Server-sent events: one stream, bounded for slow readers, closed cleanly."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from exproxy.admin.api.limits import Limits
from exproxy.admin.api.stream import RETRY, Hub, Reader
from exproxy.admin.rows import Event
from tests.admin.fakes import TIME, FakePlane
from tests.admin.world import READ, TOKENS, AdminTestCase, Client

EVENT = Event(4, TIME, "warn", "exproxy.monitor", "Server https/ex1 is DOWN")


class FakeRequest:
    """What a reader writes to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.aborted = self.finished = False
        self.channel = self.transport = self
        self._over: Deferred[None] = Deferred()

    def notifyFinish(self) -> Deferred[None]:
        return self._over

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abortConnection(self) -> None:
        self.aborted = True

    def finish(self) -> None:
        self.finished = True


class ReaderTests(SynchronousTestCase):
    """One reader, without a network."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.request = FakeRequest()
        self.gone: list[Reader] = []
        limits = Limits(backlog=2, stalled=30.0)
        self.reader = Reader(self.request, limits, self.clock, self.gone.append)
        self.reader.begin()

    def test_writes(self) -> None:
        """What is sent is written at once, in the words of the standard."""
        self.reader.send("event", b"{}", 7)
        self.reader.send("status", b"{}")
        self.assertEqual(
            self.request.written,
            [RETRY, b"id: 7\nevent: event\ndata: {}\n\n", b"event: status\ndata: {}\n\n"],
        )

    def test_slow(self) -> None:
        """While it does not read, events wait in their order, and of the status only the latest."""
        self.reader.pauseProducing()
        for number in (1, 2):
            self.reader.send("event", b"%d" % number, number)
            self.reader.send("status", b"s%d" % number)
        self.assertEqual(len(self.request.written), 1)
        self.reader.resumeProducing()
        self.assertEqual(
            [b.split(b"data: ")[1] for b in self.request.written[1:]], [b"1\n\n", b"2\n\n", b"s2\n\n"]
        )

    def test_backlog(self) -> None:
        """One event more than may wait drops the reader."""
        self.reader.pauseProducing()
        for number in (1, 2):
            self.reader.send("event", b"", number)
        self.assertFalse(self.request.aborted)
        self.reader.send("event", b"", 3)
        self.assertEqual((self.request.aborted, self.gone), (True, [self.reader]))
        self.reader.send("event", b"", 4)

    def test_stalled(self) -> None:
        """So does reading nothing for thirty seconds."""
        self.reader.pauseProducing()
        self.clock.advance(29)
        self.reader.send("status", b"")
        self.assertFalse(self.request.aborted)
        self.clock.advance(1)
        self.reader.send("status", b"")
        self.assertTrue(self.request.aborted)

    def test_end(self) -> None:
        """The polite end finishes the answer, once."""
        self.reader.end()
        self.reader.end()
        self.assertEqual((self.request.finished, self.gone), (True, [self.reader]))


class HubTests(SynchronousTestCase):
    """All readers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.plane = FakePlane()
        self.hub = Hub(self.plane, self.clock, Limits())

    def add(self, since: int | None = None) -> FakeRequest:
        request = FakeRequest()
        self.successResultOf(self.hub.add(request, since))
        return request

    def kinds(self, request: FakeRequest) -> list[str]:
        lines = b"".join(request.written).decode().splitlines()
        return [line[7:] for line in lines if line.startswith("event: ")]

    def test_turns(self) -> None:
        """Each reader gets a status at once, then one every two seconds with the newest history; the plane is
        asked once for all of them."""
        one, other = self.add(), self.add()
        self.assertEqual((self.kinds(one), self.plane.asked), (["status"], 2))
        self.clock.advance(2)
        self.assertEqual(self.kinds(one), ["status", "status", "history"])
        self.assertEqual((self.kinds(other), self.plane.asked), (self.kinds(one), 3))

    def test_events(self) -> None:
        """An event is told at once, with its number."""
        request = self.add()
        self.plane.told[0](EVENT)
        self.assertTrue(request.written[-1].startswith(b"id: 4\nevent: event\ndata: {"))
        self.assertEqual(json.loads(request.written[-1].split(b"data: ")[1])["text"], EVENT.text)

    def test_back(self) -> None:
        """Who says what it knows gets what it has missed, before the status."""
        self.assertEqual(self.kinds(self.add(since=1)), ["event", "event", "status"])

    def test_nobody(self) -> None:
        """While nobody reads, the plane is neither asked nor watched."""
        request = self.add()
        self.hub.readers[0].stopProducing()
        self.assertEqual((self.plane.told, self.clock.getDelayedCalls(), self.hub.readers), ([], [], []))
        self.assertFalse(request.finished)
        self.add()
        self.assertEqual(len(self.plane.told), 1)
        self.hub.close()

    def test_failing(self) -> None:
        """A status that cannot be had is left out; the next turn brings one."""
        request = self.add()
        self.plane.broken = ValueError("a worker is gone")
        self.clock.advance(2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.plane.broken = None
        self.clock.advance(2)
        self.assertEqual(self.kinds(request), ["status", "status", "history"])
        self.hub.close()


class StreamTests(AdminTestCase):
    """Over a real connection."""

    async def stream(self, query: str = "", **headers: str) -> Client:
        client = await self.connect()
        sent = {"Accept": "text/event-stream", **{name.replace("_", "-"): v for name, v in headers.items()}}
        client.transport.write(self.request("GET", f"/api/v1/events{query}", headers=sent, close=False))
        return client

    async def test_stream(self) -> None:
        """Events and statuses come as they happen; at the service's stop the stream ends whole."""
        await self.begin(limits=Limits(step=0.05))
        client = await self.stream(Last_Event_ID="2")
        data = await client.until(b"event: history")
        self.assertIn(b"Content-Type: text/event-stream", data)
        self.assertIn(b'id: 3\nevent: event\ndata: {"number":3', data)
        self.assertNotIn(b"id: 2\n", data)
        self.plane.told[0](EVENT)
        await client.until(b"is DOWN")
        await self.service.stopService()
        self.assertTrue((await client.over).endswith(b"\r\n0\r\n\r\n"))
        self.assertEqual(self.plane.told, [])

    async def test_count(self) -> None:
        """One stream more than allowed is refused; without the Accept field it is no stream."""
        await self.begin(limits=Limits(streams=1))
        first = await self.stream()
        await first.until(b"event: status")
        answer = await self.ask("GET", "/api/v1/events", Accept="text/event-stream")
        self.assertEqual((answer.status, answer.json["type"]), (503, "streams"))
        self.assertEqual((await self.ask("GET", "/api/v1/events?since=1&limit=1")).json[0]["number"], 3)
        first.transport.abortConnection()
        await first.over
        await deferLater(reactor, 0.01)
        again = await self.stream()
        await again.until(b"event: status")

    async def test_head(self) -> None:
        """HEAD opens no stream."""
        await self.begin()
        answer = await self.ask("HEAD", "/api/v1/events", Accept="text/event-stream")
        self.assertEqual((answer.status, self.plane.told), (200, []))

    async def test_token(self) -> None:
        """A stream needs the role read like all else."""
        await self.begin(TOKENS)
        answer = await self.ask("GET", "/api/v1/events", Accept="text/event-stream")
        self.assertEqual(answer.status, 401)
        client = await self.stream(Authorization=f"Bearer {READ}")
        await client.until(b"event: status")
