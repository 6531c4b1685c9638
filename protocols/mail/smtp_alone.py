"""SMTP before anybody is known (``routing: user``): exproxy greets, and a good AUTH names the server."""

from __future__ import annotations

from exproxy.actions import Count, ToClient
from protocols.mail import sasl, smtp_words
from protocols.mail.login import Login
from protocols.mail.sasl import Credentials
from protocols.mail.smtp_dialogue import SmtpDialogue
from protocols.mail.smtp_words import Reply
from protocols.mail.talk import End, Steps

# True of nearly whatever stands behind: all servers that know AUTH have had the other two for decades.
# PIPELINING is exproxy's own: it answers one after the other whatever comes at once.
OFFERED = (b"PIPELINING", b"8BITMIME", b"ENHANCEDSTATUSCODES")


class Smtp(Login, SmtpDialogue):
    """One client, with either routing."""

    prompt = b"334 "
    unsupported = b"504 5.5.4 Unrecognized authentication type"
    unreadable = b"501 5.5.2 Cannot decode response"
    later = b"454 4.7.0 Temporary authentication failure"

    @property
    def greeting(self) -> bytes:
        """See Login."""
        return b"220 %b ESMTP" % self.greets_as

    def command_alone(self) -> Steps[None]:
        """See Login."""
        line = yield from self.client_line()
        self.counted()
        word = self.checked(line)
        if word == b"AUTH":
            yield from self._auth(line)
        elif word == b"STARTTLS":
            yield from self.starttls(line)
        elif word in (b"EHLO", b"HELO"):
            self._hello(word, line[5:].strip())
        else:
            self._answered(word)

    def _hello(self, word: bytes, said: bytes) -> None:
        if not said or not said.isascii():
            self.say(b"501 5.5.4 Syntax: %b hostname" % word)
            return
        if word == b"HELO":
            self.say(b"250 %b" % self.greets_as)
            return
        self.helo = said
        login = [b"AUTH " + b" ".join(each.encode() for each in self.options.mechanisms)]
        words = [*OFFERED, *(login if self.options.mechanisms else [])]
        reply = smtp_words.edited(smtp_words.listed(self.greets_as, words), self.edits())
        self.do(ToClient(reply.data))

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
        if self.refuses_login():
            return
        if not self.helo:
            self.say(b"503 5.5.1 Error: send EHLO first")
        else:
            yield from self.authenticate(line.split()[1:], self.passed_auth(line))

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
        told = [*OFFERED[1:], *(word.split(b" ", 1)[0].upper() for word in self.offer)]
        missing = [word for word in told if word not in self.offered and word not in self.hide]
        if missing:
            self.do(Count("capabilities_missing"))
            self.note(capabilities_missing=b" ".join(missing).decode())

    def replayed(self, found: Credentials, tag: bytes) -> Steps[bool]:
        """See Login."""
        reply = yield from self._replayed(found)
        self.do(ToClient(reply.data))
        return reply.code == 235

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
