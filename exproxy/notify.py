"""Telling the service manager how we are: the protocol of sd_notify(3), without a library.

One datagram of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names. Where there is none, or
nobody listens, nothing is said: exproxy runs as well by hand.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from twisted.internet.interfaces import IDelayedCall, IReactorTime

# Said so many times in each span of WATCHDOG_USEC, as sd_watchdog_enabled(3) advises.
BEATS = 2
MICRO = 1_000_000


class Notify:
    """The service manager's ear. ``interval``: seconds between two signs of life, None for none."""

    def __init__(self, clock: IReactorTime, address: str | None, interval: float | None = None) -> None:
        """``address``: a path, or an abstract name that begins with ``@``; None: there is nobody to tell."""
        self._clock = clock
        self._address = "\0" + address[1:] if address and address[0] == "@" else address
        self._interval = interval
        self._call: IDelayedCall | None = None

    def __repr__(self) -> str:
        return f"<Notify {self._address!r} interval={self._interval}>"

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str], clock: IReactorTime) -> Notify:
        """What the environment says, which is taken out of it: it is not meant for our children."""
        address = environ.pop("NOTIFY_SOCKET", None)
        span, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        wanted = span.isdecimal() and int(span) > 0 and pid in ("", str(os.getpid()))
        return cls(clock, address or None, int(span) / MICRO / BEATS if wanted else None)

    def ready(self, status: str) -> None:
        """It serves; ``status`` is what `systemctl status` shows. Signs of life begin: as long as the reactor
        turns they come, and a process that hangs is replaced (WatchdogSec=)."""
        self._say("READY=1", f"STATUS={status}")
        if self._address is not None and self._interval is not None and self._call is None:
            self._beat()

    def reloading(self) -> None:
        """It takes over another configuration; ready() follows."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.seconds() * MICRO)}")

    def stopping(self, status: str) -> None:
        """It lets nobody in any more. Signs of life go on: a drain may take long."""
        self._say("STOPPING=1", f"STATUS={status}")

    def close(self) -> None:
        """No more signs of life; idempotent."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _beat(self) -> None:
        assert self._interval is not None
        self._say("WATCHDOG=1")
        self._call = self._clock.callLater(self._interval, self._beat)

    def _say(self, *lines: str) -> None:
        if self._address is None:
            return
        text = "\n".join(" ".join(line.split("\n")) for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                # A manager that does not read must not stop us.
                sock.setblocking(False)
                sock.sendto(text.encode(), self._address)
        except OSError:
            # Nobody is there to be told of this either.
            return
