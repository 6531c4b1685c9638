"""What a conversation is told. Frozen values; ``side`` is CLIENT or BACKEND.

An event of the backend side carries the ``link`` it came over where a session has several;
a conversation that keeps one link may ignore it.
"""

from __future__ import annotations

from typing import TypeAlias

from exproxy.model import TLS, Facts, Link, Persistence, Side
from exproxy.values import value


@value(frozen=True, slots=True)
class Began:
    """The client is there, and its TLS handshake done where the listener ends TLS.

    ``facts`` hold Source, Destination and, behind TLS, TLS. In a check there is no client and
    the first event is Connected.
    """

    facts: Facts


@value(frozen=True, slots=True)
class Data:
    """Bytes arrived; how they are cut into events means nothing."""

    side: Side
    data: bytes
    link: Link | None = None


@value(frozen=True, slots=True)
class Secured:
    """The handshake that StartTLS asked for is done; what came in plain text is gone."""

    side: Side
    tls: TLS
    link: Link | None = None


@value(frozen=True, slots=True)
class Eof:
    """That side will send no more, and may still read (a TCP half-close)."""

    side: Side
    link: Link | None = None


@value(frozen=True, slots=True)
class Lost:
    """That side is gone altogether.

    Lost(CLIENT) is told once and last, however the connection ended (after a Hangup and an endless Relay
    too); after the end only Record and Count still mean something.
    """

    side: Side
    reason: str
    link: Link | None = None


@value(frozen=True, slots=True)
class Connected:
    """A Pick led to a link: a new one, or (``reused``) one that this session has already."""

    link: Link
    reused: bool = False
    persistence: Persistence = Persistence.NONE


@value(frozen=True, slots=True)
class Unavailable:
    """A Pick led nowhere; ``reason`` is for the log, never for the client.

    ``full``: there are usable servers, and all of them are at their limits: trying again may help.
    """

    reason: str
    full: bool = False


@value(frozen=True, slots=True)
class Relayed:
    """A bounded Relay has moved its ``count`` bytes from ``side``; the conversation sees bytes again."""

    side: Side
    count: int


@value(frozen=True, slots=True)
class Deadline:
    """The deadline of that name has come."""

    name: str


@value(frozen=True, slots=True)
class Draining:
    """The service or the server is being emptied: say so in the protocol's words when there is a
    good moment, at the latest ``until`` seconds from now."""

    until: float


Event: TypeAlias = (
    Began | Data | Secured | Eof | Lost | Connected | Unavailable | Relayed | Deadline | Draining
)
