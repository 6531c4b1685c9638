"""Paths as the server will see them: no way around a refusal, and no legitimate address refused."""

from __future__ import annotations

import itertools
import posixpath
import re
import unicodedata
from urllib.parse import unquote_to_bytes

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import Facts, Source
from exproxy.routes import Reply, Route
from exproxy.settings import Networks
from exproxy.testing.service import service
from protocols.http import paths
from protocols.http.faults import BadMessage
from protocols.http.head import parse_request
from protocols.http.routing import Routing

INSIDE = Networks.parse(["10.0.0.0/8"])
ROUTES = (
    Route("ecp", paths=("/ecp", "/powershell"), allow=INSIDE),
    Route("auth", paths=("/owa/auth/hidden",), answer=Reply(404)),
    Route("owa", paths=("/owa",)),
)
ROUTING = Routing(service(routes=ROUTES))
# Names that a server behind must never be asked for.
FORBIDDEN = ("ecp", "powershell")

# Attempts to have a server see /ecp or /powershell past the refusal of both.
ATTEMPTS = """
/ecp
/ecp/
/ECP
/eCp/default.aspx
/PowerShell
/PowerShell-LiveID/../powershell
/%65cp
/%65%63%70
/%45CP/
/e%63p
/e%63%50/x
/%2fecp
/%2Fecp
/owa%2f..%2fecp
/owa/..%2fecp
/owa/..%5cecp
/owa/%2e%2e/ecp
/owa/%2E%2e/ecp
/owa/.%2e/ecp
/owa/%2e./ecp
/owa/../ecp
/owa/../../ecp
/owa/x/../../ecp
/./ecp
/%2e/ecp
/owa/..;/ecp
/owa/..;x=y/ecp
/owa/.;/../ecp
/ecp;x
/ecp;x=y/default.aspx
/ecp%3bx/
/;/ecp
/;x=y/ecp
//ecp
///ecp
//owa/../ecp
/owa//../../ecp
/\\ecp
\\ecp
/owa/..\\ecp
/owa\\..\\ecp
/%5cecp
/ecp\\default.aspx
/ecp%5cdefault.aspx
/ecp%2fdefault.aspx
/@ecp
/@x/ecp
/user@example.org/ecp
/x:y@ecp/ecp
/ecp.
/ecp./
/ecp..
/ecp%20
/ecp%20/
/ecp%20%20/x
/ecp.%20/
/ecp%2e/
/ecp%00
/ecp%00.css
/ecp%00/x
/owa/%00/../ecp
/%00/ecp
/ecp%0d%0a
/ecp%09/
/ecp::$DATA
/ecp:$i30:$INDEX_ALLOCATION/
/ecp::$INDEX_ALLOCATION/x
/%2565cp
/%25%36%35cp
/%252fecp
/owa/%252e%252e/ecp
/owa/..%252fecp
/%u0065cp
/%u0065%u0063%u0070
/owa/..%u2215ecp
/owa/..%uff0fecp
/%c0%afecp
/owa/..%c0%afecp
/owa/..%c1%9cecp
/owa/%c0%ae%c0%ae/ecp
/owa/%e0%80%ae%e0%80%ae/ecp
/owa/..%ef%bc%8fecp
/owa/%ef%bc%8e%ef%bc%8e/ecp
/owa/%e2%80%a5/ecp
/%ef%bd%85cp
/%ef%bd%85%ef%bd%83%ef%bd%90/
/%c5%bfecp/../ecp
/power%c5%bfhell/
/power%c5%bfhel%e2%84%93
/e%c2%adcp
/e%e2%80%8bcp
/%ef%bb%bfecp
/ecp%e2%80%8e/
/owa/..%e2%88%95ecp
/owa/..%c2%a5ecp
/%e9cp
/ecp%
/ecp%2
/ecp%zz
/%%65cp
/(S(x))/ecp
/(S(abcdefghijklmnopqrstuvwx))/ecp/default.aspx
/(A(a)S(b))/powershell
/ecp/(S(x))/
/(F(x))/(S(y))/ecp
/%28S%28x%29%29/ecp
/POWERS~1/
/ecp~1/
/... /../ecp
/owa/.../../ecp
/owa/..%20/ecp
/owa/%20../ecp/../../ecp
/owa/..%20./ecp
/ecp?/owa
/ecp/?/../owa
/ecp#/owa
/ecp%23/owa
/ecp%3f/owa
/%3f/../ecp
http://mail.example.org/ecp
http://mail.example.org/ECP/
HTTP://mail.example.org/%65cp
http://mail.example.org//ecp
http://mail.example.org
http://other.example.org/ecp
http://mail.example.org@other.example.org/ecp
http://x@mail.example.org/ecp
http://mail.example.org\\@other/ecp
ecp
ecp/
*/../ecp
/autodiscover/autodiscover.json?@x.example/powershell/?X-Rps-CAT=x&Email=autodiscover/autodiscover.json%3f@x.example
/autodiscover/autodiscover.json?@x.example/powershell&Email=autodiscover/autodiscover.json%3F@x.example
/autodiscover/autodiscover.json?a@x.example/ecp/x&Email=autodiscover/autodiscover.json%3f@x.example
/autodiscover/autodiscover.json?a=b%40x.example%2fPowerShell
/autodiscover/autodiscover.json?@x.example/mapi/nspi/&Email=x
/autodiscover/autodiscover.json?%2540x.example%252fpowershell
/autodiscover/autodiscover.json@x.example/powershell
/autodiscover/autodiscover.json%3f@x.example/ecp
/autodiscover/autodiscover.json/@x.example/ecp
/Autodiscover/x@y/autodiscover.json?PowerShell
/owa/auth/hidden
/OWA/Auth/%48idden/x
/owa/auth;x/hidden
/owa/auth%20/hidden
/owa/auth./hidden
"""

