"""SMTP with exproxy in the path: TLS on either side, EHLO's list, messages, limits, draining."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy import events
from exproxy.actions import Hold, Learn, Relay, Release, Retry, SetDeadline, StartTLS
from exproxy.model import BACKEND, CLIENT, Destination, Facts, Source, User
from exproxy.settings import Limits, Timeouts
from exproxy.testing import every_split
from protocols.mail.options import SmtpOptions
from protocols.mail.smtp_alone import Smtp
from tests.http.test_ntlm import type_3
from tests.mail.dialogues import SECRETS, Played, served
from tests.mail.test_smtp_words import ENDS, SMUGGLED

EHLO = b"250-exch1\r\n250-PIPELINING\r\n250-AUTH PLAIN LOGIN\r\n250-CHUNKING\r\n250 XCLIENT ADDR PORT\r\n"


def options(**said: Any) -> SmtpOptions:
    return SmtpOptions(**{"relay": "watched", **said})


def greeted(tls: str = "none", starttls: bool = False, **said: Any) -> Played:
    """A client that has been greeted by its server."""
    limits, timeouts = said.pop("limits", None), said.pop("timeouts", None)
    played = Played(Smtp, served(options(**said), tls, starttls, limits=limits, timeouts=timeouts))
    played.begin()
    played.connect()
    return played


def ready(tls: str = "none", **said: Any) -> Played:
    """The same behind the greeting and EHLO."""
    played = greeted(tls, **said)
    played.server(b"220 exch1 ready\r\n")
    played.client(b"EHLO me\r\n")
    played.server(EHLO)
    return played


def in_data(**said: Any) -> Played:
    """In the middle of a transaction, about to send the message."""
    played = ready(**said)
    for command, reply in (
        (b"MAIL FROM:<a@x>", b"250 ok"),
        (b"RCPT TO:<b@x>", b"250 ok"),
        (b"DATA", b"354 go"),
    ):
        played.client(command + b"\r\n")
        played.server(reply + b"\r\n")
    return played


class DialogueTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """Pipelined commands go to the server one by one, however they are cut, and are answered in order."""
        replies = {b"MAIL FROM:<a@x>": b"250 1", b"RCPT TO:<b@x>": b"250-2\r\n250 2", b"NOOP": b"250 3"}
        for pieces in every_split(b"\r\n".join(replies) + b"\r\n"):
            played = ready()
            sent = b"".join(played.client(piece)[1] for piece in pieces)
            heard = b""
            for command, reply in replies.items():
                self.assertEqual(sent, command + b"\r\n", pieces)
                said, sent = played.server(reply + b"\r\n")
                heard += said
            self.assertEqual((heard, sent), (b"250 1\r\n250-2\r\n250 2\r\n250 3\r\n", b""))

    def test_list(self) -> None:
        """EHLO's list is the server's, without what would let a client be somebody else."""
        played = ready()
        self.assertIn(b"250 CHUNKING\r\n", played.script.client)
        self.assertNotIn(b"XCLIENT", played.script.client)

    def test_hidden_commands(self) -> None:
        """XCLIENT and its kin are not there for clients, whatever the server believes of exproxy."""
        for word in (b"XCLIENT ADDR=192.0.2.9", b"XFORWARD NAME=x", b"X-ANONYMOUSTLS", b"TURN"):
            self.assertEqual(
                ready().client(word + b"\r\n"), (b"502 5.5.1 Error: command not implemented\r\n", b"")
            )

    def test_unasked(self) -> None:
        """What the server says by itself is passed on; where it ends then, that was its reason."""
        played = ready()
        self.assertEqual(played.server(b"421 4.4.2 timeout\r\n")[0], b"421 4.4.2 timeout\r\n")
        played.on(events.Lost(BACKEND, "closed"))
        self.assertIsNotNone(played.over)

    def test_server_lost(self) -> None:
        """A server that is lost in the middle is a passing trouble."""
        played = ready()
        played.client(b"NOOP\r\n")
        said, _ = played.on(events.Lost(BACKEND, "reset"))
        self.assertTrue(said.startswith(b"421 4.3.0 mx.example.org "), said)
        self.assertEqual(played.over, "server reset")

    def test_no_server(self) -> None:
        """A client that nobody can serve is told so, and not why."""
        played = Played(Smtp, served(options()))
        played.begin()
        said, _ = played.on(events.Unavailable("all are DOWN"))
        self.assertTrue(said.startswith(b"421 4.3.2 mx.example.org "), said)

    def test_nonsense(self) -> None:
        """A server that does not speak SMTP is not passed on."""
        played = ready()
        played.client(b"NOOP\r\n")
        self.assertIn(b"421 4.3.0", played.server(b"HTTP/1.1 400\r\n")[0])

    def test_quit(self) -> None:
        """QUIT is answered by the server, and ends it."""
        played = ready()
        played.client(b"QUIT\r\n")
        self.assertEqual(played.server(b"221 bye\r\n")[0], b"221 bye\r\n")
        self.assertEqual(played.over, "client quit")

    def test_back_pressure(self) -> None:
        """A client that is ahead of its server is not read until that has caught up."""
        played = ready(limits=Limits(max_held=100))
        played.client(b"NOOP %b\r\n" % (b"x" * 1000) * 20)
        self.assertEqual(played.look(Hold), [Hold(CLIENT)])
        for _ in range(20):
            played.server(b"250 ok\r\n")
        self.assertEqual(played.look(Release), [Release(CLIENT)])


class MessageTests(SynchronousTestCase):
    def test_streams(self) -> None:
        """A message goes on as it comes, and the next command only when the server has answered."""
        played = in_data()
        self.assertEqual(played.client(b"Subject: a\r\n\r\nhe"), (b"", b"Subject: a\r\n\r\nhe"))
        self.assertEqual(played.client(b"llo\r\n.\r\nQUIT\r\n"), (b"", b"llo\r\n.\r\n"))
        self.assertEqual(played.server(b"250 queued\r\n"), (b"250 queued\r\n", b"QUIT\r\n"))

    def test_smuggling(self) -> None:
        """Each spelling of the end that is none closes the connection, and no end reaches the server."""
        for end in ENDS[:-1]:
            for pieces in every_split(b"hello" + end + SMUGGLED):
                played = in_data()
                before = len(played.script.server)
                for piece in pieces:
                    if played.over is None:
                        played.client(piece)
                self.assertEqual(played.over, "refused: a CR or LF alone in a message", (end, pieces))
                self.assertIn(b"521 5.5.2", played.script.client)
                self.assertNotIn(b"smuggled", played.script.server)
                passed = played.script.server[before:]
                self.assertFalse(any(each in passed for each in ENDS), passed)

    def test_passed(self) -> None:
        """With `bare-newline: pass` the same is a part of the message, byte for byte."""
        for end in ENDS[:-1]:
            played = in_data(bare_newline="pass")
            text = b"hello" + end + SMUGGLED
            self.assertEqual(played.client(text + b"NOOP\r\n"), (b"", text))

    def test_bare_commands(self) -> None:
        """A command with a LF or CR alone is refused, and so are those behind it."""
        for line in (b"NOOP\n", b"NOOP\rRSET\r\n", b"NOOP\nMAIL FROM:<a@x>\r\n"):
            played = ready()
            said, sent = played.client(line)
            self.assertIn(b"521 5.5.2", said)
            self.assertEqual(sent, b"")
            self.assertIn("bare_newlines", played.counted())
            self.assertIsNotNone(played.over)

    def test_bdat(self) -> None:
        """BDAT's bytes pass counted, whatever they are; a server without CHUNKING gets none of them."""
        played = ready()
        self.assertEqual(played.client(b"BDAT 7\r\n\r\n.\r"), (b"", b"BDAT 7\r\n\r\n.\r"))
        self.assertEqual(played.client(b"\nxyNOOP\r\n"), (b"", b"\nxy"))
        self.assertEqual(played.server(b"250 ok\r\n"), (b"250 ok\r\n", b"NOOP\r\n"))
        played = greeted()
        played.server(b"220 exch1\r\n")
        said, sent = played.client(b"BDAT 7 LAST\r\nMAIL ..")
        self.assertEqual((said[:3], sent), (b"502", b""))
        self.assertIsNotNone(played.over)

    def test_client_ends_in_a_message(self) -> None:
        """Half a message is not sent: the server sees no end of it."""
        played = in_data()
        played.client(b"half a mess")
        self.assertEqual(played.on(events.Eof(CLIENT)), (b"", b""))
        self.assertEqual(played.over, "client closed in a message")

    def test_server_ends_in_a_message(self) -> None:
        """A server that gives up in the middle is heard."""
        played = in_data()
        played.client(b"half a mess")
        played.server(b"552 5.3.4 too big\r\n")
        said, _ = played.on(events.Lost(BACKEND, "closed"))
        self.assertEqual(said, b"552 5.3.4 too big\r\n")


