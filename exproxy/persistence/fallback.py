"""A second persistence for the clients that the first one has nothing to say of."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import PlainValidator, WithJsonSchema
from zope.interface import Interface, alsoProvides, implementer

from exproxy.interfaces import IKeys, ILearner, IMarker, IPersistence
from exproxy.model import Facts, Key, Known
from exproxy.plugins import Choice, Selected, choice

# In a persistence's options: what stands in the file. The configuration puts what it selects in its place.
Fallback: TypeAlias = Annotated[
    Choice | Selected[Any], PlainValidator(choice), WithJsonSchema({"x-plugin": "persistence"})
]


class IFirst(Interface):
    """What a persistence provides, besides IPersistence, to be given a fallback."""

    def suffices(facts: Facts) -> bool:
        """Whether this client is known, or will be, without another persistence."""


def fallbacks(written: Choice | None) -> list[str]:
    """The names of that fallback and of its own fallbacks, however deep."""
    found: list[str] = []
    while written is not None:
        found.append(written.name)
        inner = (written.options or {}).get("fallback")
        try:
            written = None if inner is None else choice(inner)
        except ValueError:
            written = None
    return found


def with_fallback(first: Any, fallback: Choice | Selected[Any] | None, keys: IKeys) -> Any:
    """``first`` (an IPersistence and IFirst), followed by the fallback where there is one."""
    if not isinstance(fallback, Selected):
        return first
    return Chain(first, fallback.plugin.strategy(fallback.options, keys))


def learners(strategy: Any) -> tuple[ILearner, ...]:
    """Those in a persistence that learn, each with a lifetime of its own; () where none does."""
    if isinstance(strategy, Chain):
        return strategy.learners
    return (strategy,) if ILearner.providedBy(strategy) else ()


@implementer(IPersistence, ILearner, IFirst)
class Chain:
    """The second persistence is asked where the first one does not suffice.

    Provides IMarker where one of them does; only one of them can.
    """

    # Each of its learners has its own.
    lifetime: float | None = None

    def __init__(self, first: Any, second: Any) -> None:
        self._first = first
        self._second = second
        self.learners = (*learners(first), *learners(second))
        self._marker = next((each for each in (first, second) if IMarker.providedBy(each)), None)
        if self._marker is not None:
            self.cookie: bytes = self._marker.cookie
            alsoProvides(self, IMarker)

    def __repr__(self) -> str:
        return f"<{self._first!r}, else {self._second!r}>"

    def candidates(self, facts: Facts) -> tuple[Known, ...]:
        """See IPersistence."""
        found: tuple[Known, ...] = self._for(facts).candidates(facts)
        return found

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence."""
        keys: tuple[Key, ...] = self._for(facts).remember(facts)
        return keys

    def observe(self, facts: Facts, observation: object) -> tuple[Key, ...]:
        """See ILearner."""
        return tuple(key for each in self.learners for key in each.observe(facts, observation))

    def mark(self, facts: Facts, server: str) -> bytes | None:
        """See IMarker; the second one gives its cookie to those only that it is asked for."""
        marker = self._marker
        if marker is None or (marker is self._second and self._first.suffices(facts)):
            return None
        cookie: bytes | None = marker.mark(facts, server)
        return cookie

    def suffices(self, facts: Facts) -> bool:
        """See IFirst."""
        if self._first.suffices(facts):
            return True
        return bool(IFirst.providedBy(self._second) and self._second.suffices(facts))

    def _for(self, facts: Facts) -> Any:
        return self._first if self._first.suffices(facts) else self._second
