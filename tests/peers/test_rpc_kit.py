"""The kit's RPC servers and clients, directly at each other: what passes here has to pass through exproxy."""

from __future__ import annotations

import socket

from tests.peers.kit import conformance, pdus
from tests.peers.kit.case import PeerCase
from tests.peers.kit.interfaces import EMSMDB, EPM, NSPI, RFRI, SAMR
from tests.peers.kit.mapper import ROOT_USER
from tests.peers.kit.ndr64 import Ndr64Mapper, ept_map
from tests.peers.kit.rpc import Rpc, refusal
from tests.peers.kit.samba import INTERFACES, MEMBERS
from tests.peers.kit.site import SERVERS
from tests.peers.kit.stub import Stub

EX1, EX2 = SERVERS.values()


class PortTests(PeerCase):
    def test_outgoing_connections_take_no_servers_port(self) -> None:
        """The namespace gives outgoing connections ports between those of servers and Exchange's 59531."""
        with self.site.namespace.entered(), socket.create_server((EX1, 7000)) as server:
            clients = [socket.create_connection((EX1, 7000)) for _ in range(50)]
            for client in clients:
                self.assertIn(client.getsockname()[1], range(10000, 32768))
                client.close()
            server.close()


class StubTests(PeerCase):
    """A stub behind a port."""

    def setUp(self) -> None:
        super().setUp()
        self.stub = Stub(self.site, "ex1", 7301, "emsmdb")
        self.stub.start()
        self.addCleanup(self.stub.kill)

    def client(self) -> Rpc:
        client = Rpc(self.site.namespace, EX1, 7301)
        self.addCleanup(client.close)
        return client

    def test_its_interfaces_only(self) -> None:
        """It accepts the contexts of its interfaces, in both byte orders, and answers with its name."""
        for order in "<>":
            client = self.client()
            answer = client.bind(EMSMDB, NSPI, order=order)
            self.assertEqual(answer.kind, pdus.BIND_ACK)
            self.assertEqual(
                pdus.results(answer),
                [(pdus.ACCEPTED, 0), (pdus.REJECTED, pdus.NO_SUCH_INTERFACE)],
            )
            self.assertEqual(client.who(), "ex1")
            self.assertEqual(client.call(7).kind, pdus.FAULT)

    def test_groups(self) -> None:
        """A group can be joined while one of its connections lives; another one is refused."""
        first = self.client()
        first.bind(EMSMDB)
        second = self.client()
        second.bind(EMSMDB, group=first.group)
        self.assertEqual(second.group, first.group)
        self.assertEqual(refusal(self.client().bind(EMSMDB, group=first.group ^ 1)), 0)


class MapperTests(PeerCase):
    """Samba's endpoint mapper alone."""

    needs = ("mapper", "impacket", "rpcclient", "smbtorture")

    def test_interfaces_come_and_go(self) -> None:
        """What is registered is mapped, at its own address, until it is unregistered; a restart keeps it."""
        mapper = self.site.mapper["ex2"]
        for name, port, interface in (("emsmdb", 7201, EMSMDB), ("nspi", 7202, NSPI), ("rfri", 7202, RFRI)):
            mapper.register(name, port)
            self.assertEqual(self.site.clients.hept_map(EX2, interface), f"ncacn_ip_tcp:{EX2}[{port}]")
        mapper.unregister("nspi")
        with self.assertRaisesRegex(Exception, "ept_s_not_registered"):
            self.site.clients.hept_map(EX2, NSPI)
        mapper.restart()
        self.assertIn("[7201]", self.site.clients.hept_map(EX2, EMSMDB))

    def test_smbtorture(self) -> None:
        """Samba's own tests of a mapper pass in each layout and with each protection that it knows."""
        for option in ("", ",bigendian", ",sign", ",seal"):
            done = self.site.clients.smbtorture(f"ncacn_ip_tcp:{EX1}[135{option}]", *EPMAPPER, user=ROOT_USER)
            self.assertEqual((done.code, done.out.count("success: ")), (0, 3), done)

    def test_lookup(self) -> None:
        """rpcclient lists everything, Exchange's interfaces among it."""
        self.site.mapper["ex1"].register("emsmdb", 7101)
        done = self.site.clients.rpcclient(EX1, "epmlookup", options="", user="%")
        self.assertEqual(done.code, 0, done)
        self.assertIn(f"ncacn_ip_tcp:{EX1}[7101,abstract_syntax={EMSMDB[0].lower()}", done.out)


