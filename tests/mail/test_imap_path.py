"""IMAP with exproxy in the path: TLS on either side, logins, the stream behind them, draining."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy import events
from exproxy.actions import Close, Learn, Relay, Retry, SetDeadline, StartTLS
from exproxy.model import BACKEND, CLIENT, User
from exproxy.settings import Limits, Timeouts
from exproxy.testing import every_split, facts
from protocols.mail.imap_alone import Imap
from protocols.mail.options import ImapOptions
from tests.http.test_ntlm import type_3
from tests.mail.dialogues import SECRETS, Played, served

GREETING = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=NTLM AUTH=X-PLUS STARTTLS] exch1\r\n"
PLAIN = b64encode(b"\0anna\0secret")


def begun(tls: str = "none", starttls: bool = False, **said: Any) -> Played:
    """A client that is there; where exproxy greets it has been greeted."""
    limits = said.pop("limits", None)
    options = ImapOptions(**{"relay": "watched", **said})
    played = Played(Imap, served(options, tls, starttls, port=143, limits=limits), port=143)
    played.begin()
    return played


def greeted(tls: str = "none", greeting: bytes = GREETING, **said: Any) -> Played:
    """A client whose server has greeted."""
    played = begun(tls, **said)
    played.connect()
    played.server(greeting)
    return played


def alone(tls: str = "none", starttls: bool = False, **said: Any) -> Played:
    return begun(tls, starttls, routing="user", **said)


def logged_in(**said: Any) -> Played:
    played = greeted(**said)
    played.client(b"a LOGIN anna secret\r\n")
    played.server(b"a OK [CAPABILITY IMAP4rev1 IDLE] in\r\n")
    return played


class DialogueTests(SynchronousTestCase):
    def test_greeting(self) -> None:
        """The server's own, its list as far as it is true here."""
        self.assertEqual(
            greeted().script.client,
            b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=NTLM STARTTLS] exch1\r\n",
        )
        self.assertNotIn(b"STARTTLS", greeted("implicit").script.client)

    def test_commands(self) -> None:
        """A command goes to the server, and all that answers it comes back, literals too."""
        for pieces in every_split(b"a ID NIL\r\nb NOOP\r\n"):
            played = greeted()
            sent = b"".join(played.client(piece)[1] for piece in pieces)
            self.assertEqual(sent, b"a ID NIL\r\n")
            said, sent = played.server(b'* ID ("name" {4}\r\nb OK)\r\na OK\r\n')
            self.assertEqual((said, sent), (b'* ID ("name" {4}\r\nb OK)\r\na OK\r\n', b"b NOOP\r\n"))

    def test_login(self) -> None:
        """LOGIN reaches the server in one form, whatever the client's; the limits for strangers end."""
        for pieces in every_split(b'a LOGIN {4+}\r\nanna "sec\\"ret"\r\n'):
            played = greeted()
            sent = b"".join(played.client(piece)[1] for piece in pieces)
            self.assertEqual(sent, b'a LOGIN "anna" "sec\\"ret"\r\n', pieces)
        self.assertEqual(played.server(b"a OK in\r\n")[0], b"a OK in\r\n")
        self.assertEqual(played.recorded(), {"login": "done", "mechanism": "LOGIN", "user": "anna"})
        self.assertIn(SetDeadline("auth", None), played.asked)

    def test_literal_asked_for(self) -> None:
        """exproxy asks for a literal itself, and the server is asked in its turn."""
        played = greeted()
        self.assertEqual(played.client(b"a LOGIN anna {5}\r\n"), (b"+ OK\r\n", b""))
        self.assertEqual(played.client(b"p\xc3\xa4\r\n\r\n"), (b"", b'a LOGIN "anna" {5}\r\n'))
        self.assertEqual(played.server(b"+ go\r\n"), (b"", b"p\xc3\xa4\r\n\r\n"))

    def test_no_other_literals(self) -> None:
        """Before a login nothing else has literals, in which a second command could hide."""
        for line in (
            b"a NOOP {19+}\r\n",
            b'a ID ("a" {19+}\r\n',
            b'a X "b {19+}\r\n',
            b"a LOGIN b c{19+}\r\n",
        ):
            played = greeted()
            said, sent = played.client(line + b"\r\nb LOGIN evil evil\r\n\r\n")
            self.assertEqual((said[:5], sent), (b"a BAD", b""), line)

    def test_too_long(self) -> None:
        """A literal beyond `limits.line` is not asked for; one that comes unasked ends it."""
        played = greeted(limits=Limits(line=200))
        self.assertEqual(played.client(b"a LOGIN x {500}\r\n")[0], b"a BAD [TOOBIG] Literal too long\r\n")
        self.assertIsNone(played.over)
        self.assertEqual(played.client(b"a LOGIN x {500+}\r\n")[0][:5], b"* BYE")
        self.assertIsNotNone(played.over)

    def test_authenticate(self) -> None:
        """Mechanisms pass leg by leg; the name in NTLM's last one is learnt."""
        played = greeted()
        played.client(b"a AUTHENTICATE NTLM TlRMTVNTUAABAAAA\r\n")
        self.assertEqual(played.server(b"+ TlRMTVNTUAACAAAA\r\n")[0], b"+ TlRMTVNTUAACAAAA\r\n")
        leg = b64encode(type_3("anna", "EX")) + b"\r\n"
        self.assertEqual(played.client(leg)[1], leg)
        played.server(b"a OK in\r\n")
        self.assertEqual(played.look(Learn), [Learn(User("EX\\anna"))])

    def test_claims(self) -> None:
        """A client cannot say by ID what only a proxy may say of it."""
        played = greeted()
        said, sent = played.client(b'a ID ("x-originating-ip" "198.51.100.1")\r\n')
        self.assertEqual((said, sent), (b"* ID NIL\r\na OK ID completed\r\n", b""))

    def test_preauth(self) -> None:
        """A server that takes everybody for somebody is passed on as it is."""
        played = greeted(greeting=b"* PREAUTH exch1\r\n")
        self.assertEqual(played.client(b"a SELECT inbox\r\n")[1], b"a SELECT inbox\r\n")

    def test_bad(self) -> None:
        """Three lines that are no commands end it, and so does a browser's."""
        played = greeted()
        for _ in range(3):
            self.assertIsNone(played.over)
            played.client(b"nonsense\r\n")
        self.assertEqual(played.over, "refused: too many bad commands")
        played = greeted()
        self.assertEqual(played.client(b"GET / HTTP/1.1\r\n"), (b"", b""))
        self.assertEqual(played.over, "refused: HTTP")

    def test_logout(self) -> None:
        """LOGOUT before a login is the server's to answer."""
        played = greeted()
        played.client(b"a LOGOUT\r\n")
        self.assertEqual(played.server(b"* BYE\r\na OK\r\n")[0], b"* BYE\r\na OK\r\n")
        self.assertEqual(played.over, "client quit")

    def test_no_server(self) -> None:
        """* BYE, and not why."""
        played = begun()
        said, _ = played.on(events.Unavailable("all are DOWN"))
        self.assertEqual(said[:19], b"* BYE [UNAVAILABLE]")


