"""New certificates are shown from the next connection on; bad ones, and half a pair, never."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from exproxy.tls.material import Unfit
from exproxy.tls.server import ServerTLS
from exproxy.tls.watching import DAY, INTERVAL, Watch
from tests.certificates import pem
from tests.tls.handshakes import plain_client, shake, shown


class WatchTests(SynchronousTestCase):
    """Watch, on an injected clock, over one file."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="exproxy-watch-")
        self.addCleanup(holder.cleanup)
        self.file = Path(holder.name) / "server.pem"
        self.put("a.test")
        self.clock = Clock()
        self.today = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=100)
        self.tls = ServerTLS([(self.file, self.file)])
        self.watch = Watch(self.clock, [("owa", self.tls)], lambda: self.today)
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def put(self, name: str) -> None:
        """Another certificate in the file's place, in one step, as certbot and we do it."""
        fresh = self.file.with_suffix(".new")
        shutil.copy(pem(name), fresh)
        os.replace(fresh, self.file)

    def served(self) -> str:
        client = plain_client()
        shake(client, self.tls)
        return shown(client)

    def levels(self) -> list[str]:
        return [event["log_level"].name for event in self.events if "service" in event]

    def test_replaced(self) -> None:
        """A new file is shown after the interval, and the log says what and until when."""
        self.watch.start()
        self.put("b.test")
        self.assertEqual(self.served(), "a.test")
        self.clock.advance(INTERVAL)
        self.assertEqual(self.served(), "b.test")
        self.assertEqual(self.levels(), ["info"])
        self.assertIn("b.test", self.events[-1]["names"])
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_keys_of_tickets(self) -> None:
        """They are changed once a day; where that cannot be done the log says so, and the old ones stay."""
        self.watch.start()
        before = self.tls.context_for("a.test")
        self.clock.pump([INTERVAL] * int(DAY / INTERVAL - 1))
        self.assertIs(self.tls.context_for("a.test"), before)
        self.clock.advance(INTERVAL)
        after = self.tls.context_for("a.test")
        self.assertIsNot(after, before)
        with mock.patch.object(self.tls, "rotate", side_effect=Unfit("gone")):
            self.clock.pump([INTERVAL] * int(DAY / INTERVAL))
        self.assertIs(self.tls.context_for("a.test"), after)
        self.assertEqual(self.levels()[-1], "error")
        self.watch.stop()

    def test_connections_live_on(self) -> None:
        """A connection that is there goes on with its old certificate, and still carries bytes."""
        client = plain_client()
        accepted = shake(client, self.tls)
        self.put("b.test")
        self.watch.look()
        self.assertEqual(self.served(), "b.test")
        client.send(b"still here")
        accepted.bio_write(client.bio_read(4096))
        self.assertEqual(accepted.recv(100), b"still here")

    def test_during_a_handshake(self) -> None:
        """A swap between the two halves of a handshake does it no harm."""
        client = plain_client("a.test")
        accepting = self.tls.serverConnectionForTLS(None)  # type: ignore[arg-type]
        self.put("b.test")
        self.watch.look()
        shake(client, accepting)
        self.assertIn(shown(client), ("a.test", "b.test"))

    def test_bad_file(self) -> None:
        """What cannot be used changes nothing, is told once, and a good file after it is taken."""
        self.watch.start()
        self.file.write_text("half a fi")
        self.clock.pump([INTERVAL] * 3)
        self.assertEqual(self.served(), "a.test")
        self.assertEqual(self.levels(), ["error"])
        self.assertIn("holds no certificate", str(self.events[-1]["error"]))
        self.put("b.test")
        self.clock.advance(INTERVAL)
        self.assertEqual(self.served(), "b.test")
        self.watch.stop()

    def test_half_a_pair(self) -> None:
        """While only one of certificate and key is new, the old pair stays."""
        key = self.file.with_name("key.pem")
        shutil.copy(pem("a.test"), key)
        self.tls = ServerTLS([(self.file, key)])
        watch = Watch(self.clock, [("owa", self.tls)], lambda: self.today)
        self.put("b.test")
        watch.look()
        self.assertEqual(self.served(), "a.test")
        shutil.copy(pem("b.test"), key)
        watch.look()
        self.assertEqual(self.served(), "b.test")

    def test_missing_file(self) -> None:
        """A file that is gone for a while changes nothing."""
        self.file.unlink()
        self.watch.look()
        self.assertEqual(self.served(), "a.test")
        self.assertEqual(self.levels(), ["error"])

    def test_unchanged(self) -> None:
        """Files that are as they were are not read; asked to read them always, they are."""
        self.patch(self.tls, "reload", lambda: self.events.append({"reloaded": True}))
        self.watch.look()
        self.assertEqual(self.events, [])
        self.watch.look(always=True)
        self.assertEqual(len(self.events), 1)

    def test_new_contexts(self) -> None:
        """Contexts are never changed once they are used: pyOpenSSL forbids it."""
        before = self.tls.context_for("a.test")
        self.assertFalse(self.tls.reload())
        self.assertIsInstance(self.tls.context_for("a.test"), SSL.Context)
        self.assertIsNot(self.tls.context_for("a.test"), before)

    def test_expiry(self) -> None:
        """From thirty days before its end a certificate is warned of, at the start and once a day."""
        self.watch.start()
        self.assertEqual(self.levels(), [])
        self.today += datetime.timedelta(days=90)
        self.clock.pump([INTERVAL] * int(DAY / INTERVAL))
        self.assertEqual(self.levels(), ["warn"])
        self.assertIn("expires in ", self.events[-1]["what"])
        self.today += datetime.timedelta(days=20)
        self.clock.pump([INTERVAL] * int(DAY / INTERVAL))
        self.assertEqual(self.levels(), ["warn", "warn"])
        self.assertIn("expired on ", self.events[-1]["what"])
        self.watch.stop()
