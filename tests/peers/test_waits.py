"""Long waits of Exchange's clients, in real time: the template of 2016, round robin over two servers."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.peers.kit.case import PeerCase
from tests.peers.kit.netns import Done
from tests.peers.kit.proxy import Exproxy
from tests.peers.kit.server import PASSWORD
from tests.peers.kit.site import PROXY

# Nothing of the template but the addresses and the servers' lack of TLS is changed.
CONFIGURATION = """
template: exchange-2016
servers: {{ex1: 127.0.0.11, ex2: 127.0.0.12}}
defaults: {{certificate: {pem}, health: {{interval: 500ms, timeout: 400ms, rise: 1, fall: 3}}}}
services:
  http: {{listen: "127.0.0.1:80"}}
  https: {{listen: "127.0.0.1:443", backend: {{port: 8080, tls: false}}}}
  smtp: ~
  imap: ~
  pop: ~
"""
URL = f"https://{PROXY}"
# Seconds, longer than `keep-alive` (60) and than the minute after which many a proxy ends what is silent.
WAIT = 63
BASIC = "Authorization: Basic dXNlcjE6UGFzc3cwcmQxeA=="

STREAMING = """
import sys
from exchangelib import DELEGATE, NTLM, Account, Build, Configuration, Credentials, Version
from exchangelib.services import GetStreamingEvents, SubscribeToStreaming
from exchangelib.properties import DistinguishedFolderId, Mailbox
credentials = Credentials(sys.argv[2], sys.argv[3])
configuration = Configuration(
    service_endpoint=sys.argv[1] + "/EWS/Exchange.asmx", credentials=credentials, auth_type=NTLM,
    version=Version(build=Build(15, 1, 2507, 6)), max_connections=2,
)
account = Account("user1@ex.test", access_type=DELEGATE, credentials=credentials, config=configuration)
inbox = DistinguishedFolderId(id="inbox", mailbox=Mailbox(email_address="user1@ex.test"))
[subscription] = SubscribeToStreaming(account=account).call(folders=[inbox], event_types=["NewMailEvent"])
print("subscribed", subscription, account.affinity_cookie)
# Only the cookie leads back: the next request comes over a new connection, with a log-in of its own.
account.protocol.close()
events = GetStreamingEvents(account=account)
for notification in events.call(subscription_ids=[subscription], connection_timeout=1):
    for event in notification.events:
        print("event", event.item_id.id, flush=True)