# Pieces of which attempts are made up at random.
PARTS = (
    "/ \\ . .. %2e %2f %5c %25 %65 e c p E ecp ECP owa ; ;x @ : ~1 %00 %20 %c0%af %ef%bd%85 "
    "%ef%bc%8f %e2%80%8b (S(x)) %u0065 %252e ? // %c5%bf x"
)

# What clients of Exchange and Exchange itself ask for; none of these leads to a refusal.
LEGITIMATE = """
/
/owa
/owa/
/OWA/
/owa/service.svc?action=GetConversationItems&EP=1&ID=-51&AC=1
/owa/service.svc/s/GetFileAttachment?id=AAMkADk0%2fZ%3d%3d&X-OWA-CANARY=x.
/owa/service.svc/s/GetPersonaPhoto?email=a%40b.example&UA=0&size=HR96x96
/owa/ev.owa2?ns=PendingRequest&ev=PendingNotificationRequest&UA=0&cid=fb0d
/owa/ev.owa?oeh=1&ns=Monitoring&ev=Beacon
/owa/auth/logon.aspx?replaceCurrent=1&url=https%3a%2f%2fmail.example.org%2fecp%2f
/owa/auth/logon.aspx?url=https://mail.example.org/ecp/default.aspx&reason=0
/owa/auth.owa
/owa/14.1.218.13/themes/base/premium.css
/owa/14.3.123.3/scripts/premium/flogon.js
/owa/auth/15.1.2507/themes/resources/segoeui-regular.ttf
/owa/prem/15.2.1118.7/resources/images/0/sprite1.mouse.png
/owa/prem/15.2.1118.7/scripts/boot.worldwide.0.mouse.js
/owa/user@example.org/
/owa/shared.box@example.org/?offline=disabled
/owa/calendar/6f0c7f0d1f2e4d5aa5f9@example.org/0f3bd3e5c7b84ac1/calendar.html
/owa/calendar/6f0c7f0d1f2e4d5aa5f9@example.org/0f3bd3e5c7b84ac1/reachcalendar.ics
/owa/smime/Bericht%20%C3%BCber%20M%C3%BCnchen.pdf
/owa/attachment.ashx?attach=1&id=RgAAAAD%2bx%2f&attid0=BAAAAA
/owa/?ae=Item&t=IPM.Note&id=RgAAAA%2f%2e%2e%2fecp
/owa/%7Ejane/
/owa/~jane/Stra%C3%9Fe.txt
/owa/My%20Documents/a+b,c=d&e%26f.txt
/owa/plt1.ashx?dt=1&wd=%25
/owa/manifests/appCacheManifestHandler.ashx?owamanifest=1
/owa/healthcheck.htm
/ews/exchange.asmx
/EWS/Exchange.asmx
/EWS/Services.wsdl
/ews/Exchange.asmx/s/GetUserPhoto?email=a@b.example&size=HR48x48
/oab/1c1a0c1e-5b5f-4c53-8a4b-9d1d0bb1a0de/oab.xml
/OAB/1C1A0C1E-5B5F-4C53-8A4B-9D1D0BB1A0DE/21a8cba6-c1b2-4a1d-data-1.lzx
/autodiscover/autodiscover.xml
/Autodiscover/Autodiscover.xml
/autodiscover/autodiscover.json?Email=a@b.example
/autodiscover/autodiscover.json?Email=a%40b.example&Protocol=Autodiscoverv1&RedirectCount=1
/autodiscover/autodiscover.json/v1.0/?Protocol=ActiveSync
/autodiscover/autodiscover.svc
/autodiscover/autodiscover.svc/WSSecurity
/mapi/emsmdb/?MailboxId=0f3bd3e5-c7b8-4ac1-8a4b-9d1d0bb1a0de@example.org
/mapi/nspi/?MailboxId=0f3bd3e5-c7b8-4ac1-8a4b-9d1d0bb1a0de@example.org
/mapi/healthcheck.htm
/rpc/rpcproxy.dll?host:6001
/rpc/rpcproxy.dll?0f3bd3e5-c7b8-4ac1-8a4b-9d1d0bb1a0de@example.org:6004
/rpcwithcert/rpcproxy.dll?host:593
/Microsoft-Server-ActiveSync
/Microsoft-Server-ActiveSync?User=a&DeviceId=b&DeviceType=c&Cmd=Ping
/Microsoft-Server-ActiveSync?jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l
/Microsoft-Server-ActiveSync/default.eas?User=LITWARE%5Cjane&DeviceId=b
/ecpx
/ecp-old/x
/powershellx/
/PowerShell-LiveID
/x/ecp
/owa/ecp
/api/v2.0/me/messages?$filter=x%20eq%20'y'
/favicon.ico
/robots.txt
/.well-known/autoconfig/mail/config-v1.1.xml
/exchange/jane/Inbox/Re-%20x.EML
/public/
""".strip().splitlines()


