"""IMAP (RFC 9051, 2595, 4959) with exproxy in the path: command by command to the login, then as a stream."""

from __future__ import annotations

from exproxy.actions import Count, Relay, ToBackend, ToClient
from protocols.mail import imap_words
from protocols.mail.imap_stream import Stream
from protocols.mail.imap_words import Command, Edits
from protocols.mail.path import Path
from protocols.mail.sasl import LONGEST, Credentials, Overheard, shown
from protocols.mail.talk import End, ServerGone, Steps

# A client in IDLE speaks every 29 minutes (RFC 2177), and a server waits 30 (RFC 9051 5.4).
IDLE = 1860.0
# Tag of the commands that exproxy sends for itself.
OWN = b"exproxy"
# Untagged lines that belong to one answer of a server to exproxy.
LINES = 100


class ImapDialogue(Path):
    """With a server. What a client may do without one is in :mod:`protocols.mail.imap_alone`."""

    offered: frozenset[bytes] = frozenset()

    def words(self, reason: str) -> bytes:
        """See Talk."""
        texts = {
            "unavailable": b"* BYE [UNAVAILABLE] %b Service not available, try again later",
            "lost": b"* BYE [UNAVAILABLE] %b The server was lost, try again later",
            "drain": b"* BYE [UNAVAILABLE] %b Service shutting down, connect again",
            "idle": b"* BYE %b Disconnected for inactivity",
            "slow": b"* BYE %b No login in time",
            "long": b"* BYE %b Line too long",
            "newline": b"* BYE %b Bare CR or LF received",
            "many": b"* BYE %b Too many errors",
        }
        return texts[reason] % self.host + b"\r\n"

    def edits(self) -> Edits:
        """What becomes of lists of capabilities now."""
        starttls: bool | None = self.tls is None
        if not self.offers_tls:
            behind = self.wants_starttls or self.ends_tls or self.options.routing == "user"
            starttls = False if behind else None
        options = self.options
        offer = [word.encode() for word in options.offer]
        hide = frozenset(word.upper().encode() for word in options.hide)
        return Edits(starttls, self.may_log_in, offer, hide)

    # -- reaching a server ---------------------------------------------------------------

    def dial(self) -> Steps[bytes]:
        """See Path: the greeting, STARTTLS and ID where they are asked for."""
        greeting = yield from self.server_line()
        words = greeting.upper().split(b" ")[:2]
        if words not in ([b"*", b"OK"], [b"*", b"PREAUTH"]):
            raise ServerGone(shown(greeting[:100]))
        preauth = words[1] == b"PREAUTH"
        self.offered = imap_words.listed(greeting) or frozenset()
        if self.wants_starttls:
            yield from self._secured(preauth)
            # What it said of itself in plain text may be anybody's word.
            greeting = imap_words.without_list(greeting)
        if preauth and self.options.routing == "user":
            raise ServerGone("PREAUTH, where a login is to follow")
        if self.options.tells_address:
            self.phase = "ID"
            yield from self._own(b"ID " + self._address())
        self.logged_in = preauth
        return self.edits().line(greeting) + b"\r\n"

    def _secured(self, preauth: bool) -> Steps[None]:
        self.phase = "STARTTLS"
        if preauth:
            # A way around TLS: whoever is logged in cannot ask for it any more (CVE-2020-12398).
            raise ServerGone("PREAUTH, which leaves no way to TLS")
        if not self.offered:
            self.offered = yield from self.capabilities()
        if b"STARTTLS" not in self.offered:
            raise ServerGone("not offered")
        yield from self._own(b"STARTTLS")
        yield from self.upgrade_server()
        self.offered = frozenset()

    def _address(self) -> bytes:
        source = self.source
        pairs = (("x-originating-ip", source.host), ("x-originating-port", source.port))
        return b"(%b)" % b" ".join(b'"%b" "%b"' % (key.encode(), str(value).encode()) for key, value in pairs)

    def _own(self, command: bytes) -> Steps[list[bytes]]:
        """A command of exproxy's own; the untagged lines of its answer. Raises ServerGone at NO and BAD."""
        self.send(OWN + b" " + command)
        lines: list[bytes] = []
        while True:
            line = yield from self.server_line()
            state = imap_words.status(line, OWN)
            if state == b"OK":
                return lines
            if state is not None or not line.startswith(b"* ") or len(lines) >= LINES:
                raise ServerGone(shown(line[:100]))
            lines.append(line)

    def capabilities(self) -> Steps[frozenset[bytes]]:
        """What the server says it can do."""
        lines = yield from self._own(b"CAPABILITY")
        return next((found for line in lines if (found := imap_words.listed(line))), frozenset())

    # -- commands of the client ----------------------------------------------------------

    def command(self) -> Steps[Command]:
        """The client's next command, its literals asked for; what cannot be one is answered."""
        while True:
            line = yield from self.client_line()
            self.checked(line)
            self.counted()
            found = imap_words.head(line)
            if found is None:
                self.say(b"* BAD Syntax: tag SP command")
                self.bad()
                continue
            pieces = yield from self._pieces(found[0], line)
            if pieces is not None:
                return Command(*found, pieces)

    def _pieces(self, tag: bytes, line: bytes) -> Steps[tuple[bytes, ...] | None]:
        """The rest of a command. None: it is too long, and the client, who waited, knows it."""
        pieces = [line]
        room = self.service.limits.line - len(line)
        while (follows := imap_words.literal(line)) is not None:
            room -= follows.size
            if room < 0 and follows.waits:
                self.say(tag + b" BAD [TOOBIG] Literal too long")
                return None
            if room < 0:
                raise End("literal too long", self.words("long"))
            if follows.waits:
                self.say(b"+ OK")
            while (content := self.client.exactly(follows.size)) is None:
                if self.client_ended:
                    raise End("client closed")
                yield from self.pause()
            line = yield from self.client_line(rest=True)
            room -= len(line)
            if room < 0:
                raise End("command too long", self.words("long"))
            pieces += [content, line]
        return tuple(pieces)

    def passed(self, command: Command) -> Steps[bytes]:
        """A command of one line to the server, and all that answers it to the client; its status."""
        self.send(command.pieces[0])
        return (yield from self.answered(command.tag))

    def asked_for(self, tag: bytes) -> Steps[bytes | None]:
        """Until the server wants the literal: None; or will not have it: the status."""
        while True:
            line = yield from self.server_line()
            if line.startswith(b"+"):
                return None
            yield from self._shown(line)
            state = imap_words.status(line, tag)
            if state is not None:
                return state

    def answered(self, tag: bytes) -> Steps[bytes]:
        """What the server says, to the client, up to the line that ends the command; its status."""
        while True:
            line = yield from self.server_line()
            yield from self._shown(line)
            state = imap_words.status(line, tag)
            if state is not None:
                return state

    def _shown(self, line: bytes) -> Steps[None]:
        """A line of the server to the client, with the literals that are in it."""
        self.do(ToClient(self.edits().line(line) + b"\r\n"))
        follows = imap_words.literal(line)
        left = follows.size if follows is not None and line.startswith(b"* ") else 0
        while left:
            data = self.server.some(left)
            left -= len(data)
            self.do(ToClient(data))
            if left and self.gone is not None:
                raise ServerGone(self.gone)
            if left:
                yield from self.pause()

    # -- the dialogue ------------------------------------------------------------------

    def dialogue(self) -> Steps[None]:
        """See Path."""
        while not self.logged_in:
            if (yield from self._command()):
                return
        self.settled()
        if self.options.relay == "full":
            self.do(ToBackend(self.client.some()), ToClient(self.server.some()), Relay())
            return
        yield from self._stream()

    def _command(self) -> Steps[bool]:
        """One command; it is forgotten with this frame. Whether nothing can be read any more."""
        command = yield from self.command()
        if command.word == b"STARTTLS":
            return (yield from self.starttls(command))
        if command.word in (b"LOGIN", b"AUTHENTICATE"):
            if not self.refuses_login(command.tag):
                yield from self._login(command)
        elif command.claims:
            self.do(ToClient(b"* ID NIL\r\n%b OK ID completed\r\n" % command.tag))
        elif len(command.pieces) > 1:
            # What is a literal for one parser is the next command for another.
            self.say(command.tag + b" BAD No literals here before a login")
            self.bad()
        else:
            yield from self._other(command)
        return False

    def _other(self, command: Command) -> Steps[None]:
        state = yield from self.passed(command)
        if command.word == b"LOGOUT" and state == b"OK":
            raise End("client quit")
        if state == b"BAD":
            self.bad()

    def starttls(self, command: Command) -> Steps[bool]:
        """STARTTLS. Whether TLS is now between client and server, and nothing can be read any more."""
        tag = command.tag
        refused = b"* BYE Plain text behind STARTTLS\r\n"
        if self.offers_tls and self.tls is None:
            yield from self.upgrade_client(tag + b" OK Begin TLS negotiation now\r\n", refused)
            return False
        if self.offers_tls or self.edits().starttls is not None:
            self.say(tag + b" BAD STARTTLS is not offered now")
            return False
        self.nothing_behind(refused)
        if (yield from self.passed(command)) != b"OK":
            return False
        # It has not seen the agreement yet, so this is no handshake.
        self.nothing_behind(b"")
        if len(self.server):
            raise ServerGone("plain text behind the answer to STARTTLS")
        self.do(Relay())
        return True

    def refuses_login(self, tag: bytes) -> bool:
        """Whether it is too early for credentials; the client is told."""
        if self.may_log_in:
            return False
        self.do(Count("logins_without_tls"))
        self.say(tag + b" NO [PRIVACYREQUIRED] Issue STARTTLS first")
        return True

    def _login(self, command: Command) -> Steps[None]:
        """A login passes; what is heard of it is a name."""
        if command.word != b"LOGIN":
            yield from self.passed_authenticate(command)
            return
        found = command.credentials()
        if found is None:
            self.say(command.tag + b" BAD Syntax: LOGIN user password")
            self.bad()
        elif (yield from self.replayed_login(command.tag, found)) == b"OK":
            self.welcome(found.name, "LOGIN")
        else:
            self.unwelcome(found.name, "LOGIN", self.words("many"))

    def replayed_login(self, tag: bytes, found: Credentials) -> Steps[bytes]:
        """LOGIN in the one form that all servers read alike; its status."""
        text = tag + b" LOGIN"
        for value in (found.user, found.password):
            shown = imap_words.quoted(value)
            if shown is not None:
                text += b" " + shown
                continue
            self.send(text + b" {%d}" % len(value))
            state = yield from self.asked_for(tag)
            if state is not None:
                return state
            self.do(ToBackend(value))
            text = b""
        self.send(text)
        return (yield from self.answered(tag))

    def passed_authenticate(self, command: Command) -> Steps[bool]:
        """AUTHENTICATE between client and server; whether it was good."""
        words = command.pieces[0].split()[2:]
        mechanism = words[0] if words else b""
        if len(command.pieces) > 1:
            self.say(command.tag + b" BAD No literals here")
            self.bad()
            return False
        if mechanism.upper().endswith(b"-PLUS"):
            self.say(command.tag + b" NO [CANNOT] Channel binding is not possible here")
            return False
        heard = Overheard(mechanism)
        if len(words) > 1:
            heard.said(words[1])
        self.send(command.pieces[0])
        while True:
            line = yield from self.server_line()
            yield from self._shown(line)
            state = imap_words.status(line, command.tag)
            if state is not None:
                break
            if line.startswith(b"+"):
                answer = yield from self.client_line(rest=True, limit=LONGEST)
                heard.said(answer)
                self.send(answer)
        if state == b"OK":
            self.overheard(heard, mechanism)
            return True
        self.unwelcome(heard.name, mechanism.decode("ascii", "replace").upper(), self.words("many"))
        return False

    # -- after the login ---------------------------------------------------------------

    def _stream(self) -> Steps[None]:
        stream = Stream()
        while True:
            self._moved(stream)
            if stream.unreadable:
                self.do(Relay())
                return
            if self.gone is not None:
                raise End("server closed" if self.gone == "closed" else f"server lost: {self.gone}")
            if stream.quiet and self.draining:
                raise End("drained", self.words("drain"))
            if self.client_ended and (stream.quiet or stream.cut_off):
                raise End("client closed")
            idle = self.service.timeouts.idle
            self.idle = max(idle, IDLE) if stream.idling else idle
            yield from self.pause()

    def _moved(self, stream: Stream) -> None:
        """What has come goes on, in both directions."""
        data = self.client.some()
        if data:
            stream.from_client(data)
            self.do(ToBackend(data))
        data = self.server.some()
        if data:
            stream.from_server(data)
            self.do(ToClient(data))