class TlsTests(SynchronousTestCase):
    def test_client(self) -> None:
        """exproxy offers STARTTLS; before it there is LOGINDISABLED and no login."""
        played = greeted("starttls", greeting=b"* OK exch1\r\n")
        played.client(b"a CAPABILITY\r\n")
        said, _ = played.server(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na OK\r\n")
        self.assertEqual(said, b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na OK\r\n")
        for line in (b"b LOGIN anna secret\r\n", b"b AUTHENTICATE PLAIN\r\n"):
            self.assertEqual(played.client(line)[0][:22], b"b NO [PRIVACYREQUIRED]")
        self.assertEqual(played.client(b"c STARTTLS\r\n"), (b"c OK Begin TLS negotiation now\r\n", b""))
        self.assertEqual(played.look(StartTLS), [StartTLS(CLIENT)])
        played.secure(CLIENT)
        played.client(b"d CAPABILITY\r\n")
        said, _ = played.server(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nd OK\r\n")
        self.assertEqual(said, b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nd OK\r\n")
        self.assertEqual(played.client(b"e LOGIN anna secret\r\n")[1], b'e LOGIN "anna" "secret"\r\n')

    def test_injection(self) -> None:
        """Commands behind STARTTLS in plain text are refused with it."""
        for behind in (b"b LOGIN evil evil\r\n", b"b NOOP\r\n", b"b"):
            for played in (greeted("starttls"), greeted()):
                said, sent = played.client(b"a STARTTLS\r\n" + behind)
                self.assertEqual((said[:5], sent), (b"* BYE", b""))
                self.assertIn("starttls_injections", played.counted())
                self.assertEqual(played.look(StartTLS), [])

    def test_passed_on(self) -> None:
        """Where exproxy has no certificate, STARTTLS is between client and server."""
        played = greeted()
        played.client(b"a STARTTLS\r\n")
        played.server(b"a OK go\r\n")
        self.assertEqual(played.look(Relay), [Relay()])

    def test_server(self) -> None:
        """The server is asked for TLS first; its list from before is forgotten."""
        played = begun(starttls=True)
        played.connect()
        self.assertEqual(played.server(GREETING)[1], b"exproxy STARTTLS\r\n")
        played.server(b"exproxy OK go\r\n")
        self.assertEqual(played.look(StartTLS), [StartTLS(BACKEND, SECRETS)])
        self.assertEqual(played.secure(BACKEND)[0], b"* OK exch1\r\n")

    def test_server_is_asked(self) -> None:
        """A greeting without a list is followed by the question for it."""
        played = begun(starttls=True)
        played.connect()
        self.assertEqual(played.server(b"* OK exch1\r\n")[1], b"exproxy CAPABILITY\r\n")
        self.assertEqual(
            played.server(b"* CAPABILITY IMAP4rev1 STARTTLS\r\nexproxy OK\r\n")[1], b"exproxy STARTTLS\r\n"
        )

    def test_server_injections(self) -> None:
        """PREAUTH instead of a way to TLS, answers before the handshake, STARTTLS taken out: no client."""
        for words, why in (
            ([b"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] evil\r\n"], "PREAUTH"),
            ([b"* OK [CAPABILITY IMAP4rev1] exch1\r\n"], "not offered"),
            ([GREETING, b"exproxy NO\r\n"], "exproxy NO"),
            ([GREETING, b"exproxy OK\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"], "plain text"),
            ([GREETING, b"exproxy OK\r\nx"], "plain text"),
        ):
            played = begun(starttls=True)
            played.connect()
            said = b"".join(played.server(each)[0] for each in words)
            [retry] = played.look(Retry)
            self.assertIn(why, retry.reason)
            self.assertEqual((said, played.look(StartTLS)), (b"", []))

    def test_address(self) -> None:
        """The server hears the client's address by ID, before anything of the client's."""
        played = begun(client_address="id")
        played.connect()
        self.assertEqual(
            played.server(GREETING),
            (b"", b'exproxy ID ("x-originating-ip" "192.0.2.1" "x-originating-port" "40000")\r\n'),
        )
        self.assertEqual(played.server(b"* ID NIL\r\nexproxy OK\r\n")[0][:4], b"* OK")


class UserTests(SynchronousTestCase):
    def test_alone(self) -> None:
        """exproxy greets, and answers what needs no server."""
        played = Played(Imap, served(ImapOptions(routing="user"), port=143), port=143)
        self.assertEqual(
            played.begin(),
            b"* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID AUTH=PLAIN AUTH=LOGIN] mx.example.org ready\r\n",
        )
        for command, answer in (
            (b"CAPABILITY", b"* CAPABILITY IMAP4rev1 "), (b"NOOP", b"a OK"), (b"ID NIL", b"* ID NIL\r\na OK"),
            (b"SELECT x", b"a BAD"), (b"STARTTLS", b"a BAD"), (b"AUTHENTICATE NTLM", b"a NO [CANNOT]"),
            (b"LOGIN x", b"a BAD"), (b"LOGOUT", b"* BYE Logging out\r\na OK"),
        ):  # fmt: skip
            said, _ = played.client(b"a " + command + b"\r\n")
            self.assertTrue(said.startswith(answer), (command, said))
        self.assertEqual(played.users(), [])

    def test_login(self) -> None:
        """The name of LOGIN chooses; the server's answer has the client's tag."""
        played = alone()
        played.client(b"a1 LOGIN EX\\anna secret\r\n")
        self.assertEqual(played.users(), [facts(User("EX\\anna"), port=143)])
        played.connect()
        replayed = b"a1 AUTHENTICATE PLAIN %b\r\n" % b64encode(b"\0EX\\anna\0secret")
        self.assertEqual(played.server(GREETING), (b"", replayed))
        self.assertEqual(
            played.server(b"* CAPABILITY X\r\na1 OK in\r\n")[0], b"* CAPABILITY X\r\na1 OK in\r\n"
        )
        self.assertEqual(played.client(b"a2 SELECT inbox\r\n")[1], b"a2 SELECT inbox\r\n")

    def test_server_without_plain(self) -> None:
        """Where the server has no AUTH=PLAIN, it is said by LOGIN; without SASL-IR it is asked for."""
        played = alone()
        played.client(b"a AUTHENTICATE PLAIN " + PLAIN + b"\r\n")
        played.connect()
        self.assertEqual(played.server(b"* OK exch1\r\n")[1], b"exproxy CAPABILITY\r\n")
        self.assertEqual(
            played.server(b"* CAPABILITY IMAP4rev1\r\nexproxy OK\r\n")[1], b'a LOGIN "anna" "secret"\r\n'
        )
        played = alone()
        played.client(b"a AUTHENTICATE LOGIN\r\n")
        played.client(b"YW5uYQ==\r\n")
        played.client(b"c2VjcmV0\r\n")
        played.connect()
        self.assertEqual(
            played.server(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] x\r\n")[1], b"a AUTHENTICATE PLAIN\r\n"
        )
        self.assertEqual(played.server(b"+ \r\n"), (b"", PLAIN + b"\r\n"))

    def test_refused(self) -> None:
        """A refusal is passed on, and the connection to that server closed."""
        played = alone()
        played.client(b"a LOGIN anna wrong\r\n")
        played.connect()
        played.server(GREETING)
        self.assertEqual(played.server(b"a NO [AUTHENTICATIONFAILED] no\r\n")[0][:4], b"a NO")
        self.assertEqual(len(played.look(Close)), 1)
        self.assertEqual(played.client(b"b NOOP\r\n")[0], b"b OK Done\r\n")

    def test_lost(self) -> None:
        """Before the password was said another server is taken, after it none."""
        played = alone()
        played.client(b"a LOGIN anna secret\r\n")
        played.connect()
        played.on(events.Lost(BACKEND, "reset"))
        self.assertEqual(len(played.look(Retry)), 1)
        played.connect("exch2")
        played.server(GREETING)
        self.assertEqual(played.on(events.Lost(BACKEND, "reset"))[0][:18], b"a NO [UNAVAILABLE]")
        self.assertEqual(played.look(Retry), [])

    def test_no_server(self) -> None:
        """A login fails for now."""
        played = alone()
        played.client(b"a LOGIN anna secret\r\n")
        self.assertEqual(played.on(events.Unavailable("DOWN"))[0][:18], b"a NO [UNAVAILABLE]")

    def test_preauth(self) -> None:
        """A server that does not ask who it is gets nobody whose name matters."""
        played = alone()
        played.client(b"a LOGIN anna secret\r\n")
        played.connect()
        played.server(b"* PREAUTH hello\r\n")
        self.assertEqual(len(played.look(Retry)), 1)

    def test_secrets_show_nowhere(self) -> None:
        """No action but the one to the server has the password, nor does the conversation afterwards."""
        played = alone()
        played.client(b"a LOGIN anna secret\r\n")
        played.connect()
        played.server(GREETING)
        played.server(b"a OK\r\n")
        for shown in (repr(played.asked), repr(played.script.conversation.__dict__)):
            self.assertNotIn("secret", shown)
            self.assertNotIn(PLAIN.decode(), shown)


class StreamTests(SynchronousTestCase):
    def test_passes(self) -> None:
        """After the login bytes pass as they come."""
        played = logged_in()
        self.assertEqual(played.client(b"b APPEND x {3}\n"), (b"", b"b APPEND x {3}\n"))
        self.assertEqual(played.server(b"+"), (b"+", b""))

    def test_full(self) -> None:
        """With `relay: full` nothing is read after the login, and what came with it is passed on."""
        played = greeted(relay="full", require_tls=False, offer=("X1",))
        played.client(b"a LOGIN anna secret\r\nb SELECT inbox\r\n")
        said, sent = played.server(b"a OK\r\n* 1 EXISTS\r\n")
        self.assertEqual((said, sent), (b"a OK\r\n* 1 EXISTS\r\n", b"b SELECT inbox\r\n"))
        self.assertEqual(played.look(Relay), [Relay()])

    def test_compress(self) -> None:
        """Behind COMPRESS nothing can be read, so it is relayed."""
        played = logged_in()
        played.client(b"b COMPRESS DEFLATE\r\n")
        played.server(b"b OK\r\n")
        self.assertEqual(played.look(Relay), [Relay()])

    def test_drain(self) -> None:
        """* BYE where nothing is under way, at once or at the end of it."""
        played = logged_in()
        self.assertEqual(played.on(events.Draining(30.0))[0][:19], b"* BYE [UNAVAILABLE]")
        self.assertEqual(played.over, "drained")
        played = logged_in()
        played.client(b"b FETCH 1 BODY[]\r\n")
        self.assertEqual(played.on(events.Draining(30.0))[0], b"")
        self.assertEqual(played.server(b"* 1 FETCH (BODY[] {4}\r\nxx")[0][-2:], b"xx")
        said, _ = played.server(b"xx)\r\nb OK\r\n")
        self.assertEqual(said[:29], b"xx)\r\nb OK\r\n* BYE [UNAVAILABLE]"[:29])

    def test_drain_in_idle(self) -> None:
        """A client in IDLE is told at once."""
        played = logged_in()
        played.client(b"b IDLE\r\n")
        played.server(b"+ idling\r\n")
        self.assertEqual(played.on(events.Draining(30.0))[0][:5], b"* BYE")

    def test_idle_limit(self) -> None:
        """In IDLE a client may be silent for half an hour, whatever the limit else."""
        options = ImapOptions(relay="watched")
        played = Played(Imap, served(options, port=143, timeouts=Timeouts(idle=60.0)), port=143)
        played.begin()
        played.connect()
        played.server(GREETING)
        played.client(b"a LOGIN anna secret\r\n")
        played.server(b"a OK\r\n")
        self.assertEqual(played.script.deadlines["idle"], 60.0)
        played.client(b"b IDLE\r\n")
        played.server(b"+ idling\r\n")
        self.assertEqual(played.script.deadlines["idle"], 1860.0)
        played.client(b"DONE\r\n")
        played.server(b"b OK\r\n")
        self.assertEqual(played.script.deadlines["idle"], 60.0)
        self.assertEqual(played.expire("idle")[0][:5], b"* BYE")

    def test_client_ends(self) -> None:
        """A client that ends is waited for while an answer is under way."""
        played = logged_in()
        played.client(b"b NOOP\r\n")
        played.on(events.Eof(CLIENT))
        self.assertIsNone(played.over)
        played.server(b"b OK\r\n")
        self.assertEqual(played.over, "client closed")
