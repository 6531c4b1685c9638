"""MSRPC through exproxy: ports that nothing fixes, associations, refusals, with real clients and servers."""

from __future__ import annotations

import re
import time

from tests.peers.kit import pdus
from tests.peers.kit.balanced import BY_ADDRESS, HEAD, NAMES, SOON, SPREAD, BalancedCase, epm, rpc
from tests.peers.kit.clients import Samr
from tests.peers.kit.interfaces import EPM, SAMR
from tests.peers.kit.rpc import Rpc, refusal
from tests.peers.kit.samba import INTERFACES, MEMBERS
from tests.peers.kit.site import PROXY

_FIXED = dict(zip(INTERFACES, range(59531, 59536), strict=True))
_BINDING = f"ncacn_ip_tcp:{PROXY}[59531]"


def _everything(persistence: str) -> str:
    lines = (rpc(name, port, name, persistence) for name, port in _FIXED.items())
    return epm(persistence) + "".join(lines)


class RoamingCase(BalancedCase):
    """Two Sambas at ports of their own choice; clients know 127.0.0.1 and nothing else."""

    needs = ("roaming", "rpcclient", "impacket")

    def sealed(self) -> str:
        """The server that a new impacket meets, in a conversation that nobody can read."""
        return self.named(self.samr())

    def samr(self, binding: str = "") -> Samr:
        """impacket, logged in to SAMR where the endpoint mapper says, unless it knows already."""
        if not binding:
            binding = self.site.clients.hept_map(PROXY)
            self.assertEqual(binding, _BINDING)
        samr = self.site.clients.samr(binding)
        self.addCleanup(samr.close)
        return samr

    def named(self, samr: Samr) -> str:
        """The server by its list of users, which is whole."""
        users = samr.users()
        self.assertEqual(sum(user.startswith("member") for user in users), MEMBERS)
        [name] = NAMES & set(users)
        return name

    def rpcclient(self) -> str:
        """The server that a new rpcclient meets."""
        done = self.site.clients.rpcclient(PROXY)
        self.assertEqual((done.code, done.out.count("user:[member")), (0, MEMBERS), done)
        [name] = NAMES & set(re.findall(r"user:\[(\w+)\]", done.out))
        return name


class DynamicPortTests(RoamingCase):
    """Nothing is fixed at the servers."""

    services = _everything(SPREAD)

    def test_impacket(self) -> None:
        """It resolves through 135 and finishes sealed sessions through one port, at both servers."""
        self.assertEqual({self.sealed() for _ in range(4)}, NAMES)

    def test_rpcclient(self) -> None:
        """The same with Samba's client."""
        self.assertEqual({self.rpcclient() for _ in range(4)}, NAMES)

    def test_handles_stay(self) -> None:
        """Sessions at the same time keep their handles, each at its own server."""
        sessions = [self.samr() for _ in range(6)]
        names = [self.named(samr) for samr in sessions]
        self.assertEqual(set(names), NAMES)
        self.assertEqual([self.named(samr) for samr in sessions], names)

    def test_servers_restart_at_other_ports(self) -> None:
        """Clients go on by the same port, and meet both servers again."""
        for name, server in self.site.roaming.items():
            start = len(self.exproxy.log_text())
            server.move()
            self.assertIn(self.rpcclient(), NAMES)
            self.until_both()
            later = self.exproxy.log_text()[start:]
            self.assertEqual(
                later.count(f"Server samr/{name} is DOWN"), later.count(f"Server samr/{name} is UP")
            )

    def until_both(self) -> None:
        """Until new clients meet both servers."""
        deadline = time.monotonic() + SOON
        while {self.sealed() for _ in range(2)} != NAMES:
            self.assertLess(time.monotonic(), deadline, self.exproxy.log_tail())

    def test_seen(self) -> None:
        """The access log names the interface, what was called, the association and the protection."""
        self.rpcclient()
        [record] = self.exproxy.await_access(lambda r: r["service"] == "samr", 1)
        self.assertEqual((record["interfaces"], record["security"]), (["samr"], "ntlm privacy"))
        self.assertRegex(record["association"], "^0x[0-9a-f]{8}$")
        # SamrConnect, SamrLookupDomainInSamServer, SamrOpenDomain, SamrEnumerateUsersInDomain ...
        self.assertGreaterEqual(sum(record["operations"]["samr"].values()), 4)
        [asked] = self.exproxy.await_access(lambda r: r["service"] == "epm", 1)
        self.assertEqual((asked["interfaces"], asked["operations"]), (["epmapper"], {"epmapper": {"3": 1}}))


