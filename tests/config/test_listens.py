"""Listening addresses: their forms, the TLS of each port, and who is in whose way."""

from __future__ import annotations

from exproxy.config import Listen
from tests.config.reading import SERVERS, ReadingTestCase


class FormTests(ReadingTestCase):
    def listens(self, written: str) -> tuple[Listen, ...]:
        return self.service(f"{{protocol: tcp, listen: {written}}}").listens

    def test_forms(self) -> None:
        """A port, an address with a port, a mapping, and lists of these."""
        table = {
            "443": [("", 443)],
            "'443'": [("", 443)],
            "'*:443'": [("", 443)],
            "':443'": [("", 443)],
            "192.0.2.1:443": [("192.0.2.1", 443)],
            "'[::]:443'": [("::", 443)],
            "'[2001:DB8::0:1]:443'": [("2001:db8::1", 443)],
            "{port: 443}": [("", 443)],
            "{port: 443, address: '::1'}": [("::1", 443)],
            "{port: 443, address: '[::1]'}": [("::1", 443)],
            "[25, 192.0.2.1:26, {port: 27}]": [("", 25), ("192.0.2.1", 26), ("", 27)],
        }
        for written, expected in table.items():
            self.assertEqual([(one.host, one.port) for one in self.listens(written)], expected, written)

    def test_texts(self) -> None:
        """Addresses are written as people do."""
        self.assertEqual(Listen("", 443).text, "*:443")
        self.assertEqual(Listen("192.0.2.1", 443).text, "192.0.2.1:443")
        self.assertEqual(Listen("::", 443).text, "[::]:443")

    def test_wrong_forms(self) -> None:
        """What is no address is refused with the right form, each in its place."""
        for written, word in (
            ("70000", "listen: '70000' is no port; ports are 1 to 65535"),
            ("-1", "listen: '-1' is no port"),
            ("true", "listen: must be a port"),
            ("imap", "listen: 'imap' is no port"),
            ("'::1:443'", 'listen: an IPv6 address needs brackets before the port, like "[::1]:443"'),
            ("outlook.litware.com:443", "listen: 'outlook.litware.com' is no IP address"),
            ("{address: '::1'}", "listen: 'port' is missing"),
            ("{port: 443, tsl: none}", "listen.tsl: unknown option; did you mean 'tls'?"),
            ("[25, {port: 443, address: x}]", "listen[1].address: 'x' is no IP address"),
            ("[25, 99999]", "listen[1]: '99999' is no port"),
        ):
            found = self.wrong(f"{{protocol: tcp, listen: {written}}}")
            self.assertEqual(len(found), 1, found)
            self.assertIn(word, found[0])


class ModeTests(ReadingTestCase):
    def test_default_modes(self) -> None:
        """A port's TLS is the protocol's for that port; where nobody can end it, it is passed through."""
        for protocol, port, mode in (
            ("imap", 143, "none"),
            ("imap", 993, "passthrough"),
            ("imap", 1143, "none"),
            ("smtp", 465, "passthrough"),
            ("tls", 443, "passthrough"),
            ("tcp", 443, "none"),
        ):
            (listen,) = self.service(f"{{protocol: {protocol}, listen: {port}}}").listens
            self.assertEqual(listen.tls, mode, (protocol, port))

    def test_written_modes(self) -> None:
        """What is written holds."""
        (listen,) = self.service("{protocol: imap, listen: {port: 1993, tls: passthrough}}").listens
        self.assertEqual(listen.tls, "passthrough")

    def test_no_certificate(self) -> None:
        """Ending TLS takes a certificate."""
        self.assertEqual(
            self.wrong("{protocol: imap, listen: {port: 993, tls: implicit}}"),
            ["listen.tls: implicit means that exproxy ends TLS: add `certificate: FILE` to the service"],
        )
        self.assertEqual(
            self.wrong("{protocol: https, listen: [443]}"),
            ["listen[0]: protocol 'https' ends TLS on port 443: add `certificate: FILE` to the service"],
        )

    def test_impossible_modes(self) -> None:
        """A mode that the protocol does not have, or nobody has, is refused."""
        self.assertEqual(
            self.wrong("{protocol: rpc, listen: {port: 135, tls: passthrough}}"),
            ["listen.tls: protocol 'rpc' cannot have tls 'passthrough' here, only none"],
        )
        self.assertEqual(
            self.wrong("{protocol: imap, listen: {port: 993, tls: implict}}"),
            ["listen.tls: unknown tls 'implict'; did you mean 'implicit'?"],
        )


