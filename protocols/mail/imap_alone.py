"""IMAP before anybody is known (``routing: user``): exproxy greets, and a login names the server."""

from __future__ import annotations

from exproxy.actions import ToClient
from protocols.mail import sasl
from protocols.mail.imap_dialogue import ImapDialogue
from protocols.mail.imap_words import Command
from protocols.mail.sasl import LONGEST, Credentials
from protocols.mail.talk import End, NoServer, ServerGone, Steps

# What exproxy itself can do before a login; the server's own list is asked for, or told, after it.
OFFERED = (b"IMAP4rev1", b"LITERAL+", b"SASL-IR", b"ID")
LATER = b" NO [UNAVAILABLE] Temporary authentication failure"


class Imap(ImapDialogue):
    """One client, with either routing."""

    def alone(self) -> Steps[None]:
        """See Path."""
        name = (self.options.greeting or self.service.host_name).encode("ascii", "replace")
        self.say(b"* OK [CAPABILITY %b] %b ready" % (self._list(), name))
        while not self.logged_in:
            yield from self._alone()

    def _alone(self) -> Steps[None]:
        """One command; what it says of a password is forgotten with this frame."""
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
            yield from self._log_in(command.tag, command.credentials(), "LOGIN")
            return
        words = command.pieces[0].split()[2:]
        mechanism = words[0].upper() if words else b""
        if mechanism.decode("ascii", "replace") not in self.options.mechanisms:
            self.say(command.tag + b" NO [CANNOT] Unsupported mechanism")
        elif mechanism in (b"PLAIN", b"LOGIN"):
            credentials = yield from self._credentials(mechanism, words[1:2])
            yield from self._log_in(command.tag, credentials, mechanism.decode())
        else:
            yield from self._beyond(command)

    def _credentials(self, mechanism: bytes, initial: list[bytes]) -> Steps[Credentials | None]:
        first = initial[0] if initial else None
        if mechanism == b"PLAIN":
            return sasl.plain(first if first is not None else (yield from self._prompted(b"")))
        user = first if first is not None else (yield from self._prompted(sasl.USERNAME))
        if user == b"*":
            return None
        return sasl.login(user, (yield from self._prompted(sasl.PASSWORD)))

    def _prompted(self, prompt: bytes) -> Steps[bytes]:
        self.say(b"+ " + prompt)
        return (yield from self.client_line(rest=True, limit=LONGEST))

    def dial(self) -> Steps[bytes]:
        """See Path; with a login to follow, the server's list is needed."""
        greeting = yield from super().dial()
        if self.options.routing == "user" and not self.offered:
            self.phase = "CAPABILITY"
            self.offered = yield from self.capabilities()
        return greeting

    def _log_in(self, tag: bytes, found: Credentials | None, mechanism: str) -> Steps[None]:
        """Choose by the name, and say the credentials there, once."""
        if found is None:
            self.say(tag + b" BAD Credentials that cannot be read")
            return
        try:
            yield from self.reach(self.known(found))
        except NoServer:
            self.say(tag + LATER)
            self.link = None
            return
        try:
            state = yield from self._replayed(tag, found)
        except ServerGone as gone:
            # Another server must not be told as well: who knows what this one did with it.
            self.note(login=f"lost: {gone}")
            self.say(tag + LATER)
            self.leave()
            return
        if state == b"OK":
            self.welcome(found.name, mechanism)
            return
        self.leave()
        self.unwelcome(found.name, mechanism, self.words("many"))

    def _replayed(self, tag: bytes, found: Credentials) -> Steps[bytes]:
        """The client's own tag is used, so that the server's answer fits."""
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

    def _beyond(self, command: Command) -> Steps[None]:
        """A mechanism that names nobody before the server is chosen."""
        try:
            yield from self.reach(self.facts)
        except NoServer:
            self.say(command.tag + LATER)
            self.link = None
            return
        if not (yield from self.passed_authenticate(command)):
            self.leave()
