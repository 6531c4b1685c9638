"""The record of a protocol whose sessions all talk in one way, which is nearly every protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from zope.interface import implementer

from exproxy.interfaces import (
    IAsking,
    IConversation,
    IDefaulting,
    ILocating,
    ILocator,
    IProtocolFactory,
    IProtocolPlugin,
    IService,
)
from exproxy.model import Facts
from exproxy.plugins import NoOptions
from exproxy.question import Asked, Client


@implementer(IProtocolPlugin, IDefaulting, ILocating, IAsking)
@dataclass(frozen=True)
class Protocol:
    """An IProtocolPlugin: see there for what each field means.

    ``conversation(service)`` makes the conversation of one client; it is called for each of them.
    ``locate(options)`` is ILocating's locator; ``defaults_for(options)``, where it is there, gives
    IDefaulting's.
    ``facts_for(service, facts, client)`` gives the facts of the Pick of a client that is only asked about
    (see IAsking); without it they are those of its begin.
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
    facts_for: Callable[[IService, Facts, Client], Facts] | None = None

    def defaults_of(self, options: Any) -> Mapping[str, object]:
        """See IDefaulting."""
        return self.defaults_for(options) if self.defaults_for is not None else {}

    def locator(self, options: Any) -> ILocator | None:
        """See ILocating."""
        return self.locate(options)

    def asked(self, service: IService, facts: Facts, client: Client) -> Asked:
        """See IAsking."""
        return Asked(facts if self.facts_for is None else self.facts_for(service, facts, client))

    def factory(self, service: IService) -> IProtocolFactory:
        """See IProtocolPlugin."""
        # Imported late: reading and checking a configuration needs no transports.
        from exproxy.session import SessionFactory

        return SessionFactory(service, self.conversation, self.busy)
