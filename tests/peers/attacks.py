"""What is known to have been tried on mail proxies, for one of them before a real Postfix and Dovecot."""

from __future__ import annotations

import itertools
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mail.test_smtp_words import ENDS, SMUGGLED
from tests.peers.kit.nginx_mail import ADDRESS as NGINX
from tests.peers.kit.nginx_mail import NginxMail
from tests.peers.kit.proxy import Exproxy
from tests.peers.kit.server import PASSWORD
from tests.peers.kit.site import PROXY, SERVERS, Site

REFUSED, HARMLESS, THROUGH = "refused", "harmless", "let through"
PASSING = 2525
# Seconds of silence after which nothing more is expected: of a whole answer, and of a first part.
_QUIET, _PAUSE = 0.5, 0.05
_CONFIGURATION = """
servers: {{ex1: {ex1}}}
defaults:
  certificate: {pem}
  persistence: none
services:
  smtp:
    protocol: {{smtp: {{client-address: xclient}}}}
    listen: {{port: 25, address: {proxy}, tls: starttls}}
    backend: {{port: 25, tls: false}}
  smtp-passing:
    protocol: {{smtp: {{bare-newline: pass}}}}
    listen: "{proxy}:{passing}"
    backend: {{port: 25, tls: false}}
  imap:
    protocol: {{imap: {{client-address: id}}}}
    listen: {{port: 143, address: {proxy}, tls: starttls}}
    backend: {{port: 143, tls: {{mode: starttls, verify: {ca}}}}}
  pop:
    protocol: {{pop: {{client-address: xclient}}}}
    listen: {{port: 110, address: {proxy}, tls: starttls}}
    backend: {{port: 110, tls: {{mode: starttls, verify: {ca}}}}}
"""
# Addresses that a client claims to have, one a try (RFC 5737).
_claimed = (f"198.51.100.{number}" for number in itertools.count(1))


def exproxy(site: Site) -> Exproxy:
    """exproxy at PROXY, in the path, its servers told who the client is."""
    text = _CONFIGURATION.format(
        **SERVERS, proxy=PROXY, passing=PASSING, pem=site.places["ex1"].pem, ca=site.authority.ca
    )
    return Exproxy(site, text, ready=[(PROXY, port) for port in (25, 110, 143, PASSING)])


def nginx(site: Site) -> NginxMail:
    """nginx at NGINX."""
    return NginxMail(site)


