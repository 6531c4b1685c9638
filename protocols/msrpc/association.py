"""Persistence ``rpc-association``: an RPC association, one server.

A bind may name an association group (C706 9.5.1), whose context handles live on the server that gave it
out. Such a client goes there; one that begins a new association goes by the fallback, its source address
by default.

Ids are small numbers, and servers know nothing of each other's: two of them may give one address the
same one. Both are kept then, and the one wins to which the fallback leads.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from zope.interface import implementer

from exproxy.interfaces import IKeys, ILearner, IPersistence, IPersistencePlugin
from exproxy.model import AnyOf, AssociationGroup, Facts, Key, Named, Served, Source
from exproxy.persistence.fallback import Fallback
from exproxy.persistence.source_ip import SourceIp, SourceIpOptions
from exproxy.plugins import Options, Selected
from exproxy.units import Size, Wait

# Seconds that an id is known after its last connection: its server forgets it at once, and may give it
# out anew.
LIFETIME = 10.0


class RpcAssociationOptions(Options):
    """Options of ``rpc-association``."""

    fallback: Fallback | None = Field(
        default=None, description="What a client that begins a new association goes by. Default: source-ip."
    )
    timeout: Wait = Field(
        default=7200.0,
        description="How long the fallback remembers a client after its last connection; a group's own wins.",
    )
    limit: Size = Field(
        default=100_000, description="Keys remembered at most, the oldest go first; a group's own wins."
    )


@implementer(IPersistence, ILearner)
class RpcAssociation:
    """See the module."""

    lifetime: float | None = LIFETIME

    def __init__(self, options: RpcAssociationOptions, keys: IKeys) -> None:
        self._keys = keys
        written = options.fallback
        self._fallback: IPersistence
        if isinstance(written, Selected):
            self._fallback = written.plugin.strategy(written.options, keys)
        else:
            self._fallback = SourceIp(SourceIpOptions(), keys)

    def __repr__(self) -> str:
        return f"<RpcAssociation, else {self._fallback!r}>"

    def candidates(self, facts: Facts) -> tuple[Named | Key | AnyOf, ...]:
        """See IPersistence."""
        then = self._fallback.candidates(facts)
        group = facts.get(AssociationGroup)
        if group is None:
            return then
        given = tuple(self._key(facts, group, server) for server in self._keys.servers)
        known = tuple(each for each in then if not isinstance(each, AnyOf))
        return (AnyOf(given, known), *then)

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence."""
        return self._fallback.remember(facts)

    def observe(self, facts: Facts, observation: object) -> tuple[Key, ...]:
        """See ILearner: the id that the present server (a Served among the facts) gave out."""
        served = facts.get(Served)
        if isinstance(observation, AssociationGroup) and served is not None:
            return (self._key(facts, observation, served.server),)
        return ()

    def _key(self, facts: Facts, group: AssociationGroup, server: str) -> Key:
        source = facts.get(Source)
        host = source.host if source is not None else ""
        return self._keys.digest(
            "rpc-association", host.encode(), group.number.to_bytes(4, "big"), server.encode()
        )


@implementer(IPersistencePlugin)
class _Plugin:
    name = "rpc-association"
    summary = "one RPC association, one server; a new one by its fallback"
    options = RpcAssociationOptions
    needs: tuple[type, ...] = (AssociationGroup,)
    uses: tuple[type, ...] = (Source,)

    def strategy(self, options: Any, keys: IKeys) -> IPersistence:
        """See IPersistencePlugin."""
        return RpcAssociation(options, keys)


plugin = _Plugin()
