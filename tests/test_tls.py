"""protocols.tls and tls-session: pass-through, and clients that come back with their session."""

from __future__ import annotations

import ssl
from typing import cast

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Action, Hangup, Learn, Pick, Record, Relay, SetDeadline, ToBackend, ToClient
from exproxy.events import Began, Connected, Data, Eof, Lost, Unavailable
from exproxy.interfaces import ILearner
from exproxy.model import BACKEND, CLIENT, Facts, TLSSessionId
from exproxy.settings import Limits
from exproxy.testing import (
    Script,
    check_persistence,
    check_protocol_plugin,
    every_split,
    facts,
    keys,
    link,
    service,
)
from protocols.tls import PassThrough, plugin
from protocols.tls_hello import CLIENT_HELLO, ClientHello, Handshake, client_hello
from protocols.tls_session import TlsSession, TlsSessionOptions
from protocols.tls_session import plugin as tls_session
from tests.hellos import Flight, Peers, records

TLS12 = ssl.TLSVersion.TLSv1_2
KNOWN = facts(port=443)


def hello_of(flight: Flight) -> ClientHello:
    """What a handshake's client asked for."""
    return client_hello(Handshake(CLIENT_HELLO).feed(flight.client) or b"")


def begun() -> Script:
    """A conversation whose client is there."""
    script = Script(PassThrough(service(limits=Limits(max_held=4096))))
    assert script.on(Began(KNOWN)) == [SetDeadline("client-hello", 10.0)]
    return script


def connected(flight: Flight) -> Script:
    """A conversation whose client has sent its hello and has a server."""
    script = begun()
    script.on(Data(CLIENT, flight.client))
    assert script.on(Connected(link())) == [ToBackend(flight.client), SetDeadline("server-hello", 10.0)]
    return script


class PassThroughTests(SynchronousTestCase):
    def test_contract(self) -> None:
        """The plugin keeps what the framework counts on."""
        check_protocol_plugin(plugin, opening=Peers(client=TLS12).shake().client)

    def test_hello(self) -> None:
        """The hello's name is logged, what it says are facts, and it goes on to the server as it was."""
        flight = Peers().shake()
        for pieces in [(flight.client,), *list(every_split(flight.client))[::40]]:
            script = begun()
            for piece in pieces:
                picked = script.on(Data(CLIENT, piece))
            self.assertEqual(
                picked,
                [
                    SetDeadline("client-hello", None),
                    Record({"server_name": "mail.example.org"}),
                    Pick(KNOWN.plus(hello_of(flight))),
                ],
            )
            script.on(Connected(link()))
            self.assertEqual(script.server, flight.client)

    def test_early_data(self) -> None:
        """What a client sends right behind its hello goes to the server with it."""
        flight = Peers().shake(None)
        script = begun()
        script.on(Data(CLIENT, flight.client + b"early"))
        script.on(Connected(link()))
        self.assertEqual(script.server, flight.client + b"early")
        self.assertEqual(script.on(Data(CLIENT, b" data")), [ToBackend(b" data")])

    def test_session_id_is_learnt(self) -> None:
        """The id that a TLS 1.2 server gives out is learnt on its way to the client."""
        flight = Peers(client=TLS12).shake()
        for pieces in every_split(flight.server[:200]):
            script = connected(flight)
            rest = list(pieces)
            actions: list[Action] = []
            while Relay() not in actions:
                actions = script.on(Data(BACKEND, rest.pop(0)))
            self.assertEqual(script.client + b"".join(rest), flight.server[:200])
            _, record, learn, relay = actions
            self.assertEqual(record, Record({"tls": "TLSv1.2"}))
            self.assertEqual(relay, Relay())
            assert isinstance(learn, Learn) and isinstance(learn.observation, TLSSessionId)
            self.assertIn(learn.observation.value, flight.server)
            self.assertEqual(len(learn.observation.value), 32)

    def test_tls13_teaches_nothing(self) -> None:
        """A TLS 1.3 server's id is the client's own, made up: it is not learnt."""
        flight = Peers().shake()
        self.assertEqual(
            connected(flight).on(Data(BACKEND, flight.server)),
            [ToClient(flight.server), Record({"tls": "TLSv1.3"}), Relay()],
        )

    def test_no_session(self) -> None:
        """A server that keeps no session gives out no id, and none is learnt."""
        hello = b"\x02\x00\x00\x26\x03\x03" + bytes(32) + b"\x00" + b"\xc0\x2f\x00"
        self.assertEqual(
            connected(Peers(client=TLS12).shake()).on(Data(BACKEND, records(hello, 99))),
            [ToClient(records(hello, 99)), Record({"tls": "TLSv1.2"}), Relay()],
        )

    def test_alert(self) -> None:
        """A server that answers with an alert is the client's to judge."""
        alert = b"\x15\x03\x03\x00\x02\x02\x28"
        self.assertEqual(connected(Peers().shake()).on(Data(BACKEND, alert)), [ToClient(alert), Relay()])

    def test_server_ends(self) -> None:
        """A server that goes instead of answering ends it: whose fault it was cannot be known."""
        for end in (Eof(BACKEND), Lost(BACKEND, "reset")):
            self.assertEqual(
                connected(Peers().shake()).on(end), [Hangup("backend ended before the ServerHello")]
            )

    def test_server_is_silent(self) -> None:
        """A server that accepts and says nothing does not keep its client for ever."""
        script = connected(Peers().shake())
        self.assertEqual(script.expire("server-hello"), [Hangup("no ServerHello in 10 s")])

    def test_no_tls(self) -> None:
        """What is no TLS costs no server anything."""
        self.assertEqual(
            begun().on(Data(CLIENT, b"GET / HTTP/1.1\r\n")),
            [Hangup("not TLS: the first byte of a record is 71, not 22")],
        )

    def test_silence(self) -> None:
        """A client that says nothing, or goes, is not kept."""
        self.assertEqual(begun().expire("client-hello"), [Hangup("no ClientHello in 10 s")])
        self.assertEqual(begun().on(Eof(CLIENT)), [Hangup("ended before its ClientHello")])

    def test_too_much(self) -> None:
        """A hello in the smallest of records is not collected without an end."""
        script = begun()
        drop = b"\x16\x03\x01\x00\x01"
        script.on(Data(CLIENT, b"".join(drop + bytes((each,)) for each in b"\x01\x00\x7f\xff")))
        actions: list[Action] = []
        while not actions:
            actions = script.on(Data(CLIENT, (drop + b"x") * 100))
        self.assertEqual(actions, [Hangup("no end of its ClientHello within 4096 bytes")])

    def test_refused(self) -> None:
        """Without a server the connection is closed; there is nothing that could be said."""
        script = begun()
        script.on(Data(CLIENT, Peers().shake().client))
        self.assertEqual(script.on(Unavailable("down")), [Hangup()])


