"""Conversations that only need a server: whoever speaks first, the bytes pass unseen.

``tcp`` is this and nothing else; mail on a pass-through TLS port is this too, since nobody but the
two ends can read there.
"""

from __future__ import annotations

from collections.abc import Iterable

from zope.interface import implementer

from exproxy.actions import Action, Hangup, Pick, Relay
from exproxy.events import Began, Connected, Event, Unavailable
from exproxy.interfaces import IPassing, IService


@implementer(IPassing)
class Plain:
    """Picks at once, relays to the end, and refuses by closing."""

    def __init__(self, service: IService) -> None:
        """``service`` is what every conversation is made with; this one asks nothing of it."""

    def handle(self, event: Event) -> Iterable[Action]:
        """See IConversation."""
        if isinstance(event, Began):
            return (Pick(event.facts),)
        if isinstance(event, Connected):
            return (Relay(),)
        if isinstance(event, Unavailable):
            return (Hangup(),)
        return ()
