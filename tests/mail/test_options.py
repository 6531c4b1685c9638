"""The configuration of mail in the path, with the plugins themselves."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from exproxy.config import Config, Invalid, load
from exproxy.model import User
from exproxy.testing import service
from protocols.mail.imap import plugin as imap
from protocols.mail.options import ImapOptions, SmtpOptions, reads
from tests.certificates import pem
from tests.mail.dialogues import SECRETS

ETC = Path(__file__).resolve().parents[2] / "etc"
SERVERS = "servers: {a: 192.0.2.11, b: 192.0.2.12}\n"


class ConfigurationTests(SynchronousTestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="exproxy-mail-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        for name in ("mail.litware.com.pem", "ca.pem"):
            shutil.copy(pem("mail.litware.com"), self.folder / name)

    def config(self, services: str) -> Config:
        path = self.folder / "exproxy.yaml"
        path.write_text(f"{SERVERS}services:\n  s: {{certificate: mail.litware.com.pem, {services}}}\n")
        return load(path, host_name="lb.test")

    def wrong(self, services: str) -> str:
        """What is said of it."""
        return str(self.assertRaises(Invalid, self.config, services))

    def test_example(self) -> None:
        """etc/mail.yaml is good as it stands, with nothing doubtful in it."""
        config = load(Path(shutil.copy(ETC / "mail.yaml", self.folder)), host_name="lb.test")
        self.assertEqual(config.warning_text, "")
        imap = config.services["imap"]
        self.assertEqual([listen.tls for listen in imap.listens], ["starttls", "implicit"])
        targets = {imap.target(listen) for listen in imap.listens}
        self.assertEqual({(each.port, each.tls_mode) for each in targets}, {(143, "starttls")})
        smtp = config.services["smtp"]
        self.assertEqual(smtp.target(smtp.listens[0]).tls_mode, "starttls")

    def test_follows(self) -> None:
        """Without a mode the servers are reached as the clients come, and verified."""
        one = self.config("protocol: pop, listen: [{port: 110, tls: starttls}, 995]").services["s"]
        targets = [one.target(listen) for listen in one.listens]
        self.assertEqual([each.tls_mode for each in targets], ["starttls", "implicit"])
        self.assertEqual([each.tls.verify for each in targets if each.tls], ["system", "system"])

    def test_needs_a_certificate(self) -> None:
        """STARTTLS without a certificate is an error that says so."""
        path = self.folder / "exproxy.yaml"
        path.write_text(
            f"{SERVERS}services:\n  s: {{protocol: imap, listen: {{port: 143, tls: starttls}}}}\n"
        )
        self.assertIn("starttls means that exproxy ends TLS", str(self.assertRaises(Invalid, load, path)))

    def test_wrong_protocol(self) -> None:
        """STARTTLS is a word of three protocols."""
        wrong = self.wrong("protocol: https, listen: 443, backend: {tls: {mode: starttls}}")
        self.assertIn("starttls is a word of smtp, imap and pop", wrong)
        wrong = self.wrong("protocol: https, listen: {port: 443, tls: starttls}")
        self.assertIn("protocol 'https' cannot have tls 'starttls'", wrong)

    def test_passthrough(self) -> None:
        """What passes through unopened cannot be asked for STARTTLS."""
        wrong = self.wrong(
            "protocol: imap, listen: {port: 993, tls: passthrough}, backend: {tls: {mode: starttls}}"
        )
        self.assertIn("cannot have mode 'starttls'", wrong)

    def test_user(self) -> None:
        """The persistence user needs a login before the choice, and the error says how to have one."""
        self.assertIn(
            "write protocol: {imap: {routing: user}}",
            self.wrong("protocol: imap, listen: 143, persistence: user"),
        )
        self.config("protocol: {imap: {routing: user}}, listen: 143, persistence: user")
        self.config("protocol: https, listen: 443, persistence: user")

    def test_full(self) -> None:
        """In SMTP nothing can be read of what is relayed."""
        wrong = self.wrong("protocol: {smtp: {relay: full, client-address: xclient}}, listen: 25")
        self.assertIn("client-address could not be kept", wrong)
        self.assertIn("'none' or 'xclient'", self.wrong("protocol: {smtp: {client-address: id}}, listen: 25"))


class ReadsTests(SynchronousTestCase):
    def test_given(self) -> None:
        """The user is known before the choice where exproxy greets, and only there."""
        self.assertEqual(imap.given(ImapOptions(routing="user")), (User,))
        self.assertEqual(imap.given(ImapOptions()), ())

    def test_where(self) -> None:
        """A plain port without options is a relay; whatever needs reading makes it read."""
        for mode, options, wanted in (
            ("none", {}, False),
            ("none", {"relay": "watched"}, True),
            ("none", {"bare_newline": "refuse"}, True),
            ("none", {"routing": "user"}, True),
            ("none", {"client_address": "xclient"}, True),
            ("implicit", {}, True),
            ("implicit", {"relay": "full"}, False),
            ("starttls", {}, True),
            ("passthrough", {"relay": "watched"}, False),
        ):
            served = service(SmtpOptions(**options), tls={25: mode})
            self.assertEqual(reads(served, 25), wanted, (mode, options))
        self.assertTrue(reads(service(SmtpOptions(), starttls=SECRETS), 25))
        self.assertFalse(reads(service(), 25))