def lines(text: str) -> list[bytes]:
    """The lines of a table as bytes; a doubled backslash is one."""
    return [line.encode() for line in text.strip("\n").splitlines()]


def outcome(target: bytes, source: str = "192.0.2.7") -> tuple[str, bytes]:
    """("refused 400" | "answered 403" | the route's name or "own", the target that is sent on)."""
    try:
        head = parse_request(b"GET " + target + b" HTTP/1.1\r\nHost: mail.example.org\r\n\r\n")
        head, segments = ROUTING.read(head)
    except BadMessage as fault:
        return f"refused {fault.status}", b""
    way = ROUTING.way(head, segments, Facts(Source(source)))
    if way.answer is not None:
        return f"answered {way.answer.status}", b""
    return way.route or "own", head.target


def readings(target: bytes) -> set[str]:
    """The first segments that any server could read in ``target``: every liberty taken, in any order."""
    path = target.partition(b"?")[0]
    found = set()
    decoded = {path}
    for _ in range(3):
        decoded |= {unquote_to_bytes(each) for each in decoded}
    for each, encoding in itertools.product(decoded, ("utf-8", "latin-1")):
        text = each.decode(encoding, "ignore")
        for plain in {text, unicodedata.normalize("NFKC", text), text.upper()}:
            for cut in (plain, plain.partition("\0")[0], re.sub(r";[^/\\]*", "", plain)):
                normal = posixpath.normpath("/" + cut.replace("\\", "/"))
                first = re.sub(r"^/+(\(\w\(.*?\)\)/)*", "", normal).split("/")[0]
                found.add(re.split("[:;?#]", first)[0].rstrip(". ").casefold())
    return found


