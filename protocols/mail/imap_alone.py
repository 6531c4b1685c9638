"""IMAP before anybody is known (``routing: user``): exproxy greets, and a login names the server."""

from __future__ import annotations

from exproxy.actions import ToClient
from protocols.mail.imap_dialogue import ImapDialogue
from protocols.mail.imap_words import Command
from protocols.mail.login import Login
from protocols.mail.sasl import Credentials
from protocols.mail.talk import End, Steps

# What exproxy itself can do before a login; the server's own list is asked for, or told, after it.
OFFERED = (b"IMAP4rev1", b"LITERAL+", b"SASL-IR", b"ID")


class Imap(Login, ImapDialogue):
    """One client, with either routing."""

    unsupported = b" NO [CANNOT] Unsupported mechanism"
    unreadable = b" BAD Credentials that cannot be read"
    later = b" NO [UNAVAILABLE] Temporary authentication failure"

    @property
    def greeting(self) -> bytes:
        """See Login."""
        return b"* OK [CAPABILITY %b] %b ready" % (self._list(), self.greets_as)

    def command_alone(self) -> Steps[None]:
        """See Login."""
        command = yield from self.command()
        if command.word == b"STARTTLS":
            yield from self.starttls(command)
        elif command.word in (b"LOGIN", b"AUTHENTICATE"):
            if not self.refuses_login(command.tag):
                yield from self._named(command)
        else:
            self._answered(command)

    def _list(self) -> bytes:
        logins = [b"AUTH=" + each.encode() for each in self.options.mechanisms]
        return self.edits().list([*OFFERED, *logins])

    def _answered(self, command: Command) -> None:
        """What can be said without a server."""
        tag, word = command.tag, command.word
        if word == b"CAPABILITY":
            self.do(ToClient(b"* CAPABILITY %b\r\n%b OK Done\r\n" % (self._list(), tag)))
        elif word == b"NOOP":
            self.say(tag + b" OK Done")
        elif word == b"ID":
            self.do(ToClient(b"* ID NIL\r\n%b OK Done\r\n" % tag))
        elif word == b"LOGOUT":
            raise End("client quit", b"* BYE Logging out\r\n%b OK Done\r\n" % tag)
        else:
            self.say(tag + b" BAD Unknown command, or not before a login")
            self.bad()

    # -- logging in --------------------------------------------------------------------

    def _named(self, command: Command) -> Steps[None]:
        if command.word == b"LOGIN":
            yield from self.log_in(command.credentials(), "LOGIN", command.tag)
        else:
            words = command.pieces[0].split()[2:]
            yield from self.authenticate(words, self.passed_authenticate(command), command.tag)

    def dial(self) -> Steps[bytes]:
        """See Path; with a login to follow, the server's list is needed."""
        greeting = yield from super().dial()
        if self.options.routing == "user" and not self.offered:
            self.phase = "CAPABILITY"
            self.offered = yield from self.capabilities()
        return greeting

    def replayed(self, found: Credentials, tag: bytes) -> Steps[bool]:
        """See Login. The client's own tag is used, so that the server's answer fits."""
        return (yield from self._replayed(found, tag)) == b"OK"

    def _replayed(self, found: Credentials, tag: bytes) -> Steps[bytes]:
        if b"AUTH=PLAIN" not in self.offered and not found.acting:
            return (yield from self.replayed_login(tag, found))
        if b"SASL-IR" in self.offered:
            self.send(tag + b" AUTHENTICATE PLAIN " + found.plain())
            return (yield from self.answered(tag))
        self.send(tag + b" AUTHENTICATE PLAIN")
        state = yield from self.asked_for(tag)
        if state is not None:
            return state
        self.send(found.plain())
        return (yield from self.answered(tag))
