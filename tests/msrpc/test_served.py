"""protocols.msrpc.served: which of our services has an interface, and where."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy.backend import Backend
from exproxy.model import Listening
from exproxy.testing import FakeService, service
from protocols.msrpc.names import EPM, KNOWN
from protocols.msrpc.options import EpmOptions, RpcOptions
from protocols.msrpc.served import Place, Served
from protocols.msrpc.tower import Tower, read_tower
from tests.msrpc.support import pipe_tower, tower_of

REACHED = "192.0.2.1"


def backend(server: str, port: int, **settings: Any) -> Backend:
    """A backend of that server."""
    return Backend(f"x/{server}", server, "127.0.0.11", port, **settings)


def sibling(name: str, protocol: str, options: Any, *listens: Listening) -> FakeService:
    """Another service."""
    return service(options, name=name, protocol=protocol, listens=listens)


def rpc(name: str, *interfaces: str, listens: tuple[Listening, ...]) -> FakeService:
    """An RPC service with these interfaces."""
    return sibling(name, "rpc", RpcOptions(interface=tuple(KNOWN[each] for each in interfaces)), *listens)


def at(host: str, port: int, *backends: Backend) -> Listening:
    """A listening address and the pool behind it."""
    return Listening(host, port, backends)


def served(*siblings: FakeService, listens: tuple[Listening, ...] = (at("", 135),)) -> Served:
    """What an endpoint mapper's service sees."""
    mapper = service(EpmOptions(), name="epm", protocol="epm", listens=listens, siblings=siblings)
    return Served(mapper)


def tower(name: str, port: int = 59531) -> Tower:
    """A server's tower for that interface."""
    return read_tower(tower_of(name, port))


class PortTests(SynchronousTestCase):
    """Where a tower is to lead."""

    def test_by_interface(self) -> None:
        """The service that names the interface, whatever the server's port."""
        here = served(
            rpc("rpc", "emsmdb", "async-emsmdb", listens=(at("", 6001),)),
            rpc("ab", "nspi", "rfri", listens=(at("", 6004),)),
        )
        ports = [
            here.port(tower(name), "exch1", REACHED)
            for name in ("emsmdb", "async-emsmdb", "nspi", "rfri", "samr")
        ]
        self.assertEqual(ports, [6001, 6001, 6004, 6004, None])

    def test_by_port(self) -> None:
        """Else a service, RPC or plain TCP, behind which the server has that very port."""
        pool = (backend("exch1", 59531), backend("exch2", 59777))
        for protocol in ("rpc", "tcp", "epm"):
            options = RpcOptions() if protocol == "rpc" else EpmOptions()
            here = served(sibling("ports", protocol, options, at("", 6001, *pool)))
            self.assertEqual(here.port(tower("samr", 59531), "exch1", REACHED), 6001)
            self.assertIsNone(here.port(tower("samr", 59531), "exch2", REACHED))
            self.assertEqual(here.port(tower("samr", 59777), "exch2", REACHED), 6001)

    def test_other_protocols(self) -> None:
        """A web server at the same port is no place for RPC."""
        here = served(sibling("web", "http", EpmOptions(), at("", 80, backend("exch1", 59531))))
        self.assertIsNone(here.port(tower("samr"), "exch1", REACHED))

    def test_interface_before_port(self) -> None:
        """The service that names the interface wins over one that has the port."""
        here = served(
            sibling("ports", "tcp", EpmOptions(), at("", 7000, backend("exch1", 59531))),
            rpc("rpc", "emsmdb", listens=(at("", 6001),)),
        )
        self.assertEqual(here.port(tower("emsmdb"), "exch1", REACHED), 6001)

    def test_the_mapper_itself(self) -> None:
        """A server's mapper is behind our own."""
        here = served(listens=(at("", 1135, backend("exch1", 135)),))
        self.assertEqual(here.port(tower("epmapper", 135), "exch1", REACHED), 1135)

    def test_address_that_was_reached(self) -> None:
        """Of several addresses: the one that the client reached, then all of them, then any."""
        listens = (at("192.0.2.9", 1), at("192.0.2.1", 2), at("", 3))
        here = served(rpc("rpc", "emsmdb", listens=listens))
        self.assertEqual(here.port(tower("emsmdb"), "exch1", "192.0.2.1"), 2)
        self.assertEqual(here.port(tower("emsmdb"), "exch1", "192.0.2.7"), 3)
        here = served(rpc("rpc", "emsmdb", listens=listens[:2]))
        self.assertEqual(here.port(tower("emsmdb"), "exch1", "192.0.2.7"), 1)

    def test_as_it_is_now(self) -> None:
        """A service that comes or goes, or a port that is learnt anew, counts from then on."""
        moved = backend("exch1", 59531)
        ports = sibling("ports", "rpc", RpcOptions(), at("", 6001, moved))
        mapper = service(EpmOptions(), name="epm", protocol="epm")
        here = Served(mapper)
        self.assertIsNone(here.port(tower("samr"), "exch1", REACHED))
        mapper.siblings["ports"] = ports
        self.assertEqual(here.port(tower("samr"), "exch1", REACHED), 6001)
        moved.found_at(59999)
        self.assertIsNone(here.port(tower("samr"), "exch1", REACHED))
        self.assertEqual(here.port(tower("samr", 59999), "exch1", REACHED), 6001)

    def test_not_over_tcp(self) -> None:
        """Named pipes lead nowhere here, even of interfaces that are."""
        here = served(rpc("rpc", "samr", listens=(at("", 6001),)))
        self.assertIsNone(here.port(read_tower(pipe_tower("samr", "\\pipe\\lsass")), "exch1", REACHED))

    def test_nothing_listens(self) -> None:
        """A service that names the interface and does not listen yet is no place."""
        self.assertIsNone(served(rpc("rpc", "emsmdb", listens=())).port(tower("emsmdb"), "exch1", REACHED))


