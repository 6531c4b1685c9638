from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from exproxy.lab import scripts
from exproxy.lab.clients import Client, Outcome, Repeated, Target, Use, client_tls
from exproxy.lab.scripts import Script, Step, line
from tests.lab.support import PASSWORD, HandMoved, LabCase, certificates


class ClientTests(LabCase):
    services = ("https", "imap", "imaps", "pop")

    def client(self, service: str, script: Any, tls: Any = None, source: str | None = None) -> Client:
        return Client("anna", service, Target("127.0.0.1", self.server.port(service), tls), script, source)

    async def test_served(self) -> None:
        """A use reports who served it, in the clear and over verified and unverified TLS."""
        ca = certificates().ca.read_bytes()
        for service, tls, script in (
            ("imap", None, lambda: scripts.imap("anna", PASSWORD)),
            ("imaps", client_tls("outlook.litware.test", ca), lambda: scripts.imap("anna", PASSWORD)),
            ("https", client_tls("outlook.litware.test"), lambda: scripts.https("x", "/owa/", {})),
        ):
            outcome = await Use(self.client(service, script, tls), reactor).outcome
            self.assertEqual(outcome, Outcome("anna", service, "l12ex1"))

    async def test_verified(self) -> None:
        """A certificate for another name is an error when verified."""
        tls = client_tls("other.test", certificates().ca.read_bytes())
        outcome = await Use(self.client("https", lambda: scripts.https("x", "/", {}), tls), reactor).outcome
        self.assertIsNone(outcome.server)
        self.assertTrue(outcome.error)

    async def test_source(self) -> None:
        """A client comes from the address it is given."""
        client = self.client("https", lambda: scripts.https("x", "/owa/", {}), client_tls("x"), "127.0.1.9")
        self.assertEqual((await Use(client, reactor).outcome).server, "l12ex1")

    async def test_errors(self) -> None:
        """Refused connections, refusals and resets are outcomes with a reason."""
        client = self.client("pop", lambda: scripts.pop("anna", "wrong"))
        self.assertIn("-ERR", (await Use(client, reactor).outcome).error or "")
        await self.server.set_mode("pop", "reset")
        self.assertIn("closed without an answer", (await Use(client, reactor).outcome).error or "")
        await self.server.set_mode("pop", "stop")
        self.assertIn("refused", (await Use(client, reactor).outcome).error or "")

    async def test_late(self) -> None:
        """A service that hangs costs a client its timeout and no more."""
        await self.server.set_mode("pop", "hang")
        clock, begun = HandMoved(), Deferred()

        def script() -> Script:
            begun.callback(None)
            yield Step(b"", line)
            return ""

        use = Use(self.client("pop", script), clock, 5.0)
        await begun
        clock.advance(5.0)
        self.assertEqual((await use.outcome).error, "no answer within 5 s")
        self.assertEqual([call for call in clock.getDelayedCalls() if call.active()], [])

    async def test_ended_answer(self) -> None:
        """The end of the connection completes an answer that says so."""

        def script() -> Script:
            yield Step(b"QUIT\r\n", lambda data: None, at_end=True)
            return "end"

        self.assertEqual((await Use(self.client("pop", script), reactor).outcome).server, "end")

    async def test_repeated(self) -> None:
        """A repeated client uses its service again after each interval, until it is stopped."""
        clock, seen, waiting = HandMoved(), [], []

        def report(outcome: Outcome) -> None:
            seen.append(outcome.server)
            waiting.pop().callback(None)

        client = self.client("pop", lambda: scripts.pop("anna", PASSWORD))
        repeated = Repeated(client, clock, report, interval=2.0)
        repeated.start(1.0)
        for pause in (1.0, 2.0, 2.0):
            done: Deferred[None] = Deferred()
            waiting.append(done)
            clock.advance(pause)
            await done
        clock.advance(2.0)
        await repeated.stop()
        self.assertEqual(seen, ["l12ex1"] * 3)
        self.assertEqual(clock.getDelayedCalls(), [])
        await repeated.stop()
