"""POP with exproxy in the path: TLS on either side, logins, long answers, draining."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy import events
from exproxy.actions import Close, Relay, Retry, StartTLS
from exproxy.model import BACKEND, CLIENT, User
from exproxy.testing import every_split, facts
from protocols.mail.options import PopOptions
from protocols.mail.pop_alone import Pop
from protocols.mail.pop_words import shown
from tests.mail.dialogues import SECRETS, Played, served

CAPA = b"+OK\r\nTOP\r\nSTLS\r\nUSER\r\nSASL PLAIN SCRAM-SHA-1-PLUS\r\nXCLIENT\r\n.\r\n"
PLAIN = b64encode(b"\0anna\0secret")


def begun(tls: str = "none", starttls: bool = False, **said: Any) -> Played:
    options = PopOptions(**{"relay": "watched", **said})
    played = Played(Pop, served(options, tls, starttls, port=110), port=110)
    played.begin()
    return played


def greeted(tls: str = "none", greeting: bytes = b"+OK exch1 <1.2@exch1>\r\n", **said: Any) -> Played:
    played = begun(tls, **said)
    played.connect()
    played.server(greeting)
    return played


def logged_in(**said: Any) -> Played:
    played = greeted(**said)
    for line in (b"USER anna\r\n", b"PASS secret\r\n"):
        played.client(line)
        played.server(b"+OK\r\n")
    return played


class DialogueTests(SynchronousTestCase):
    def test_greeting(self) -> None:
        """The server's, with its stamp where APOP would work, and without where exproxy ends TLS."""
        self.assertEqual(greeted().script.client, b"+OK exch1 <1.2@exch1>\r\n")
        self.assertEqual(greeted("implicit").script.client, b"+OK exch1\r\n")
        self.assertEqual(greeted("implicit").client(b"APOP anna 0\r\n")[0][:4], b"-ERR")
        self.assertEqual(greeted().client(b"APOP anna 0\r\n")[1], b"APOP anna 0\r\n")
        self.assertEqual(shown(b"+OK [XCLIENT] x", True), b"+OK x")

    def test_login(self) -> None:
        """USER and PASS pass, and the name is noted."""
        self.assertEqual(logged_in().recorded(), {"login": "done", "mechanism": "PASS", "user": "anna"})

    def test_auth(self) -> None:
        """AUTH passes leg by leg."""
        played = greeted()
        played.client(b"AUTH PLAIN\r\n")
        self.assertEqual(played.server(b"+ \r\n")[0], b"+ \r\n")
        self.assertEqual(played.client(PLAIN + b"\r\n")[1], PLAIN + b"\r\n")
        self.assertEqual(played.server(b"+OK\r\n")[0], b"+OK\r\n")
        self.assertEqual(played.recorded()["user"], "anna")

    def test_long_answers(self) -> None:
        """A long answer streams to its last dot, however it is cut; then comes the next command's turn."""
        answer = b"+OK 120\r\nSubject: x\r\n\r\n..dot\r\n.x\r\n.\r\n"
        for pieces in every_split(answer):
            played = logged_in()
            self.assertEqual(played.client(b"RETR 1\r\nDELE 1\r\n")[1], b"RETR 1\r\n")
            found = [played.server(piece) for piece in pieces]
            self.assertEqual(b"".join(said for said, _ in found), answer, pieces)
            self.assertEqual([sent for _, sent in found if sent], [b"DELE 1\r\n"], pieces)
        played = logged_in()
        played.client(b"LIST 1\r\nUIDL\r\n")
        self.assertEqual(played.server(b"+OK 1 120\r\n")[1], b"UIDL\r\n")
        played.client(b"TOP 9 9\r\n")
        self.assertEqual(played.server(b"+OK\r\n1 a\r\n.\r\n")[1], b"TOP 9 9\r\n")
        self.assertEqual(played.server(b"-ERR none\r\n")[0], b"-ERR none\r\n")

    def test_capabilities(self) -> None:
        """CAPA's list as far as it is true here."""
        played = greeted("implicit")
        played.client(b"CAPA\r\n")
        self.assertEqual(played.server(CAPA)[0], b"+OK\r\nTOP\r\nUSER\r\nSASL PLAIN\r\n.\r\n")
        self.assertEqual(played.client(b"XCLIENT ADDR=1.2.3.4\r\n"), (b"-ERR Unknown command\r\n", b""))

    def test_quit(self) -> None:
        """QUIT is answered by the server."""
        played = logged_in()
        played.client(b"QUIT\r\n")
        self.assertEqual(played.server(b"+OK bye\r\n")[0], b"+OK bye\r\n")
        self.assertEqual(played.over, "client quit")

    def test_drain(self) -> None:
        """-ERR between commands; where messages are marked they may go first."""
        self.assertEqual(logged_in().on(events.Draining(30.0))[0][:15], b"-ERR [SYS/TEMP]")
        played = logged_in()
        played.client(b"DELE 1\r\n")
        played.server(b"+OK\r\n")
        self.assertEqual(played.on(events.Draining(30.0))[0], b"")
        played.client(b"QUIT\r\n")
        self.assertEqual(played.server(b"+OK\r\n")[0], b"+OK\r\n")

    def test_idle(self) -> None:
        """Silence is ended by silence: no answer to a command that may just be on its way."""
        played = logged_in()
        self.assertEqual(played.expire("idle"), (b"", b""))
        self.assertEqual(played.over, "idle")

    def test_limits(self) -> None:
        """Bad commands, logins that fail, browsers, bare newlines."""
        played = greeted()
        for _ in range(3):
            played.client(b"WHAT\r\n")
            played.server(b"-ERR\r\n")
        self.assertEqual(played.over, "refused: too many bad commands")
        played = greeted(failed_logins=1)
        played.client(b"USER anna\r\n")
        played.server(b"+OK\r\n")
        played.client(b"PASS wrong\r\n")
        played.server(b"-ERR\r\n")
        self.assertEqual(played.over, "refused: too many failed logins")
        played = greeted()
        played.client(b"POST / HTTP/1.1\r\n")
        self.assertEqual(played.over, "refused: HTTP")
        self.assertEqual(greeted().client(b"USER anna\nPASS x\r\n")[1], b"")

    def test_full(self) -> None:
        """With `relay: full` nothing is read after the login."""
        played = greeted(relay="full", offer=("X1",))
        played.client(b"USER anna\r\nPASS secret\r\nSTAT\r\n")
        played.server(b"+OK\r\n")
        self.assertEqual(played.server(b"+OK\r\n"), (b"+OK\r\n", b"STAT\r\n"))
        self.assertEqual(played.look(Relay), [Relay()])


