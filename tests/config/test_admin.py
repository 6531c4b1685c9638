"""The section `admin:`: where the administration listens, and for whom."""

from __future__ import annotations

from exproxy.config import AdminConfig, AdminToken, Listen
from tests.certificates import ca_file, pem
from tests.config.reading import ReadingTestCase

REST = "servers: {a: 192.0.2.1}\nservices: {s: {protocol: tcp, listen: 25}}\n"
SECRET = "0123456789abcdef"


class AdminTests(ReadingTestCase):
    def admin(self, text: str) -> AdminConfig:
        """What that section means."""
        found = self.config(f"{REST}admin: {text}\n").admin
        assert found is not None
        return found

    def told(self, text: str) -> list[str]:
        """The problems of that section."""
        return self.messages(f"{REST}admin: {text}\n")

    def test_default(self) -> None:
        """Without a word on where, it is port 8404 of this machine, plain and without tokens."""
        for text in ("", "{}"):
            self.assertEqual(self.admin(text), AdminConfig((Listen("127.0.0.1", 8404),)))

    def test_addresses(self) -> None:
        """Several loopback addresses may be given, IPv6 too."""
        found = self.admin('{listen: ["127.0.0.2:1", "[::1]:2"]}')
        self.assertEqual(found.listens, (Listen("127.0.0.2", 1), Listen("::1", 2)))

    def test_wrong(self) -> None:
        """Mistakes of shape are told like all others."""
        for text, message in (
            ("{listen: x}", "admin.listen: 'x' is no port"),
            ("{listen: {address: 127.0.0.1}}", "admin.listen: 'port' is missing"),
            ("{lisen: 5}", "admin.lisen: unknown option; did you mean 'listen'?"),
            ("{listen: {port: 1, address: '::1', tls: starttls}}", "admin.listen.tls: must be 'none' or"),
            ("{listen: {port: 1, address: '::1', tls: implicit}}", "admin.listen.tls: implicit needs a cert"),
            ("{tls: {}}", "admin.tls: 'certificate' is missing"),
            ("{origins: lb.example.org}", "admin.origins: 'lb.example.org' is no origin"),
            ("{tokens: [{name: a}]}", "admin.tokens[0]: 'token' is missing"),
            (f"{{tokens: [{{token: {SECRET}}}]}}", "admin.tokens[0]: 'name' is missing"),
            ("{tokens: [{name: a, token: short}]}", "admin.tokens[0].token: is too short: at least 16"),
            ("{tokens: [{name: a, token: 'with a space in the middle'}]}", "may have letters, digits"),
        ):
            self.assertIn(message, "\n".join(self.told(text)), text)

    def test_off_loopback(self) -> None:
        """An address that others reach needs TLS and tokens; the place in the file is told."""
        wrong = [each for each in self.problems(f"{REST}admin:\n  listen: 8404\n") if "reached" in each]
        self.assertEqual(len(wrong), 1)
        self.assertIn("4:11 admin.listen: *:8404 can be reached from other machines", wrong[0])
        self.assertIn("add TLS (admin.tls, {certificate: FILE}) and tokens", wrong[0])
        self.assertIn("or listen on 127.0.0.1:8404", wrong[0])
        tls = f"tls: {{certificate: {pem('lb.test')}}}"
        tokens = f"tokens: [{{name: anna, role: operate, token: {SECRET}}}]"
        self.assertIn("add tokens", "\n".join(self.told(f"{{listen: '192.0.2.1:1', {tls}}}")))
        self.assertIn("add TLS", "\n".join(self.told(f"{{listen: '192.0.2.1:1', {tokens}}}")))
        plain = "{address: 192.0.2.1, port: 1, tls: none}"
        self.assertIn("add TLS", "\n".join(self.told(f"{{listen: {plain}, {tls}, {tokens}}}")))
        found = self.admin(f"{{listen: '192.0.2.1:1', {tls}, {tokens}}}")
        self.assertEqual(found.listens, (Listen("192.0.2.1", 1, "implicit"),))
        self.assertEqual(found.certificates[0].cert, pem("lb.test"))
        self.assertEqual(found.tokens, (AdminToken("anna", "operate", SECRET.encode()),))

    def test_client_certificates(self) -> None:
        """They may be asked for as a service does."""
        text = f"{{certificate: {pem('lb.test')}, client-certificates: {{ca: {ca_file()}}}, profile: modern}}"
        found = self.admin(f"{{tls: {text}}}")
        self.assertEqual((found.tls.profile, found.tls.client_required), ("modern", True))

    def test_tokens(self) -> None:
        """A token comes from a file, reads by default, is shown nowhere; one in the clear is warned of."""
        (self.folder / "token").write_text(f"{SECRET}-file\n")
        config = self.config(f"{REST}admin: {{tokens: [{{name: a, token: !file token}}]}}\n")
        assert config.admin is not None
        self.assertEqual(config.admin.tokens, (AdminToken("a", "read", f"{SECRET}-file".encode()),))
        self.assertEqual(config.warnings, ())
        self.assertNotIn(SECRET, repr(config.admin))
        config = self.config(f"{REST}admin: {{tokens: [{{name: a, token: {SECRET}}}]}}\n")
        self.assertIn("admin.tokens[0].token: stands here in the clear", config.warning_text)
        self.assertNotIn(SECRET, config.warning_text)

    def test_twice(self) -> None:
        """Two of one name, or of one token, could not be told apart."""
        one, two = f"{{name: a, token: {SECRET}}}", f"{{name: b, token: {SECRET}}}"
        self.assertIn("'a' is there twice", "\n".join(self.told(f"{{tokens: [{one}, {one}]}}")))
        self.assertIn("is that of another name", "\n".join(self.told(f"{{tokens: [{one}, {two}]}}")))

    def test_origins(self) -> None:
        """Origins are made one: lower case, without the usual port."""
        found = self.admin("{origins: ['https://LB.example.org:443/', 'http://[::1]:81']}")
        self.assertEqual(found.origins, ("https://lb.example.org", "http://[::1]:81"))
