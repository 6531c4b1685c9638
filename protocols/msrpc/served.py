"""Which of our services has an interface: what an endpoint mapper's answers are edited by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from exproxy.interfaces import IService
from exproxy.model import Listening
from protocols.msrpc.binding import NDR32
from protocols.msrpc.names import EPM, Interface
from protocols.msrpc.tower import Tower

# Services whose ports a tower may lead to.
RPC, PLAIN = "rpc", ("rpc", "epm", "tcp")


@dataclass(frozen=True, slots=True)
class Place:
    """An interface and the port where clients of ours find it."""

    interface: Interface
    port: int


class Served:
    """The services beside an endpoint mapper's, as they are at the moment of each question."""

    def __init__(self, service: IService) -> None:
        self._service = service

    def port(self, tower: Tower, server: str, reached: str) -> int | None:
        """Our port for that tower, which ``server`` gave out to a client that reached the address
        ``reached``: of the service that names the interface, else of one whose server has that very port;
        else None."""
        if not tower.port:
            return None
        named = [at for at, interfaces in self._rpc() if any(i.uuid == tower.interface for i in interfaces)]
        return _best(named, reached) or _best(list(self._behind(tower.port, server)), reached)

    def places(self, reached: str) -> list[Place]:
        """All interfaces that can be had here now, the mapper's own first."""
        found = [Place(EPM, port)] if (port := _best(list(self._service.listenings()), reached)) else []
        named = dict.fromkeys(interface for _, interfaces in self._rpc() for interface in interfaces)
        for interface in named:
            place = self._place(interface, reached)
            if place is not None and all(place.interface.uuid != each.interface.uuid for each in found):
                found.append(place)
        return found

    def place(self, tower: Tower, reached: str) -> Place | None:
        """Where the interface can be had here that a client asks for, over TCP and in NDR; None: nowhere."""
        if tower.transport != "TCP" or tower.transfer != NDR32:
            return None
        asked = (tower.interface, tower.major)
        named = (each for _, interfaces in self._rpc() for each in interfaces)
        interface = next((each for each in named if (each.uuid, each.major) == asked), None)
        return self._place(interface, reached) if interface is not None else None

    def _place(self, interface: Interface, reached: str) -> Place | None:
        at = [at for at, interfaces in self._rpc() if any(i.uuid == interface.uuid for i in interfaces)]
        port = _best([each for each in at if any(b.usable for b in each.backends)], reached)
        return Place(interface, port) if port is not None else None

    def _rpc(self) -> Iterator[tuple[Listening, tuple[Interface, ...]]]:
        for service in self._service.siblings.values():
            if service.protocol == RPC and service.options.interface:
                for listening in service.listenings():
                    yield listening, service.options.interface

    def _behind(self, port: int, server: str) -> Iterator[Listening]:
        for service in self._service.siblings.values():
            if service.protocol in PLAIN:
                for listening in service.listenings():
                    if any(b.server == server and b.port == port for b in listening.backends):
                        yield listening


def _best(listenings: list[Listening], reached: str) -> int | None:
    """The port at the very address that the client reached, else on all addresses, else anywhere."""
    for wanted in (reached, ""):
        for listening in listenings:
            if listening.host == wanted:
                return listening.port
    return listenings[0].port if listenings else None