class PlacesTests(SynchronousTestCase):
    """What can be had here."""

    def test_all(self) -> None:
        """The mapper first, then the interfaces of all services in their order, each once."""
        here = served(
            rpc("rpc", "emsmdb", "async-emsmdb", listens=(at("", 6001, backend("exch1", 59531)),)),
            rpc("ab", "nspi", "emsmdb", listens=(at("", 6004, backend("exch1", 59532)),)),
        )
        self.assertEqual(
            here.places(REACHED),
            [
                Place(EPM, 135),
                Place(KNOWN["emsmdb"], 6001),
                Place(KNOWN["async-emsmdb"], 6001),
                Place(KNOWN["nspi"], 6004),
            ],
        )

    def test_only_what_is_well(self) -> None:
        """An interface is there as long as one server of it is usable, and that of the next service else."""
        down = backend("exch1", 59531)
        here = served(
            rpc("rpc", "emsmdb", listens=(at("", 6001, down),)),
            rpc("spare", "emsmdb", listens=(at("", 6002, backend("exch2", 59531)),)),
        )
        self.assertEqual(here.places(REACHED)[1:], [Place(KNOWN["emsmdb"], 6001)])
        down.operator = "maint"
        self.assertEqual(here.places(REACHED)[1:], [Place(KNOWN["emsmdb"], 6002)])

    def test_not_learnt_yet(self) -> None:
        """A server whose port is not known yet is taken for usable, as it is by the pool."""
        here = served(rpc("rpc", "emsmdb", listens=(at("", 6001, backend("exch1", 0)),)))
        self.assertEqual(here.places(REACHED), [Place(EPM, 135), Place(KNOWN["emsmdb"], 6001)])

    def test_mapper_at_the_address_that_was_reached(self) -> None:
        """The mapper's own port is that of the address that the client reached; one that does not listen
        is not there."""
        here = served(listens=(at("192.0.2.9", 1135), at(REACHED, 2135)))
        self.assertEqual(here.places(REACHED), [Place(EPM, 2135)])
        self.assertEqual(served(listens=()).places(REACHED), [])
