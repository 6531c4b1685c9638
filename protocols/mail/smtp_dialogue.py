"""SMTP (RFC 5321, 3207, 4954, 3030) with exproxy in the path: one command, one answer, from EHLO to QUIT."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from exproxy.actions import Count, Relay, ToBackend, ToClient
from protocols.mail import smtp_words
from protocols.mail.path import Path
from protocols.mail.sasl import LONGEST, Overheard
from protocols.mail.smtp_words import Edits, Message, Reply
from protocols.mail.talk import End, ServerGone, Steps

# Seconds that a server may take over the end of a message (RFC 5321 4.5.3.2.6), and more.
DATA_END = 660.0
_BDAT = re.compile(rb"BDAT +([0-9]{1,10})( +LAST)? *", re.IGNORECASE)


class SmtpDialogue(Path):
    """With a server. What a client may do without one is in :mod:`protocols.mail.smtp_alone`."""

    helo = b""
    transaction = False
    # EHLO's list as the server last gave it.
    offered: Mapping[bytes, bytes] = MappingProxyType({})

    def words(self, reason: str) -> bytes:
        """See Talk."""
        texts = {
            "unavailable": b"421 4.3.2 %b Service not available, closing transmission channel",
            "lost": b"421 4.3.0 %b The server was lost, closing transmission channel",
            "drain": b"421 4.3.2 %b Service shutting down, closing transmission channel",
            "idle": b"421 4.4.2 %b Error: timeout exceeded",
            "slow": b"421 4.7.0 %b Error: no login in time",
            "long": b"500 5.5.2 %b Error: line too long",
            "newline": b"521 5.5.2 %b Error: bare <CR> or <LF> received",
            "many": b"421 4.7.0 %b Error: too many errors",
        }
        return texts[reason] % self.host + b"\r\n"

    # -- replies -----------------------------------------------------------------------

    def reply(self) -> Steps[Reply]:
        """The server's next reply."""
        lines: list[bytes] = []
        while True:
            line = yield from self.server_line()
            code = smtp_words.code_of(line)
            if code is None or len(lines) > smtp_words.LINES:
                raise ServerGone("answered out of turn")
            lines.append(line)
            if smtp_words.last(line):
                return Reply(code, tuple(lines))

    def passed(self, line: bytes) -> Steps[Reply]:
        """A command to the server, and its reply to the client."""
        self.send(line)
        reply = yield from self.reply()
        self.do(ToClient(reply.data))
        return reply

    # -- reaching a server ---------------------------------------------------------------

    def dial(self) -> Steps[bytes]:
        """See Path: 220, STARTTLS and XCLIENT where they are asked for."""
        reply = yield from self._expected(220)
        hello = b"EHLO " + (self.helo or self.host)
        if self.wants_starttls:
            self.phase = "STARTTLS"
            found = yield from self.listed_by(hello)
            if b"STARTTLS" not in found:
                raise ServerGone("not offered")
            self.send(b"STARTTLS")
            yield from self._expected(220)
            yield from self.upgrade_server()
        if self.options.tells_address:
            self.phase = "XCLIENT"
            found = yield from self.listed_by(hello)
            reply = yield from self._told_address(found)
        self.phase = "EHLO"
        return reply.data

    def _told_address(self, found: dict[bytes, bytes]) -> Steps[Reply]:
        """XCLIENT, after which the server begins anew with a greeting."""
        source, attributes = self.source, found.get(b"XCLIENT", b"").upper().split()
        if b"ADDR" not in attributes:
            raise ServerGone("not offered; the server must be told to believe exproxy's address")
        address = b"IPV6:" + source.host.encode() if ":" in source.host else source.host.encode()
        said = [b"ADDR=" + address]
        # Else the server goes on with the name that it has found for exproxy's address.
        said += [b"NAME=[UNAVAILABLE]"] if b"NAME" in attributes else []
        said += [b"PORT=%d" % source.port] if b"PORT" in attributes else []
        self.send(b"XCLIENT " + b" ".join(said))
        return (yield from self._expected(220))

    def _expected(self, code: int) -> Steps[Reply]:
        reply = yield from self.reply()
        if reply.code != code:
            raise ServerGone(smtp_words.seen(reply))
        return reply

    def listed_by(self, hello: bytes) -> Steps[dict[bytes, bytes]]:
        """EHLO's list; raises ServerGone."""
        self.send(hello)
        return smtp_words.keywords((yield from self._expected(250)))

    # -- the dialogue ------------------------------------------------------------------

    def dialogue(self) -> Steps[None]:
        """See Path."""
        while not (yield from self._command()):
            pass

    def _command(self) -> Steps[bool]:
        """One command; it is forgotten with this frame. Whether nothing can be read any more."""
        line = yield from self.client_line(rest=self.transaction)
        if not self.logged_in and not self.transaction:
            self.counted()
        word = self.verb(line)
        if not word:
            self.say(b"500 5.5.2 Error: bad syntax")
            self.bad()
        elif word in smtp_words.HIDDEN:
            self.say(b"502 5.5.1 Error: command not implemented")
            self.bad()
        elif word == b"STARTTLS":
            return (yield from self.starttls(line))
        else:
            yield from STEPS.get(word, SmtpDialogue.other)(self, line)
        return False

    def other(self, line: bytes) -> Steps[None]:
        """What needs no care passes."""
        reply = yield from self.passed(line)
        if reply.code in (500, 502):
            self.bad()

    def on_ehlo(self, line: bytes) -> Steps[None]:
        """EHLO: the list is edited."""
        self.helo = line[5:].strip()
        self.send(line)
        reply = yield from self.reply()
        if reply.code == 250:
            self.transaction = False
            self.offered = smtp_words.keywords(reply)
            reply = smtp_words.edited(reply, self.edits())
        self.do(ToClient(reply.data))

    def on_helo(self, line: bytes) -> Steps[None]:
        """HELO ends a transaction as well."""
        self.helo = line[5:].strip()
        yield from self._ending(line)

    def on_rset(self, line: bytes) -> Steps[None]:
        """RSET."""
        yield from self._ending(line)

    def _ending(self, line: bytes) -> Steps[None]:
        if (yield from self.passed(line)).good:
            self.transaction = False

    def on_mail(self, line: bytes) -> Steps[None]:
        """MAIL begins a transaction."""
        if (yield from self.passed(line)).good:
            self.transaction = True
            self.settled()

    def on_burl(self, line: bytes) -> Steps[None]:
        """BURL (RFC 4468 3.1) ends a transaction where it is the last."""
        yield from self.passed(line)
        if line.upper().endswith(b" LAST"):
            self.transaction = False

    def on_quit(self, line: bytes) -> Steps[None]:
        """QUIT."""
        yield from self.passed(line)
        raise End("client quit")

    def edits(self) -> Edits:
        """What becomes of EHLO's list now."""
        starttls: bool | None = self.tls is None
        if not self.offers_tls:
            # A client's own STARTTLS may go to a server that nothing encrypts the way to yet.
            behind = self.wants_starttls or self.ends_tls or self.options.routing == "user"
            starttls = False if behind else None
        options = self.options
        offer = [word.encode() for word in options.offer]
        hide = frozenset(word.upper().encode() for word in options.hide)
        return Edits(starttls, self.may_log_in, offer, hide)

    # -- TLS ---------------------------------------------------------------------------

    def starttls(self, line: bytes) -> Steps[bool]:
        """STARTTLS. Whether TLS is now between client and server, and nothing can be read any more."""
        if not self.offers_tls:
            if self.edits().starttls is None:
                return (yield from self._starttls_beyond(line))
            self.say(b"502 5.5.1 Error: command not implemented")
        elif self.tls is not None or self.logged_in or self.transaction:
            self.say(b"503 5.5.1 Error: not now")
        elif line.strip().upper() != b"STARTTLS":
            self.say(b"501 5.5.4 Syntax: STARTTLS")
        else:
            yield from self.upgrade_client(
                b"220 2.0.0 Ready to start TLS\r\n", b"554 5.5.1 %b Error: pipelining\r\n" % self.host
            )
            self.helo = b""
        return False

    def _starttls_beyond(self, line: bytes) -> Steps[bool]:
        """A client's own STARTTLS, to its server."""
        refused = b"554 5.5.1 %b Error: pipelining\r\n" % self.host
        self.nothing_behind(refused)
        if (yield from self.passed(line)).code != 220:
            return False
        # It has not seen the agreement yet, so this is no handshake.
        self.nothing_behind(b"")
        if len(self.server):
            raise ServerGone("plain text behind the answer to STARTTLS")
        self.do(Relay())
        return True

    # -- logging in --------------------------------------------------------------------

    def refuses_login(self) -> bool:
        """Whether it is too early for credentials; the client is told."""
        if self.may_log_in:
            return False
        self.do(Count("logins_without_tls"))
        self.say(b"530 5.7.0 Must issue a STARTTLS command first")
        return True

    def on_auth(self, line: bytes) -> Steps[None]:
        """AUTH passes by; what is heard of it is a name."""
        if not self.refuses_login():
            yield from self.passed_auth(line)

    def passed_auth(self, line: bytes) -> Steps[bool]:
        """A login between client and server; whether it was good."""
        words = line.split()
        mechanism = words[1] if len(words) > 1 else b""
        if mechanism.upper().endswith(b"-PLUS"):
            self.say(b"504 5.5.4 Unrecognized authentication type")
            return False
        heard = Overheard(mechanism)
        if len(words) > 2:
            heard.said(words[2])
        reply = yield from self.passed(line)
        while reply.code == 334:
            answer = yield from self.client_line(rest=True, limit=LONGEST)
            heard.said(answer)
            reply = yield from self.passed(answer)
        if reply.code == 235:
            self.overheard(heard, mechanism)
            return True
        self.unwelcome(heard.name, mechanism.decode("ascii", "replace").upper(), self.words("many"))
        return False

    # -- messages ----------------------------------------------------------------------

    def on_data(self, line: bytes) -> Steps[None]:
        """DATA: the message streams, and its end is where the server sees it too."""
        if (yield from self.passed(line)).code != 354:
            return
        message = Message(self.options.bare_newline != "pass")
        rest = None
        while rest is None:
            part, rest = message.feed((yield from self._some()))
            if message.bare:
                self.do(Count("bare_newlines"))
                raise End("refused: a CR or LF alone in a message", self.words("newline"))
            self.do(ToBackend(part))
        self.client.back(rest)
        yield from self._finished()

    def on_bdat(self, line: bytes) -> Steps[None]:
        """BDAT (RFC 3030 2): so many bytes of any kind."""
        found = _BDAT.fullmatch(line)
        if found is None or b"CHUNKING" not in self.offered:
            # What follows would be taken for commands.
            self.say(b"502 5.5.1 Error: command not implemented, or BDAT count [LAST]")
            raise End("refused: a BDAT that the server would not take", self.words("many"))
        self.send(line)
        left = int(found[1])
        while left:
            data = yield from self._some(left)
            left -= len(data)
            self.do(ToBackend(data))
        if found[2]:
            yield from self._finished()
        else:
            self.do(ToClient((yield from self.reply()).data))

    def _some(self, most: int | None = None) -> Steps[bytes]:
        """Bytes of a message."""
        while not len(self.client):
            if self.gone is not None:
                # Its last word may be why.
                self._overheard()
            if self.client_ended:
                raise End("client closed in a message")
            yield from self.pause()
        return self.client.some(most)

    def _finished(self) -> Steps[None]:
        self.idle = max(self.idle, DATA_END)
        self.do(ToClient((yield from self.reply()).data))
        self.idle = self.service.timeouts.idle
        self.transaction = False


Step = Callable[[SmtpDialogue, bytes], Steps[None]]
STEPS: dict[bytes, Step] = {
    b"EHLO": SmtpDialogue.on_ehlo,
    b"HELO": SmtpDialogue.on_helo,
    b"MAIL": SmtpDialogue.on_mail,
    b"RSET": SmtpDialogue.on_rset,
    b"QUIT": SmtpDialogue.on_quit,
    b"AUTH": SmtpDialogue.on_auth,
    b"DATA": SmtpDialogue.on_data,
    b"BDAT": SmtpDialogue.on_bdat,
    b"BURL": SmtpDialogue.on_burl,
}
