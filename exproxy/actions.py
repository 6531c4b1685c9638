"""What a conversation asks for. Frozen values; the session performs them in order.

While a Pick, a StartTLS or a Relay is unresolved the session keeps the bytes of the sides that
wait (up to ``limits.max-held``, then it stops reading them), so a conversation is never told of
bytes that it could do nothing with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

from exproxy.model import BOTH, Facts, Link, Side, TLSOptions
from exproxy.values import value


@value(frozen=True, slots=True)
class Pick:
    """Choose a backend for these facts and connect to it: Connected or Unavailable follows.

    ``target`` names a pool of the service (a route); None is the pool of the port that the
    client reached. Client bytes are held until it is resolved.
    """

    facts: Facts
    target: str | None = None


@value(frozen=True, slots=True)
class ToClient:
    """Send to the client."""

    data: bytes


@value(frozen=True, slots=True)
class ToBackend:
    """Send to a backend: over ``link``, else over the link that was connected last."""

    data: bytes
    link: Link | None = None


@value(frozen=True, slots=True)
class StartTLS:
    """Begin TLS on that side: Secured or Lost follows.

    Plain text already received on that side is dropped, counted and reported: nobody smuggles
    a command in front of the handshake. ``options`` are used for a backend (None: as the
    service's ``backend: tls:`` says, unverified where it says nothing); to a client the
    service's certificate is shown.
    """

    side: Side
    options: TLSOptions | None = None


@value(frozen=True, slots=True)
class Relay:
    """Join client and current link; bytes of ``sides`` move unseen.

    Without a ``limit`` to the very end, and the conversation hears only Lost(CLIENT) and
    Draining; with one (bytes, one side) until that many have moved, then Relayed gives the
    wires back. ``idle``: seconds without a byte after which an endless one is dropped; None is
    the service's ``timeouts.idle``.
    """

    sides: tuple[Side, ...] = BOTH
    limit: int | None = None
    idle: float | None = None


@value(frozen=True, slots=True)
class StopRelay:
    """Let the conversation see that side's bytes again; Relayed follows with the count."""

    side: Side


@value(frozen=True, slots=True)
class Hold:
    """Keep that side's bytes back (as during a Pick) until Release: pipelining without a queue."""

    side: Side


@value(frozen=True, slots=True)
class Release:
    """Deliver what Hold kept, and go on reading."""

    side: Side


@value(frozen=True, slots=True)
class Idle:
    """That link carries no request now (its answer is complete). The next Pick that meets it, or
    the next ToBackend after it, makes it busy again: the load that schedulings see."""

    link: Link


@value(frozen=True, slots=True)
class Pin:
    """From now on every Pick of this client resolves to ``link``, or to Unavailable; when either
    end goes the other goes too (connection-bound authentication)."""

    link: Link


@value(frozen=True, slots=True)
class Retry:
    """The link just connected is of no use (a negative greeting, say): close it, count it as a
    failed connect, choose again among the others. Connected or Unavailable follows.

    ``blame`` False: the backend did nothing wrong (an idle connection that had ended), so the
    same server may be chosen again and its health is not told.
    """

    reason: str
    blame: bool = True


@value(frozen=True, slots=True)
class Learn:
    """Something was seen after the choice (AssociationGroup, TLSSessionId, ServerCookie, User …):
    the persistence strategy, where it provides ILearner, binds keys to the present server."""

    observation: object


@value(frozen=True, slots=True)
class SetDeadline:
    """Deadline(name) comes in ``seconds``, unless it is set again; None takes it back."""

    name: str
    seconds: float | None


@value(frozen=True, slots=True)
class Record:
    """Fields for the connection's access-log record; ``close`` writes it and begins another
    (HTTP: one record a request)."""

    fields: Mapping[str, object] = field(default_factory=dict)
    close: bool = False


@value(frozen=True, slots=True)
class Count:
    """So many more of that name in the service's counts (``logins_done``); names are snake_case."""

    name: str
    times: int = 1


@value(frozen=True, slots=True)
class Close:
    """Close one side after what was written to it; ``half`` ends only our sending. ``link`` picks
    one of several backend links, else the current one."""

    side: Side
    half: bool = False
    link: Link | None = None


@value(frozen=True, slots=True)
class Hangup:
    """Close everything, after what was written. ``reason`` goes into the access log.

    ``abort`` resets the client's connection instead, so that it can tell a broken answer from a
    whole one where only the end would say so.
    """

    reason: str = ""
    abort: bool = False


@value(frozen=True, slots=True)
class Pass:
    """A check's good end. ``learnt`` goes to whoever asked for the check (a port, a certificate)."""

    learnt: object = None


@value(frozen=True, slots=True)
class Drain:
    """A check's third end: the server asks to be given nobody new."""

    reason: str


@value(frozen=True, slots=True)
class Fail:
    """A check's bad end: HAProxy's code (L7STS …), the phase ("greeting"), and what was seen."""

    code: str
    phase: str
    reason: str


Outcome: TypeAlias = Pass | Drain | Fail
Action: TypeAlias = (
    Pick
    | ToClient
    | ToBackend
    | StartTLS
    | Relay
    | StopRelay
    | Hold
    | Release
    | Idle
    | Pin
    | Retry
    | Learn
    | SetDeadline
    | Record
    | Count
    | Close
    | Hangup
    | Outcome
)