print("status", events.connection_status)
"""
IMPACKET = """
import sys, time
from impacket.dcerpc.v5 import samr, transport
from impacket.http import AUTH_BASIC
reaching = transport.DCERPCTransportFactory("ncacn_http:127.0.0.1[59531,RpcProxy=%s:443]" % sys.argv[1])
reaching.set_credentials("Administrator", sys.argv[2], "EX")
reaching.set_auth_type(AUTH_BASIC)
dce = reaching.get_dce_rpc()
dce.set_credentials("Administrator", sys.argv[2], "EX")
dce.set_auth_type(10)
dce.set_auth_level(6)
dce.connect()
dce.bind(samr.MSRPC_UUID_SAMR)
server = samr.hSamrConnect(dce)["ServerHandle"]
time.sleep(int(sys.argv[3]))
domains = samr.hSamrEnumerateDomainsInSamServer(dce, server)["Buffer"]["Buffer"]
print("domains", [each["Name"] for each in domains])
dce.disconnect()
"""


class WaitTests(PeerCase):
    """Clients that hear nothing for a minute, all of them at the same time."""

    needs = ("windows", "samba", "curl", "pyspnego", "exchangelib", "impacket")

    def setUp(self) -> None:
        super().setUp()
        pem = self.site.places["ex1"].pem
        self.proxy = Exproxy(self.site, CONFIGURATION.format(pem=pem))
        self.proxy.start()

    def tearDown(self) -> None:
        self.proxy.stop()
        self.assertNotIn("Traceback", self.proxy.log_text())

    def test_a_minute(self) -> None:
        """Ping, MAPI, EWS streaming, a WebSocket and RPC over HTTP bear it; an idle client is let go."""
        waits = (self._ping, self._notification, self._streaming, self._web_socket, self._rpc, self._idle)
        with ThreadPoolExecutor(len(waits)) as pool:
            for wait in [pool.submit(wait) for wait in waits]:
                wait.result()
        self.assertNotIn("one half of a pair", self.proxy.log_text())

    def _curl(self, *arguments: str) -> Done:
        done = self.site.clients.curl(*arguments, limit=WAIT + 20)
        self.assertEqual(done.code, 0, done)
        return done

    def _python(self, code: str, *arguments: str) -> Done:
        extra = {"REQUESTS_CA_BUNDLE": str(self.site.authority.ca)}
        argv = [sys.executable, "-W", "ignore", "-c", code, *arguments]
        done = self.site.namespace.run(argv, timeout=WAIT + 40, extra=extra)
        self.assertEqual(done.code, 0, done)
        return done

    def _ping(self) -> None:
        """An ActiveSync Ping whose answer does not begin for so long."""
        target = f"/Microsoft-Server-ActiveSync?Cmd=Ping&wait={WAIT}"
        done = self._curl("-u", f"user1:{PASSWORD}", "--data-binary", "Ping", URL + target)
        self.assertRegex(done.out, r"^news of ex[12]\n$")

    def _notification(self) -> None:
        """An answer of MAPI over HTTP that begins at once and goes on after so long; logged in by NTLM."""
        target = f"/mapi/emsmdb/?MailboxId=a@ex.test&wait={WAIT}"
        fields = ["-H", "X-RequestType: NotificationWait", "-H", "Content-Type: application/mapi-http"]
        done = self._curl(
            "--ntlm", "-u", f"EX\\user1:{PASSWORD}", *fields, "--data-binary", "x", URL + target
        )
        self.assertRegex(done.out, r"^PROCESSING\r?\nDONE\r?\n")

    def _streaming(self) -> None:
        """exchangelib's subscription: its cookie leads to its server, events come before and after."""
        done = self._python(STREAMING, URL, "EX\\user3", PASSWORD)
        lines = done.out.splitlines()
        self.assertRegex(lines[0], r"^subscribed (ex[12]) \1~")
        self.assertEqual(lines[1:], ["event before", "event after", "status Closed"], done)

    def _rpc(self) -> None:
        """Both channels of a virtual connection without a byte."""
        self.assertIn("domains ['EX', 'BUILTIN']", self._python(IMPACKET, PROXY, PASSWORD, str(WAIT)).out)

    def _web_socket(self) -> None:
        """A notification of OWA by WebSocket."""
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
        fields = (*upgrade, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", BASIC)
        with self._connected() as wire:
            wire.sendall(
                "\r\n".join((f"GET /owa/ws?wait={WAIT} HTTP/1.1", f"Host: {PROXY}", *fields, "", "")).encode()
            )
            heard = b"".join(iter(lambda: wire.recv(4096), b""))
        self.assertRegex(heard, rb"(?s)^HTTP/1.1 101 .*\r\n\r\n\x81\x0bnews of ex[12]$")

    def _idle(self) -> None:
        """A client that has its answer and asks nothing more is let go in the meantime."""
        with self._connected() as wire:
            wire.sendall(f"GET /owa/ HTTP/1.1\r\nHost: {PROXY}\r\n{BASIC}\r\n\r\n".encode())
            heard = b"".join(iter(lambda: wire.recv(4096), b""))
        self.assertRegex(heard, rb"^HTTP/1.1 200 ")
        self.assertFalse(re.search(rb"(?i)\r\nconnection: close", heard), heard)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[ssl.SSLSocket]:
        context = ssl.create_default_context(cafile=str(self.site.authority.ca))
        with self.site.namespace.entered():
            plain = socket.create_connection((PROXY, 443), timeout=WAIT + 20)
        with context.wrap_socket(plain, server_hostname=PROXY) as wire:
            yield wire