class AttemptTests(SynchronousTestCase):
    """A refusal holds in every spelling."""

    def test_no_way_around(self) -> None:
        """Not one of the attempts reaches a server: each is refused with 400, or by its route."""
        attempts = lines(ATTEMPTS.replace("\\\\", "\\"))
        self.assertGreater(len(attempts), 120)
        passed = [(target, came) for target in attempts if _passes(came := outcome(target)[0])]
        self.assertEqual(passed, [(b"http://mail.example.org", "own")])

    def test_plain_spellings_are_refused_by_the_route(self) -> None:
        """What everybody reads in one way is answered 403, and the inside may come in."""
        for target in (b"/ecp", b"/ECP/x", b"/%65cp", b"/PowerShell/?a=b"):
            self.assertEqual(outcome(target)[0], "answered 403", target)
            self.assertEqual(outcome(target, "10.1.2.3")[0], "ecp", target)

    def test_legitimate_addresses_pass(self) -> None:
        """Not one of Exchange's own addresses is refused, and it is sent on as it came."""
        self.assertGreater(len(LEGITIMATE), 60)
        refused = [line for line in LEGITIMATE if not _passes(outcome(line.encode())[0])]
        self.assertEqual(refused, [])
        sent = [line for line in LEGITIMATE if outcome(line.encode())[1] != line.encode()]
        self.assertEqual(sent, ["/owa/%7Ejane/"])

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.sampled_from(PARTS.split()),
            max_size=8,
        )
    )
    def test_what_passes_is_read_alike(self, parts: list[str]) -> None:
        """Of any composition, what passes is nothing that a liberal server could take for /ecp."""
        target = ("/" + "".join(parts)).encode()
        came, sent = outcome(target)
        if _passes(came):
            self.assertFalse(readings(sent) & set(FORBIDDEN), (target, sent))


def _passes(came: str) -> bool:
    return not came.startswith(("refused", "answered"))


class CanonicalTests(SynchronousTestCase):
    """The one form of a path."""

    def test_what_is_matched_is_sent(self) -> None:
        """Escapes that never needed one are undone in what goes on; the others stay, in upper case."""
        path = paths.canonical(b"/%6Fwa/%7e/%c3%bc%20x")
        self.assertEqual(path.raw, b"/owa/~/%C3%BC%20x")
        self.assertEqual(path.segments, ("owa", "~", "ü x"))

    def test_root_and_slash(self) -> None:
        """A final slash makes an empty segment."""
        self.assertEqual(paths.canonical(b"/").segments, ("",))
        self.assertEqual(paths.canonical(b"/owa/").segments, ("owa", ""))

    def test_file_names_are_free(self) -> None:
        """Below the directories that decide, names may have parameters, streams and strange letters."""
        for name in (b"a;b", b"a@b", b"a:b", b"a%20", b"%e2%84%aa", b"x~1"):
            self.assertEqual(len(paths.canonical(b"/owa/" + name).segments), 2)
            self.assertRaises(BadMessage, paths.canonical, b"/" + name)

    def test_always_refused(self) -> None:
        """A broken escape or a control character is refused without any route too."""
        plain = Routing(service())
        for path in (b"/%", b"/%4", b"/%zz", b"/a%00", b"/a%0D%0a", b"/%7f"):
            head = parse_request(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            fault = self.assertRaises(BadMessage, plain.read, head)
            self.assertEqual(fault.status, 400)
        head = parse_request(b"GET /a/../b%2f HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(plain.read(head), (head, ()))
