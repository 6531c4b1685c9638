"""The login of ``routing: user``, in SMTP, IMAP and POP alike: whom it names is led to a server, and that
server hears the credentials, once."""

from __future__ import annotations

from abc import abstractmethod

from exproxy.model import Facts
from protocols.mail import sasl
from protocols.mail.path import Path
from protocols.mail.sasl import LONGEST, Credentials
from protocols.mail.talk import NoServer, ServerGone, Steps


class Login(Path):
    """What each protocol's answers begin with, where it has tags, is the command's ``tag``; else b""."""

    # What a question of exproxy's begins with.
    prompt = b"+ "
    # Answers to a login: by a mechanism that is not offered, by what are no credentials, without a server.
    unsupported: bytes
    unreadable: bytes
    later: bytes

    # -- what a protocol says ----------------------------------------------------------

    @property
    @abstractmethod
    def greeting(self) -> bytes:
        """The line to greet with."""

    @abstractmethod
    def command_alone(self) -> Steps[None]:
        """The next command of a client that nobody knows yet."""

    @abstractmethod
    def replayed(self, found: Credentials, tag: bytes) -> Steps[bool]:
        """The credentials to the server, and its answer to the client; whether it was good. Raises
        ServerGone."""

    # -- the story without a server ----------------------------------------------------

    def alone(self) -> Steps[None]:
        """See Path."""
        self.say(self.greeting)
        while not self.logged_in:
            # What a command says of a password is forgotten with its frame.
            yield from self.command_alone()

    @property
    def greets_as(self) -> bytes:
        """The name to greet with."""
        name: str = self.options.greeting or self.service.host_name
        return name.encode("ascii", "replace")

    def authenticate(self, words: list[bytes], passing: Steps[bool], tag: bytes = b"") -> Steps[None]:
        """SASL. ``words``: the mechanism, and its first message where that came along; ``passing``: the
        login between client and server, for a mechanism that names nobody before the server is chosen."""
        mechanism = words[0].upper() if words else b""
        name = mechanism.decode("ascii", "replace")
        if name not in self.options.mechanisms:
            self.say(tag + self.unsupported)
        elif mechanism in (b"PLAIN", b"LOGIN"):
            found = yield from self._credentials(mechanism, words[1:2])
            yield from self.log_in(found, name, tag)
        elif (yield from self._reached(self.facts, tag)) and not (yield from passing):
            self.leave()

    def _credentials(self, mechanism: bytes, initial: list[bytes]) -> Steps[Credentials | None]:
        """What the client says of itself; None where it is none, or cancelled by "*"."""
        first = initial[0] if initial else None
        if mechanism == b"PLAIN":
            return sasl.plain(first if first is not None else (yield from self._prompted(b"")))
        user = first if first is not None else (yield from self._prompted(sasl.USERNAME))
        if user == b"*":
            return None
        return sasl.login(user, (yield from self._prompted(sasl.PASSWORD)))

    def _prompted(self, question: bytes) -> Steps[bytes]:
        self.say(self.prompt + question)
        return (yield from self.client_line(rest=True, limit=LONGEST))

    def log_in(self, found: Credentials | None, mechanism: str, tag: bytes = b"") -> Steps[None]:
        """Choose by the name, and say the credentials there, once. None: they cannot be read."""
        if found is None:
            self.say(tag + self.unreadable)
            return
        if not (yield from self._reached(self.known(found), tag)):
            return
        try:
            good = yield from self.replayed(found, tag)
        except ServerGone as gone:
            # Another server must not be told as well: who knows what this one did with it.
            self.note(login=f"lost: {gone}")
            self.say(tag + self.later)
            self.leave()
            return
        if good:
            self.welcome(found.name, mechanism)
            return
        self.leave()
        self.unwelcome(found.name, mechanism)

    def _reached(self, facts: Facts, tag: bytes) -> Steps[bool]:
        """Whether there is a server; else the client is told."""
        try:
            yield from self.reach(facts)
        except NoServer:
            self.say(tag + self.later)
            self.link = None
            return False
        return True
