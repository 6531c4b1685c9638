"""SMTP with `routing: user`: exproxy greets, a login names the server, and is said there once."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy import events
from exproxy.actions import Close, Learn, Relay, Retry, StartTLS
from exproxy.model import BACKEND, CLIENT, User
from exproxy.testing import facts
from protocols.mail.options import SmtpOptions
from protocols.mail.smtp_alone import Smtp
from tests.http.test_ntlm import type_3
from tests.mail.dialogues import Played, served

PLAIN = b64encode(b"\0anna\0secret")
LIST = b"250-exch1\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN\r\n"


def greeted(tls: str = "none", starttls: bool = False, **said: Any) -> Played:
    """A client that exproxy has greeted, and that has said EHLO."""
    played = Played(Smtp, served(SmtpOptions(routing="user", **said), tls, starttls))
    played.begin()
    played.client(b"EHLO me.test\r\n")
    return played


def dialled(played: Played, words: bytes = LIST) -> bytes:
    """The server is there, and has greeted and answered EHLO; what it is sent then."""
    played.connect()
    assert played.server(b"220 exch1\r\n") == (b"", b"EHLO me.test\r\n")
    return played.server(words)[1]


class UserTests(SynchronousTestCase):
    def test_alone(self) -> None:
        """exproxy greets with its own name, and answers what needs no server."""
        said = SmtpOptions(routing="user", greeting="mail.litware.com", offer=("SIZE 10",))
        played = Played(Smtp, served(said))
        self.assertEqual(played.begin(), b"220 mail.litware.com ESMTP\r\n")
        said, _ = played.client(b"EHLO me.test\r\n")
        self.assertEqual(said.splitlines()[0], b"250-mail.litware.com")
        self.assertEqual(
            {line[4:] for line in said.splitlines()[1:]},
            {b"PIPELINING", b"8BITMIME", b"ENHANCEDSTATUSCODES", b"AUTH PLAIN LOGIN", b"SIZE 10"},
        )
        for command, code in (
            (b"NOOP", b"250"), (b"RSET", b"250"), (b"HELO x", b"250"), (b"EHLO", b"501"),
            (b"MAIL FROM:<a@x>", b"530"), (b"XCLIENT ADDR=1.2.3.4", b"502"), (b"STARTTLS", b"502"),
            (b"AUTH GSSAPI", b"504"), (b"QUIT", b"221"),
        ):  # fmt: skip
            self.assertEqual(played.client(command + b"\r\n")[0][:3], code, command)
        self.assertEqual(played.users(), [])

    def test_plain(self) -> None:
        """The name of PLAIN chooses the server; the credentials are said there once, then commands pass."""
        played = greeted()
        played.client(b"AUTH PLAIN " + PLAIN + b"\r\n")
        self.assertEqual(played.users(), [facts(User("anna"))])
        self.assertEqual(dialled(played), b"AUTH PLAIN " + PLAIN + b"\r\n")
        self.assertEqual(played.server(b"235 2.7.0 ok\r\n")[0], b"235 2.7.0 ok\r\n")
        self.assertEqual(played.recorded(), {"login": "done", "mechanism": "PLAIN", "user": "anna"})
        self.assertEqual(played.client(b"MAIL FROM:<a@x>\r\n")[1], b"MAIL FROM:<a@x>\r\n")

    def test_untrue(self) -> None:
        """What was told and is not true of the server is counted, and stands in the access log."""
        played = greeted(offer=("SIZE 10", "DSN"), hide=("8BITMIME",))
        played.client(b"AUTH PLAIN " + PLAIN + b"\r\n")
        dialled(played, b"250-exch1\r\n250-SIZE 20\r\n250 AUTH PLAIN\r\n")
        self.assertEqual(played.counted(), ["capabilities_missing"])
        self.assertEqual(played.recorded(), {"capabilities_missing": "ENHANCEDSTATUSCODES DSN"})

    def test_asked_for(self) -> None:
        """PLAIN without an initial response and LOGIN are asked for; LOGIN is replayed where PLAIN is not."""
        played = greeted()
        self.assertEqual(played.client(b"AUTH PLAIN\r\n")[0], b"334 \r\n")
        played.client(PLAIN + b"\r\n")
        self.assertEqual(played.users(), [facts(User("anna"))])
        played = greeted()
        self.assertEqual(played.client(b"AUTH LOGIN\r\n")[0], b"334 VXNlcm5hbWU6\r\n")
        self.assertEqual(played.client(b"YW5uYQ==\r\n")[0], b"334 UGFzc3dvcmQ6\r\n")
        played.client(b"c2VjcmV0\r\n")
        self.assertEqual(played.users(), [facts(User("anna"))])
        self.assertEqual(dialled(played, b"250-exch1\r\n250 AUTH NTLM LOGIN\r\n"), b"AUTH LOGIN\r\n")
        self.assertEqual(played.server(b"334 VXNlcm5hbWU6\r\n"), (b"", b"YW5uYQ==\r\n"))
        self.assertEqual(played.server(b"334 UGFzc3dvcmQ6\r\n"), (b"", b"c2VjcmV0\r\n"))
        self.assertEqual(played.server(b"235 ok\r\n")[0], b"235 ok\r\n")

    def test_whose_mailbox(self) -> None:
        """Who acts for another goes where that one is."""
        played = greeted()
        played.client(b"AUTH PLAIN " + b64encode(b"shared\0anna\0secret") + b"\r\n")
        self.assertEqual(played.users(), [facts(User("shared"))])

    def test_nonsense(self) -> None:
        """Credentials that are none cost no server a connection."""
        for line in (b"AUTH PLAIN !!!", b"AUTH PLAIN " + b64encode(b"anna\0secret"), b"AUTH PLAIN ="):
            played = greeted()
            self.assertEqual(played.client(line + b"\r\n")[0][:3], b"501")
            self.assertEqual(played.users(), [])
        played = greeted()
        played.client(b"AUTH LOGIN\r\n")
        self.assertEqual(played.client(b"*\r\n")[0][:3], b"501")

    def test_refused(self) -> None:
        """A server's refusal is passed on, its connection closed; another name may get another server."""
        played = greeted()
        played.client(b"AUTH PLAIN " + PLAIN + b"\r\n")
        dialled(played)
        self.assertEqual(played.server(b"535 5.7.8 no\r\n")[0], b"535 5.7.8 no\r\n")
        self.assertEqual([type(each) for each in played.look(Close)], [Close])
        played.users()
        played.client(b"AUTH PLAIN " + b64encode(b"\0bert\0secret") + b"\r\n")
        self.assertEqual(played.users(), [facts(User("bert"))])

    def test_lost_before_it_was_said(self) -> None:
        """A server that ends before it knows the password is another's turn."""
        played = greeted()
        played.client(b"AUTH PLAIN " + PLAIN + b"\r\n")
        played.connect()
        played.on(events.Lost(BACKEND, "reset"))
        self.assertEqual(played.look(Retry), [Retry("greeting: reset")])
        self.assertEqual(dialled(played), b"AUTH PLAIN " + PLAIN + b"\r\n")

    def test_lost_after_it_was_said(self) -> None:
        """One that ends after that is not followed by another, which would hear the password too."""
        played = greeted()
        played.client(b"AUTH PLAIN " + PLAIN + b"\r\n")
        dialled(played)
        self.assertEqual(played.on(events.Lost(BACKEND, "reset"))[0][:9], b"454 4.7.0")
        self.assertEqual(played.look(Retry), [])
        self.assertIsNone(played.over)

    def test_no_server(self) -> None:
        """Without a server a login fails for now, and nothing is said of the password."""
        played = greeted()
        played.client(b"AUTH PLAIN " + PLAIN + b"\r\n")
        self.assertEqual(played.on(events.Unavailable("all are DOWN"))[0][:9], b"454 4.7.0")
        self.assertEqual(played.client(b"NOOP\r\n")[0][:3], b"250")

    def test_behind_starttls(self) -> None:
        """TLS on both sides: the client's before its login, the server's before the password."""
        played = greeted("starttls", starttls=True)
        self.assertNotIn(b"AUTH", played.script.client)
        self.assertEqual(played.client(b"AUTH PLAIN " + PLAIN + b"\r\n")[0][:3], b"530")
        played.client(b"STARTTLS\r\n")
        played.secure(CLIENT)
        self.assertEqual(played.client(b"AUTH PLAIN " + PLAIN + b"\r\n")[0][:3], b"503")
        self.assertIn(b"AUTH PLAIN LOGIN", played.client(b"EHLO me.test\r\n")[0])
        played.client(b"AUTH PLAIN " + PLAIN + b"\r\n")
        played.connect()
        played.server(b"220 exch1\r\n")
        played.server(b"250-exch1\r\n250 STARTTLS\r\n")
        played.server(b"220 go\r\n")
        self.assertEqual(len(played.look(StartTLS)), 2)
        self.assertNotIn(PLAIN, played.script.server)
        self.assertEqual(played.secure(BACKEND)[1], b"EHLO me.test\r\n")
        self.assertEqual(played.server(LIST)[1], b"AUTH PLAIN " + PLAIN + b"\r\n")

    def test_ntlm(self) -> None:
        """NTLM names nobody in time: any server is taken, the legs pass, and the name is learnt."""
        played = greeted(mechanisms=("PLAIN", "NTLM"))
        played.client(b"AUTH NTLM TlRMTVNTUAABAAAA\r\n")
        self.assertEqual(played.users(), [facts()])
        self.assertEqual(dialled(played), b"AUTH NTLM TlRMTVNTUAABAAAA\r\n")
        played.server(b"334 TlRMTVNTUAACAAAA\r\n")
        played.client(b64encode(type_3("anna", "EX")) + b"\r\n")
        self.assertEqual(played.server(b"235 ok\r\n")[0], b"235 ok\r\n")
        self.assertEqual(played.look(Learn), [Learn(User("EX\\anna"))])

    def test_secrets_show_nowhere(self) -> None:
        """No action but the one to the server has the password, nor does the conversation afterwards."""
        played = greeted()
        played.client(b"AUTH PLAIN " + PLAIN + b"\r\n")
        dialled(played)
        played.server(b"235 ok\r\n")
        for shown in (repr(played.asked), repr(played.script.conversation.__dict__)):
            self.assertNotIn("secret", shown)
            self.assertNotIn(PLAIN.decode(), shown)
        self.assertEqual(played.look(Relay), [])
