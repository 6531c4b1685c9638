"""A mail dialogue told as a story: one generator for each client connection, which stops where it waits.

``yield`` means "until something happens"; what happened stands in the attributes. So a protocol reads
like its RFC, and stays as pure as any other conversation: events in, actions out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import TypeAlias, TypeVar

from zope.interface import implementer

from exproxy import events
from exproxy.actions import Action, Count, Hangup, Hold, Record, Release, SetDeadline, ToBackend, ToClient
from exproxy.interfaces import IConversation, IService
from exproxy.model import BACKEND, CLIENT, TLS, Facts, Link, Side
from protocols.mail.lines import BareNewline, Lines, TooLong
from protocols.mail.sasl import LONGEST

T = TypeVar("T")
# A part of the story; it comes to a T.
Steps: TypeAlias = Generator[None, None, T]


class End(Exception):
    """It is over: say ``words`` to the client, and hang up for that ``reason``."""

    def __init__(self, reason: str, words: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.words = words


class ServerGone(Exception):
    """The server's connection has ended, or what it said made no sense."""


class NoServer(Exception):
    """No server can be had."""


@implementer(IConversation)
class Talk(ABC):
    """The driver of one story. A protocol tells it in :meth:`story` and says its words in the others."""

    def __init__(self, service: IService) -> None:
        self.service = service
        self.facts = Facts()
        limit = service.limits.line
        strict = getattr(service.options, "bare_newline", None) != "pass"
        self.client = Lines(limit, strict)
        self.server = Lines(limit)
        # What has happened, to be looked at by the story.
        self.tls: TLS | None = None
        self.link: Link | None = None
        self.secured: set[object] = set()
        self.unavailable: str | None = None
        self.gone: str | None = None
        self.client_ended = False
        self.draining = False
        self.expired: set[str] = set()
        # Seconds without a byte after which it is over; the story changes it by phase.
        self.idle = service.timeouts.idle
        self._actions: list[Action] = []
        self._story: Steps[None] | None = None
        self._held: set[Side] = set()
        self._most = max(service.limits.max_held, limit, LONGEST)

    # -- what a protocol says ----------------------------------------------------------

    @abstractmethod
    def story(self) -> Steps[None]:
        """The whole dialogue, from Began on."""

    @abstractmethod
    def words(self, reason: str) -> bytes:
        """What the client is told, line end included, when it is over for that reason: one of
        ``unavailable``, ``lost``, ``drain``, ``idle``, ``slow``, ``long``, ``newline``, ``many`` (errors),
        ``logins`` (that were refused)."""

    # -- IConversation -----------------------------------------------------------------

    def handle(self, event: events.Event) -> Iterable[Action]:
        """See IConversation."""
        if isinstance(event, events.Began):
            self.facts, self.tls = event.facts, event.facts.get(TLS)
            self._story = self._guarded()
        if isinstance(event, events.Draining):
            # It may come before the story: a handshake is under way.
            self.draining = True
        if self._story is None or (isinstance(event, events.Lost) and event.side is CLIENT):
            self._story = None
            return ()
        self._note(event)
        try:
            next(self._story)
        except StopIteration:
            self._story = None
        else:
            self._steady(event)
        actions, self._actions = self._actions, []
        return actions

    def _note(self, event: events.Event) -> None:
        if isinstance(event, events.Data):
            (self.client if event.side is CLIENT else self.server).feed(event.data)
        elif isinstance(event, events.Connected):
            self.link, self.gone = event.link, None
            self.server.clear()
        elif isinstance(event, events.Unavailable):
            self.unavailable = event.reason
        elif isinstance(event, events.Secured):
            self.secured.add(event.side)
            if event.side is CLIENT:
                self.tls = event.tls
                self.facts = self.facts.plus(event.tls)
        elif isinstance(event, (events.Eof, events.Lost)):
            if event.side is BACKEND:
                self.gone = event.reason if isinstance(event, events.Lost) else "closed"
            else:
                self.client_ended = True
        elif isinstance(event, events.Deadline):
            self.expired.add(event.name)

    def _steady(self, event: events.Event) -> None:
        """Who is ahead of the other side waits, and the idle time begins anew."""
        for side, lines in ((CLIENT, self.client), (BACKEND, self.server)):
            # Less than a line or a literal may be is no reason: the rest of it could not come.
            full = len(lines) >= self._most
            if full and side not in self._held:
                self._held.add(side)
                self.do(Hold(side))
            elif not full and side in self._held:
                self._held.discard(side)
                self.do(Release(side))
        if isinstance(event, (events.Data, events.Began, events.Connected)):
            self.do(SetDeadline("idle", self.idle))

    def _guarded(self) -> Steps[None]:
        try:
            yield from self._told()
        except End as end:
            if end.words:
                self.do(ToClient(end.words))
            self.do(Hangup(end.reason))

    def _told(self) -> Steps[None]:
        try:
            yield from self.story()
        except ServerGone as gone:
            raise End(f"server {gone}", self.words("lost")) from None
        except NoServer:
            raise End("", self.words("unavailable")) from None
        except TooLong as error:
            raise End(f"line too long: {error}", self.words("long")) from None
        except BareNewline as error:
            self.do(Count("bare_newlines"))
            raise End(f"refused: {error}", self.words("newline")) from None

    # -- for the story -----------------------------------------------------------------

    def do(self, *actions: Action) -> None:
        """Ask for these, in this order."""
        self._actions += actions

    def say(self, line: bytes) -> None:
        """A line to the client."""
        self.do(ToClient(line + b"\r\n"))

    def send(self, line: bytes) -> None:
        """A line to the server."""
        self.do(ToBackend(line + b"\r\n"))

    def note(self, **fields: object) -> None:
        """For the access log."""
        self.do(Record(fields))

    def pause(self) -> Steps[None]:
        """Until something happens; raises End where that is the end of it all."""
        yield
        if "idle" in self.expired:
            raise End("idle", self.words("idle"))
        if "auth" in self.expired:
            raise End("refused: no login in time", self.words("slow"))

    def client_line(self, *, rest: bool = False, limit: int | None = None) -> Steps[bytes]:
        """The client's next line. ``rest``: it belongs to what the client has begun, so that this is no
        moment to drain. What the server says meanwhile is passed on."""
        while True:
            if self.draining and not rest:
                raise End("drained", self.words("drain"))
            line = self.client.line(limit)
            if line is not None:
                return line
            self._overheard()
            if self.client_ended:
                raise End("client closed")
            yield from self.pause()

    def _overheard(self) -> None:
        last = self.server.some()
        if last:
            self.do(ToClient(last))
        if self.gone is not None and self.link is not None:
            if last:
                # It has said why, in its own words.
                raise End("server closed")
            raise ServerGone(self.gone)

    def server_line(self) -> Steps[bytes]:
        """The server's next line; raises ServerGone."""
        while True:
            try:
                line = self.server.line()
            except TooLong as error:
                raise ServerGone(f"sent {error}") from None
            if line is not None:
                return line
            if self.gone is not None:
                raise ServerGone(self.gone)
            if "greeting" in self.expired:
                raise ServerGone(f"none in {self.service.timeouts.greeting:g} s")
            yield from self.pause()
