"""One simulated Exchange server: its services on one loopback address."""

# mypy: allow-untyped-calls
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from exproxy.lab import epm
from exproxy.lab.epm import Endpoint, Mapper
from exproxy.lab.imap import ImapFactory
from exproxy.lab.modes import LabService, Mode, Recipe
from exproxy.lab.pop import PopFactory
from exproxy.lab.rpc import Answer, Groups, RpcFactory, RpcService, named
from exproxy.lab.smtp import SmtpFactory
from exproxy.lab.store import MailStore
from exproxy.lab.tls import LabTls
from exproxy.lab.web import DIRECTORIES, Directories, Illness, site

_RPC_INTERFACES = ((epm.EMSMDB, 0, 81), (epm.ASYNC_EMSMDB, 0, 1))
_AB_INTERFACES = ((epm.NSPI, 56, 0), (epm.RFRI, 1, 0))


class LabServer:
    """The services of `ports` (name to port, 0 for any) on `address`, an IPv4 loopback address.

    Services: https, http, epm, rpc (RPC Client Access), ab (Address Book), smtp, submission, imap, imaps,
    pop, pops. `certificate` is a PEM file with certificate and key. Servers with one `store` share mail.
    """

    def __init__(
        self,
        name: str,
        address: str,
        ports: Mapping[str, int],
        reactor: Any,
        store: MailStore,
        certificate: Path,
    ) -> None:
        self.name = name
        self.address = address
        self._reactor = reactor
        self._store = store
        self._tls = LabTls(certificate)
        self._groups = Groups()
        self._sites: dict[str, Directories] = {}
        self.services = {
            service: LabService(service, address, port, reactor, _RECIPES[service](self, service))
            for service, port in ports.items()
        }

    @property
    def requests(self) -> int:
        """HTTP requests served."""
        return sum(directories.served for directories in self._sites.values())

    def port(self, service: str) -> int:
        """Where a service listens; raises KeyError when this server does not have it."""
        return self.services[service].port

    def start(self) -> Deferred[None]:
        """Listen on every port, or on none: fails with CannotListenError."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            for service in self.services.values():
                service.start()
        except Exception:
            await self.stop()
            raise

    def stop(self) -> Deferred[None]:
        """Close every port and every connection; fires when none is left."""
        stopping = gatherResults([service.stop() for service in self.services.values()])
        return stopping.addCallback(lambda _: None)

    def set_mode(self, service: str, mode: Mode | str) -> Deferred[None]:
        """Put one service into a mode; raises KeyError or ValueError for unknown ones."""
        return self.services[service].set_mode(Mode(mode))

    def set_directory(self, service: str, directory: str, illness: Illness | str) -> None:
        """Make one virtual directory ill, or well again; raises KeyError or ValueError for unknown ones."""
        site = self._sites[service]
        if directory.lower() not in DIRECTORIES:
            raise KeyError(directory)
        site.ill[directory.lower()] = Illness(illness)

    def directories(self, service: str) -> dict[str, str]:
        """What the virtual directories of a service do; {} where it has none."""
        site = self._sites.get(service)
        return {} if site is None else {each: site.ill.get(each, Illness.OK).value for each in DIRECTORIES}

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What the endpoint mapper knows: the interfaces of the services that this server has."""
        found: list[Endpoint] = []
        for service, interfaces in (("rpc", _RPC_INTERFACES), ("ab", _AB_INTERFACES)):
            if service in self.services:
                port, text = self.port(service), f"Exchange {service} on {self.name}"
                found += [Endpoint(uuid, major, minor, port, text) for uuid, major, minor in interfaces]
        return tuple(found)

    def _web(self, service: str, tls: bool) -> Recipe:
        directories = Directories(self.name, self._store.password, self._refusing(service), self._reactor)
        self._sites[service] = directories
        return Recipe(site(directories, self._reactor), self._tls if tls else None)

    def _rpc(self, service: str, interfaces: Mapping[tuple[Any, int], Answer]) -> Recipe:
        refusing = self._refusing(service)
        return Recipe(RpcFactory(RpcService(interfaces, self._groups, lambda: self.port(service), refusing)))

    def _epm(self, service: str) -> Recipe:
        return self._rpc(service, {(epm.EPM, 3): Mapper(self.endpoints, self.address)})

    def _named(self, service: str, interfaces: tuple[tuple[Any, int, int], ...]) -> Recipe:
        return self._rpc(service, {(uuid, major): named(self.name) for uuid, major, _ in interfaces})

    def _smtp(self, service: str) -> Recipe:
        refusal = f"421 {self.name} service not available, closing transmission channel\r\n"
        return Recipe(SmtpFactory(self.name, self._store, self._tls), refusal=refusal.encode())

    def _imap(self, service: str, tls: bool) -> Recipe:
        factory = ImapFactory(self.name, self._store, None if tls else self._tls)
        return Recipe(factory, self._tls if tls else None, f"* BYE {self.name} is not available\r\n".encode())

    def _pop(self, service: str, tls: bool) -> Recipe:
        refusal = f"-ERR [SYS/TEMP] {self.name} is not available\r\n"
        return Recipe(PopFactory(self.name, self._store), self._tls if tls else None, refusal.encode())

    def _refusing(self, service: str) -> Callable[[], bool]:
        return lambda: self.services[service].refusing()


_RECIPES: dict[str, Callable[[LabServer, str], Recipe]] = {
    "https": lambda server, service: server._web(service, tls=True),
    "http": lambda server, service: server._web(service, tls=False),
    "epm": lambda server, service: server._epm(service),
    "rpc": lambda server, service: server._named(service, _RPC_INTERFACES),
    "ab": lambda server, service: server._named(service, _AB_INTERFACES),
    "smtp": lambda server, service: server._smtp(service),
    "submission": lambda server, service: server._smtp(service),
    "imap": lambda server, service: server._imap(service, tls=False),
    "imaps": lambda server, service: server._imap(service, tls=True),
    "pop": lambda server, service: server._pop(service, tls=False),
    "pops": lambda server, service: server._pop(service, tls=True),
}

SERVICES = tuple(_RECIPES)
"""The names of all services a lab server can have."""
