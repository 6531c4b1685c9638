"""Samba's protocol tests through exproxy, spread over two servers: what passes directly passes here."""

from __future__ import annotations

import re
import sys

from tests.peers.kit import conformance
from tests.peers.kit.balanced import BY_ADDRESS, NAMES, SPREAD, BalancedCase, epm, rpc
from tests.peers.kit.interfaces import EPM, SAMR
from tests.peers.kit.rpc import Rpc
from tests.peers.kit.samba import INTERFACES
from tests.peers.kit.server import PASSWORD
from tests.peers.kit.site import PROXY
from tests.peers.test_rpc_kit import HANDLES, OPTIONS
from tests.peers.test_windows_authentication import IMPACKET

TIMES = 20


def _services(persistence: str, *, named: bool) -> str:
    """Every interface of Samba, at the same port as there, by its name or by that port."""
    ports = zip(INTERFACES, range(59531, 59536), strict=True)
    lines = (rpc(name, port, name if named else "", persistence) for name, port in ports)
    return epm(persistence) + "".join(lines)


class RawProtocolTests(BalancedCase):
    """Nearly two hundred tests of packets, among them groups that are joined."""

    needs = ("samba", "raw_protocol")
    services = _services(SPREAD, named=False)

    def test_raw_protocol(self) -> None:
        """Exactly those pass that pass directly."""
        found = conformance.run(self.site, PROXY, conformance.names(self.site))
        self.assertEqual(conformance.differing(found), {})
        met = {record["server"] for record in self.exproxy.records()}
        self.assertLessEqual(NAMES, met)


class TortureTests(BalancedCase):
    """smbtorture, at servers whose ports nothing fixes."""

    needs = ("roaming", "smbtorture")
    services = _services(SPREAD, named=True)

    def test_groups(self) -> None:
        """A handle of one connection is good on another one of its association, twenty times of twenty."""
        for turn in range(TIMES):
            done = self.site.clients.smbtorture(f"ncacn_ip_tcp:{PROXY}[]", HANDLES[0])
            self.assertEqual((done.code, done.out.count("success: ")), (0, 1), (turn, done))
        # The handles are those of look-ups at the endpoint mapper, over three connections.
        records = self.exproxy.await_access(lambda r: r["service"] == "epm", 3 * TIMES)
        self.assertEqual({record["server"] for record in records}, NAMES)

    def test_handles(self) -> None:
        """Handles and groups, in both byte orders, signed and sealed."""
        for option in OPTIONS:
            for test in HANDLES:
                done = self.site.clients.smbtorture(f"ncacn_ip_tcp:{PROXY}[{option}]", test)
                self.assertEqual((done.code, done.out.count("success: ")), (0, 1), done)


class SeveralWorkersTests(BalancedCase):
    """The same with two processes, which learn associations from each other."""

    needs = ("roaming", "smbtorture")
    head = f"workers: 2\n{BalancedCase.head}"
    services = _services(SPREAD, named=True)

    def test_groups(self) -> None:
        """A handle of one connection is good on another one of its association, twenty times of twenty, in
        whichever process they are."""
        for turn in range(TIMES):
            done = self.site.clients.smbtorture(f"ncacn_ip_tcp:{PROXY}[]", HANDLES[0])
            self.assertEqual((done.code, done.out.count("success: ")), (0, 1), (turn, done))
        records = self.exproxy.await_access(lambda r: r["service"] == "epm", 3 * TIMES)
        self.assertEqual({record["server"] for record in records}, NAMES)


class OutlookAnywhereTests(BalancedCase):
    """RPC over HTTP in one group with port 135."""

    needs = ("samba", "windows", "impacket", "rpcclient", "pyspnego")
    services = _services(BY_ADDRESS, named=True) + (
        f'  web: {{protocol: http, listen: "{PROXY}:80", backend: {{port: 8080}}, check: connect,'
        " persistence: {source-ip: {group: mapi}}}\n"
    )

    def test_one_client_one_server(self) -> None:
        """Who asks by 135, by a fixed port and by HTTP meets one server; other clients another one."""
        places = {}
        for last in range(1, 9):
            source = f"127.0.3.{last}"
            for port, interface in ((135, EPM), (59531, SAMR))[:: 1 if last % 2 else -1]:
                with Rpc(self.site.namespace, PROXY, port, source=source) as client:
                    client.bind(interface)
            done = self.site.namespace.run(
                ["curl", "-q", "-sS", "--interface", source, "-u", f"user1:{PASSWORD}", f"http://{PROXY}/"]
            )
            places[source] = done.out.split()[0]
        self.assertEqual(set(places.values()), NAMES)
        records = self.exproxy.await_access(lambda r: r["client"].startswith("127.0.3."), 8 * 3)
        for record in records:
            self.assertEqual(record["server"], places[record["client"].partition(":")[0]], record)

    def test_sealed(self) -> None:
        """rpcclient by 135 and impacket by HTTP, from one address: the same list of users."""
        direct = self.site.clients.rpcclient(PROXY)
        self.assertEqual(direct.code, 0, direct)
        [name] = NAMES & set(re.findall(r"user:\[(\w+)\]", direct.out))
        for _ in range(3):
            argv = [
                sys.executable,
                "-W",
                "ignore",
                "-c",
                IMPACKET,
                f"{PROXY}:80",
                PASSWORD,
                "basic",
                PASSWORD,
            ]
            done = self.site.namespace.run(argv, timeout=60)
            self.assertEqual(NAMES & set(done.out.split()), {name}, done)
