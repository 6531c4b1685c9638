"""The associations of one service (C706 9.5.1): connections whose context handles and calls belong together.

A drain waits for them: closing the connections of an association one by one, whenever one has nothing to
do, would take away the handles of a call that another one is busy with.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

# A server's name, and the id that it gave out: ids of different servers have nothing to do with each other.
Identity: TypeAlias = tuple[str, int]


class Member(Protocol):
    """A connection of an association."""

    @property
    def busy(self) -> bool:
        """Whether a call is under way on it."""


class Associations:
    """Who is in which association, for as long as the connections live."""

    def __init__(self) -> None:
        self._members: dict[Identity, dict[Member, None]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def join(self, identity: Identity, member: Member) -> None:
        """One connection more."""
        self._members.setdefault(identity, {})[member] = None

    def leave(self, identity: Identity, member: Member) -> None:
        """A connection is gone; idempotent."""
        members = self._members.get(identity)
        if members is not None:
            members.pop(member, None)
            if not members:
                del self._members[identity]

    def busy(self, identity: Identity) -> bool:
        """Whether any of its connections has a call under way."""
        return any(member.busy for member in self._members.get(identity, ()))
