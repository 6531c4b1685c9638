"""The records of checks: a plugin, and the check that one configuration makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from zope.interface import implementer

from exproxy.interfaces import ICheck, ICheckPlugin, IConversation
from exproxy.plugins import NoOptions


@implementer(ICheck)
@dataclass(frozen=True)
class Check:
    """An ICheck: see there. ``conversation()`` makes a new one for each question; ``upgrading()`` one that
    asks for STARTTLS first, for backends that are reached so."""

    conversation: Callable[[], IConversation]
    tls: str = "backend"
    layer: str = "L7"
    upgrading: Callable[[], IConversation] | None = None

    def upgraded(self) -> Check:
        """The same question behind STARTTLS, where it can be asked so."""
        if self.upgrading is None:
            return self
        return Check(self.upgrading, "starttls", self.layer, self.upgrading)

    def dialogue(self) -> IConversation:
        """See ICheck."""
        return self.conversation()


@implementer(ICheckPlugin)
@dataclass(frozen=True)
class CheckPlugin:
    """An ICheckPlugin. ``make(options)`` gives an ICheck; ``options`` is the model of its argument."""

    name: str
    summary: str
    make: Callable[[Any], ICheck]
    options: type[BaseModel] = NoOptions

    def check(self, options: Any) -> ICheck:
        """See ICheckPlugin."""
        return self.make(options)
