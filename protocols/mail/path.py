"""What SMTP, IMAP and POP have in common where exproxy stays in the path: reaching a server, TLS on either
side, and the patience with clients that have not logged in."""

from __future__ import annotations

import re
from abc import abstractmethod

from exproxy.actions import Close, Count, Learn, Pick, Relay, Retry, SetDeadline, StartTLS, ToClient
from exproxy.interfaces import IService
from exproxy.model import BACKEND, CLIENT, Destination, Facts, Source, User
from protocols.mail.options import MailOptions
from protocols.mail.sasl import Credentials, Overheard
from protocols.mail.talk import End, NoServer, ServerGone, Steps, Talk

_VERB = re.compile(rb"[A-Za-z0-9_-]+")
# What a browser that was led here says first; none of these is a command of a mail protocol.
HTTP = frozenset(b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PRI".split())


class Path(Talk):
    """A client between its first byte and the end, or the relay."""

    options: MailOptions
    # The answer to a login that must wait for TLS.
    tls_first: bytes

    def __init__(self, service: IService) -> None:
        super().__init__(service)
        self.options = service.options
        self.offers_tls = False
        self.ends_tls = False
        self.requires_tls = False
        # Where a dial stands, for logs.
        self.phase = "greeting"
        self.logged_in = False
        self._commands = 0
        self._bad = 0
        self._failed = 0

    # -- what a protocol says ----------------------------------------------------------

    @abstractmethod
    def dial(self) -> Steps[bytes]:
        """From the server's greeting until it may be shown to the client; gives the greeting. Raises
        ServerGone where it is of no use."""

    @abstractmethod
    def dialogue(self) -> Steps[None]:
        """With a server, from its greeting to the end or the relay."""

    @abstractmethod
    def alone(self) -> Steps[None]:
        """Without a server, until somebody has logged in (``routing: user``)."""

    # -- the frame ---------------------------------------------------------------------

    def story(self) -> Steps[None]:
        """See Talk."""
        mode = self.service.port_tls(self.facts[Destination].listening)
        self.offers_tls = mode == "starttls"
        self.ends_tls = mode in ("starttls", "implicit")
        said = self.options.require_tls
        self.requires_tls = self.offers_tls if said is None else said
        self.do(SetDeadline("auth", self.service.timeouts.auth))
        if self.options.routing == "user":
            yield from self.alone()
        else:
            greeting = yield from self.reach(self.facts)
            self.do(ToClient(greeting))
        yield from self.dialogue()

    @property
    def may_log_in(self) -> bool:
        """Whether credentials may be sent now."""
        return self.tls is not None or not self.requires_tls

    def shows_starttls(self, now: bool) -> bool | None:
        """Whether lists of capabilities say STARTTLS; None: the server's own word stands. ``now``: whether it
        is of use yet, or still."""
        if self.offers_tls:
            return now
        # A client's own STARTTLS may go to a server that nothing encrypts the way to yet.
        behind = self.wants_starttls or self.ends_tls or self.options.routing == "user"
        return False if behind else None

    @property
    def offer(self) -> list[bytes]:
        """The capabilities that lists are to have beside the server's."""
        return [word.encode() for word in self.options.offer]

    @property
    def hide(self) -> frozenset[bytes]:
        """Those that clients are not told, in upper case."""
        return frozenset(word.upper().encode() for word in self.options.hide)

    @property
    def host(self) -> bytes:
        """The name to greet and refuse with."""
        name: str = self.service.host_name
        return name.encode("ascii", "replace")

    # -- servers -----------------------------------------------------------------------

    def reach(self, facts: Facts) -> Steps[bytes]:
        """Choose a server and dial; another one where it is of no use. Raises NoServer."""
        self.unavailable = self.link = None
        self.do(Pick(facts))
        while True:
            while self.link is None:
                if self.unavailable is not None:
                    raise NoServer
                yield from self.pause()
            self.phase = "greeting"
            self.expired.discard("greeting")
            self.secured.discard(BACKEND)
            self.do(SetDeadline("greeting", self.service.timeouts.greeting))
            try:
                greeting = yield from self.dial()
            except ServerGone as gone:
                self.link = None
                self.server.clear()
                self.do(SetDeadline("greeting", None), Retry(f"{self.phase}: {gone}"))
            else:
                self.do(SetDeadline("greeting", None))
                return greeting

    def leave(self) -> None:
        """Close the link; the client stays."""
        self.do(Close(BACKEND, link=self.link))
        self.link = None
        self.server.clear()

    @property
    def wants_starttls(self) -> bool:
        """Whether the server is to be asked for TLS."""
        return self.service.backend_starttls(self.facts[Destination].listening) is not None

    def upgrade_server(self) -> Steps[None]:
        """TLS with a server that has just agreed to it; what it said beyond that is an injection."""
        if len(self.server):
            self.do(Count("starttls_injections"))
            raise ServerGone("plain text behind the answer")
        self.phase = "TLS handshake"
        self.do(StartTLS(BACKEND, self.service.backend_starttls(self.facts[Destination].listening)))
        while BACKEND not in self.secured:
            if self.gone is not None:
                raise ServerGone(self.gone)
            if "greeting" in self.expired:
                raise ServerGone("no answer")
            yield from self.pause()

    # -- clients -----------------------------------------------------------------------

    def upgrade_client(self, agreed: bytes, refused: bytes) -> Steps[None]:
        """TLS with a client that has just asked for it. Commands that it sent behind its request would be
        answered as if they had come under TLS (CVE-2011-0411), so it is refused with them."""
        self.nothing_behind(refused)
        self.do(ToClient(agreed), StartTLS(CLIENT))
        while CLIENT not in self.secured:
            yield from self.pause()
        self.do(SetDeadline("auth", self.service.timeouts.auth))

    def nothing_behind(self, refused: bytes, command: str = "STARTTLS") -> None:
        """Raises End with these words where the client has sent more behind its request for TLS."""
        if len(self.client):
            self.do(Count("starttls_injections"))
            raise End(f"refused: plain text behind {command}", refused)

    def left_to_tls(self, command: str = "STARTTLS") -> None:
        """The server has agreed to the client's own request: nothing can be read any more."""
        # The client has not seen the agreement yet, so what it sent is no handshake.
        self.nothing_behind(b"", command)
        if len(self.server):
            raise ServerGone(f"plain text behind the answer to {command}")
        self.do(Relay())

    def refuses_login(self, tag: bytes = b"") -> bool:
        """Whether it is too early for credentials; the client is told, behind the tag of its command."""
        if self.may_log_in:
            return False
        self.do(Count("logins_without_tls"))
        self.say(tag + self.tls_first)
        return True

    def counted(self) -> None:
        """One command more before the login."""
        self._commands += 1
        if not self.logged_in and self._commands > self.options.commands:
            raise End("refused: too many commands without a login", self.words("many"))

    def bad(self) -> None:
        """One more that does not exist."""
        self._bad += 1
        if self._bad >= self.options.bad_commands:
            self.do(Count("bad_commands_closed"))
            raise End("refused: too many bad commands", self.words("many"))

    def checked(self, line: bytes) -> bytes:
        """The first word of a line, in upper case; a browser's ends it all, without a word that it could
        show (ALPACA)."""
        word = line.split(b" ", 1)[0].upper()
        if word in HTTP and (b" HTTP/" in line.upper() or b" /" in line or word == b"PRI"):
            self.do(Count("http_closed"))
            raise End("refused: HTTP")
        return word

    def verb(self, line: bytes) -> bytes:
        """checked(), and b"" for a line that begins otherwise than with a word and a space: servers that
        skip blanks, or take tabs for such, would find a command in it that was not looked for."""
        word = self.checked(line)
        return word if _VERB.fullmatch(word) else b""

    def settled(self) -> None:
        """Somebody is here on business: the limits for strangers are over."""
        self.do(SetDeadline("auth", None))
        self._commands = 0

    def welcome(self, name: str, mechanism: str, late: bool = False) -> None:
        """A login was good. ``late``: the name was not known when the server was chosen."""
        self.logged_in = True
        self.settled()
        fields = {"login": "done", "mechanism": mechanism}
        self.do(Count("logins_done"))
        self.note(**fields, **({"user": name} if name else {}))
        if late and name:
            self.do(Learn(User(name)))

    def unwelcome(self, name: str, mechanism: str) -> None:
        """A login was refused; the client has been told."""
        self.do(Count("logins_refused"))
        self.note(login="refused", mechanism=mechanism, **({"user": name} if name else {}))
        self._failed += 1
        if self._failed >= self.options.failed_logins:
            raise End("refused: too many failed logins", self.words("logins"))

    def overheard(self, what: Overheard, good: bool) -> bool:
        """A login that passed by has ended; whether it was good."""
        if good:
            self.welcome(what.name, what.mechanism, what.learnt)
        else:
            self.unwelcome(what.name, what.mechanism)
        return good

    def known(self, credentials: Credentials) -> Facts:
        """What is known of the client with its name."""
        return self.facts.plus(User(credentials.name))

    @property
    def source(self) -> Source:
        """Where the client comes from."""
        return self.facts[Source]
