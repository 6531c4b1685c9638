"""The endpoint mapper through exproxy: what it answers, and what happens when a part of a server is gone."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

from tests.peers.kit import pdus
from tests.peers.kit.balanced import NAMES, BalancedCase, epm, rpc
from tests.peers.kit.interfaces import EMSMDB, NSPI, RFRI, WKSSVC, Interface
from tests.peers.kit.mapper import ROOT_USER
from tests.peers.kit.ndr64 import Ndr64Mapper, ept_map
from tests.peers.kit.site import PROXY, SERVERS
from tests.peers.kit.stub import Stub
from tests.peers.test_rpc_kit import EPMAPPER

_OWN = "{rpc-association: {fallback: none}}"
_STORE, _BOOK = 59531, 59532
_SERVICES = rpc("store", _STORE, "[emsmdb, async-emsmdb]", _OWN) + rpc("book", _BOOK, "[nspi, rfri]", _OWN)
# The ports that the servers chose themselves.
_PORTS = {"ex1": (7101, 7102), "ex2": (7201, 7202)}


class ExchangeCase(BalancedCase):
    """Two Samba mappers that know Exchange's interfaces, and stubs behind; the services are independent."""

    needs = ("mapper", "impacket", "rpcclient", "smbtorture", "scapy")
    services = epm(_OWN) + _SERVICES

    def prepare(self) -> None:
        """Every interface at both servers."""
        self.stubs: dict[tuple[str, str], Stub] = {}
        for server, (store, book) in _PORTS.items():
            mapper = self.site.mapper[server]
            for port, service, names in (
                (store, "store", ("emsmdb", "async-emsmdb")),
                (book, "book", ("nspi", "rfri")),
            ):
                for name in names:
                    mapper.register(name, port)
                self.stubs[server, service] = self.stub(server, port, *names)

    def stub(self, server: str, port: int, *names: str) -> Stub:
        """One that ends with the test."""
        stub = Stub(self.site, server, port, *names)
        stub.start()
        self.addCleanup(stub.kill)
        return stub

    def mapped(self, interface: Interface, address: str = PROXY) -> str:
        """What impacket's hept_map gives."""
        return self.site.clients.hept_map(address, interface)

    def lookup(self) -> str:
        """The whole list, as rpcclient prints it."""
        done = self.site.clients.rpcclient(PROXY, "epmlookup", options="", user="%")
        self.assertEqual(done.code, 0, done)
        return done.out


class AnswerTests(ExchangeCase):
    """Towers of balanced interfaces lead back to exproxy."""

    services = epm(_OWN).replace(f'"{PROXY}:135"', f'["{PROXY}:135", "127.0.0.2:135"]') + _SERVICES

    def test_mapped(self) -> None:
        """Every interface has its one port, whichever mapper answers; the calls get to both servers."""
        for interface, port in ((EMSMDB, _STORE), (NSPI, _BOOK), (RFRI, _BOOK)):
            self.assertEqual({self.mapped(interface) for _ in range(4)}, {f"ncacn_ip_tcp:{PROXY}[{port}]"})
            self.assertEqual(self.whom(port, interface), NAMES)

    def test_the_address_that_was_reached(self) -> None:
        """The tower's address is the one that the client asked, in both byte orders."""
        asked = [(address, 32, order) for address in (PROXY, "127.0.0.2") for order in ("little", "big")]
        towers = ept_map(self.site, EMSMDB, *asked)
        self.assertEqual(towers, [[(address, _STORE)] for address, _, _ in asked])

    def test_lookup(self) -> None:
        """The list in several fragments: ours are rewritten, the others stay as the server said."""
        text = self.lookup()
        for interface, port in ((EMSMDB, _STORE), (NSPI, _BOOK), (RFRI, _BOOK)):
            found = re.findall(rf"ncacn_ip_tcp:(\S+)\[(\d+),abstract_syntax={interface[0].lower()}", text)
            self.assertEqual(set(found), {(PROXY, str(port))})
        others = re.findall(rf"ncacn_ip_tcp:\S+\[(\d+),abstract_syntax={WKSSVC[0].lower()}", text)
        self.assertEqual(len(others), 1, text)
        self.assertIn(int(others[0]), range(8000, 8050))
        self.assertIn("ncacn_np:", text)

    def test_smbtorture(self) -> None:
        """Samba's own tests, with lookup handles; a signed or sealed conversation passes as it is."""
        for option in ("", ",bigendian", ",sign", ",seal"):
            for _ in range(2):
                done = self.site.clients.smbtorture(
                    f"ncacn_ip_tcp:{PROXY}[135{option}]", *EPMAPPER, user=ROOT_USER
                )
                self.assertEqual((done.code, done.out.count("success: ")), (0, len(EPMAPPER)), done)

    def test_asked_by_hand(self) -> None:
        """`exproxyctl epm` prints a server's interfaces by Exchange's names, with its ports."""
        for address, ports in ((SERVERS["ex1"], _PORTS["ex1"]), (PROXY, (_STORE, _BOOK))):
            argv = [str(Path(sysconfig.get_path("scripts"), "exproxyctl")), "epm", address]
            done = self.site.namespace.run(argv)
            self.assertEqual(done.code, 0, done)
            for name, port in (("emsmdb", ports[0]), ("nspi", ports[1]), ("rfri", ports[1])):
                self.assertRegex(done.out, rf"(?im)^.*\b{name}\b.*\b{port}\b")


