"""Connecting from an address that is not ours: the client's own (Linux, IP_TRANSPARENT).

The system lets only those do so who have one of the capabilities CAP_NET_RAW and CAP_NET_ADMIN; the
first may do less. Privileges may be given up later (``twistd --uid``): ``keep`` before and ``regain``
after it save that one of them.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IConnector
from twisted.internet.tcp import Client, Connector

from exproxy.errors import ConfigurationError

# Of linux/in.h and linux/in6.h; Python's socket module does not name all of them everywhere.
_IP_TRANSPARENT = 19
_IPV6_TRANSPARENT = 75
_IP_BIND_ADDRESS_NO_PORT = 24
# Of linux/prctl.h and linux/capability.h.
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITIES = 0x20080522
_CAP_NET_ADMIN = 12
_CAP_NET_RAW = 13

ADVICE = (
    "`transparent: true` connects to servers from the clients' addresses, for which exproxy needs the "
    "capability CAP_NET_RAW or CAP_NET_ADMIN on Linux: start it as root (--uid and --gid may give up the "
    "rest), or add CAP_NET_RAW to AmbientCapabilities= and CapabilityBoundingSet= of the systemd unit; see "
    "docs/transparent.md"
)


def mark(sock: socket.socket) -> None:
    """Let ``sock`` be bound to any address; its port is chosen when it connects. Raises OSError."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
    with suppress(OSError):
        # Else a client would have as many ports to all servers together as now to each of them.
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)


def require() -> None:
    """Raises ConfigurationError, ready for the administrator, where the capability is missing."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            mark(sock)
        except OSError as error:
            raise ConfigurationError(f"{ADVICE} ({os.strerror(error.errno or 0)})") from None


class _Client(Client):
    def createInternetSocket(self) -> socket.socket:
        sock: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]
        try:
            mark(sock)
        except OSError:
            sock.close()
            raise
        return sock


class _Connector(Connector):
    def _makeTransport(self) -> Client:
        return _Client(self.host, self.port, self.bindAddress, self, self.reactor)  # type: ignore[no-untyped-call]


def transparently(reactor: Any) -> Callable[..., IConnector]:
    """``connectTCP`` of that reactor, but for sockets that may be bound to any address."""

    def begin(host: str, port: int, factory: Any, timeout: float, bind: tuple[str, int] | None) -> IConnector:
        connector = _Connector(host, port, factory, timeout, bind, reactor)
        connector.connect()
        return connector

    return begin


# -- privileges --------------------------------------------------------------------------------


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


def keep() -> None:
    """Before privileges are given up: what is permitted stays so, out of effect."""
    ctypes.CDLL(None).prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)


def regain() -> None:
    """After it: where neither capability is in effect any more one comes back, and all else that is
    permitted goes.

    Raises ConfigurationError where that cannot be.
    """
    try:
        require()
    except ConfigurationError:
        # What is not permitted is refused as a whole, and the other one tried.
        if not _only(_CAP_NET_RAW):
            _only(_CAP_NET_ADMIN)
        require()


def bequeath() -> None:
    """Let programs that this one starts have the same capability, where it is not root who has it."""
    libc, sets, header = ctypes.CDLL(None), (_Sets * 2)(), _Header(_CAPABILITIES, 0)
    if os.geteuid() == 0 or libc.capget(ctypes.byref(header), ctypes.byref(sets)) != 0:
        return
    sets[0].inheritable |= sets[0].permitted & (1 << _CAP_NET_RAW | 1 << _CAP_NET_ADMIN)
    if libc.capset(ctypes.byref(header), ctypes.byref(sets)) == 0:
        for capability in (_CAP_NET_RAW, _CAP_NET_ADMIN):
            libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def _only(capability: int) -> bool:
    sets = (_Sets * 2)()
    sets[0].effective = sets[0].permitted = 1 << capability
    header = _Header(_CAPABILITIES, 0)
    return bool(ctypes.CDLL(None).capset(ctypes.byref(header), ctypes.byref(sets)) == 0)