def client(hello: ClientHello, source: str = "192.0.2.1") -> Facts:
    """A client with that hello."""
    return facts(hello, source=source, port=443)


class TlsSessionTests(SynchronousTestCase):
    OLD = ClientHello("mail", b"", (), ("TLSv1.2",))
    RESUMING = ClientHello("mail", b"i" * 32, (), ("TLSv1.2",))
    MODERN = ClientHello("mail", b"r" * 32, (), ("TLSv1.3", "TLSv1.2"))

    def setUp(self) -> None:
        self.strategy = TlsSession(TlsSessionOptions(), keys())

    def test_contract(self) -> None:
        """The plugin keeps what the framework counts on."""
        check_persistence(
            tls_session,
            known=[client(self.RESUMING), client(self.MODERN)],
            observations=[TLSSessionId(b"i" * 32)],
        )
        self.assertTrue(ILearner.providedBy(self.strategy))

    def test_resumed(self) -> None:
        """A client that shows an id is looked for under the key that was learnt when it was given out."""
        learnt = self.strategy.observe(client(self.OLD), TLSSessionId(b"i" * 32))
        self.assertEqual(self.strategy.candidates(client(self.RESUMING)), learnt)
        self.assertEqual(self.strategy.candidates(client(self.RESUMING, "198.51.100.7")), learnt)

    def test_new_session(self) -> None:
        """A client of TLS 1.2 without a session is nobody known, and is not remembered by its address."""
        self.assertEqual(self.strategy.candidates(client(self.OLD)), ())
        self.assertEqual(self.strategy.remember(client(self.OLD)), ())

    def test_tls13(self) -> None:
        """A client that offers TLS 1.3 is known by its address, and its id is never remembered."""
        (source,) = self.strategy.remember(client(self.MODERN))
        self.assertEqual(source.kind, "source")
        session, fallback = self.strategy.candidates(client(self.MODERN))
        self.assertEqual(fallback, source)
        self.assertNotEqual(session, source)
        self.assertEqual(self.strategy.remember(client(self.MODERN, "192.0.2.9")) == (source,), False)

    def test_new_client_of_an_old_server(self) -> None:
        """An id that a server did give out is found, though the client offers TLS 1.3."""
        learnt = self.strategy.observe(client(self.MODERN), TLSSessionId(b"i" * 32))
        hello = ClientHello("mail", b"i" * 32, (), ("TLSv1.3", "TLSv1.2"))
        self.assertEqual(self.strategy.candidates(client(hello))[:1], learnt)

    def test_mask(self) -> None:
        """The masks are those of source-ip."""
        strategy = TlsSession(TlsSessionOptions(mask_v4=24), keys())
        self.assertEqual(
            strategy.remember(client(self.MODERN, "192.0.2.1")),
            strategy.remember(client(self.MODERN, "192.0.2.99")),
        )

    def test_said_once(self) -> None:
        """The log says once that clients are known by their address."""
        heard: list[LogEvent] = []
        observer = cast(ILogObserver, heard.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for _ in range(3):
            self.strategy.candidates(client(self.MODERN))
            self.strategy.remember(client(self.OLD))
        self.assertEqual(len(heard), 1)

    def test_other_observations(self) -> None:
        """What is no session id, or an empty one, teaches nothing."""
        for observation in (object(), TLSSessionId(b"")):
            self.assertEqual(self.strategy.observe(client(self.OLD), observation), ())