class Ndr64Tests(PeerCase):
    """scapy's endpoint mapper."""

    needs = ("scapy",)

    def test_both_layouts(self) -> None:
        """Its own client gets the same answer with 32 and with 64 bits."""
        Ndr64Mapper(self.site, self.site.places["ex1"], emsmdb=7101).start()
        towers = ept_map(self.site, EMSMDB, (EX1, 32, "little"), (EX1, 64, "little"))
        self.assertEqual(towers, [[(EX1, 7101)]] * 2)


class RoamingTests(PeerCase):
    """Samba at ports that nothing fixes."""

    needs = ("roaming", "rpcclient", "smbtorture", "impacket")

    def test_ports(self) -> None:
        """They differ between the servers, and after a move; clients find them by the mapper."""
        first, second = self.site.roaming.values()
        seen = set()
        for server in (first, second, first):
            port = server.port("samr")
            self.assertEqual(
                self.site.clients.hept_map(server.address), f"ncacn_ip_tcp:{server.address}[{port}]"
            )
            done = self.site.clients.rpcclient(server.address)
            self.assertEqual((done.code, done.out.count("user:[member")), (0, MEMBERS), done)
            self.assertIn(f"user:[{server.server}] ", done.out)
            seen.add(port)
            server.move()
        self.assertEqual(len(seen), 3)

    def test_smbtorture(self) -> None:
        """Handles and association groups, in the variants that later go through exproxy."""
        for option in OPTIONS:
            done = self.site.clients.smbtorture(f"ncacn_ip_tcp:{EX1}[{option}]", *HANDLES)
            self.assertEqual((done.code, done.out.count("success: ")), (0, len(HANDLES)), done)

    def test_a_group_is_of_one_server(self) -> None:
        """An association group that the other server gave out is refused."""
        with Rpc(self.site.namespace, EX1, 135) as first, Rpc(self.site.namespace, EX2, 135) as second:
            first.bind(EPM)
            self.assertEqual(refusal(second.bind(EPM, group=first.group)), 0)

    def test_every_interface(self) -> None:
        """Each has a port of its own, and an interface that is not there is not accepted."""
        server = self.site.roaming["ex2"]
        self.assertEqual(len({server.port(name) for name in INTERFACES}), len(INTERFACES))
        for interface, accepted in ((SAMR, True), (EMSMDB, False)):
            with Rpc(self.site.namespace, EX2, server.port("samr")) as client:
                told = pdus.results(client.bind(interface))
            self.assertEqual(told == [(pdus.ACCEPTED, 0)], accepted, told)


class RawProtocolTests(PeerCase):
    """What exproxy is measured by."""

    needs = ("samba", "raw_protocol")

    def test_directly(self) -> None:
        """The tests that do not pass are those that are written down."""
        tests = conformance.names(self.site)
        self.assertGreater(len(tests), 190)
        found = conformance.run(self.site, EX1, tests)
        self.assertEqual(conformance.differing(found), {})


EPMAPPER = tuple(
    f"rpc.epmapper.epmapper.{name}" for name in ("Map_simple", "Lookup_simple", "Lookup_terminate_search")
)
# Samba has rpc.handles.lsarpc and the mixed ones over named pipes only.
HANDLES = (
    "rpc.bind.assoc_group_handles_external",
    "rpc.handles.samr",
    "rpc.handles.drsuapi",
    "rpc.handles.random-assoc",
)
OPTIONS = ("", "bigendian", "sign", "seal")
