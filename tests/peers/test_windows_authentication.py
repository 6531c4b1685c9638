"""Windows authentication and Outlook Anywhere through exproxy, round robin over two servers."""

from __future__ import annotations

import re
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from subprocess import TimeoutExpired
from typing import Any

from tests.peers.kit.case import PeerCase
from tests.peers.kit.chromium import dump_dom
from tests.peers.kit.haproxy import Haproxy
from tests.peers.kit.needs import skip_unless
from tests.peers.kit.netns import Done
from tests.peers.kit.process import Process
from tests.peers.kit.proxy import Exproxy
from tests.peers.kit.server import PASSWORD, PUBLIC
from tests.peers.kit.site import PROXY, SERVERS
from tests.peers.kit.windows import MANY, user_file

NAMES = set(SERVERS)
URL = f"http://{PROXY}/"
CONFIGURATION = """
defaults: {{health: {{interval: 500ms, timeout: 400ms, rise: 1, fall: 3}}, check: connect}}
servers: {{ex1: 127.0.0.11, ex2: 127.0.0.12}}
services:
  windows:
    protocol: http
    listen: "127.0.0.1:80"
    backend: {{port: {port}}}
    persistence: none
    scheduling: round-robin
  windows-tls:
    protocol: https
    listen: "127.0.0.1:443"
    certificate: {pem}
    backend: {{port: {port}, tls: false}}
    persistence: none
    scheduling: round-robin
  windows-strict:
    protocol: {{http: {{ntlmv1: refuse}}}}
    listen: "127.0.0.1:81"
    backend: {{port: {port}}}
    persistence: none
    scheduling: round-robin
"""


class WindowsCase(PeerCase):
    """One exproxy for the class, before the servers at ``port``."""

    port = 8080
    _proxy: Exproxy | None = None

    def setUp(self) -> None:
        super().setUp()
        cls = type(self)
        if cls._proxy is None or not cls._proxy.running:
            pem = self.site.places["ex1"].pem
            cls._proxy = Exproxy(self.site, CONFIGURATION.format(port=self.port, pem=pem))
            cls._proxy.start()
        self.proxy = cls._proxy

    def tearDown(self) -> None:
        self.assertNotIn("Traceback", self.proxy.log_text())

    def run_python(self, code: str, *arguments: str, **extra: str) -> Done:
        """A client in Python, in the namespace; ``extra``: its environment."""
        return self.site.namespace.run(
            [sys.executable, "-W", "ignore", "-c", code, *arguments], timeout=60, extra=extra
        )

    def logins(self, user: str, count: int) -> list[dict[str, Any]]:
        """The access-log records of log-ins that ``user`` has finished."""
        return self.proxy.await_access(
            lambda record: record.get("login") == "done" and record.get("user") == user, count
        )


HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
listen rpc
  bind 127.0.0.1:8088
  balance roundrobin
  server ex1 127.0.0.11:8080
  server ex2 127.0.0.12:8080
"""

REQUESTS = """
import sys, requests
from requests_ntlm import HttpNtlmAuth
session = requests.Session()
session.auth = HttpNtlmAuth(sys.argv[2], sys.argv[3])
for number in range(4):
    answer = session.get(sys.argv[1])
    print(answer.status_code, answer.headers.get("X-Server"), answer.text.strip())
"""

EXCHANGELIB = """
import sys
from exchangelib import NTLM, Build, Configuration, Credentials, Version
from exchangelib.protocol import Protocol
configuration = Configuration(
    service_endpoint=sys.argv[1] + "EWS/Exchange.asmx", credentials=Credentials(sys.argv[2], sys.argv[3]),
    auth_type=NTLM, version=Version(build=Build(14, 3, 123, 3)), max_connections=2,
)
protocol = Protocol(config=configuration)
for number in range(3):
    print([room.email_address for room in protocol.get_roomlists()])
