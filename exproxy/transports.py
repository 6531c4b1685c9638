"""The interfaces of connections: what sessions, relays and checks know of them."""

from __future__ import annotations

from typing import Any

from zope.interface import Attribute, Interface

from exproxy.model import TLS


class IWire(Interface):
    """All that session, relay and monitor know of a connection."""

    peer = Attribute("exproxy.model.Source: the address at the other end")
    local = Attribute("exproxy.model.Destination: our address, or the one that a trusted proxy names")
    via = Attribute("exproxy.model.Source or None: the trusted proxy that told of `peer` and `local`")
    tls = Attribute("exproxy.model.TLS or None")
    detachable = Attribute("bool: whether detach() would give the socket now")

    def attach(user: IWireUser) -> None:
        """From now on ``user`` (IWireUser) hears of this wire; bytes kept back are delivered first."""

    def write(data: bytes) -> None:
        """Send, or queue. The user hears filled() when the queue is long and drained() after."""

    def pause() -> None:
        """Read no more (bytes already decrypted are kept back too); idempotent."""

    def resume() -> None:
        """Read again; idempotent."""

    def start_tls(context: Any) -> int:
        """Begin TLS; ``context`` is an IOpenSSLServerConnectionCreator or ClientConnectionCreator.
        Plain text not yet delivered is dropped: the count of bytes is returned. user.secured() or
        user.lost() follows."""

    def close(half: bool = False) -> None:
        """End after what was written; ``half`` ends only our direction (TLS has no such thing)."""

    def abort() -> None:
        """Drop the connection now."""

    def acknowledged() -> int:
        """How many bytes the other end has taken so far, as far as the system tells; for seeing
        whether there is progress, so any number that stands still will do."""

    def detach() -> Any:
        """exproxy.detaching.Detached, the transport forgetting its socket; None where this wire has none to
        give (TLS, an end that has begun, a transport of Twisted's). Afterwards the wire tells nothing, not
        even its end, and takes every call without doing anything: the socket is the caller's."""


class IWireUser(Interface):
    """Who hears of a wire: a session, a relay, a check."""

    def received(wire: IWire, data: bytes) -> None:
        """Bytes."""

    def ended(wire: IWire) -> None:
        """The other end sends no more (half-close)."""

    def lost(wire: IWire, reason: str) -> None:
        """The connection is gone; ``reason`` is a short text. Told once, and nothing after it."""

    def secured(wire: IWire, tls: TLS) -> None:
        """A TLS handshake is done; ``tls`` is exproxy.model.TLS."""

    def filled(wire: IWire) -> None:
        """Writing must stop for now: the queue to the other end is long."""

    def drained(wire: IWire) -> None:
        """Writing may go on."""
