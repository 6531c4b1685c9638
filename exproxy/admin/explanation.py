"""Why a client goes where it goes, as values: the question, and the explanation of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exproxy.question import Client


@dataclass(frozen=True, slots=True)
class Question:
    """Who is asked about: one of a live ``session`` (its id), an access-log ``record`` (the object of its
    JSON line), or a hypothetical ``client`` of ``service``."""

    service: str = ""
    client: Client = field(default_factory=Client)
    session: str = ""
    record: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class KnownAs:
    """One thing by which the client may be known, best first: a ``key`` ("KIND:HEX") in the table, or a
    server that the client names itself (``kind`` "named": a cookie of ours).

    ``facts``: the names of the facts that it was made from; ``server``: where the table has it, None:
    nowhere; ``decides``: this one leads to the server; ``why``: in words.
    """

    kind: str
    key: str | None
    facts: tuple[str, ...]
    server: str | None
    decides: bool
    why: str


@dataclass(frozen=True, slots=True)
class BackendView:
    """One backend as this choice sees it. ``taken``: it is the one; ``why``: why it is, or is not.

    ``weight``: configured; ``ramp``: the part of it that counts now; ``place``: where the scheduling has it
    for a new client, from 1; None where it is not among the usable ones.
    """

    name: str
    server: str
    state: str
    weight: int
    ramp: float
    links: int
    load: int
    limit: int | None
    backup: bool
    place: int | None
    taken: bool
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """``server``: who has the client now, None: nobody (``reason`` says why, and ``answer`` what exproxy says
    itself). ``persistence``: hit, new, moved or none, as the access log will say. ``facts``: type and what
    may be shown of each, never a credential. ``claims``: keys that would be kept with the choice. ``notes``:
    what else there is to know; ``record``: what the log says happened, where a record was asked about."""

    service: str
    route: str | None
    target: str | None
    table: str | None
    facts: Mapping[str, str]
    known: tuple[KnownAs, ...]
    claims: tuple[str, ...]
    backends: tuple[BackendView, ...]
    server: str | None
    persistence: str | None
    reason: str
    answer: str | None = None
    notes: tuple[str, ...] = ()
    record: Mapping[str, object] | None = None
