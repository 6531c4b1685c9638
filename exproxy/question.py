"""A client that is asked about and need not exist: what a protocol would make of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zope.interface import Interface

from exproxy.model import Facts


@dataclass(frozen=True, slots=True)
class Client:
    """A hypothetical client, in people's words. Only ``source`` means something to all protocols.

    ``port``: the listening port that it reaches, 0: the service's first; ``headers``: as they stand in an
    HTTP request; ``server_name``: of its TLS handshake; ``user``: who it logs in as; ``session_id``:
    hexadecimal, a TLS session it resumes; ``association``: an RPC association group.
    """

    source: str = ""
    port: int = 0
    method: str = "GET"
    host: str = ""
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    user: str = ""
    server_name: str = ""
    session_id: str = ""
    association: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a protocol makes of it: the Pick's ``facts`` and ``target`` (a route's name, None: the service's
    own servers). ``answer``: what exproxy says itself, in words, where no server is asked."""

    facts: Facts
    target: str | None = None
    answer: str | None = None


class IAsking(Interface):
    """Optional for an IProtocolPlugin: what a client that is only asked about would be chosen by."""

    def asked(service: Any, facts: Facts, client: Client) -> Asked:
        """The Pick of such a client. ``service`` is the IService; ``facts``: Source, Destination and, where
        the listening port ends TLS, TLS: those of its Began.

        Raises ValueError, its text for people, for a client that there cannot be. What a protocol cannot know
        without the client's bytes it leaves out."""
