"""POP (RFC 1939, 2449, 2595, 5034) with exproxy in the path: one command, one answer, to the end."""

from __future__ import annotations

from exproxy.actions import Count, Relay, ToBackend, ToClient
from protocols.mail import pop_words
from protocols.mail.path import Path
from protocols.mail.pop_words import Edits
from protocols.mail.sasl import LONGEST, Overheard
from protocols.mail.sasl import shown as text_of
from protocols.mail.smtp_words import Message
from protocols.mail.talk import End, ServerGone, Steps


class PopDialogue(Path):
    """With a server. What a client may do without one is in :mod:`protocols.mail.pop_alone`."""

    offered: frozenset[bytes] = frozenset()
    # The name that USER said.
    user = b""
    # Messages are marked, and go with QUIT only.
    deleting = False

    def words(self, reason: str) -> bytes:
        """See Talk. Silence is ended by silence (RFC 1939 3)."""
        texts = {
            "unavailable": b"-ERR [SYS/TEMP] %b Service not available, try again later",
            "lost": b"-ERR [SYS/TEMP] %b The server was lost, try again later",
            "drain": b"-ERR [SYS/TEMP] %b Service shutting down, connect again",
            "slow": b"-ERR [SYS/PERM] %b No login in time",
            "long": b"-ERR [SYS/PERM] %b Line too long",
            "newline": b"-ERR [SYS/PERM] %b Bare CR or LF received",
            "many": b"-ERR [SYS/PERM] %b Too many errors",
        }
        return texts[reason] % self.host + b"\r\n" if reason in texts else b""

    @property
    def apop(self) -> bool:
        """Whether a server's stamp may be used by the client."""
        return not self.ends_tls and self.options.routing != "user" and self.may_log_in

    def edits(self) -> Edits:
        """What becomes of CAPA's list now."""
        starttls: bool | None = self.tls is None and not self.logged_in
        if not self.offers_tls:
            behind = self.wants_starttls or self.ends_tls or self.options.routing == "user"
            starttls = False if behind else None
        options = self.options
        offer = [word.encode() for word in options.offer]
        hide = frozenset(word.upper().encode() for word in options.hide)
        return Edits(starttls, self.may_log_in, offer, hide)

    # -- reaching a server ---------------------------------------------------------------

    def dial(self) -> Steps[bytes]:
        """See Path: +OK, STLS and XCLIENT where they are asked for."""
        greeting = yield from self.good_line()
        if self.wants_starttls:
            self.phase = "STLS"
            if b"STLS" not in pop_words.keywords((yield from self.listed())):
                raise ServerGone("not offered")
            self.send(b"STLS")
            yield from self.good_line()
            yield from self.upgrade_server()
        if self.options.tells_address:
            self.phase = "XCLIENT"
            if b"[XCLIENT]" not in greeting and b"XCLIENT" not in pop_words.keywords(
                (yield from self.listed())
            ):
                raise ServerGone("not offered; the server must be told to believe exproxy's address")
            self.send(b"XCLIENT ADDR=%b PORT=%d" % (self.source.host.encode(), self.source.port))
            yield from self.good_line()
        return pop_words.shown(greeting, self.apop) + b"\r\n"

    def good_line(self) -> Steps[bytes]:
        """The server's next line, which is to be +OK; raises ServerGone."""
        line = yield from self.server_line()
        if not pop_words.good(line):
            raise ServerGone(text_of(line[:100]))
        return line

    def listed(self) -> Steps[list[bytes]]:
        """CAPA's list; () of an older server, which has none."""
        self.send(b"CAPA")
        if not pop_words.good((yield from self.server_line())):
            return []
        return (yield from self._list())

    def _list(self) -> Steps[list[bytes]]:
        lines: list[bytes] = []
        while (line := (yield from self.server_line())) != b".":
            if len(lines) >= pop_words.LINES:
                raise ServerGone("answered CAPA without an end")
            lines.append(line)
        return lines

    # -- the dialogue ------------------------------------------------------------------

    def dialogue(self) -> Steps[None]:
        """See Path."""
        while not (self.logged_in and self.options.relay == "full"):
            if (yield from self._command()):
                return
        self.do(ToBackend(self.client.some()), ToClient(self.server.some()), Relay())

    def _command(self) -> Steps[bool]:
        """One command; it is forgotten with this frame. Whether nothing can be read any more."""
        line = yield from self.client_line(rest=self.deleting)
        word = self.verb(line)
        if not self.logged_in:
            self.counted()
        if not word or word in pop_words.HIDDEN or (word == b"APOP" and not self.apop):
            self.say(b"-ERR Unknown command")
            self.bad()
        elif word == b"STLS":
            return (yield from self.starttls(line))
        elif word in (b"USER", b"PASS", b"AUTH", b"APOP") and not self.logged_in:
            if word == b"AUTH" and not line[5:].strip():
                yield from self._passed(line)
            elif not self.refuses_login():
                yield from self._login(word, line)
        else:
            yield from self._other(word, line)
        return False

    def _other(self, word: bytes, line: bytes) -> Steps[None]:
        if word == b"CAPA":
            self.send(line)
            first = yield from self.server_line()
            if pop_words.good(first):
                lines = self.edits().list((yield from self._list()))
                first = b"\r\n".join((first, *lines, b"."))
            self.say(first)
            return
        answer = yield from self._passed(line)
        if word == b"QUIT":
            raise End("client quit")
        good = pop_words.good(answer)
        if not good and not self.logged_in:
            self.bad()
        elif good and word in (b"DELE", b"RSET"):
            self.deleting = word == b"DELE"

    def _passed(self, line: bytes) -> Steps[bytes]:
        """A command to the server, and its answer to the client; the answer's first line."""
        self.send(line)
        first = yield from self.server_line()
        self.say(first)
        if pop_words.good(first) and pop_words.long_answer(line):
            yield from self._streamed()
        return first

    def _streamed(self) -> Steps[None]:
        """The rest of a long answer, to the line with a single dot, as it comes."""
        answer, rest = Message(strict=False), None
        while rest is None:
            part, rest = answer.feed(self.server.some())
            self.do(*([ToClient(part)] if part else []))
            if rest is None:
                if self.gone is not None:
                    raise End("server lost in an answer")
                yield from self.pause()
        self.server.back(rest)

    def starttls(self, line: bytes) -> Steps[bool]:
        """STLS. Whether TLS is now between client and server, and nothing can be read any more."""
        refused = b"-ERR Plain text behind STLS\r\n"
        if self.offers_tls and self.tls is None and not self.logged_in:
            self.user = b""
            yield from self.upgrade_client(b"+OK Begin TLS negotiation\r\n", refused)
            return False
        if self.offers_tls or self.edits().starttls is not None or self.logged_in:
            self.say(b"-ERR STLS is not offered now")
            return False
        self.nothing_behind(refused)
        if not pop_words.good((yield from self._passed(line))):
            return False
        # It has not seen the agreement yet, so this is no handshake.
        self.nothing_behind(b"")
        if len(self.server):
            raise ServerGone("plain text behind the answer to STLS")
        self.do(Relay())
        return True

    # -- logging in --------------------------------------------------------------------

    def refuses_login(self) -> bool:
        """Whether it is too early for credentials; the client is told."""
        if self.may_log_in:
            return False
        self.do(Count("logins_without_tls"))
        self.say(b"-ERR Issue STLS first")
        return True

    def _login(self, word: bytes, line: bytes) -> Steps[None]:
        """A login passes; what is heard of it is a name."""
        if word == b"AUTH":
            yield from self.passed_auth(line)
            return
        words = line.split(b" ", 2)
        if word != b"PASS":
            self.user = words[1] if len(words) > 1 else b""
        good = pop_words.good((yield from self._passed(line)))
        if word == b"USER":
            return
        name = text_of(self.user)
        if good:
            self.welcome(name, word.decode())
        else:
            self.unwelcome(name, word.decode(), b"")

    def passed_auth(self, line: bytes) -> Steps[bool]:
        """AUTH between client and server; whether it was good."""
        words = line.split()[1:]
        mechanism = words[0]
        if mechanism.upper().endswith(b"-PLUS"):
            self.say(b"-ERR Channel binding is not possible here")
            return False
        heard = Overheard(mechanism)
        if len(words) > 1:
            heard.said(words[1])
        answer = yield from self._passed(line)
        while answer[:1] == b"+" and not pop_words.good(answer):
            said = yield from self.client_line(rest=True, limit=LONGEST)
            heard.said(said)
            self.send(said)
            answer = yield from self.server_line()
            self.say(answer)
        if pop_words.good(answer):
            self.overheard(heard, mechanism)
            return True
        self.unwelcome(heard.name, mechanism.decode("ascii", "replace").upper(), b"")
        return False
