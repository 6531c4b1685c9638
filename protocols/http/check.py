"""The check ``http``: ask for one page, and see what the server says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from zope.interface import implementer

from exproxy.actions import Action, Drain, Fail, Outcome, Pass, ToBackend
from exproxy.events import Connected, Data, Eof, Event, Lost
from exproxy.interfaces import ICheck, ICheckPlugin, IConversation
from exproxy.model import BACKEND, Link
from exproxy.plugins import Options
from protocols.http.answer import Answer
from protocols.http.faults import BadMessage
from protocols.http.head import RequestHead, ResponseHead, parse_request
from protocols.http.limits import MessageLimits

# So much of a page is read, and no more, for the text that must be in it.
BODY_LIMIT = 64 * 1024
_LIMITS = MessageLimits(head=16 * 1024)
_RANGE = re.compile(r"([1-5][0-9]{2})-([1-5][0-9]{2})")
_USUAL_PORTS = (80, 443)


def _statuses(written: int | str) -> range:
    """What one entry of ``status`` means; raises ValueError."""
    found = _RANGE.fullmatch(str(written))
    low, high = (int(found[1]), int(found[2])) if found else (0, 0)
    if not found and re.fullmatch("[1-5][0-9]{2}", str(written)):
        low = high = int(written)
    if not low or low > high:
        raise ValueError(f"{written!r} is no status; write 200, or a range like 200-299")
    return range(low, high + 1)


def _one_or_many(written: object) -> object:
    return tuple(written) if isinstance(written, (list, tuple)) else (written,)


def _sensible(written: tuple[int | str, ...]) -> tuple[int | str, ...]:
    for each in written:
        _statuses(each)
    return written


Statuses: TypeAlias = Annotated[
    tuple[int | str, ...], BeforeValidator(_one_or_many), AfterValidator(_sensible), Field(min_length=1)
]


class DrainOptions(Options):
    """An answer that means: nobody new, but those who are here may stay."""

    status: Statuses | None = Field(
        default=None, description="The statuses that mean drain: numbers, or ranges like 500-599."
    )
    body: str | None = Field(default=None, min_length=1, description="Text of a page that means drain.")

    @model_validator(mode="after")
    def _something(self) -> DrainOptions:
        if self.status is None and self.body is None:
            raise ValueError("says nothing; name a status, a body, or both")
        return self


class HttpCheckOptions(Options):
    """Options of the check ``http``."""

    path: str = Field(default="/", pattern=r"^/[!-~]*$", description="What to ask for, with its query.")
    host: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._\-:\[\]]+$",
        description="The Host to ask for; default: the server's address.",
    )
    method: str = Field(
        default="GET", pattern=r"^[A-Z]+$", description="GET, or HEAD where no body is wanted."
    )
    status: Statuses = Field(
        default=(200, 301, 302, 401),
        description="The statuses of a server that is well: numbers, or ranges like 200-299.",
    )
    body: str | None = Field(default=None, min_length=1, description="Text that must be in the page.")
    pattern: str | None = Field(
        default=None, min_length=1, description="A regular expression that must be found in the page."
    )
    drain: DrainOptions | None = Field(
        default=None,
        description="The answer of a server in maintenance, which is drained and not DOWN: {status, body}.",
    )

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, written: str | None) -> str | None:
        if written is not None:
            try:
                re.compile(written)
            except re.error as error:
                raise ValueError(f"no regular expression: {error}") from None
        return written


class Maintenance:
    """What an answer is like that means drain."""

    def __init__(self, options: DrainOptions) -> None:
        self._statuses: frozenset[int] | None = None
        if options.status is not None:
            self._statuses = frozenset(status for each in options.status for status in _statuses(each))
        self._text = None if options.body is None else options.body.encode()

    def may_be(self, status: int) -> bool:
        """Whether an answer of that status can still mean it."""
        return self._statuses is None or status in self._statuses

    def meant(self, status: int, page: bytes | None) -> bool:
        """Whether it does; ``page`` None: not known yet."""
        return self.may_be(status) and (self._text is None or (page is not None and self._text in page))


class Expectation:
    """What an answer must be like: a status, and perhaps a text."""

    def __init__(self, options: HttpCheckOptions) -> None:
        self._statuses = frozenset(status for each in options.status for status in _statuses(each))
        self._text = None if options.body is None else options.body.encode()
        self._pattern = None if options.pattern is None else re.compile(options.pattern.encode())
        self._maintenance = None if options.drain is None else Maintenance(options.drain)

    def head(self, head: ResponseHead) -> Outcome | None:
        """What the status alone says; None where the page is needed."""
        maintenance = self._maintenance
        if maintenance is not None and maintenance.may_be(head.status):
            return Drain(_drained(head)) if maintenance.meant(head.status, None) else None
        if head.status not in self._statuses:
            return _unwell(head)
        return None if self._text is not None or self._pattern is not None else Pass()

    def page(self, head: ResponseHead, page: bytes) -> Outcome:
        """What status and page say."""
        if self._maintenance is not None and self._maintenance.meant(head.status, page):
            return Drain(_drained(head))
        if head.status not in self._statuses:
            return _unwell(head)
        if self._text is not None and self._text not in page:
            return Fail("L7RSP", "body", "text not found in the page")
        if self._pattern is not None and self._pattern.search(page) is None:
            return Fail("L7RSP", "body", "pattern not found in the page")
        return Pass()


def _unwell(head: ResponseHead) -> Fail:
    return Fail("L7STS", "status", f"HTTP status {head.status}")


def _drained(head: ResponseHead) -> str:
    return f"HTTP status {head.status} means maintenance"


@implementer(IConversation)
class HttpDialogue:
    """One question and its answer. ``phase``: what is awaited, for whoever loses patience."""

    def __init__(self, options: HttpCheckOptions, expectation: Expectation) -> None:
        self._options = options
        self._expectation = expectation
        self._answer: Answer | None = None
        self._page = bytearray()
        self.phase = "answer"

    def handle(self, event: Event) -> Iterable[Action]:
        """See IConversation and ICheck."""
        if isinstance(event, Connected):
            request = self._request(event.link)
            self._answer = Answer(request, _LIMITS)
            return [ToBackend(request.raw)]
        if isinstance(event, Data) and event.side is BACKEND and self._answer is not None:
            try:
                return self._data(self._answer, event.data)
            except BadMessage as fault:
                return [Fail("L7RSP", self.phase, fault.reason)]
        if isinstance(event, (Eof, Lost)) and event.side is BACKEND and self._answer is not None:
            return self._ended(self._answer)
        return ()

    def _request(self, link: Link) -> RequestHead:
        host = self._options.host
        if host is None:
            host = f"[{link.host}]" if ":" in link.host else link.host
            if link.port not in _USUAL_PORTS:
                host += f":{link.port}"
        return parse_request(
            f"{self._options.method} {self._options.path} HTTP/1.1\r\nHost: {host}\r\n"
            "User-Agent: exproxy-check\r\nAccept: */*\r\nConnection: close\r\n\r\n".encode("ascii")
        )

    def _data(self, answer: Answer, data: bytes) -> list[Action]:
        fresh = answer.head is None
        _, body = answer.feed(data)
        if answer.head is None:
            return []
        if fresh:
            self.phase = "body"
            outcome = self._expectation.head(answer.head)
            if outcome is not None:
                return [outcome]
        self._page += body[: BODY_LIMIT - len(self._page)]
        if answer.done or len(self._page) >= BODY_LIMIT:
            return self._judge(answer.head)
        return []

    def _ended(self, answer: Answer) -> list[Action]:
        if answer.ended() and answer.head is not None:
            return self._judge(answer.head)
        return [Fail("L7RSP", self.phase, f"connection closed before the end of the {self.phase}")]

    def _judge(self, head: ResponseHead) -> list[Action]:
        return [self._expectation.page(head, bytes(self._page))]


@implementer(ICheck)
class HttpCheck:
    """See ICheck."""

    tls = "backend"
    layer = "L7"

    def __init__(self, options: HttpCheckOptions) -> None:
        self._options = options
        self._expectation = Expectation(options)

    def dialogue(self) -> IConversation:
        """See ICheck."""
        return HttpDialogue(self._options, self._expectation)


@implementer(ICheckPlugin)
class _Plugin:
    name = "http"
    summary = "ask for a page over HTTP(S); its status, and perhaps its text, must be right"
    options = HttpCheckOptions

    def check(self, options: Any) -> ICheck:
        """See ICheckPlugin."""
        return HttpCheck(options)


plugin = _Plugin()
