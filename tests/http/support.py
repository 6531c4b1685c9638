"""What the tests of the HTTP conversation share: a client, two servers, and short words for messages."""

from __future__ import annotations

from collections.abc import Callable

from exproxy.actions import Action, Record, ToBackend, ToClient
from exproxy.events import Began, Connected, Data
from exproxy.interfaces import IMarker
from exproxy.model import BACKEND, CLIENT, TLS, Facts, Link
from exproxy.settings import Limits, Timeouts
from exproxy.testing import Script, facts, link, service
from protocols.http.conversation import Conversation

ONE = link("exch1", 1, port=443)
TWO = link("exch2", 2, "192.0.2.12", port=443)
KNOWN = facts(TLS("TLSv1.3"), port=443)
PLAIN = facts(port=80)

GET = b"GET /owa/?secret=1 HTTP/1.1\r\nHost: mail.example.org\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def post(body: bytes, *fields: bytes, length: int | None = None, method: bytes = b"POST") -> bytes:
    """A request with a body of that length, and as much of it as ``body``."""
    lines = [
        b"%b /ews HTTP/1.1" % method,
        b"Host: mail.example.org",
        b"Content-Length: %d" % (len(body) if length is None else length),
        *fields,
    ]
    return b"\r\n".join([*lines, b"", b""]) + body


def counted() -> Callable[[], bytes]:
    """Request ids r1, r2 …"""
    numbers = iter(range(1, 10_000))
    return lambda: b"r%d" % next(numbers)


class Talk(Script):
    """A script of one HTTP conversation; ``links`` it has been given so far are new or reused."""

    def __init__(
        self,
        known: Facts = KNOWN,
        *,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        trusted: tuple[str, ...] = (),
        marker: IMarker | None = None,
    ) -> None:
        served = service(timeouts=timeouts, limits=limits, trusted_proxies=trusted, marker=marker)
        super().__init__(Conversation(served, counted()))
        self.began = self.on(Began(known))

    def says(self, data: bytes) -> list[Action]:
        """Bytes from the client."""
        return self.on(Data(CLIENT, data))

    def answers(self, data: bytes, link: Link = ONE) -> list[Action]:
        """Bytes from a backend."""
        return self.on(Data(BACKEND, data, link))

    def meets(self, link: Link = ONE, reused: bool = False) -> list[Action]:
        """The pick has led to a link."""
        return self.on(Connected(link, reused))

    def exchanges(self, request: bytes = GET, answer: bytes = OK, link: Link = ONE) -> list[Action]:
        """A whole request and its answer."""
        known = any(isinstance(event, Connected) and event.link == link for event, _ in self.steps)
        self.says(request)
        self.meets(link, reused=known)
        return self.answers(answer, link)


def kinds(actions: list[Action]) -> list[str]:
    """The names of actions."""
    return [type(action).__name__ for action in actions]


def only(kind: type, actions: list[Action]) -> Action:
    """The single action of that kind; AssertionError where there are none or more."""
    found = [action for action in actions if isinstance(action, kind)]
    if len(found) != 1:
        raise AssertionError(f"not one {kind.__name__} in {actions!r}")
    return found[0]


def to_client(actions: list[Action]) -> bytes:
    """All bytes for the client."""
    return b"".join(action.data for action in actions if isinstance(action, ToClient))


def to_backend(actions: list[Action]) -> bytes:
    """All bytes for a backend."""
    return b"".join(action.data for action in actions if isinstance(action, ToBackend))


def recorded(actions: list[Action]) -> dict[str, object]:
    """The access-log fields of these actions."""
    merged: dict[str, object] = {}
    for action in actions:
        if isinstance(action, Record):
            merged.update(action.fields)
    return merged
