"""The protocols ``http`` and ``https``."""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from exproxy.interfaces import IConversation, IProtocolPlugin, IService
from exproxy.model import TLS
from exproxy.protocol import Protocol
from protocols.http.conversation import Conversation
from protocols.http.head import RequestHead
from protocols.http.peer import Scheme
from protocols.http.request_ids import RequestIds

_request_ids = RequestIds()


def _conversation(service: IService) -> IConversation:
    return Conversation(service, _request_ids)


@implementer(IProtocolPlugin)
@dataclass(frozen=True)
class HTTP(Protocol):
    """Either of the two. ``alpn``: what a TLS handshake with the client may agree upon."""

    alpn: tuple[bytes, ...] = ()


http = HTTP(
    name="http",
    summary="HTTP/1.1 in plain text: a server for every request, heads checked and edited on the way",
    conversation=_conversation,
    default_ports={80: "none"},
    tls_modes=("none",),
    gives=(RequestHead, Scheme),
    defaults={"check": "http"},
)

# Windows authentication is bound to a connection and cannot be done over HTTP/2, so that is not offered.
https = HTTP(
    name="https",
    summary="HTTP/1.1 over TLS that ends here: OWA, ECP, EWS, ActiveSync, MAPI, Outlook Anywhere",
    conversation=_conversation,
    default_ports={443: "implicit"},
    tls_modes=("implicit",),
    gives=(RequestHead, Scheme, TLS),
    defaults={"check": "http"},
    alpn=(b"http/1.1",),
)