class TlsTests(SynchronousTestCase):
    def test_client(self) -> None:
        """exproxy offers STLS; before it there is no login."""
        played = greeted("starttls")
        played.client(b"CAPA\r\n")
        self.assertEqual(played.server(CAPA)[0], b"+OK\r\nTOP\r\nSTLS\r\n.\r\n")
        self.assertEqual(played.client(b"USER anna\r\n"), (b"-ERR Issue STLS first\r\n", b""))
        self.assertEqual(played.client(b"STLS\r\n"), (b"+OK Begin TLS negotiation\r\n", b""))
        played.secure(CLIENT)
        self.assertEqual(played.client(b"USER anna\r\n")[1], b"USER anna\r\n")

    def test_injection(self) -> None:
        """Commands behind STLS in plain text are refused with it."""
        for played in (greeted("starttls"), greeted(), begun("starttls", routing="user")):
            said, sent = played.client(b"STLS\r\nUSER evil\r\n")
            self.assertEqual((said[:4], sent), (b"-ERR", b""))
            self.assertIn("starttls_injections", played.counted())

    def test_user_from_before(self) -> None:
        """A name that was said in plain text is not the one that a password under TLS belongs to."""
        played = begun("starttls", routing="user", require_tls=False)
        played.client(b"USER evil\r\n")
        played.client(b"STLS\r\n")
        played.secure(CLIENT)
        self.assertEqual(played.client(b"PASS secret\r\n")[0][:4], b"-ERR")
        self.assertEqual(played.users(), [])

    def test_server(self) -> None:
        """The server is asked for TLS; one that has none, or says more than it should, gets no client."""
        played = begun(starttls=True)
        played.connect()
        self.assertEqual(played.server(b"+OK exch1\r\n")[1], b"CAPA\r\n")
        self.assertEqual(played.server(CAPA)[1], b"STLS\r\n")
        played.server(b"+OK\r\n")
        self.assertEqual(played.look(StartTLS), [StartTLS(BACKEND, SECRETS)])
        self.assertEqual(played.secure(BACKEND)[0], b"+OK exch1\r\n")
        for words in (
            [b"-ERR\r\n"],
            [b"+OK\r\nTOP\r\n.\r\n"],
            [CAPA, b"-ERR\r\n"],
            [CAPA, b"+OK\r\n+OK\r\n"],
        ):
            played = begun(starttls=True)
            played.connect()
            played.server(b"+OK exch1\r\n")
            for each in words:
                played.server(each)
            self.assertEqual(len(played.look(Retry)), 1, words)

    def test_address(self) -> None:
        """The server hears the client's address by XCLIENT, where it says that it takes it."""
        played = begun(client_address="xclient")
        played.connect()
        self.assertEqual(
            played.server(b"+OK [XCLIENT] exch1\r\n")[1], b"XCLIENT ADDR=192.0.2.1 PORT=40000\r\n"
        )
        self.assertEqual(played.server(b"+OK\r\n")[0], b"+OK exch1\r\n")


