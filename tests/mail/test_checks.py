"""The mail checks, as a server sees them."""

from __future__ import annotations

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Pass
from exproxy.events import Connected, Data
from exproxy.interfaces import ICheckPlugin
from exproxy.model import BACKEND
from exproxy.testing import Script, check_check_plugin, every_split, link
from protocols.mail import imap_check, pop_check, smtp_check


class MailCheckCase(SynchronousTestCase):
    """How the three are asked."""

    def ask(self, plugin: ICheckPlugin, text: str) -> None:
        """Play one question as a transcript."""
        Script(plugin.check(plugin.options()).dialogue()).transcript(text)

    def whole(self, plugin: ICheckPlugin, answers: bytes, said: bytes) -> None:
        """However ``answers`` are cut, ``said`` is asked and it ends well."""
        for pieces in every_split(answers):
            script = Script(plugin.check(plugin.options()).dialogue())
            script.on(Connected(link()))
            for piece in pieces:
                script.on(Data(BACKEND, piece))
            self.assertEqual(script.server, said)
            self.assertEqual(script.steps[-1][1][-1], Pass())


class MailCheckTests(SynchronousTestCase):
    def test_contract(self) -> None:
        """All three keep what the framework counts on, and speak TLS where the backend does."""
        for plugin in (smtp_check.plugin, imap_check.plugin, pop_check.plugin):
            check_check_plugin(plugin)
            check = plugin.check(plugin.options())
            self.assertEqual((check.tls, check.layer), ("backend", "L7"))


class SmtpCheckTests(MailCheckCase):
    plugin = smtp_check.plugin

    def test_well(self) -> None:
        """Banner, EHLO, QUIT."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: 220 exch1 Microsoft ESMTP MAIL Service ready
                -> server: EHLO localhost
            server: 250-exch1 Hello
            server: 250-SIZE
            server: 250 OK
                -> server: QUIT
                -> pass
            """,
        )

    def test_every_split(self) -> None:
        """However the answers are cut."""
        self.whole(self.plugin, b"220-a\r\n220 b\r\n250-c\r\n250 d\r\n", b"EHLO localhost\r\nQUIT\r\n")

    def test_busy(self) -> None:
        """A server that refuses says how."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: 421 4.3.2 The maximum number of concurrent connections has been exceeded
                -> fail L7STS banner: 421 4.3.2 The maximum number of concurrent connections has been exceeded
            """,
        )

    def test_no_ehlo(self) -> None:
        """A server that does not like EHLO is told by its answer."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: 220 exch1
                -> server: EHLO localhost
            server: 502 Command not implemented
                -> fail L7STS EHLO: 502 Command not implemented
            """,
        )

    def test_another_protocol(self) -> None:
        """A server of another protocol is none of ours."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: * OK IMAP4rev1 ready
                -> fail L7RSP banner: * OK IMAP4rev1 ready
            """,
        )

    def test_name(self) -> None:
        """The name that is said can be chosen; it cannot be a second command."""
        options = smtp_check.SmtpCheckOptions(ehlo="lb.example.org")
        script = Script(smtp_check.plugin.check(options).dialogue())
        script.on(Connected(link()))
        script.on(Data(BACKEND, b"220 exch1\r\n"))
        self.assertEqual(script.server, b"EHLO lb.example.org\r\n")
        self.assertRaises(ValidationError, smtp_check.SmtpCheckOptions, ehlo="a\r\nMAIL FROM:<>")


class ImapCheckTests(MailCheckCase):
    plugin = imap_check.plugin

    def test_well(self) -> None:
        """Greeting, CAPABILITY, LOGOUT."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: * OK The Microsoft Exchange IMAP4 service is ready.
                -> server: a CAPABILITY
            server: * CAPABILITY IMAP4 IMAP4rev1 IDLE
            server: a OK CAPABILITY completed.
                -> server: b LOGOUT
                -> pass
            """,
        )

    def test_every_split(self) -> None:
        """However the answers are cut."""
        self.whole(
            self.plugin,
            b"* OK ready\r\n* CAPABILITY IMAP4rev1\r\na OK done\r\n",
            b"a CAPABILITY\r\nb LOGOUT\r\n",
        )

    def test_bye(self) -> None:
        """BYE is a refusal, as a greeting and as an answer."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: * BYE Connection refused
                -> fail L7STS greeting: * BYE Connection refused
            """,
        )
        self.ask(
            self.plugin,
            """
            connected exch1
            server: * OK ready
                -> server: a CAPABILITY
            server: * BYE shutting down
                -> fail L7STS CAPABILITY: * BYE shutting down
            """,
        )

    def test_bad(self) -> None:
        """A command that is not done is a failure."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: * OK ready
                -> server: a CAPABILITY
            server: a NO Service unavailable
                -> fail L7STS CAPABILITY: a NO Service unavailable
            """,
        )

    def test_another_protocol(self) -> None:
        """A server of another protocol is none of ours."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: 220 exch1
                -> fail L7RSP greeting: 220 exch1
            """,
        )
        self.ask(
            self.plugin,
            """
            connected exch1
            server: * OK ready
                -> server: a CAPABILITY
            server: what?
                -> fail L7RSP CAPABILITY: what?
            """,
        )


class PopCheckTests(MailCheckCase):
    plugin = pop_check.plugin

    def test_well(self) -> None:
        """Greeting, CAPA, QUIT."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: +OK The Microsoft Exchange POP3 service is ready.
                -> server: CAPA
            server: +OK
            server: TOP
            server: UIDL
            server: .
                -> server: QUIT
                -> pass
            """,
        )

    def test_every_split(self) -> None:
        """However the answers are cut."""
        self.whole(self.plugin, b"+OK\r\n+OK\r\nTOP\r\n.\r\n", b"CAPA\r\nQUIT\r\n")

    def test_without_capa(self) -> None:
        """A server too old for CAPA is well nevertheless."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: +OK ready
                -> server: CAPA
            server: -ERR Protocol error. 13
                -> server: QUIT
                -> pass
            """,
        )

    def test_refused(self) -> None:
        """A greeting with -ERR is a refusal, one of another protocol nonsense."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: -ERR Connection refused
                -> fail L7STS greeting: -ERR Connection refused
            """,
        )
        self.ask(
            self.plugin,
            """
            connected exch1
            server: 220 exch1
                -> fail L7RSP greeting: 220 exch1
            """,
        )

    def test_nonsense(self) -> None:
        """An answer to CAPA that is none is a failure."""
        self.ask(
            self.plugin,
            """
            connected exch1
            server: +OK ready
                -> server: CAPA
            server: what?
                -> fail L7RSP CAPA: what?
            """,
        )
