"""The record of a protocol whose sessions all talk in one way, which is nearly every protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from zope.interface import implementer

from exproxy.interfaces import (
    IConversation,
    IDefaulting,
    ILocating,
    ILocator,
    IProtocolFactory,
    IProtocolPlugin,
    IService,
)
from exproxy.plugins import NoOptions


@implementer(IProtocolPlugin, IDefaulting, ILocating)
@dataclass(frozen=True)
class Protocol:
    """An IProtocolPlugin: see there for what each field means.

    ``conversation(service)`` makes the conversation of one client; it is called for each of them.
    ``locate(options)`` is ILocating's locator; ``defaults_for(options)``, where it is there, gives
    IDefaulting's.
    ``busy(service)``: what a client hears that comes too often, line end included; None for nothing.
    """

    name: str
    summary: str
    conversation: Callable[[IService], IConversation]
    default_ports: Mapping[int, str] = field(default_factory=dict)
    tls_modes: tuple[str, ...] = ("none",)
    gives: tuple[type, ...] = ()
    defaults: Mapping[str, object] = field(default_factory=dict)
    options: type[BaseModel] = NoOptions
    locate: Callable[[Any], ILocator | None] = lambda options: None
    defaults_for: Callable[[Any], Mapping[str, object]] | None = None
    busy: Callable[[IService], bytes] | None = None

    def defaults_of(self, options: Any) -> Mapping[str, object]:
        """See IDefaulting."""
        return self.defaults_for(options) if self.defaults_for is not None else {}

    def locator(self, options: Any) -> ILocator | None:
        """See ILocating."""
        return self.locate(options)

    def factory(self, service: IService) -> IProtocolFactory:
        """See IProtocolPlugin."""
        # Imported late: reading and checking a configuration needs no transports.
        from exproxy.session import SessionFactory

        return SessionFactory(service, self.conversation, self.busy)
