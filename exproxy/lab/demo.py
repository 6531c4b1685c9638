"""The demonstration: clients of every kind, their table, and what to try."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from twisted.internet.defer import Deferred, gatherResults

from exproxy.lab import epm, scripts
from exproxy.lab.board import Board, States
from exproxy.lab.certificates import LAB_NAME
from exproxy.lab.clients import Client, Repeated, Target, client_tls
from exproxy.lab.scripts import Script

Address = tuple[str, int]
OUTLOOKS = (("outlook-1", "127.0.1.21"), ("outlook-2", "127.0.1.22"), ("outlook-3", "127.0.1.23"))
BROWSERS = (("anna", "127.0.1.11"), ("bob", "127.0.1.12"))


def demo_clients(
    addresses: Mapping[str, Address], password: str, name: str, ca: bytes | None
) -> list[Client]:
    """A client for each kind of use that `addresses` (service to where the proxy listens) allows.

    Two browsers keep their cookies, a telephone logs in with Basic, three Outlooks come from addresses of
    their own (127.0.1.x), the others read and send mail. `ca` verifies TLS; without it nothing is verified.
    """
    tls = client_tls(name, ca)
    found: list[Client] = []

    def add(client: str, service: str, script: Callable[[], Script], source: str | None = None) -> None:
        if service in addresses:
            secure = service in ("https", "imaps", "pops")
            target = Target(*addresses[service], tls if secure else None)
            found.append(Client(client, service, target, script, source))

    for person, source in BROWSERS:
        add(person, "https", _browser(name), source)
    active = "/Microsoft-Server-ActiveSync"
    add("phone", "https", lambda: scripts.https(name, active, {}, "carol", password), "127.0.1.13")
    for outlook, source in OUTLOOKS:
        add(outlook, "epm", scripts.endpoints, source)
        add(outlook, "rpc", lambda: scripts.rpc(epm.EMSMDB, 81 << 16), source)
        add(outlook, "ab", lambda: scripts.rpc(epm.NSPI, 56), source)
    for service in ("smtp", "submission"):
        add("sender", service, lambda: scripts.smtp("bob@litware.test", "anna@litware.test", "hello"))
    for service in ("imap", "imaps"):
        add("reader", service, lambda: scripts.imap("anna", password))
    for service in ("pop", "pops"):
        add("collector", service, lambda: scripts.pop("anna", password))
    return found


def _browser(name: str) -> Callable[[], Script]:
    jar: dict[str, str] = {}
    return lambda: scripts.https(name, "/owa/", jar)


class Demo:
    """Clients and table, started and stopped together.

    `addresses` says where the proxy's services listen (IPv4), `states` gives the word shown for each
    (service, server), `notes` are shown once above the table, `interval` is the pause in seconds between two
    uses of a service by a client, `timeout` the seconds that a use may take.
    """

    def __init__(
        self,
        reactor: Any,
        addresses: Mapping[str, Address],
        output: TextIO,
        *,
        servers: Sequence[str],
        password: str,
        states: Callable[[], States] = dict,
        notes: str = "",
        name: str = LAB_NAME,
        ca: bytes | None = None,
        interval: float = 1.0,
        timeout: float = 5.0,
    ) -> None:
        self.board = Board(output, reactor, servers, states, notes)
        self._interval = interval
        clients = demo_clients(addresses, password, name, ca)
        report = self.board.tally.add
        self._clients = [Repeated(client, reactor, report, interval, timeout) for client in clients]

    def start(self) -> Deferred[None]:
        """Begin; the clients' first uses are spread over one interval."""
        self.board.start()
        for number, client in enumerate(self._clients):
            client.start(self._interval * number / len(self._clients))
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def stop(self) -> Deferred[None]:
        """End; fires when no client has a connection left."""
        self.board.stop()
        return gatherResults([client.stop() for client in self._clients]).addCallback(lambda _: None)
