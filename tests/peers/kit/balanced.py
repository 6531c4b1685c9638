"""An exproxy before two RPC servers, new for each test, and what the tests ask of it."""

from __future__ import annotations

from typing import ClassVar

from . import pdus
from .case import PeerCase
from .interfaces import Interface
from .proxy import Exproxy
from .rpc import Rpc
from .site import PROXY, SERVERS

# fall x interval, one check's timeout, and room for a slow machine.
SOON = 2 * 0.5 + 0.4 + 5.0
HEAD = """\
servers: {ex1: 127.0.0.11, ex2: 127.0.0.12}
groups: {mapi: {timeout: 2h, on-move: cut}}
defaults:
  scheduling: round-robin
  health: {interval: 500ms, timeout: 400ms, rise: 1, fall: 2}
  timeouts: {connect: 1s, grace: 1s}
services:
"""
# New associations are spread, a connection of a known one goes where that is.
SPREAD = "{rpc-association: {group: mapi, fallback: none}}"
# The same, and a new association goes where its client's address is known.
BY_ADDRESS = "{rpc-association: {group: mapi}}"
NAMES = set(SERVERS)


def epm(persistence: str = SPREAD, *, options: str = "", more: str = "") -> str:
    """The endpoint mapper's service; `options` of its protocol, and `more` keys."""
    protocol = f"{{epm: {{{options}}}}}" if options else "epm"
    return f'  epm: {{protocol: {protocol}, listen: "{PROXY}:135", persistence: {persistence}{more}}}\n'


def rpc(name: str, port: int, interface: str = "", persistence: str = SPREAD, *, more: str = "") -> str:
    """A service for an interface, at one port for ever; without one, for a port that is the servers' too."""
    protocol = f"{{rpc: {{interface: {interface}}}}}" if interface else "rpc"
    listen = f'listen: "{PROXY}:{port}", persistence: {persistence}{more}'
    return f"  {name}: {{protocol: {protocol}, {listen}}}\n"


class BalancedCase(PeerCase):
    """`services` are the lines below `services:`; `self.exproxy` runs with them."""

    head: ClassVar[str] = HEAD
    services: ClassVar[str] = ""

    def setUp(self) -> None:
        """Start it."""
        super().setUp()
        self.prepare()
        self.exproxy = self.run_exproxy(self.head + self.services)

    def prepare(self) -> None:
        """What has to be there before it starts."""

    def run_exproxy(self, text: str) -> Exproxy:
        """One with this configuration, which has to end in good order."""
        exproxy = Exproxy(self.site, text)
        exproxy.start()
        self.addCleanup(self._ended, exproxy)
        return exproxy

    def _ended(self, exproxy: Exproxy) -> None:
        exproxy.stop()
        self.assertNotIn("Traceback", exproxy.log_text())

    def client(self, port: int, source: str = "", address: str = PROXY) -> Rpc:
        """A connection to exproxy, closed after the test."""
        client = Rpc(self.site.namespace, address, port, source=source)
        self.addCleanup(client.close)
        return client

    def who(self, port: int, interface: Interface, source: str = "") -> str:
        """The name of the stub that a new client meets."""
        with Rpc(self.site.namespace, PROXY, port, source=source) as client:
            answer = client.bind(interface)
            self.assertEqual(answer.kind, pdus.BIND_ACK, answer)
            self.assertEqual(pdus.results(answer), [(pdus.ACCEPTED, 0)])
            return client.who()

    def whom(self, port: int, interface: Interface, count: int = 6) -> set[str]:
        """The names that so many new clients meet."""
        return {self.who(port, interface) for _ in range(count)}
