"""Binding the listening sockets, before privileges are dropped, with errors that say what to do."""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path

from exproxy.errors import ConfigurationError

BACKLOG = 4096
# Ports in the ephemeral range may be taken by an outgoing connection for a moment.
TRIES = 5
PAUSE = 0.3
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class CannotListen(ConfigurationError):
    """A listening address that cannot be had; the text says why and what to do."""


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket, not yet listening. ``host`` "" is every address, IPv4 and IPv6.

    Raises CannotListen.
    """
    family = socket.AF_INET6 if ":" in host or (not host and socket.has_dualstack_ipv6()) else socket.AF_INET
    for remaining in reversed(range(TRIES)):
        try:
            return _bind(family, host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and remaining and _ephemeral(port):
                time.sleep(PAUSE)
                continue
            raise CannotListen(_explain(host, port, error)) from None
    raise AssertionError("unreachable")


def _bind(family: int, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "[::]" by itself means IPv6 only; no address at all means both.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if host else 0)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def listen(sock: socket.socket) -> None:
    """Begin to queue connections; EADDRINUSE may come here too. Raises CannotListen."""
    try:
        sock.listen(BACKLOG)
    except OSError as error:
        host, port = sock.getsockname()[:2]
        raise CannotListen(_explain(host, port, error)) from None


def _ephemeral(port: int) -> bool:
    try:
        low, high = map(int, _RANGE.read_text().split())
    except (OSError, ValueError):
        low, high = 32768, 60999
    return low <= port <= high


def _explain(host: str, port: int, error: OSError) -> str:
    where = f"[{host}]:{port}" if ":" in host else f"{host or '*'}:{port}"
    if error.errno in (errno.EACCES, errno.EPERM):
        advice = (
            "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE: start as root with --uid and "
            "--gid (ports are bound before privileges are dropped), or use the systemd unit in etc/"
        )
    elif error.errno == errno.EADDRINUSE and _ephemeral(port):
        advice = (
            f"something else uses this port; find it with `ss -ltnp 'sport = :{port}'`. It lies in the "
            "system's range for outgoing connections, one of which may hold it: reserve it with "
            f"`sysctl net.ipv4.ip_local_reserved_ports={port}`"
        )
    elif error.errno == errno.EADDRINUSE:
        advice = f"something else uses this port; find it with `ss -ltnp 'sport = :{port}'`"
    elif error.errno == errno.EADDRNOTAVAIL:
        advice = "this machine has no such address; see `ip address`"
    else:
        advice = "see the system's error"
    return f"cannot listen on {where}: {os.strerror(error.errno or 0)}; {advice}"