class ClientTlsTests(SynchronousTestCase):
    def test_offered(self) -> None:
        """exproxy offers STARTTLS itself; before it no login is offered or taken, behind it both are."""
        played = ready("starttls")
        self.assertIn(b"STARTTLS\r\n", played.script.client)
        self.assertNotIn(b"AUTH", played.script.client)
        self.assertTrue(played.client(b"AUTH PLAIN AGEAYg==\r\n")[0].startswith(b"530 5.7.0 "))
        self.assertEqual(played.client(b"STARTTLS\r\n"), (b"220 2.0.0 Ready to start TLS\r\n", b""))
        self.assertEqual(played.look(StartTLS), [StartTLS(CLIENT)])
        played.secure(CLIENT)
        self.assertEqual(played.client(b"EHLO me\r\n")[1], b"EHLO me\r\n")
        said, _ = played.server(EHLO)
        self.assertIn(b"AUTH PLAIN LOGIN", said)
        self.assertNotIn(b"STARTTLS", said)
        self.assertEqual(played.client(b"STARTTLS\r\n")[0][:3], b"503")
        self.assertNotIn(b"STARTTLS", played.script.server)

    def test_injection(self) -> None:
        """Commands behind STARTTLS in plain text are refused with it, and none is answered under TLS."""
        for behind in (b"RSET\r\n", b"MAIL FROM:<a@x>\r\n", b"EHLO evil\r\n", b"N"):
            played = ready("starttls")
            said, sent = played.client(b"STARTTLS\r\n" + behind)
            self.assertEqual((said[:9], sent), (b"554 5.5.1", b""))
            self.assertEqual(played.look(StartTLS), [])
            self.assertIn("starttls_injections", played.counted())
            self.assertIsNotNone(played.over)

    def test_not_now(self) -> None:
        """What was begun in plain text is not carried into TLS: no STARTTLS in a transaction."""
        played = in_data(tls="starttls")
        played.client(b"hello\r\n.\r\n")
        played.server(b"250 queued\r\n")
        played.client(b"MAIL FROM:<a@x>\r\n")
        played.server(b"250 ok\r\n")
        self.assertEqual(played.client(b"STARTTLS\r\n")[0][:3], b"503")
        self.assertEqual(played.client(b"RSET\r\n")[1], b"RSET\r\n")

    def test_passed_on(self) -> None:
        """Where exproxy has no certificate, STARTTLS goes to the server, and nothing is read from then on."""
        played = ready()
        self.assertEqual(played.client(b"STARTTLS\r\n")[1], b"STARTTLS\r\n")
        self.assertEqual(played.server(b"220 go\r\n")[0], b"220 go\r\n")
        self.assertEqual(played.look(Relay), [Relay()])
        played = ready()
        self.assertEqual(played.client(b"STARTTLS\r\nRSET\r\n")[1], b"")

    def test_implicit(self) -> None:
        """Under implicit TLS there is no STARTTLS, and channel binding is not offered."""
        played = greeted("implicit")
        played.server(b"220 exch1\r\n")
        played.client(b"EHLO me\r\n")
        said, _ = played.server(b"250-exch1\r\n250-STARTTLS\r\n250 AUTH PLAIN SCRAM-SHA-256-PLUS\r\n")
        self.assertEqual(said, b"250-exch1\r\n250 AUTH PLAIN\r\n")
        self.assertEqual(played.client(b"STARTTLS\r\n")[0][:3], b"502")
        self.assertEqual(played.client(b"AUTH SCRAM-SHA-256-PLUS\r\n")[0][:3], b"504")