class ClashTests(ReadingTestCase):
    def clashes(self, *addresses: str) -> list[str]:
        services = "".join(
            f"  s{number}: {{protocol: tcp, listen: {one}}}\n" for number, one in enumerate(addresses)
        )
        return [message.partition(": ")[2] for message in self.messages(f"{SERVERS}services:\n{services}")]

    def test_no_clash(self) -> None:
        """Different ports, different addresses, different families and free ports live together."""
        self.assertEqual(self.clashes("25", "26"), [])
        self.assertEqual(self.clashes("192.0.2.1:25", "192.0.2.2:25", "'[::1]:25'"), [])
        self.assertEqual(self.clashes("0.0.0.0:25", "'[::1]:25'"), [])
        free = "{port: 0, address: 127.0.0.1}, backend: {port: 25}"
        self.assertEqual(self.clashes(free, free), [])

    def test_the_same(self) -> None:
        """The same address twice, however it is spelled."""
        self.assertEqual(
            self.clashes("25", "'*:25'"), ["*:25 is taken already by services.s0.listen (line 3)"]
        )
        self.assertEqual(
            self.clashes("'[::1]:25'", "'[0:0::1]:25'"),
            ["[::1]:25 is taken already by services.s0.listen (line 3)"],
        )
        self.assertEqual(self.clashes("[25, 26, 25]"), ["*:25 is listed twice (line 3)"])

    def test_wildcards(self) -> None:
        """A wildcard takes what is below it, before or after; "::" takes IPv4 too."""
        for one, other, wide in (
            ("25", "192.0.2.1:25", "*:25 takes every address"),
            ("192.0.2.1:25", "25", "*:25 takes every address"),
            ("0.0.0.0:25", "192.0.2.1:25", "0.0.0.0:25 takes every address"),
            ("'[::]:25'", "192.0.2.1:25", "[::]:25 takes every address and IPv4"),
            ("0.0.0.0:25", "'[::]:25'", "0.0.0.0:25 takes every address"),
            ("25", "'[::1]:25'", "*:25 takes every address"),
        ):
            found = self.clashes(one, other)
            self.assertEqual(len(found), 1, (one, other))
            self.assertIn(wide, found[0])

    def test_one_way_with_tls(self) -> None:
        """One service has one way with TLS on a port, on whatever addresses; two services may differ."""
        (found,) = self.clashes(
            "[{address: 127.0.0.1, port: 25, tls: none}, {address: 127.0.0.2, port: 25, tls: passthrough}]"
        )
        self.assertIn("127.0.0.2:25 has tls 'passthrough', and 127.0.0.1:25 has 'none'", found)
        one = "{address: 127.0.0.1, port: 25, tls: none}"
        other = "{address: 127.0.0.2, port: 25, tls: passthrough}"
        self.assertEqual(self.clashes(one, other), [])

    def test_admin(self) -> None:
        """The administration's address counts too."""
        text = (
            f"{SERVERS}services: {{s: {{protocol: tcp, listen: 8404}}}}\nadmin: {{listen: 127.0.0.1:8404}}\n"
        )
        found = self.messages(text)
        self.assertIn(
            "admin.listen: 127.0.0.1:8404 clashes with *:8404 of services.s.listen (line 2)", found[0]
        )

    def test_lab(self) -> None:
        """The lab's addresses count too, and its control's."""
        text = f"{SERVERS}services: {{s: {{protocol: tcp, listen: [%s]}}}}\nlab: {{}}\n"
        (found,) = self.messages(text % "127.0.0.11:8443")
        self.assertIn("127.0.0.11:8443 is taken already by services.s.listen (line 2)", found)
        (found,) = self.messages(text % "127.0.0.1:8405")
        self.assertIn("lab: 127.0.0.1:8405 is taken already by services.s.listen (line 2)", found)
        self.assertEqual(self.messages(text % "127.0.0.1:8443"), [])
