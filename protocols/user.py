"""Persistence ``user``: one person, one server, over all protocols that share the group.

The name comes with a login: IMAP, POP and SMTP where exproxy greets, Basic in HTTP. A name that shows
itself only after the choice (NTLM) is learnt: it leads the person's next connections, if nothing led
them before, and moves none that are there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from zope.interface import implementer

from exproxy.interfaces import IKeys, ILearner, IPersistence, IPersistencePlugin
from exproxy.model import Facts, Key, Named, User
from exproxy.persistence.fallback import Fallback, IFirst, with_fallback
from exproxy.units import Size, Wait
from protocols.identity import identity, normal


def _listed(written: object) -> object:
    return tuple(written) if isinstance(written, list) else written


Domains: TypeAlias = Annotated[
    Literal["one"] | tuple[Annotated[str, Field(min_length=1, max_length=255)], ...], BeforeValidator(_listed)
]


class UserOptions(BaseModel):
    """Options of ``user``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domains: Domains = Field(
        default="one",
        description=r"one: the domain of a name does not count, EX\anna and anna@litware.com are one person; "
        "a list: these domains are one, those of others are others.",
    )
    fallback: Fallback | None = Field(
        default=None, description="Another persistence for clients that have not said who they are."
    )
    timeout: Wait = Field(
        default=7200.0,
        description="How long a user is remembered after the last connection; a group's own wins.",
    )
    limit: Size = Field(
        default=100_000, description="Users remembered at most, the oldest go first; a group's own wins."
    )


@implementer(IPersistence, ILearner, IFirst)
class ByUser:
    """See the module."""

    # Like the names that are known before the choice.
    lifetime: float | None = None

    def __init__(self, options: UserOptions, keys: IKeys) -> None:
        domains = options.domains
        self._domains = None if domains == "one" else frozenset(map(normal, domains))
        self._keys = keys

    def __repr__(self) -> str:
        return "<user>"

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        """See IPersistence."""
        return self.remember(facts)

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence."""
        return self._of(facts.get(User))

    def observe(self, facts: Facts, observation: object) -> tuple[Key, ...]:
        """See ILearner."""
        return self._of(observation) if isinstance(observation, User) else ()

    def suffices(self, facts: Facts) -> bool:
        """See IFirst."""
        return bool(self.remember(facts))

    def _of(self, user: User | None) -> tuple[Key, ...]:
        found = identity(user.name, self._domains) if user is not None else ()
        return (self._keys.digest("user", *(part.encode() for part in found)),) if found else ()


@implementer(IPersistencePlugin)
class _Plugin:
    name = "user"
    summary = "one person, one server, over IMAP, POP, SMTP and HTTP with Basic"
    options = UserOptions
    needs: tuple[type, ...] = (User,)
    uses: tuple[type, ...] = ()

    def strategy(self, options: Any, keys: IKeys) -> IPersistence:
        """See IPersistencePlugin."""
        strategy: IPersistence = with_fallback(ByUser(options, keys), options.fallback, keys)
        return strategy


plugin = _Plugin()