class AskedAgainTests(RoamingCase):
    """One server, and checks so rare that only clients find out."""

    services = rpc("samr", 59531, "samr", BY_ADDRESS)
    head = HEAD.replace(", ex2: 127.0.0.12", "").replace("interval: 500ms", "interval: 1h")

    def test_a_refused_port_is_asked_for_again(self) -> None:
        """The first client after the restart is served, and nobody saw the server DOWN."""
        # The one check comes in the first second: a server that restarts then would be DOWN for an hour.
        self.exproxy.await_log("samr/ex1 is at port")
        for _ in range(2):
            self.assertEqual(self.named(self.samr(_BINDING)), "ex1")
            self.site.roaming["ex1"].move()
        self.assertEqual(self.named(self.samr(_BINDING)), "ex1")
        self.assertNotIn("is DOWN", self.exproxy.log_text())

    def test_the_first_client_of_all(self) -> None:
        """Who comes before the first check waits for the port, too."""
        self.assertEqual(self.named(self.samr(_BINDING)), "ex1")


class AssociationTests(RoamingCase):
    """Round robin over two servers, each of which refuses the groups of the other."""

    services = _everything(SPREAD)

    def group(self, port: int, interface: tuple[str, str], source: str = "") -> Rpc:
        """A new association."""
        client = self.client(port, source)
        self.assertEqual(client.bind(interface).kind, pdus.BIND_ACK)
        return client

    def test_joined(self) -> None:
        """Connections that name a group get to the server that gave it out, in both byte orders."""
        for turn in range(4):
            first = self.group(59531, SAMR)
            for order in "<><>":
                joining = self.client(59531)
                answer = joining.bind(SAMR, group=first.group, order=order)
                self.assertEqual(answer.kind, pdus.BIND_ACK, (turn, answer))
                self.assertEqual(pdus.results(answer), [(pdus.ACCEPTED, 0)])
                self.assertEqual(joining.group, first.group)

    def test_joined_elsewhere(self) -> None:
        """A group that 135 gave out is joined at the interface's port: the services are one group."""
        for _ in range(4):
            first = self.group(135, EPM)
            self.assertEqual(self.client(59531).bind(SAMR, group=first.group).kind, pdus.BIND_ACK)

    def test_unknown(self) -> None:
        """A group that nobody gave out is the server's to refuse."""
        self.assertEqual(refusal(self.client(59531).bind(SAMR, group=0x12345678)), 0)

    def test_many(self) -> None:
        """Twenty associations at the same time, joined crosswise."""
        firsts = [self.group(59531, SAMR, f"127.0.3.{number}") for number in range(1, 21)]
        for number, first in reversed(list(enumerate(firsts, 1))):
            joining = self.client(59531, f"127.0.3.{number}")
            self.assertEqual(joining.bind(SAMR, group=first.group).kind, pdus.BIND_ACK, number)


class ByAddressTests(RoamingCase):
    """The fallback that is meant for Outlook."""

    services = _everything(BY_ADDRESS)

    def test_one_client_one_server(self) -> None:
        """All ports of one address are one server's; addresses are spread."""
        for last in range(1, 9):
            for port, interface in ((135, EPM), (59531, SAMR), (135, EPM), (59531, SAMR)):
                with Rpc(self.site.namespace, PROXY, port, source=f"127.0.3.{last}") as client:
                    self.assertEqual(client.bind(interface).kind, pdus.BIND_ACK)
        records = self.exproxy.await_access(lambda r: r["client"].startswith("127.0.3."), 32)
        places: dict[str, set[str]] = {}
        for record in records:
            places.setdefault(record["client"].partition(":")[0], set()).add(record["server"])
        self.assertEqual({len(servers) for servers in places.values()}, {1}, places)
        spread = sorted(name for servers in places.values() for name in servers)
        self.assertEqual(spread, ["ex1"] * 4 + ["ex2"] * 4)

    def test_a_killed_server(self) -> None:
        """Its clients' connections end, and everybody is served by the other one."""
        samr = self.samr()
        first = self.named(samr)
        self.assertEqual(self.rpcclient(), first)
        self.site.roaming[first].kill()
        with self.assertRaisesRegex(Exception, "closed|reset"):
            samr.users()
        self.exproxy.await_log(f"Server samr/{first} is DOWN")
        [other] = NAMES - {first}
        self.assertEqual((self.sealed(), self.rpcclient()), (other, other))

    def test_before_it_is_down(self) -> None:
        """A killed server is passed over by the very next client."""
        first = self.sealed()
        self.site.roaming[first].kill()
        self.assertEqual(NAMES - {first}, {self.rpcclient()})

    def test_no_server(self) -> None:
        """A bind is refused as transient, and impacket sees it; clients come back by themselves."""
        for server in self.site.roaming.values():
            server.kill()
        for service in ("samr", "epm"):
            self.exproxy.await_log(f"{service} has no server available!")
        for port, interface in ((59531, SAMR), (135, EPM)):
            for order in "<>":
                answer = self.client(port).bind(interface, order=order)
                self.assertEqual((refusal(answer), answer.call), (1, 1))
        # impacket has the text of another table for the reason.
        with self.assertRaisesRegex(Exception, "Bind context rejected"):
            self.site.clients.samr(_BINDING)
        self.site.roaming["ex1"].start()
        self.exproxy.await_log("Server samr/ex1 is UP")
        self.assertEqual(self.named(self.samr(_BINDING)), "ex1")
