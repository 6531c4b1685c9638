"""Connecting from the poller, with a TLS handshake behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from exproxy.dialling import Caller, Dial, Introduce
from exproxy.errors import ConnectFailed
from exproxy.interfaces import IWire, IWireUser
from exproxy.model import TLS
from exproxy.socket_options import Numbers

if TYPE_CHECKING:
    from exproxy.poller import Poller
    from exproxy.wire import Wire


@implementer(IWireUser)
class Securing:
    """A Dial's caller, and a wire's user until its handshake is done; then its own caller is told."""

    __slots__ = ("_alarmed", "_caller", "_dial", "_poller", "_timeout", "_tls", "_wire")

    def __init__(self, poller: Poller, caller: Caller, tls: Any, timeout: float) -> None:
        """``tls``: a ClientTLS; ``timeout``: seconds for the handshake."""
        self._poller = poller
        self._caller: Caller | None = caller
        self._tls = tls
        self._timeout = timeout
        self._dial: Dial | None = None
        self._wire: Wire | None = None
        self._alarmed = False

    def start(
        self,
        where: tuple[str, int],
        timeout: float,
        introduce: Introduce | None,
        options: Numbers,
        bind: tuple[str, int] | None,
        foreign: bool,
    ) -> None:
        """Begin; see Dial, whose ``timeout`` this is."""
        self._dial = Dial(self._poller, self, where, timeout, introduce)
        self._dial.start(options, bind, foreign)

    def cancel(self) -> None:
        """Give it up; nobody is told. Idempotent."""
        self._caller = None
        self._give_up()

    # -- Caller ----------------------------------------------------------------------

    def connected(self, wire: Wire) -> None:
        """See Caller."""
        self._dial, self._wire = None, wire
        wire.attach(self)
        self._alarmed = True
        self._poller.alarms.set(self, self._timeout)
        wire.start_tls(self._tls)

    def unconnected(self, error: Exception) -> None:
        """See Caller."""
        self._dial = None
        self._fail(error)

    # -- IWireUser, during the handshake ---------------------------------------------

    def secured(self, wire: IWire, tls: TLS) -> None:
        """See IWireUser."""
        found, self._wire = self._wire, None
        caller, self._caller = self._caller, None
        self._quiet()
        if caller is not None and found is not None:
            caller.connected(found)

    def lost(self, wire: IWire, reason: str) -> None:
        """See IWireUser."""
        self._wire = None
        self._fail(ConnectFailed("L6RSP", "TLS handshake", reason))

    def received(self, wire: IWire, data: bytes) -> None:
        """See IWireUser: no bytes come before the handshake's end."""

    def ended(self, wire: IWire) -> None:
        """See IWireUser."""
        self._fail(ConnectFailed("L6RSP", "TLS handshake", "closed"))

    def filled(self, wire: IWire) -> None:
        """See IWireUser: nothing was written."""

    def drained(self, wire: IWire) -> None:
        """See filled."""

    # -- ends ------------------------------------------------------------------------

    def too_late(self) -> None:
        """See Late."""
        self._fail(ConnectFailed("L6TOUT", "TLS handshake", "no answer"))

    def _fail(self, error: Exception) -> None:
        caller, self._caller = self._caller, None
        self._give_up()
        if caller is not None:
            caller.unconnected(error)

    def _give_up(self) -> None:
        self._quiet()
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abort()

    def _quiet(self) -> None:
        if self._alarmed:
            self._alarmed = False
            self._poller.alarms.unset(self, self._timeout)
