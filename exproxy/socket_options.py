"""The options of TCP sockets, in the system's words."""

from __future__ import annotations

import socket
import struct
from functools import lru_cache
from typing import TypeAlias

from exproxy.settings import TcpOptions

# Linux refuses anything longer: seconds, and milliseconds.
LONGEST_KEEPALIVE = 32767
LONGEST_TIMEOUT = 2**31 - 1
# SO_LINGER on, 0 seconds: close() resets the connection.
RESET = struct.pack("ii", 1, 0)


# (level, option, value) of each.
Numbers: TypeAlias = tuple[tuple[int, int, int], ...]


def set_options(sock: socket.socket, options: TcpOptions) -> None:
    """Set the options of a service; where a system lacks one it goes without.

    On Linux a connection that is accepted has those of the listening socket.
    """
    set_numbers(sock, numbers_of(options))


def set_numbers(sock: socket.socket, numbers: Numbers) -> None:
    """The same, of what numbers_of() gave."""
    set_option = sock.setsockopt
    for level, number, value in numbers:
        try:
            set_option(level, number, value)
        except OSError:
            continue


@lru_cache(maxsize=64)
def numbers_of(options: TcpOptions) -> Numbers:
    """The options in the system's words; those that it lacks are left out."""
    wanted: list[tuple[int, int, int]] = []

    def want(name: str, value: int, most: int) -> None:
        number = getattr(socket, name, None)
        if number is not None:
            wanted.append((socket.IPPROTO_TCP, number, max(1, min(value, most))))

    if options.keepalive:
        wanted.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
        want("TCP_KEEPIDLE", int(options.keepalive), LONGEST_KEEPALIVE)
        want("TCP_KEEPINTVL", int(options.keepalive / 4), LONGEST_KEEPALIVE)
    if options.user_timeout:
        want("TCP_USER_TIMEOUT", int(options.user_timeout * 1000), LONGEST_TIMEOUT)
    return tuple(wanted)