class UserTests(SynchronousTestCase):
    def test_alone(self) -> None:
        """exproxy greets without a stamp, and answers what needs no server."""
        played = Played(Pop, served(PopOptions(routing="user"), port=110), port=110)
        self.assertEqual(played.begin(), b"+OK mx.example.org ready\r\n")
        self.assertIn(b"SASL PLAIN LOGIN\r\n", played.client(b"CAPA\r\n")[0])
        self.assertEqual(played.client(b"AUTH\r\n")[0], b"+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n")
        for line in (b"STAT", b"APOP anna 0", b"PASS secret", b"AUTH NTLM"):
            self.assertEqual(played.client(line + b"\r\n")[0][:4], b"-ERR", line)
        self.assertEqual(played.client(b"QUIT\r\n")[0], b"+OK Bye\r\n")

    def test_user(self) -> None:
        """The name of USER chooses when the password is there; spaces in that are a part of it."""
        played = begun(routing="user")
        self.assertEqual(played.client(b"USER anna\r\n")[0], b"+OK\r\n")
        self.assertEqual(played.users(), [])
        played.client(b"PASS se cret\r\n")
        self.assertEqual(played.users(), [facts(User("anna"), port=110)])
        played.connect()
        played.server(b"+OK exch1\r\n")
        self.assertEqual(played.server(b"-ERR what\r\n")[1], b"USER anna\r\n")
        self.assertEqual(played.server(b"+OK\r\n"), (b"", b"PASS se cret\r\n"))
        self.assertEqual(played.server(b"+OK in\r\n")[0], b"+OK in\r\n")
        self.assertEqual(played.client(b"STAT\r\n")[1], b"STAT\r\n")

    def test_plain(self) -> None:
        """AUTH PLAIN where the server has it; what a line cannot carry is not tried by USER and PASS."""
        played = begun(routing="user")
        played.client(b"AUTH PLAIN " + PLAIN + b"\r\n")
        played.connect()
        played.server(b"+OK\r\n")
        self.assertEqual(played.server(CAPA)[1], b"AUTH PLAIN\r\n")
        self.assertEqual(played.server(b"+ \r\n"), (b"", PLAIN + b"\r\n"))
        played.server(b"+OK\r\n")
        played = begun(routing="user")
        played.client(b"AUTH PLAIN " + b64encode(b"\0anna\0x\r\nDELE 1") + b"\r\n")
        played.connect()
        played.server(b"+OK\r\n")
        said, sent = played.server(b"-ERR\r\n")
        self.assertEqual((said[:4], sent), (b"-ERR", b""))

    def test_refused_and_lost(self) -> None:
        """A refusal is passed on; a server that is lost with the password costs this try only."""
        for ending, answer in ((b"-ERR [AUTH] no\r\n", b"-ERR [AUTH]"), (None, b"-ERR [SYS/TEMP]")):
            played = begun(routing="user")
            played.client(b"USER anna\r\nPASS secret\r\n")
            played.connect()
            played.server(b"+OK\r\n")
            played.server(b"-ERR\r\n")
            played.server(b"+OK\r\n")
            said, _ = played.server(ending) if ending else played.on(events.Lost(BACKEND, "reset"))
            self.assertTrue(said.startswith(answer), said)
            self.assertEqual((len(played.look(Close)), played.look(Retry)), (1, []))
            self.assertNotIn("secret", repr(played.asked) + repr(played.script.conversation.__dict__))