class Talk:
    """A client's connection."""

    def __init__(self, address: str, port: int) -> None:
        self.wire: socket.socket = socket.create_connection((address, port), timeout=5)
        self.heard(_PAUSE)

    def heard(self, quiet: float = _QUIET) -> bytes:
        """All that is said, up to its end or so many seconds of silence."""
        data = b""
        self.wire.settimeout(5)
        try:
            while piece := self.wire.recv(65536):
                data += piece
                self.wire.settimeout(quiet)
        except (TimeoutError, OSError):
            pass
        return data

    def heard_more(self) -> bytes:
        """What is said without having been asked for."""
        self.wire.settimeout(_QUIET)
        try:
            return self.wire.recv(65536)
        except (TimeoutError, OSError):
            return b""

    def asked(self, *lines: bytes) -> bytes:
        """The answer to the last of these lines; b"" where the other side is gone."""
        said = b""
        for number, line in enumerate(lines, 1):
            try:
                self.wire.sendall(line + b"\r\n")
            except OSError:
                return b""
            said = self.heard(_QUIET if number == len(lines) else _PAUSE)
        return said

    def secure(self) -> None:
        """The TLS handshake; raises OSError."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.wire.settimeout(5)
        # Of one that was reset wrap_socket would leave a socket that nobody can close.
        self.wire.getpeername()
        self.wire = context.wrap_socket(self.wire)


@contextmanager
def talking(address: str, port: int) -> Iterator[Talk]:
    """A connection, closed at the end."""
    talk = Talk(address, port)
    try:
        yield talk
    finally:
        talk.wire.close()


@dataclass(frozen=True)
class Speech:
    """How a protocol begins TLS: port, a first command, the request, what agrees, and another command."""

    port: int
    hello: bytes
    request: bytes
    agreed: bytes
    command: bytes


SMTP = Speech(25, b"EHLO me", b"STARTTLS", b"220 ", b"NOOP")
IMAP = Speech(143, b"a NOOP", b"b STARTTLS", b"b OK", b"c NOOP")
POP = Speech(110, b"CAPA", b"STLS", b"+OK", b"USER evil")


class Attacks:
    """Each method tries one thing on the proxy at ``address`` and gives REFUSED, HARMLESS or THROUGH."""

    def __init__(self, site: Site, address: str) -> None:
        self._site = site
        self._address = address

    # -- STARTTLS ------------------------------------------------------------------------

    def behind(self, speech: Speech) -> str:
        """A command in one piece with the request: is it answered under TLS?"""
        with talking(self._address, speech.port) as talk:
            talk.asked(speech.hello)
            said = talk.asked(speech.request + b"\r\n" + speech.command)
            return self._secured(talk, speech, said)

    def after(self, speech: Speech) -> str:
        """A command in plain text behind the agreement."""
        with talking(self._address, speech.port) as talk:
            said = talk.asked(speech.hello, speech.request)
            talk.wire.sendall(speech.command + b"\r\n")
            return self._secured(talk, speech, said)

    def _secured(self, talk: Talk, speech: Speech, said: bytes) -> str:
        if not said.startswith(speech.agreed) or said.count(b"\n") > 1:
            return REFUSED
        try:
            talk.secure()
        except OSError:
            return REFUSED
        return THROUGH if talk.heard_more() else HARMLESS

    def stripped(self, speech: Speech, *login: bytes) -> str:
        """A login in plain text."""
        with talking(self._address, speech.port) as talk:
            said = talk.asked(*login)
            return THROUGH if said.startswith((b"+OK", b"a OK")) else REFUSED

    # -- who the client is ----------------------------------------------------------------

    def xclient(self, form: bytes) -> str:
        """XCLIENT in SMTP, once the proxy has joined the client to its server: does Postfix believe it?"""
        claimed = next(_claimed)
        with talking(self._address, 25) as talk:
            begun = (b"EHLO me", b"MAIL FROM:<a@x.test>", b"RCPT TO:<user1@ex.test>", b"RSET")
            said = talk.asked(*begun, form % claimed.encode())
            talk.asked(b"QUIT")
        return self._believed("postfix", f"[{claimed}]", said)

    def pop_xclient(self) -> str:
        """XCLIENT in POP: does Dovecot believe it?"""
        claimed = next(_claimed)
        with talking(self._address, 110) as talk:
            talk.asked(b"STLS")
            talk.secure()
            said = talk.asked(b"XCLIENT ADDR=%b PORT=1" % claimed.encode())
            talk.asked(b"USER user1", b"PASS " + PASSWORD.encode(), b"QUIT")
        return self._believed("dovecot", f"rip={claimed}", said)

    def identified(self, field: bytes) -> str:
        """ID in IMAP with that field: does Dovecot believe it?"""
        claimed = next(_claimed)
        with talking(self._address, 143) as talk:
            talk.asked(b"a STARTTLS")
            talk.secure()
            said = talk.asked(b'b ID ("%b" "%b")' % (field, claimed.encode()))
            talk.asked(b"c LOGIN user1 " + PASSWORD.encode(), b"d LOGOUT")
        return self._believed("dovecot", f"rip={claimed}", said)

    def _believed(self, kind: str, text: str, said: bytes) -> str:
        server = getattr(self._site, kind)["ex1"]
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            if text in server.log_text():
                return THROUGH
            time.sleep(0.05)
        return REFUSED if re.match(rb"5|-ERR|b (BAD|NO)", said) or not said else HARMLESS

    def http(self) -> str:
        """A browser's request whose body is a dialogue (ALPACA): is that held?"""
        with talking(self._address, 25) as talk:
            said = talk.asked(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nEHLO me")
            return THROUGH if re.search(rb"(?m)^250", said) else REFUSED

    def hidden(self) -> str:
        """A second command in a literal of the first: is it carried out before any login?"""
        with talking(self._address, 143) as talk:
            talk.asked(b"a STARTTLS")
            talk.secure()
            said = talk.asked(b"b NOOP {8+}\r\nc NOOP\r\n")
            return THROUGH if re.search(rb"(?m)^c OK", said) else REFUSED


def table(attacks: Attacks) -> dict[str, str]:
    """Everything that can be tried: what → what became of it."""
    secret = PASSWORD.encode()
    rows: dict[str, Callable[[], str]] = {}
    for name, speech in (("SMTP", SMTP), ("IMAP", IMAP), ("POP", POP)):
        rows[f"{name}: a command in one piece with STARTTLS"] = lambda speech=speech: attacks.behind(speech)
        rows[f"{name}: plain text after the agreement"] = lambda speech=speech: attacks.after(speech)
    rows["IMAP: a login without TLS"] = lambda: attacks.stripped(IMAP, b"a LOGIN user1 " + secret)
    rows["POP: a login without TLS"] = lambda: attacks.stripped(POP, b"USER user1", b"PASS " + secret)
    for text, form in (
        ("`XCLIENT ADDR=…`", b"XCLIENT ADDR=%b"),
        ("the same behind a blank", b" XCLIENT ADDR=%b"),
        ("the same with a tab", b"XCLIENT\tADDR=%b"),
    ):
        rows[f"SMTP: {text}"] = lambda form=form: attacks.xclient(form)
    rows["POP: `XCLIENT ADDR=…`"] = attacks.pop_xclient
    rows['IMAP: `ID ("x-originating-ip" …)`'] = lambda: attacks.identified(b"x-originating-ip")
    rows["IMAP: the same with a backslash"] = lambda: attacks.identified(b"\\x-originating-ip")
    rows["IMAP: a second command in a literal"] = attacks.hidden
    rows["SMTP: a browser's request"] = attacks.http
    return {text: tried() for text, tried in rows.items()}


def smuggled(site: Site, address: str, port: int, end: bytes) -> str:
    """How many mails become of ``hello``, an end in that spelling, and a second mail; or REFUSED."""
    site.empty_mailboxes()
    with talking(address, port) as talk:
        talk.asked(b"EHLO me", b"MAIL FROM:<a@x.test>", b"RCPT TO:<user1@ex.test>", b"DATA")
        talk.wire.sendall(b"Subject: outer\r\n\r\nhello" + end + SMUGGLED)
        said = talk.heard()
    if not said.startswith(b"250"):
        return REFUSED
    accepted = len(re.findall(rb"(?m)^250 2\.0\.0 Ok: queued", said))
    deadline = time.monotonic() + 5
    found: set[Path] = set()
    while len(found) < accepted and time.monotonic() < deadline:
        time.sleep(0.02)
        found = set(site.mail.rglob("new/*"))
    return str(len(found))


def spelled(end: bytes) -> str:
    """CR and LF by name."""
    names = {0x0D: "CR", 0x0A: "LF", 0x2E: "."}
    return " ".join(names[byte] for byte in end)


def smuggling(site: Site) -> dict[str, tuple[str, ...]]:
    """Each spelling of the end → Postfix alone, exproxy that passes, exproxy, nginx."""
    fronts = ((SERVERS["ex1"], 25), (PROXY, PASSING), (PROXY, 25), (NGINX, 25))
    return {spelled(end): tuple(smuggled(site, *front, end) for front in fronts) for end in ENDS}
