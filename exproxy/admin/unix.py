"""The unix socket of exproxyctl: mode 0600 from its first moment, taken over atomically.

Twisted's own port for unix sockets makes them writable for everybody for a moment where it is given a bound
one, and removes at its end whatever bears the name then; so the accepting is here.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy.admin.socket_path import address_of
from exproxy.errors import ConfigurationError

BACKLOG = 64
# Seconds without accepting where descriptors have run out.
PAUSE = 1.0


class CannotBind(ConfigurationError):
    """The socket cannot be made; the text says why and what to do."""


class UnixSocket:
    """A listening socket at a path, and whether the path is still its own."""

    def __init__(self, path: Path, sock: socket.socket, mark: tuple[int, int]) -> None:
        self.path = path
        self.sock = sock
        self._mark = mark

    @classmethod
    def bind(cls, path: Path) -> UnixSocket:
        """Make it. What another process (one that is being stopped, or was killed) has there loses its name.

        Raises CannotBind.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        folder = -1
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            fresh.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                sock.bind(address_of(fresh, folder))
            finally:
                os.umask(before)
            sock.listen(BACKLOG)
            found = fresh.stat()
            fresh.rename(path)
        except OSError as error:
            sock.close()
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise CannotBind(
                f"cannot make {path}: {error.strerror or error}; set `state-dir:` to a folder that exproxy "
                "may write to"
            ) from None
        finally:
            if folder >= 0:
                os.close(folder)
        return cls(path, sock, (found.st_dev, found.st_ino))

    def close(self) -> None:
        """Close it, and remove the path where nobody has taken that over."""
        self.sock.close()
        with contextlib.suppress(OSError):
            found = self.path.stat()
            if (found.st_dev, found.st_ino) == self._mark:
                self.path.unlink()


@implementer(IReadDescriptor)
class UnixPort:
    """Accepts for a factory."""

    log = Logger()

    def __init__(self, reactor: Any, unix: UnixSocket, factory: Any) -> None:
        self._reactor = reactor
        self._unix = unix
        self._factory = factory
        self._again: Any = None

    def start(self) -> None:
        """Begin to accept."""
        self._factory.doStart()
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Accept no more, and close the socket."""
        self._reactor.removeReader(self)
        if self._again is not None:
            self._again.cancel()
        self._unix.close()
        self._factory.doStop()

    def fileno(self) -> int:
        """See IReadDescriptor."""
        return self._unix.sock.fileno()

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return "exproxy.admin"

    def doRead(self) -> None:
        """See IReadDescriptor: somebody is there."""
        try:
            sock, _ = self._unix.sock.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return
        except OSError as error:
            # Out of descriptors: looking again at once would only burn time.
            self.log.warn("the socket of exproxyctl cannot accept: {error}", error=error.strerror)
            self._reactor.removeReader(self)
            self._again = self._reactor.callLater(PAUSE, self._resume)
            return
        with sock:
            sock.setblocking(False)
            self._reactor.adoptStreamConnection(sock.fileno(), socket.AF_UNIX, self._factory)

    def _resume(self) -> None:
        self._again = None
        self._reactor.addReader(self)

    def connectionLost(self, reason: Failure = Failure(ConnectionLost())) -> None:
        """See IReadDescriptor: the reactor is being torn down."""
        self._unix.close()