"""

IMPACKET = """
import sys
from impacket.dcerpc.v5 import rpcrt, samr, transport
from impacket.http import AUTH_BASIC, AUTH_NTLM
reaching = transport.DCERPCTransportFactory("ncacn_http:127.0.0.1[59531,RpcProxy=%s]" % sys.argv[1])
reaching.set_credentials("user1", sys.argv[4], "EX")
reaching.set_auth_type({"basic": AUTH_BASIC, "ntlm": AUTH_NTLM}[sys.argv[3]])
dce = reaching.get_dce_rpc()
dce.set_credentials("Administrator", sys.argv[2], "EX")
dce.set_auth_level(rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY)
dce.set_auth_type(rpcrt.RPC_C_AUTHN_WINNT)
dce.connect()
dce.bind(samr.MSRPC_UUID_SAMR)
server = samr.hSamrConnect(dce)["ServerHandle"]
sid = samr.hSamrLookupDomainInSamServer(dce, server, "EX")["DomainId"]
domain = samr.hSamrOpenDomain(dce, server, domainId=sid)["DomainHandle"]
for user in samr.hSamrEnumerateUsersInDomain(dce, domain)["Buffer"]["Buffer"]:
    print(user["Name"])
dce.disconnect()
"""


class ConnectionTests(WindowsCase):
    """Against a server of pyspnego."""

    needs = ("windows", "curl", "pyspnego", "requests-ntlm", "exchangelib")

    def seen(self, text: str) -> list[tuple[str, str, str]]:
        """Server, user and connection of each page."""
        return re.findall(r"(\w+) user=(\S+) connection=(\d+)", text)

    def test_curl(self) -> None:
        """The legs of curl --ntlm and its later requests meet one connection, as one user."""
        done = self.site.clients.curl("--ntlm", "-u", f"EX\\user1:{PASSWORD}", URL, URL, URL)
        self.assertEqual(done.code, 0, done)
        pages = self.seen(done.out)
        self.assertEqual(len(pages), 3, done)
        self.assertEqual(len(set(pages)), 1, pages)
        self.assertEqual(pages[0][1], "EX\\user1")
        self.assertEqual(self.logins("EX\\user1", 1)[0]["mechanism"], "ntlm")

    def test_requests(self) -> None:
        """requests_ntlm: one connection, one user, four answers."""
        done = self.run_python(REQUESTS, URL, "EX\\user2", PASSWORD)
        pages = self.seen(done.out)
        self.assertEqual(len(pages), 4, done)
        self.assertEqual(len(set(pages)), 1, pages)

    def test_exchangelib(self) -> None:
        """exchangelib asks EWS three times over its log-in."""
        done = self.run_python(EXCHANGELIB, URL, "EX\\user3", PASSWORD)
        rooms = re.findall(r"\['(\w+)@ex\.test'\]", done.out)
        self.assertEqual(len(rooms), 3, done)

    def test_chromium(self) -> None:
        """A browser logs in over TLS that ends here, and sees its own name."""
        skip_unless("chromium")
        done = dump_dom(self.site, f"https://EX%5Cuser2:{PASSWORD}@{PUBLIC}/")
        pages = self.seen(done.out)
        self.assertEqual([user for _, user, _ in pages], ["EX\\user2"], done)
        [record] = self.proxy.await_access(
            lambda record: record["service"] == "windows-tls" and record.get("login") == "done", 1
        )[:1]
        self.assertEqual((record["user"], record["mechanism"]), ("EX\\user2", "ntlm"))

    def test_wrong_password(self) -> None:
        """A refused log-in is in the log, with the name and nothing else."""
        done = self.site.clients.curl("--ntlm", "-u", "EX\\user1:wrong", URL)
        self.assertEqual(self.seen(done.out), [])
        [record] = self.proxy.await_access(lambda record: record.get("login") == "refused", 1)
        self.assertEqual(record["user"], "EX\\user1")
        self.assertNotIn("TlRMTVNT", self.proxy.log_text() + str(self.proxy.records()))

    def test_old_ntlm(self) -> None:
        """A client of NTLMv1 is known in the log, and stays out where that is refused; NTLMv2 comes in."""
        strict = f"http://{PROXY}:81/"
        for url, mechanism, login in (
            (URL, "ntlmv1", None),
            (strict, "ntlmv1", "objected"),
            (strict, "ntlm", "done"),
        ):
            level = "0" if mechanism == "ntlmv1" else "3"
            done = self.run_python(REQUESTS, url, f"EX\\{MANY[0]}", PASSWORD, LM_COMPAT_LEVEL=level)
            wanted = ("windows" if url == URL else "windows-strict", mechanism, f"EX\\{MANY[0]}")
            record = self.proxy.await_access(
                lambda record, wanted=wanted: (
                    (record["service"], record.get("mechanism"), record.get("user")) == wanted
                ),
                1,
            )[0]
            # Whether a server takes NTLMv1 is its own affair.
            self.assertIn(record["login"], {login} if login else {"done", "refused"})
            self.assertEqual("403 None" in done.out, login == "objected", done)
        self.assertEqual(len(self.seen(done.out)), 4, done)

    def test_many(self) -> None:
        """200 users over 200 connections, their requests interleaved: each page is its reader's own."""
        places = self.ask_as(MANY, URL, 3)
        self.assertEqual({len(each) for each in places.values()}, {1})
        connections = [place for each in places.values() for place in each]
        self.assertEqual(len(set(connections)), len(MANY))
        self.assertEqual({server for server, _ in connections}, NAMES)

    def test_behind_haproxy(self) -> None:
        """The same where a HAProxy before exproxy shares its connections as far as it may."""
        haproxy = Haproxy(self.site, (PROXY, 8087), ["http-reuse always", f"server exproxy {PROXY}:80"])
        haproxy.start()
        try:
            places = self.ask_as(MANY[:40], f"http://{PROXY}:8087/", 4)
        finally:
            haproxy.stop()
        self.assertEqual(len({place for each in places.values() for place in each}), len(places))

    def ask_as(self, users: tuple[str, ...], url: str, turns: int) -> dict[str, set[tuple[str, str]]]:
        """Each of them asks so often, the requests of all interleaved, and must see its own name.

        Gives each one's servers and connections.
        """
        with self.site.namespace.entered(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import requests  # type: ignore[import-untyped]
            from requests_ntlm import HttpNtlmAuth  # type: ignore[import-untyped]

            sessions = {}
            for user in users:
                session = sessions[user] = requests.Session()
                session.auth = HttpNtlmAuth(f"EX\\{user}", PASSWORD)

            def ask(user: str) -> str:
                return str(sessions[user].get(url, timeout=30).text)

            places: dict[str, set[tuple[str, str]]] = {user: set() for user in users}
            # Threads of the calling one's namespace.
            with ThreadPoolExecutor(16) as pool:
                for turn in range(turns):
                    asking = users[turn % 2 :: 2] + users[1 - turn % 2 :: 2] if turn else users
                    for user, text in zip(asking, pool.map(ask, asking), strict=True):
                        [(server, name, connection)] = self.seen(text)
                        self.assertEqual(name, f"EX\\{user}")
                        places[user].add((server, connection))
            for session in sessions.values():
                session.close()
        return places


class ApacheTests(WindowsCase):
    """Against Apache with mod_auth_gssapi and gss-ntlmssp."""

    needs = ("apache", "curl", "pyspnego", "requests-ntlm")
    port = 8081

    def test_negotiate(self) -> None:
        """curl --negotiate, NTLM inside of SPNEGO: one connection to one server, and its name in the log."""
        users = user_file(self.site.folder)
        url = ["--negotiate", "-D-", "-u", f"EX\\user1:{PASSWORD}", URL, "-o/dev/null"]
        done = self.site.namespace.run(
            ["curl", "-q", "-sS", "--max-time", "10", *url, "--next", "-sS", *url],
            timeout=20,
            extra={"NTLM_USER_FILE": str(users)},
        )
        found = re.findall(r"200 OK(?:.|\n)*?X-Server: (\w+)\r\nX-Port: (\d+)\r\nX-User: (\S+)", done.out)
        self.assertEqual(len(found), 2, done)
        self.assertEqual(len(set(found)), 1, done)
        self.assertEqual(self.logins("EX\\user1", 1)[0]["mechanism"], "ntlm")

    def test_requests(self) -> None:
        """requests_ntlm with the raw messages of NTLM."""
        done = self.run_python(REQUESTS, URL, "EX\\user2", PASSWORD)
        self.assertEqual(len(set(re.findall(r"(?m)^200 (ex\d)", done.out))), 1, done)
        self.assertEqual(len(re.findall(r"(?m)^200 ", done.out)), 4, done)


class KerberosTests(WindowsCase):
    """Against the same Apache, with tickets."""

    needs = ("kerberos", "apache", "curl")
    port = 8081

    def test_negotiate(self) -> None:
        """One leg: the server knows the user, stays the same, and exproxy knows that it was Kerberos."""
        centre = self.site.kerberos["ex1"]
        centre.log_in("user1")
        url = f"http://{PUBLIC}/"
        arguments = ["--resolve", f"{PUBLIC}:80:{PROXY}", "--negotiate", "-u", ":", "-D-", url, url]
        done = self.site.namespace.run(
            ["curl", "-q", "-sS", "--max-time", "10", *arguments], extra=centre.settings
        )
        found = re.findall(r"200 OK(?:.|\n)*?X-Server: (\w+)\r\nX-Port: (\d+)\r\nX-User: (\S+)", done.out)
        self.assertEqual(len(found), 2, done)
        self.assertEqual(len(set(found)), 1, done)
        self.assertEqual(found[0][2], "user1@EX.TEST")
        records = self.proxy.await_access(lambda record: record.get("login") == "done", 1)
        self.assertEqual(records[0]["mechanism"], "kerberos")


class OutlookAnywhereTests(WindowsCase):
    """RPC over HTTP to Samba: what round robin breaks elsewhere."""

    needs = ("windows", "samba", "smbtorture", "impacket", "pyspnego", "haproxy")

    def smbtorture(self, *tests: str, port: int = 80, login: str = "basic", limit: float = 60.0) -> Done:
        """Samba's tests of RPC, over HTTP/1.0."""
        where = f"59531,RpcProxy={PROXY}:{port},HttpUseTls=false,HttpAuthOption={login}"
        return self.site.clients.smbtorture(f"ncacn_http:127.0.0.1[{where}]", *tests, limit=limit)

    def test_smbtorture(self) -> None:
        """Handles and association groups, with Basic credentials."""
        for test in ("rpc.handles.samr", "rpc.handles.random-assoc", "rpc.asyncbind"):
            done = self.smbtorture(test)
            self.assertEqual(done.code, 0, done)
            self.assertIn("success: ", done.out)

    def test_smbtorture_ntlm(self) -> None:
        """The same with NTLM on both channels, whose first legs have no body."""
        for _ in range(3):
            done = self.smbtorture("rpc.handles.samr", login="ntlm")
            self.assertEqual(done.code, 0, done)
        self.assertNotIn("one half of a pair", self.proxy.log_text())

    def test_elsewhere(self) -> None:
        """HAProxy, with round robin over the same servers, hangs: the channels are on two of them."""
        folder = self.site.new_folder("haproxy")
        configuration = folder / "haproxy.cfg"
        configuration.write_text(HAPROXY)
        argv = ["haproxy", "-db", "-f", str(configuration)]
        haproxy = self.site.adopt(Process(self.site.namespace, "haproxy", argv, folder, [(PROXY, 8088)]))
        haproxy.start()
        try:
            self.assertRaises(TimeoutExpired, self.smbtorture, "rpc.handles.samr", port=8088, limit=4.0)
        finally:
            haproxy.stop()

    def impacket(self, port: int, login: str = "basic", password: str = PASSWORD) -> Done:
        """All users of the domain by RPC over HTTP/1.1; ``password``: for HTTP."""
        return self.run_python(IMPACKET, f"{PROXY}:{port}", PASSWORD, login, password)

    def test_impacket(self) -> None:
        """A hundred-odd users by HTTP/1.1 with Expect, with TLS and without, from either server."""
        met = set()
        for turn in range(6):
            done = self.impacket((80, 443)[turn % 2])
            self.assertEqual(done.code, 0, done)
            met |= NAMES & set(done.out.split())
        self.assertEqual(met, NAMES)
        self.assertNotIn("one half of a pair", self.proxy.log_text())

    def test_impacket_ntlm(self) -> None:
        """The same by NTLM, logged for both channels; a wrong password does not come in."""
        for port in (80, 443):
            done = self.impacket(port, "ntlm")
            self.assertEqual(done.code, 0, done)
        self.assertNotIn("one half of a pair", self.proxy.log_text())
        # An IN channel has no answer as long as it works.
        for method, login in (("RPC_OUT_DATA", "done"), ("RPC_IN_DATA", "unanswered")):
            self.proxy.await_access(
                lambda record, wanted=(method, login, "EX\\user1"): (
                    (record.get("method"), record.get("login"), record.get("user")) == wanted
                ),
                2,
            )
        done = self.impacket(80, "ntlm", "wrong")
        self.assertIn("NTLM authentication failed in RPC_IN_DATA channel", done.err)
