"""Listening sockets that were opened for us (sd_listen_fds(3)): whoever started us keeps them open.

A client that comes while we are restarted waits in such a socket's queue instead of being refused, and ports
below 1024 need no right of ours. The configuration is the same with and without: a socket that is bound to a
configured address is used for it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

# The first descriptor that is handed over; 0 to 2 are the usual ones.
FIRST = 3


class Inherited:
    """The sockets that were handed over and not taken yet."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets

    def __repr__(self) -> str:
        return f"<Inherited {', '.join(map(shown, self._sockets))}>"

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> Inherited:
        """What the environment says, which is taken out of it: it is meant for this process alone."""
        pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
        environ.pop("LISTEN_FDNAMES", None)
        if pid != str(os.getpid()) or not count.isdecimal():
            return cls([])
        return cls([each for number in range(FIRST, FIRST + int(count)) if (each := _adopted(number))])

    def take(self, host: str, port: int) -> socket.socket | None:
        """The socket that is bound to that address, non-blocking; None where nobody gave one. ``host`` "" is
        every address: the IPv6 one serves it, which has IPv4's clients too, or else IPv4's alone."""
        wanted = {host} if host else {"::", "0.0.0.0"}  # noqa: S104  # compared with, not bound to
        found = [each for each in self._sockets if port and _at(each, wanted, port)]
        if not found:
            return None
        best = next((each for each in found if each.family == socket.AF_INET6), found[0])
        self._sockets.remove(best)
        best.setblocking(False)
        return best

    def close(self) -> list[str]:
        """Close those that nobody took; their addresses, for a warning."""
        left, self._sockets = self._sockets, []
        texts = [shown(each) for each in left]
        for each in left:
            each.close()
        return texts


def shown(sock: socket.socket) -> str:
    """Its address, as people write it."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return str(sock.getsockname() or "a socket without a name")
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _adopted(number: int) -> socket.socket | None:
    try:
        os.set_inheritable(number, False)
        return socket.socket(fileno=number)
    except OSError:
        # No socket, or not open at all: somebody else's mistake, and none of our addresses.
        return None


def _at(sock: socket.socket, hosts: set[str], port: int) -> bool:
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        return False
    name = sock.getsockname()
    return name[0] in hosts and name[1] == port
