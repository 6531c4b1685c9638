"""POP, as a client and its servers see it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.testing import Script, check_protocol_plugin, service
from protocols.mail.pop import Pop, plugin


class PopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.script = Script(Pop(service(host_name="mail.example.org")))

    def test_contract(self) -> None:
        """The plugin keeps what the framework counts on."""
        check_protocol_plugin(plugin)

    def test_ports(self) -> None:
        """110 begins in plain text, 995 with TLS; the servers' own timers come first."""
        self.assertEqual(plugin.default_ports, {110: "none", 995: "implicit"})
        self.assertEqual(plugin.defaults["timeouts"], {"idle": "1h"})

    def test_served(self) -> None:
        """A server that greets gets its client."""
        self.script.transcript("""
            began
                -> pick
            connected exch1
                -> hold client
                -> deadline greeting in 10 s
            server: +OK The Microsoft Exchange POP3 service is ready.
                -> client: +OK The Microsoft Exchange POP3 service is ready.
                -> relay
        """)

    def test_server_refuses(self) -> None:
        """A server that says -ERR is as good as down."""
        self.script.transcript("""
            began
                -> pick
            connected exch1
                -> hold client
                -> deadline greeting in 10 s
            server: -ERR Connection is closed. 10
                -> no deadline greeting
                -> retry: greeting: -ERR Connection is closed. 10
        """)

    def test_no_server(self) -> None:
        """A client that nobody can serve is told that it is a passing trouble, not its password."""
        self.script.transcript("""
            began
                -> pick
            unavailable: all are DOWN
                -> client: -ERR [SYS/TEMP] mail.example.org Service not available, try again later
                -> hang up
        """)

    def test_greetings(self) -> None:
        """+OK alone, or with a text, is a greeting; nothing else is."""
        pop = Pop(service())
        for line in (b"+OK", b"+OK ready", b"+OK <1.2@exch1>"):
            self.assertIs(pop.greeted([line]), True)
        for line in (b"+ok", b"+OKAY", b"* OK", b"", b"-ERR"):
            self.assertIs(pop.greeted([line]), False)
