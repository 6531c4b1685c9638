"""protocols.tcp: a server at once, and then nothing but bytes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.testing import Script, check_protocol_plugin, service
from protocols.plain import Plain
from protocols.tcp import plugin


class TcpTests(SynchronousTestCase):
    def test_contract(self) -> None:
        """The plugin keeps what the framework counts on."""
        check_protocol_plugin(plugin)

    def test_relayed(self) -> None:
        """Whoever speaks first, the two are joined as soon as there is a server."""
        Script(Plain(service())).transcript("""
            began
                -> pick
            connected exch1
                -> relay
            client lost: closed
        """)

    def test_refused(self) -> None:
        """Without a server the connection is closed."""
        Script(Plain(service())).transcript("""
            began
                -> pick
            unavailable: all are DOWN
                -> hang up
        """)
