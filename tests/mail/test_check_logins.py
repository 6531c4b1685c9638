"""The mail checks with STARTTLS and with a login by a test account."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Fail, Pass, StartTLS
from exproxy.events import Connected, Data, Lost, Secured
from exproxy.model import BACKEND, TLS
from exproxy.testing import Script, link
from protocols.mail import imap_check, pop_check, smtp_check

SECURED = Secured(BACKEND, TLS("TLSv1.3"))
PLUGINS = (smtp_check.plugin, imap_check.plugin, pop_check.plugin)
# Greeting, and the answers up to the one that agrees to TLS.
AGREED: dict[str, tuple[bytes, ...]] = {
    "smtp": (b"220 a\r\n", b"250-a\r\n250 STARTTLS\r\n", b"220 go\r\n"),
    "imap": (b"* OK a\r\n", b"s OK go\r\n"),
    "pop": (b"+OK a\r\n", b"+OK go\r\n"),
}
ANSWERS: dict[str, tuple[bytes, ...]] = {
    "smtp": (b"250 a\r\n",),
    "imap": (b"* CAPABILITY IMAP4rev1\r\na OK\r\n",),
    "pop": (b"+OK\r\nTOP\r\n.\r\n",),
}


def asked(plugin: Any, *answers: Any, **options: Any) -> Script:
    """A question with these answers (bytes, or events)."""
    script = Script(plugin.check(plugin.options(**options)).dialogue())
    script.on(Connected(link()))
    for each in answers:
        script.on(Data(BACKEND, each) if isinstance(each, bytes) else each)
    return script


class StartTlsTests(SynchronousTestCase):
    def test_in_turn(self) -> None:
        """TLS is asked for, and the question comes behind it."""
        for plugin in PLUGINS:
            script = asked(plugin, *AGREED[plugin.name], starttls=True)
            self.assertEqual(script.steps[-1][1], [StartTLS(BACKEND)], plugin.name)
            for event in (SECURED, Data(BACKEND, ANSWERS[plugin.name][0])):
                script.on(event)
            self.assertEqual(script.steps[-1][1][-1], Pass(), plugin.name)

    def test_by_the_backend(self) -> None:
        """A backend that is reached by STARTTLS is asked so; the check itself begins plain."""
        for plugin in PLUGINS:
            check: Any = plugin.check(plugin.options())
            self.assertEqual((check.tls, check.upgraded().tls), ("backend", "starttls"))
            script = Script(check.upgraded().dialogue())
            script.on(Connected(link()))
            for each in AGREED[plugin.name]:
                script.on(Data(BACKEND, each))
            self.assertEqual(script.steps[-1][1], [StartTLS(BACKEND)])

    def test_ill(self) -> None:
        """A server that refuses TLS, ends in the handshake, or says more than it should, is not well."""
        for plugin in PLUGINS:
            *before, agreed = AGREED[plugin.name]
            for answers in (
                (*before, {"smtp": b"454 no\r\n", "imap": b"s NO\r\n", "pop": b"-ERR\r\n"}[plugin.name]),
                (*before, agreed + b"250 injected\r\n"),
                (*before, agreed, Lost(BACKEND, "certificate verify failed")),
            ):
                outcome = asked(plugin, *answers, starttls=True).steps[-1][1][-1]
                self.assertIsInstance(outcome, Fail, (plugin.name, answers))


class LoginTests(SynchronousTestCase):
    def login(self, plugin: Any, *answers: bytes, **options: Any) -> tuple[bytes, Any]:
        first = AGREED[plugin.name][0]
        account = {"user": "probe", "password": "s3cret"}
        script = asked(plugin, first, *ANSWERS[plugin.name], *answers, **{**account, **options})
        return script.server, script.steps[-1][1][-1]

    def test_smtp(self) -> None:
        """AUTH PLAIN, or LOGIN as Exchange has it."""
        said, outcome = self.login(smtp_check.plugin, b"235 ok\r\n")
        self.assertIn(b"AUTH PLAIN AHByb2JlAHMzY3JldA==\r\n", said)
        self.assertEqual(outcome, Pass())
        said, outcome = self.login(
            smtp_check.plugin,
            b"334 VXNlcm5hbWU6\r\n",
            b"334 UGFzc3dvcmQ6\r\n",
            b"235 ok\r\n",
            mechanism="login",
        )
        self.assertIn(b"AUTH LOGIN\r\ncHJvYmU=\r\nczNjcmV0\r\n", said)
        self.assertEqual(outcome, Pass())

    def test_imap(self) -> None:
        """LOGIN, quoted or by literals."""
        said, outcome = self.login(imap_check.plugin, b"c OK\r\n")
        self.assertIn(b'c LOGIN "probe" "s3cret"\r\nb LOGOUT\r\n', said)
        self.assertEqual(outcome, Pass())
        word = "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n"
        said, outcome = self.login(imap_check.plugin, b"+ go\r\n", b"* X\r\nc OK\r\n", password=word)
        self.assertIn(b'c LOGIN "probe" {5}\r\n%b\r\nb LOGOUT\r\n' % word.encode(), said)
        self.assertEqual(outcome, Pass())

    def test_pop(self) -> None:
        """USER and PASS."""
        said, outcome = self.login(pop_check.plugin, b"+OK\r\n", b"+OK\r\n")
        self.assertIn(b"USER probe\r\nPASS s3cret\r\nQUIT\r\n", said)
        self.assertEqual(outcome, Pass())

    def test_refused(self) -> None:
        """A refused login is told of in the server's words, without the password; so is no option."""
        for plugin, answer in zip(PLUGINS, (b"535 no\r\n", b"c NO no\r\n", b"-ERR no\r\n"), strict=True):
            _, outcome = self.login(plugin, answer)
            self.assertIsInstance(outcome, Fail)
            self.assertEqual(outcome.code, "L7STS")
            self.assertNotIn("s3cret", repr(outcome))
            self.assertNotIn("s3cret", repr(plugin.options(user="probe", password="s3cret")))

    def test_options(self) -> None:
        """A user alone is no login, and none may end a line."""
        for options in ({"user": "probe"}, {"password": "x"}, {"user": "a\r\nb", "password": "x"}):
            for plugin in PLUGINS:
                self.assertRaises(ValidationError, plugin.options.model_validate, options)
