"""SMTP, as a client and its servers see it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.testing import Script, check_protocol_plugin, service
from protocols.mail.smtp import Smtp, plugin


class SmtpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.script = Script(Smtp(service(host_name="mail.example.org")))

    def test_contract(self) -> None:
        """The plugin keeps what the framework counts on."""
        check_protocol_plugin(plugin)

    def test_ports(self) -> None:
        """25 and 587 begin in plain text, 465 with TLS; the idle time outlasts a slow end of data."""
        self.assertEqual(plugin.default_ports, {25: "none", 587: "none", 465: "implicit"})
        self.assertEqual(plugin.defaults["timeouts"], {"idle": "11m"})

    def test_served(self) -> None:
        """A server that greets gets its client, and the client the greeting."""
        self.script.transcript("""
            began
                -> pick
            connected exch1
                -> hold client
                -> deadline greeting in 10 s
            server: 220 exch1.example.org Microsoft ESMTP MAIL Service ready
                -> client: 220 exch1.example.org Microsoft ESMTP MAIL Service ready
                -> relay
        """)

    def test_greeting_of_many_lines(self) -> None:
        """A greeting goes on until a line without a hyphen."""
        self.script.transcript("""
            began
                -> pick
            connected exch1
                -> hold client
                -> deadline greeting in 10 s
            server: 220-exch1.example.org
            server: 220-no unsolicited mail
            server: 220 ready
                -> client: 220-exch1.example.org
                -> client: 220-no unsolicited mail
                -> client: 220 ready
                -> relay
        """)

    def test_server_refuses(self) -> None:
        """A server that says 421 or 554 is as good as down: the client gets the next one and never knows."""
        self.script.transcript("""
            began
                -> pick
            connected exch1
                -> hold client
                -> deadline greeting in 10 s
            server: 421 4.3.2 Service not available
                -> no deadline greeting
                -> retry: greeting: 421 4.3.2 Service not available
            connected exch2
                -> hold client
                -> deadline greeting in 10 s
            server: 220 exch2.example.org
                -> client: 220 exch2.example.org
                -> relay
        """)

    def test_no_server(self) -> None:
        """A client that nobody can serve is told so in its own words, and none of the reasons."""
        self.script.transcript("""
            began
                -> pick
            unavailable: all are DOWN
                -> client: 421 4.3.2 mail.example.org Service not available, closing transmission channel
                -> hang up
        """)

    def test_nonsense(self) -> None:
        """Another protocol's server is no SMTP server, nor is one whose greeting changes its mind."""
        for lines in ([b"* OK IMAP"], [b""], [b"220-exch1", b"554 no"], [b"22"]):
            self.assertIs(Smtp(service()).greeted(lines), False)

    def test_bare_code(self) -> None:
        """A code without a text is a greeting too."""
        self.assertIs(Smtp(service()).greeted([b"220"]), True)
        self.assertIsNone(Smtp(service()).greeted([b"220-"]))
