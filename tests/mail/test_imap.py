"""IMAP, as a client and its servers see it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.testing import Script, check_protocol_plugin, service
from protocols.mail.imap import Imap, plugin


class ImapTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.script = Script(Imap(service(host_name="mail.example.org")))

    def test_contract(self) -> None:
        """The plugin keeps what the framework counts on."""
        check_protocol_plugin(plugin)

    def test_ports(self) -> None:
        """143 begins in plain text, 993 with TLS; a client in IDLE is left alone for 29 minutes."""
        self.assertEqual(plugin.default_ports, {143: "none", 993: "implicit"})
        self.assertEqual(plugin.defaults["timeouts"], {"idle": "31m"})

    def test_served(self) -> None:
        """A server that greets gets its client."""
        self.script.transcript("""
            began
                -> pick
            connected exch1
                -> hold client
                -> deadline greeting in 10 s
            server: * OK The Microsoft Exchange IMAP4 service is ready.
                -> client: * OK The Microsoft Exchange IMAP4 service is ready.
                -> relay
        """)

    def test_server_refuses(self) -> None:
        """A server that says BYE is as good as down."""
        self.script.transcript("""
            began
                -> pick
            connected exch1
                -> hold client
                -> deadline greeting in 10 s
            server: * BYE Connection is closed. 14
                -> no deadline greeting
                -> retry: greeting: * BYE Connection is closed. 14
        """)

    def test_no_server(self) -> None:
        """A client that nobody can serve is told BYE in place of a greeting."""
        self.script.transcript("""
            began
                -> pick
            unavailable: all are DOWN
                -> client: * BYE [UNAVAILABLE] mail.example.org Service not available, try again later
                -> hang up
        """)

    def test_greetings(self) -> None:
        """OK and PREAUTH in any case are greetings; nothing else is."""
        imap = Imap(service())
        for line in (b"* OK ready", b"* ok ready", b"* OK", b"* PREAUTH user1"):
            self.assertIs(imap.greeted([line]), True)
        for line in (b"* OKAY", b"a OK", b"*OK", b"+OK", b"220 x", b"", b"* NO"):
            self.assertIs(imap.greeted([line]), False)
