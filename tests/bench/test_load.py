"""The load itself, without any proxy: clients and servers in one loop, on free ports of 127.0.0.1."""

from __future__ import annotations

import ssl
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bench.load import origin, pattern
from bench.load.__main__ import KINDS
from bench.load.loop import Channel, Loop
from bench.load.work import LoadError, Result, Target
from tests.certificates import pem


class Liar(Channel):
    """Answers with other bytes."""

    def received(self, data: bytes) -> None:
        self.write(bytes(len(data)))


class Deaf(Channel):
    """Hangs up."""

    def received(self, data: bytes) -> None:
        self.close()


class BadStore(origin.Store):
    """Sends a block with a wrong byte in it."""

    def _send(self, data: bytes | memoryview) -> int:
        spoilt = bytes(data[:-1]) + bytes([data[-1] ^ 1])
        return super()._send(spoilt)


class BadWeb(origin.Web):
    """Sends the wrong page."""

    def _answer(self, head: bytes) -> None:
        self.write(origin.page(pattern.PAGE) + bytes(len(pattern.PAGE)))


class LoadTests(SynchronousTestCase):
    """Each kind does its work and counts it; whatever comes back wrong is noticed."""

    def setUp(self) -> None:
        """One loop for both sides."""
        self.loop = Loop()
        self.addCleanup(self.loop.close)

    def run_load(self, kind: str, make: Any, door_name: str, **options: Any) -> Result:
        """A short run of it against such a server."""
        context = None
        if door_name.startswith("tls"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem("mail.bench.test"))
        door = origin.Door(self.loop, make, ("127.0.0.1", 0), context)
        self.addCleanup(door.close)
        target = Target("127.0.0.1", {door_name: door.port})
        work = KINDS[kind](self.loop, target, {name.replace("_", "-"): v for name, v in options.items()})
        self.addCleanup(work.close)
        work.prepare()
        work.warm()
        return work.run(0.01)

    def test_short(self) -> None:
        """Short connections, no more than allowed."""
        result = self.run_load("short", origin.Echo, "echo", at_once=3, most=5)
        self.assertTrue(3 <= result.units <= 5)
        self.assertIsNotNone(result.p50)

    def test_ping_pong(self) -> None:
        """Every connection has its turn."""
        self.assertGreaterEqual(self.run_load("ping-pong", origin.Echo, "echo", connections=10).units, 10)

    def test_bulk(self) -> None:
        """Whole blocks, down and up, also such that are no multiple of the pattern."""
        for up in (False, True):
            block = 3 * pattern.MIB + 17
            result = self.run_load("bulk", origin.Store, "bulk", streams=2, up=up, block=block)
            blocks = result.units * 1e9 / block
            self.assertGreaterEqual(round(blocks), 2)
            self.assertAlmostEqual(blocks, round(blocks))

    def test_keep_alive(self) -> None:
        """Pages, and bodies of 1 MiB either way."""
        for what, least in (("page", 2), ("down", 2 * pattern.MIB / 1e9), ("up", 2 * pattern.MIB / 1e9)):
            result = self.run_load("keep-alive", origin.Web, "http", service="http", what=what, connections=2)
            self.assertGreaterEqual(result.units + 1e-12, least)

    def test_tls(self) -> None:
        """The same over TLS 1.3."""
        options = {"service": "tls-ec", "what": "page", "connections": 2, "tls": True}
        result = self.run_load("keep-alive", origin.Web, "tls-ec", **options)
        self.assertGreaterEqual(result.units, 2)
        self.assertTrue(result.notes["cipher"].startswith("TLS_"))

    def test_handshakes(self) -> None:
        """Full ones are full, resumed ones are resumed."""
        for resumed in (False, True):
            options = {"service": "tls-ec", "resumed": resumed, "at-once": 2, "most": 4}
            result = self.run_load("handshakes", origin.Web, "tls-ec", **options)
            self.assertGreaterEqual(result.units, 2)
            self.assertEqual(result.notes["resumed"], float(resumed))

    def test_wrong_bytes(self) -> None:
        """Other bytes than were sent end the run, whatever kind it is."""
        for kind, make, service, options in (
            ("short", Liar, "echo", {"at-once": 1}),
            ("ping-pong", Liar, "echo", {"connections": 1}),
            ("bulk", BadStore, "bulk", {"streams": 1, "up": False, "block": pattern.MIB}),
            ("keep-alive", BadWeb, "http", {"service": "http", "what": "page", "connections": 1}),
        ):
            error = self.assertRaises(LoadError, self.run_load, kind, make, service, **options)
            self.assertIn("than w", str(error))

    def test_cut(self) -> None:
        """A connection that ends too soon does so too."""
        for kind, options in (("short", {"at-once": 1}), ("ping-pong", {"connections": 1})):
            error = self.assertRaises(LoadError, self.run_load, kind, Deaf, "echo", **options)
            self.assertIn("ended", str(error))


class PatternTests(SynchronousTestCase):
    """The endless repetition."""

    def test_pieces(self) -> None:
        """What is cut out at any place is what is expected there, across the seam too."""
        for position in (0, 1, pattern.MIB - 3, 5 * pattern.MIB + 7):
            self.assertTrue(pattern.matches(bytes(pattern.piece(position, 1000)), position))
            self.assertFalse(pattern.matches(bytes(pattern.piece(position + 1, 1000)), position))


class DayTests(SynchronousTestCase):
    """The mixed day, all of its services in one loop."""

    def test_day(self) -> None:
        """Outlooks, phones, IDLE and OWA get on side by side."""
        loop = Loop()
        self.addCleanup(loop.close)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem("mail.bench.test"))
        ports = {}
        kinds = {"rpc": origin.Rpc, "imap": origin.Imap, "re-ec": origin.Web}
        for service, make in kinds.items():
            tls = context if service == "re-ec" else None
            door = origin.Door(loop, make, ("127.0.0.1", 0), tls)
            self.addCleanup(door.close)
            ports[service] = door.port
        options = {"outlooks": 3, "idlers": 2, "phones": 2, "pause": 0.03, "bursts": 100}
        work = KINDS["day"](loop, Target("127.0.0.1", ports), options)
        self.addCleanup(work.close)
        self.assertEqual(work.prepare(), 7)
        result = work.run(0.05)
        self.assertGreaterEqual(result.units, 0.05)
        self.assertIsNotNone(result.p99)
