"""The protocols ``http`` and ``https``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zope.interface import implementer

from exproxy.interfaces import IConversation, IProtocolFactory, IProtocolPlugin, IService
from exproxy.model import TLS, Facts, Together, User
from exproxy.protocol import Protocol
from exproxy.question import Asked, Client
from protocols.http.asked import asked
from protocols.http.conversation import Conversation
from protocols.http.head import RequestHead
from protocols.http.options import HttpOptions
from protocols.http.peer import Scheme
from protocols.http.request_ids import RequestIds
from protocols.http.routing import Routing

_request_ids = RequestIds()


def _conversation(service: IService) -> IConversation:
    return Conversation(service, _request_ids)


@implementer(IProtocolPlugin)
@dataclass(frozen=True)
class HTTP(Protocol):
    """Either of the two. ``alpn``: what a TLS handshake with the client may agree upon; ``routed``:
    a service may have ``routes:``."""

    alpn: tuple[bytes, ...] = ()
    routed: bool = True

    def asked(self, service: IService, facts: Facts, client: Client) -> Asked:
        """See IAsking: the request is put to a conversation."""
        return asked(lambda: _conversation(service), facts, client)

    def factory(self, service: IService) -> IProtocolFactory:
        """See IProtocolPlugin; the routes are made ready once for all conversations."""
        routing = Routing(service)
        return Protocol.factory(
            replace(self, conversation=lambda each: Conversation(each, _request_ids, routing)), service
        )


http = HTTP(
    name="http",
    summary="HTTP/1.1 in plain text: a server for every request, heads checked and edited on the way",
    conversation=_conversation,
    default_ports={80: "none"},
    tls_modes=("none",),
    gives=(RequestHead, Scheme, Together, User),
    options=HttpOptions,
    defaults={"check": "http"},
)

# Windows authentication is bound to a connection and cannot be done over HTTP/2, so that is not offered.
https = HTTP(
    name="https",
    summary="HTTP/1.1 over TLS that ends here: OWA, ECP, EWS, ActiveSync, MAPI, Outlook Anywhere",
    conversation=_conversation,
    default_ports={443: "implicit"},
    tls_modes=("implicit",),
    gives=(RequestHead, Scheme, TLS, Together, User),
    options=HttpOptions,
    defaults={"check": "http", "extended-protection": "warn"},
    alpn=(b"http/1.1",),
)
