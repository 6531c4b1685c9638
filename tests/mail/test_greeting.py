"""protocols.mail.greeting: a client is joined only to a server that greets it. Told here with SMTP."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Hangup, Hold, Pick, Relay, Retry, SetDeadline, ToClient
from exproxy.events import Began, Connected, Data, Eof, Lost, Unavailable
from exproxy.model import BACKEND, CLIENT
from exproxy.settings import Limits, Timeouts
from exproxy.testing import FakeService, Script, every_split, facts, link, service
from protocols.mail.greeting import ServerFirst
from protocols.mail.smtp import Smtp

KNOWN = facts(port=25)


def connected(served: FakeService | None = None) -> Script:
    """A conversation whose client is there and has a server, which has said nothing yet."""
    script = Script(Smtp(served or service()))
    assert script.on(Began(KNOWN)) == [Pick(KNOWN)]
    assert script.on(Connected(link())) == [Hold(CLIENT), SetDeadline("greeting", 10.0)]
    return script


class ServerFirstTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """However a greeting is cut, the client gets all of it, and is joined at its end."""
        greeting = b"220-exch1\r\n220 ready\r\nand more"
        for pieces in every_split(greeting):
            script = connected()
            rest = list(pieces)
            while not script.client:
                script.on(Data(BACKEND, rest.pop(0)))
            self.assertEqual(script.steps[-1][1][-1], Relay())
            self.assertEqual(script.client + b"".join(rest), greeting)
            self.assertTrue(script.client.startswith(b"220-exch1\r\n220 ready\r\n"))

    def test_ends_before_greeting(self) -> None:
        """A server that goes without a greeting has failed: the next one is tried."""
        for end in (Eof(BACKEND), Lost(BACKEND, "reset")):
            self.assertEqual(
                connected().on(end),
                [SetDeadline("greeting", None), Retry("greeting: the connection ended")],
            )

    def test_no_greeting(self) -> None:
        """A server that says nothing in time has failed."""
        script = connected()
        self.assertEqual(
            script.expire("greeting"), [SetDeadline("greeting", None), Retry("greeting: none in 10 s")]
        )

    def test_the_time_is_the_service_s(self) -> None:
        """The wait is the service's own."""
        script = Script(Smtp(service(timeouts=Timeouts(greeting=2.5))))
        script.on(Began(KNOWN))
        script.on(Connected(link()))
        self.assertEqual(script.deadlines, {"greeting": 2.5})

    def test_endless_greeting(self) -> None:
        """A greeting without an end is not collected for ever."""
        script = connected(service(limits=Limits(line=100)))
        self.assertEqual(script.on(Data(BACKEND, b"220 " + b"x" * 96)), [])
        self.assertEqual(
            script.on(Data(BACKEND, b"x")),
            [SetDeadline("greeting", None), Retry("greeting: no end of it within 100 bytes")],
        )

    def test_second_server(self) -> None:
        """The next server is waited for like the first, and nothing of the first one is left."""
        script = connected()
        script.on(Data(BACKEND, b"220-half a greeting\r\n"))
        script.on(Lost(BACKEND, "reset"))
        self.assertEqual(
            script.on(Connected(link("exch2", 2))), [Hold(CLIENT), SetDeadline("greeting", 10.0)]
        )
        self.assertEqual(script.on(Data(BACKEND, b"220 exch2\r\n")), [ToClient(b"220 exch2\r\n"), Relay()])

    def test_late_word(self) -> None:
        """What a server says after it has been given up is not heard."""
        script = connected()
        script.expire("greeting")
        self.assertEqual(script.on(Data(BACKEND, b"220 sorry\r\n")), [])
        self.assertEqual(script.on(Unavailable("gave up after 2 servers"))[1:], [Hangup()])

    def test_unprintable(self) -> None:
        """What a server says instead of a greeting is made fit for a log, and cut."""
        script = connected()
        *_, retry = script.on(Data(BACKEND, b"\x00\x1b[31m\xff" + b"x" * 500 + b"\r\n"))
        assert isinstance(retry, Retry)
        self.assertTrue(retry.reason.isprintable())
        self.assertLess(len(retry.reason), 120)

    def test_pass_through(self) -> None:
        """On a pass-through TLS port nothing can be read or said: bytes, or a close."""
        served = service(tls={465: "passthrough"})
        known = facts(port=465)
        Script(Smtp(served)).play(
            Began(known), [Pick(known)], Connected(link(port=465)), [Relay()], Data(BACKEND, b"\x16")
        )
        Script(Smtp(served)).play(Began(known), [Pick(known)], Unavailable("down"), [Hangup()])

    def test_without_words(self) -> None:
        """A protocol that says neither what a greeting is nor how to refuse takes any line, and closes."""
        Script(ServerFirst(service())).transcript("""
            began
                -> pick
            connected
                -> hold client
                -> deadline greeting in 10 s
            server: hello
                -> client: hello
                -> relay
        """)
        script = Script(ServerFirst(service()))
        script.on(Began(KNOWN))
        self.assertEqual(script.on(Unavailable("down")), [Hangup()])