class ServerTlsTests(SynchronousTestCase):
    def test_starttls(self) -> None:
        """The server is asked for TLS before the client hears of it; the options are the configuration's."""
        played = greeted(starttls=True)
        self.assertEqual(played.server(b"220 exch1\r\n"), (b"", b"EHLO mx.example.org\r\n"))
        self.assertEqual(played.server(b"250-exch1\r\n250 STARTTLS\r\n"), (b"", b"STARTTLS\r\n"))
        played.server(b"220 go\r\n")
        self.assertEqual(played.look(StartTLS), [StartTLS(BACKEND, SECRETS)])
        self.assertEqual(played.secure(BACKEND), (b"220 exch1\r\n", b""))
        self.assertEqual(played.client(b"EHLO me\r\n")[1], b"EHLO me\r\n")

    def test_stripped(self) -> None:
        """A server without STARTTLS, or on whose way it was taken out, gets no client and no command."""
        for words in ((b"250 exch1\r\n",), (b"250-exch1\r\n250 STARTTLS\r\n", b"454 no\r\n")):
            played = greeted(starttls=True)
            played.server(b"220 exch1\r\n")
            for each in words:
                self.assertEqual(played.server(each)[0], b"")
            self.assertEqual(len(played.look(Retry)), 1)

    def test_response_injection(self) -> None:
        """Answers that came before the handshake are not taken for answers under TLS."""
        played = greeted(starttls=True)
        played.server(b"220 exch1\r\n")
        played.server(b"250-exch1\r\n250 STARTTLS\r\n")
        self.assertEqual(played.server(b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"), (b"", b""))
        self.assertEqual(played.look(StartTLS), [])
        self.assertEqual(played.look(Retry), [Retry("STARTTLS: plain text behind the answer")])
        self.assertIn("starttls_injections", played.counted())

    def test_handshake_fails(self) -> None:
        """A certificate that is not believed costs the server this client."""
        played = greeted(starttls=True)
        for each in (b"220 exch1\r\n", b"250-exch1\r\n250 STARTTLS\r\n", b"220 go\r\n"):
            played.server(each)
        played.on(events.Lost(BACKEND, "certificate verify failed"))
        self.assertEqual(played.look(Retry), [Retry("TLS handshake: certificate verify failed")])
        played.connect("exch2")
        self.assertEqual(played.server(b"220 exch2\r\n")[1], b"EHLO mx.example.org\r\n")

    def test_too_slow(self) -> None:
        """A server that does not come to an end of it in time is passed over."""
        played = greeted(starttls=True)
        played.server(b"220 exch1\r\n")
        played.expire("greeting")
        self.assertEqual(played.look(Retry), [Retry("STARTTLS: none in 10 s")])

    def test_client_speaks_early(self) -> None:
        """What a client says before its greeting waits for its turn."""
        played = greeted()
        self.assertEqual(played.client(b"EHLO me\r\n"), (b"", b""))
        self.assertEqual(played.server(b"220 exch1\r\n"), (b"220 exch1\r\n", b"EHLO me\r\n"))


class AddressTests(SynchronousTestCase):
    def test_xclient(self) -> None:
        """The server hears the client's address before anything else, and greets anew."""
        played = greeted(client_address="xclient")
        self.assertEqual(played.server(b"220 exch1\r\n")[1], b"EHLO mx.example.org\r\n")
        self.assertEqual(played.server(EHLO)[1], b"XCLIENT ADDR=192.0.2.1 PORT=40000\r\n")
        self.assertEqual(played.server(b"220 exch1 again\r\n"), (b"220 exch1 again\r\n", b""))

    def test_behind_a_proxy(self) -> None:
        """A PROXY header names the client; the listening port decides on TLS, whatever port was reached."""
        known = Facts(Source("198.51.100.7", 4001), Destination("203.0.113.25", 25, 2525))
        service = served(options(client_address="xclient"), "starttls", port=2525)
        played = Played(Smtp, service, known)
        played.begin()
        played.connect()
        played.server(b"220 exch1\r\n")
        self.assertEqual(played.server(EHLO)[1], b"XCLIENT ADDR=198.51.100.7 PORT=4001\r\n")
        played.server(b"220 exch1 again\r\n")
        played.client(b"EHLO me\r\n")
        self.assertIn(b"250 STARTTLS\r\n", played.server(EHLO)[0])

    def test_not_offered(self) -> None:
        """A server that does not take it would take all clients for exproxy, so it gets none."""
        played = greeted(client_address="xclient")
        played.server(b"220 exch1\r\n")
        played.server(b"250 exch1\r\n")
        [retry] = played.look(Retry)
        self.assertIn("XCLIENT: not offered", retry.reason)


class AuthTests(SynchronousTestCase):
    def test_passes(self) -> None:
        """A login passes, its name is noted, and the limits for strangers are over."""
        played = ready()
        self.assertEqual(played.client(b"AUTH LOGIN\r\n")[1], b"AUTH LOGIN\r\n")
        self.assertEqual(played.server(b"334 VXNlcm5hbWU6\r\n")[0], b"334 VXNlcm5hbWU6\r\n")
        self.assertEqual(played.client(b"YW5uYQ==\r\n")[1], b"YW5uYQ==\r\n")
        played.server(b"334 UGFzc3dvcmQ6\r\n")
        self.assertEqual(played.client(b"c2VjcmV0\r\n")[1], b"c2VjcmV0\r\n")
        self.assertEqual(played.server(b"235 ok\r\n")[0], b"235 ok\r\n")
        self.assertEqual(played.recorded(), {"login": "done", "mechanism": "LOGIN", "user": "anna"})
        self.assertIn(SetDeadline("auth", None), played.asked)
        self.assertEqual(played.look(Learn), [])

    def test_ntlm_is_learnt(self) -> None:
        """The name in NTLM's last message is known when the server is chosen long since: it is learnt."""
        played = ready()
        played.client(b"AUTH NTLM TlRMTVNTUAABAAAA\r\n")
        played.server(b"334 TlRMTVNTUAACAAAA\r\n")
        played.client(b64encode(type_3("anna", "EX")) + b"\r\n")
        played.server(b"235 ok\r\n")
        self.assertEqual(played.look(Learn), [Learn(User("EX\\anna"))])

    def test_failures(self) -> None:
        """Passwords are not guessed for ever."""
        played = ready(failed_logins=2)
        for _ in range(2):
            self.assertIsNone(played.over)
            played.client(b"AUTH PLAIN AGEAYg==\r\n")
            played.server(b"535 5.7.8 no\r\n")
        self.assertEqual(played.over, "refused: too many failed logins")


class LimitTests(SynchronousTestCase):
    def test_bad_commands(self) -> None:
        """The third command that does not exist is the last one."""
        played = ready()
        for _ in range(3):
            self.assertIsNone(played.over)
            played.client(b"WHAT\r\n")
            played.server(b"500 unknown\r\n")
        self.assertEqual(played.over, "refused: too many bad commands")

    def test_browsers(self) -> None:
        """A browser that was led here is closed without a word that a page could read."""
        for line in (b"GET / HTTP/1.1", b"POST /mail HTTP/1.1", b"OPTIONS * HTTP/1.1"):
            played = ready()
            self.assertEqual(played.client(line + b"\r\n"), (b"", b""))
            self.assertEqual(played.over, "refused: HTTP")

    def test_strangers(self) -> None:
        """Who has no business here may not talk for ever; a mail is business."""
        played = ready(commands=4)
        for _ in range(3):
            played.client(b"NOOP\r\n")
            played.server(b"250 ok\r\n")
        self.assertIn(b"421 4.7.0", played.client(b"NOOP\r\n")[0])
        played = in_data(commands=4)
        self.assertIsNone(played.over)
        self.assertNotIn("auth", played.script.deadlines)

    def test_no_business_in_time(self) -> None:
        """The time to begin is limited as well."""
        played = ready(timeouts=Timeouts(auth=7.0))
        self.assertEqual(played.script.deadlines["auth"], 7.0)
        self.assertIn(b"421 4.7.0", played.expire("auth")[0])

    def test_idle(self) -> None:
        """Silence ends it; over the end of a message a server may be silent for longer."""
        played = in_data(timeouts=Timeouts(idle=60.0))
        self.assertEqual(played.script.deadlines["idle"], 60.0)
        played.client(b".\r\n")
        self.assertEqual(played.script.deadlines["idle"], 660.0)
        played.server(b"250 queued\r\n")
        self.assertEqual(played.script.deadlines["idle"], 60.0)
        self.assertIn(b"421 4.4.2", played.expire("idle")[0])

    def test_long_line(self) -> None:
        """A line beyond `limits.line` is refused."""
        played = ready(limits=Limits(line=100))
        self.assertIn(b"500 5.5.2", played.client(b"NOOP " + b"x" * 95 + b"\r\n")[0])
        self.assertIsNotNone(played.over)


class DrainTests(SynchronousTestCase):
    def test_between_transactions(self) -> None:
        """421 at once where nothing is under way."""
        played = ready()
        said, _ = played.on(events.Draining(30.0))
        self.assertTrue(said.startswith(b"421 4.3.2 mx.example.org "), said)
        self.assertEqual(played.over, "drained")

    def test_in_a_transaction(self) -> None:
        """What was begun may finish, then comes 421; nothing is cut off."""
        played = in_data()
        self.assertEqual(played.on(events.Draining(30.0)), (b"", b""))
        self.assertEqual(played.client(b"hello\r\n.\r\n")[1], b"hello\r\n.\r\n")
        said, _ = played.server(b"250 queued\r\n")
        self.assertTrue(said.startswith(b"250 queued\r\n421 4.3.2 "), said)

    def test_in_a_command(self) -> None:
        """A command that went to the server is answered first."""
        played = ready()
        played.client(b"NOOP\r\n")
        played.on(events.Draining(30.0))
        self.assertTrue(played.server(b"250 ok\r\n")[0].startswith(b"250 ok\r\n421 "))