class OneInterfaceTests(ExchangeCase):
    """An interface that is gone on one server moves, and nothing else does."""

    def moved(self) -> None:
        """Only the store of ex1 is DOWN; its clients are served by ex2, those of the book by both."""
        self.exproxy.await_log("Server store/ex1 is DOWN")
        self.assertEqual(self.whom(_STORE, EMSMDB), {"ex2"})
        self.assertEqual(self.whom(_BOOK, NSPI), NAMES)
        self.assertEqual({self.mapped(EMSMDB) for _ in range(4)}, {f"ncacn_ip_tcp:{PROXY}[{_STORE}]"})
        self.assertEqual(re.findall(r"Server (\S+) is DOWN", self.exproxy.log_text()), ["store/ex1"])

    def back(self) -> None:
        """It is UP again and is used."""
        self.exproxy.await_log("Server store/ex1 is UP", start=self.exproxy.log_text().find("is DOWN"))
        self.assertEqual(self.whom(_STORE, EMSMDB), NAMES)

    def test_stopped(self) -> None:
        """The service is stopped: it leaves its mapper and its port."""
        mapper = self.site.mapper["ex1"]
        for name in ("emsmdb", "async-emsmdb"):
            mapper.unregister(name)
        self.stubs["ex1", "store"].stop()
        self.moved()
        self.stub("ex1", 7111, "emsmdb", "async-emsmdb")
        for name in ("emsmdb", "async-emsmdb"):
            mapper.register(name, 7111)
        self.back()

    def test_died(self) -> None:
        """It dies, and its mapper does not notice."""
        self.stubs["ex1", "store"].kill()
        self.moved()
        self.stubs["ex1", "store"].start()
        self.back()

    def test_frozen(self) -> None:
        """Its port accepts, and nothing answers."""
        self.stubs["ex1", "store"].freeze()
        self.moved()
        self.stubs["ex1", "store"].thaw()
        self.back()

    def test_another_interface_at_its_port(self) -> None:
        """A bind that is answered and not accepted is no good answer."""
        self.stubs["ex1", "store"].kill()
        stranger = self.stub("ex1", 7101, "nspi")
        self.moved()
        stranger.kill()
        self.stubs["ex1", "store"].start()
        self.back()

    def test_the_mapper_alone(self) -> None:
        """A server whose mapper dies is passed over for port 135."""
        self.site.mapper["ex1"].kill()
        self.exproxy.await_log("Server epm/ex1 is DOWN")
        for _ in range(4):
            self.assertEqual(self.mapped(EMSMDB), f"ncacn_ip_tcp:{PROXY}[{_STORE}]")


