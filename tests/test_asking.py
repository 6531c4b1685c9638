"""One check on real connections: silent servers, closing servers, TLS, and nothing left behind."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import defer, reactor, task
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from exproxy import actions, events
from exproxy.asking import Asking
from exproxy.checks.dialogue import Dialogue, Expect, Send
from exproxy.checks.record import Check
from tests.loopback.pairs import Far, client_tls, server_tls


def line(data: bytes) -> int | None:
    """A whole line."""
    return data.find(b"\n") + 1 or None


def banner() -> Dialogue:
    """Expects a line, and says QUIT."""
    return Dialogue(Expect("banner", line), Send(b"QUIT\r\n"))


class AskingTests(TestCase):
    """A server on loopback that this test plays."""

    timeout = 15

    def serve(self, tls: bool = False) -> None:
        """Listen; connections are in ``self.there``."""
        self.there: list[Far] = []

        def build() -> Far:
            far = Far(server_tls() if tls else None)
            far.ready.addErrback(lambda failure: None)
            self.there.append(far)
            return far

        factory = Factory.forProtocol(build)
        factory.noisy = False
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.number = port.getHost().port
        self.addCleanup(self._over, port)

    async def _clean(self, port: Any) -> None:
        await port.stopListening()
        for far in self.there:
            if not far.gone:
                far.transport.abortConnection()
            await far.until(lambda far=far: far.gone)

    def _over(self, port: Any) -> defer.Deferred[None]:
        return defer.Deferred.fromCoroutine(self._clean(port))

    def ask(
        self, dialogue: Callable[[], Any] = banner, tls: bool = False, timeout: float = 5.0, layer: str = "L7"
    ) -> defer.Deferred[Any]:
        outcome: defer.Deferred[Any] = defer.Deferred()
        self.asking = Asking(
            reactor,
            Check(dialogue, layer=layer),
            "ex1",
            ("127.0.0.1", self.number),
            client_tls if tls else None,
            timeout,
            outcome.callback,
        )
        self.asking.start()
        return outcome

    async def one(self) -> Far:
        """The first connection."""
        while not self.there:
            await task.deferLater(reactor, 0.001, lambda: None)
        return self.there[0]

    async def test_pass(self) -> None:
        """A good answer passes at once; the last word still goes out, then the connection closes."""
        for tls in (False, True):
            self.serve(tls)
            outcome = self.ask(tls=tls)
            far = await self.one()
            far.closes = True
            await far.ready
            far.transport.write(b"220 ready\r\n")
            self.assertEqual(await outcome, actions.Pass())
            await far.until(lambda far=far: far.gone)
            self.assertEqual(far.data, b"QUIT\r\n")

    async def test_refused(self) -> None:
        """Nobody there."""
        self.serve()
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            self.number = nobody.getsockname()[1]
            self.assertEqual(await self.ask(), actions.Fail("L4CON", "connect", "Connection refused"))

    async def test_unreachable(self) -> None:
        """A server that does not even accept is late in TCP, also where TLS would follow."""
        self.serve()
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            nobody.listen(0)
            self.number = nobody.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(nobody.getsockname())
            for tls in (False, True):
                self.assertEqual((await self.ask(tls=tls, timeout=0.1)).code, "L4TOUT")
            for filler in fillers:
                filler.close()

    async def test_silent(self) -> None:
        """A server that says nothing is late in the step that was waited for."""
        self.serve()
        self.assertEqual(await self.ask(timeout=0.1), actions.Fail("L7TOUT", "banner", "no answer in 0.1 s"))
        far = await self.one()
        await far.until(lambda: far.gone)

    async def test_silent_in_the_handshake(self) -> None:
        """A server that never answers the ClientHello is late in TLS."""
        self.serve()
        outcome = await self.ask(tls=True, timeout=0.1)
        self.assertEqual(outcome.code, "L6TOUT")
        far = await self.one()
        await far.until(lambda: far.gone)

    async def test_closes(self) -> None:
        """A server that closes before it has answered, with FIN or reset, has failed."""
        for verb in ("loseConnection", "abortConnection"):
            self.serve()
            outcome = self.ask()
            far = await self.one()
            getattr(far.transport, verb)()
            self.assertEqual((await outcome).code, "L7RSP")

    async def test_no_tls_there(self) -> None:
        """A server without TLS where TLS was asked for."""
        self.serve()
        outcome = self.ask(tls=True)
        (await self.one()).transport.write(b"220 plain\r\n")
        self.assertEqual((await outcome).code, "L6RSP")

    async def test_says_too_much(self) -> None:
        """A server that never stops talking has failed, and is not read to the end."""
        self.serve()
        outcome = self.ask()
        far = await self.one()
        far.transport.write(b"x" * 10_000_000)
        self.assertIn("within", (await outcome).reason)
        await far.until(lambda: far.gone)

    async def test_connected_is_enough(self) -> None:
        """A check without steps passes when it is connected, and closes."""
        self.serve()
        self.assertEqual(await self.ask(lambda: Dialogue(layer="L4"), layer="L4"), actions.Pass())
        far = await self.one()
        far.closes = True
        await far.until(lambda: far.gone or far.eof)

    async def test_passed_and_not_let_go(self) -> None:
        """A server that passes and never closes is waited for a moment, then dropped."""
        self.serve(tls=True)
        outcome = self.ask(tls=True)
        far = await self.one()
        await far.ready
        far.transport.write(b"220 ready\r\n")
        far.transport.pauseProducing()
        self.assertEqual(await outcome, actions.Pass())
        far.transport.resumeProducing()
        await far.until(lambda: far.gone)

    async def test_stop(self) -> None:
        """stop() at any stage ends it without an outcome and leaves nothing; twice."""
        for tls, stage in ((False, "begun"), (True, "connected"), (False, "asked")):
            self.serve()
            outcome = self.ask(tls=tls)
            if stage != "begun":
                await self.one()
            if stage == "asked":
                await task.deferLater(reactor, 0.01, lambda: None)
            self.asking.stop()
            self.asking.stop()
            self.assertFalse(outcome.called)

    async def test_starttls(self) -> None:
        """A check may begin TLS itself, with the backend's options; without options it has failed."""

        class Upgrading:
            phase = "starttls"

            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                if isinstance(event, events.Data):
                    return [actions.StartTLS(event.side)] if event.data == b"go" else [actions.Pass()]
                return ()

        self.serve()
        outcome = self.ask(Upgrading)
        (await self.one()).transport.write(b"go")
        self.assertEqual((await outcome).reason, "internal error")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_foreign_actions(self) -> None:
        """What only a session can do is a mistake in a check."""

        class Relaying:
            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                return [actions.Relay()]

        self.serve()
        self.assertEqual((await self.ask(Relaying)).reason, "internal error")
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
