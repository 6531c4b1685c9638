"""SMTP before anybody is known (``routing: user``): exproxy greets, and a good AUTH names the server."""

from __future__ import annotations

from exproxy.actions import Count, ToClient
from protocols.mail import sasl, smtp_words
from protocols.mail.sasl import LONGEST, Credentials
from protocols.mail.smtp_dialogue import SmtpDialogue
from protocols.mail.smtp_words import Reply
from protocols.mail.talk import End, NoServer, ServerGone, Steps

# True of nearly whatever stands behind: all servers that know AUTH have had the other two for decades.
# PIPELINING is exproxy's own: it answers one after the other whatever comes at once.
OFFERED = (b"PIPELINING", b"8BITMIME", b"ENHANCEDSTATUSCODES")
SYNTAX = b"501 5.5.2 Cannot decode response"
LATER = b"454 4.7.0 Temporary authentication failure"


class Smtp(SmtpDialogue):
    """One client, with either routing."""

    def alone(self) -> Steps[None]:
        """See Path."""
        name = (self.options.greeting or self.service.host_name).encode("ascii", "replace")
        self.say(b"220 %b ESMTP" % name)
        while not self.logged_in:
            yield from self._alone(name)

    def _alone(self, name: bytes) -> Steps[None]:
        """One command; what it says of a password is forgotten with this frame."""
        line = yield from self.client_line()
        self.counted()
        word = self.checked(line)
        if word == b"AUTH":
            yield from self._auth(line)
        elif word == b"STARTTLS":
            yield from self.starttls(line)
        elif word in (b"EHLO", b"HELO"):
            self._hello(word, line[5:].strip(), name)
        else:
            self._answered(word)

    def _hello(self, word: bytes, said: bytes, name: bytes) -> None:
        if not said or not said.isascii():
            self.say(b"501 5.5.4 Syntax: %b hostname" % word)
            return
        if word == b"HELO":
            self.say(b"250 %b" % name)
            return
        self.helo = said
        login = [b"AUTH " + b" ".join(each.encode() for each in self.options.mechanisms)]
        words = [*OFFERED, *(login if self.options.mechanisms else [])]
        self.do(ToClient(smtp_words.edited(smtp_words.listed(name, words), self.edits()).data))

    def _answered(self, word: bytes) -> None:
        """What can be said without a server."""
        if word in (b"NOOP", b"RSET"):
            self.say(b"250 2.0.0 OK")
        elif word == b"QUIT":
            raise End("client quit", b"221 2.0.0 Bye\r\n")
        elif word in (b"MAIL", b"RCPT", b"DATA", b"BDAT", b"VRFY", b"EXPN", b"ETRN", b"BURL"):
            self.say(b"530 5.7.0 Authentication required")
            if word == b"BDAT":
                # What follows it is no command.
                raise End("refused: BDAT before a login")
        else:
            self.say(b"502 5.5.2 Error: command not recognized")
            self.bad()

    # -- logging in --------------------------------------------------------------------

    def _auth(self, line: bytes) -> Steps[None]:
        words = line.split()
        mechanism = words[1].upper() if len(words) > 1 else b""
        if self.refuses_login():
            return
        if not self.helo:
            self.say(b"503 5.5.1 Error: send EHLO first")
        elif mechanism.decode("ascii", "replace") not in self.options.mechanisms:
            self.say(b"504 5.5.4 Unrecognized authentication type")
        elif mechanism in (b"PLAIN", b"LOGIN"):
            found = yield from self._credentials(mechanism, words[2:3])
            if found is None:
                self.say(SYNTAX)
            else:
                yield from self._log_in(found, mechanism.decode())
        else:
            yield from self._beyond(line)

    def _credentials(self, mechanism: bytes, initial: list[bytes]) -> Steps[Credentials | None]:
        """What the client says of itself; None where it is none, or cancelled by "*"."""
        first = initial[0] if initial else None
        if mechanism == b"PLAIN":
            return sasl.plain(first if first is not None else (yield from self._asked(b"")))
        user = first if first is not None else (yield from self._asked(sasl.USERNAME))
        if user == b"*":
            return None
        return sasl.login(user, (yield from self._asked(sasl.PASSWORD)))

    def _asked(self, prompt: bytes) -> Steps[bytes]:
        self.say(b"334 " + prompt)
        return (yield from self.client_line(rest=True, limit=LONGEST))

    def dial(self) -> Steps[bytes]:
        """See Path; with a login to follow, the server's list is needed."""
        greeting = yield from super().dial()
        if self.options.routing == "user":
            self.phase = "EHLO"
            self.offered = yield from self.listed_by(b"EHLO " + self.helo)
            self._compared()
        return greeting

    def _compared(self) -> None:
        """Whether what the client was told is true of this server; the administrator hears where not."""
        told = [*OFFERED[1:], *(word.encode().split(b" ", 1)[0].upper() for word in self.options.offer)]
        hidden = {word.upper().encode() for word in self.options.hide}
        missing = [word for word in told if word not in self.offered and word not in hidden]
        if missing:
            self.do(Count("capabilities_missing"))
            self.note(capabilities_missing=b" ".join(missing).decode())

    def _log_in(self, found: Credentials, mechanism: str) -> Steps[None]:
        """Choose by the name, and say the credentials there, once."""
        try:
            yield from self.reach(self.known(found))
        except NoServer:
            self.say(LATER)
            self.link = None
            return
        try:
            reply = yield from self._replayed(found)
        except ServerGone as gone:
            # Another server must not be told as well: who knows what this one did with it.
            self.note(login=f"lost: {gone}")
            self.say(LATER)
            self.leave()
            return
        self.do(ToClient(reply.data))
        if reply.code == 235:
            self.welcome(found.name, mechanism)
            return
        self.leave()
        self.unwelcome(found.name, mechanism, self.words("many"))

    def _replayed(self, found: Credentials) -> Steps[Reply]:
        known = smtp_words.mechanisms(self.offered)
        if b"PLAIN" in known or found.acting:
            self.send(b"AUTH PLAIN " + found.plain())
            return (yield from self.reply())
        # Exchange has LOGIN and no PLAIN.
        self.send(b"AUTH LOGIN")
        for text in (found.user, found.password):
            reply = yield from self.reply()
            if reply.code != 334:
                return reply
            self.send(sasl.encoded(text))
        return (yield from self.reply())

    def _beyond(self, line: bytes) -> Steps[None]:
        """A mechanism that names nobody before the server is chosen."""
        try:
            yield from self.reach(self.facts)
        except NoServer:
            self.say(LATER)
            self.link = None
            return
        if not (yield from self.passed_auth(line)):
            self.leave()