class HiddenTests(ExchangeCase):
    """`others: hide`."""

    services = epm(_OWN, options="others: hide") + _SERVICES

    def test_hidden(self) -> None:
        """What exproxy does not serve is neither mapped nor listed."""
        self.assertEqual(self.mapped(EMSMDB), f"ncacn_ip_tcp:{PROXY}[{_STORE}]")
        with self.assertRaisesRegex(Exception, "ept_s_not_registered"):
            self.mapped(WKSSVC)
        text = self.lookup()
        self.assertIn(f"ncacn_ip_tcp:{PROXY}[{_BOOK},", text)
        ports = set(re.findall(r"ncacn_ip_tcp:\S+\[(\d+),", text))
        self.assertEqual(ports, {"135", str(_STORE), str(_BOOK)}, text)
        for address in SERVERS.values():
            self.assertNotIn(address, text)


class AdvertisedTests(ExchangeCase):
    """`advertise:`, for clients behind NAT."""

    services = epm(_OWN, options="advertise: 192.0.2.7") + _SERVICES

    def test_advertised(self) -> None:
        """The towers have that address."""
        self.assertEqual(ept_map(self.site, EMSMDB, (PROXY, 32, "little")), [[("192.0.2.7", _STORE)]])


class OwnAnswerTests(ExchangeCase):
    """`answer: proxy`."""

    services = epm(_OWN, options="answer: proxy") + _SERVICES.replace(
        "persistence", "backend: {port: 7301}, persistence"
    )

    def prepare(self) -> None:
        """No mapper at all, and one stub for everything at each server."""
        for server, mapper in self.site.mapper.items():
            mapper.kill()
            self.stub(server, 7301, "emsmdb", "async-emsmdb", "nspi", "rfri")

    def test_nobody_behind(self) -> None:
        """impacket, scapy and rpcclient get answers with both mappers dead, and calls go through."""
        for interface, port in ((EMSMDB, _STORE), (NSPI, _BOOK), (RFRI, _BOOK)):
            self.assertEqual(self.mapped(interface), f"ncacn_ip_tcp:{PROXY}[{port}]")
            self.assertEqual(self.whom(port, interface), NAMES)
        towers = ept_map(self.site, EMSMDB, (PROXY, 32, "little"), (PROXY, 32, "big"))
        self.assertEqual(towers, [[(PROXY, _STORE)]] * 2)
        self.assertIn(f"ncacn_ip_tcp:{PROXY}[{_STORE},abstract_syntax={EMSMDB[0].lower()}", self.lookup())
        with self.assertRaisesRegex(Exception, "ept_s_not_registered"):
            self.mapped(WKSSVC)

    def test_smbtorture(self) -> None:
        """Samba's own tests of a mapper, at exproxy's.

        Lookup_simple is not among them: it wants the last entries together with the status that there are
        none, as only Samba has it, and impacket takes that for a failure.
        """
        tests = [test for test in EPMAPPER if not test.endswith("Lookup_simple")]
        for option in ("", ",bigendian"):
            done = self.site.clients.smbtorture(f"ncacn_ip_tcp:{PROXY}[135{option}]", *tests, user="%")
            self.assertEqual((done.code, done.out.count("success: ")), (0, len(tests)), done)

    def test_another_interface(self) -> None:
        """What is asked of it and is no endpoint mapper's is refused in the protocol."""
        with self.client(135) as client:
            told = pdus.results(client.bind(WKSSVC))
        self.assertEqual(told, [(pdus.REJECTED, pdus.NO_SUCH_INTERFACE)])


class Ndr64Tests(BalancedCase):
    """Mappers that speak NDR64 with those who want it."""

    needs = ("scapy",)
    services = epm(_OWN) + rpc("store", _STORE, "emsmdb", _OWN)

    def prepare(self) -> None:
        """Without any Samba."""
        for server, (store, _) in _PORTS.items():
            place = self.site.places[server]
            for process in (
                Ndr64Mapper(self.site, place, emsmdb=store),
                Stub(self.site, server, store, "emsmdb"),
            ):
                process.start()
                self.addCleanup(process.kill)

    def test_both_layouts(self) -> None:
        """The towers are rewritten in either, and the servers' ports are learnt."""
        towers = ept_map(self.site, EMSMDB, *((PROXY, size, "little") for size in (64, 32, 64, 32)))
        self.assertEqual(towers, [[(PROXY, _STORE)]] * 4)
        self.assertEqual(self.whom(_STORE, EMSMDB), NAMES)
