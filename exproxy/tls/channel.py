"""TLS on a non-blocking socket: OpenSSL reads from it and writes to it by itself.

A channel stands where a plain connection has its socket: bytes are received through it and sent through
it. It knows nothing of readiness, queues and turns; whoever has it does.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.python.failure import Failure

from exproxy.channel import ChannelLost

# The peer's close_notify: an end that is no loss.
GOODBYE = SSL.ZeroReturnError()


class Truncated(ConnectionResetError):
    """TCP ended without TLS's goodbye (close_notify): what came may not be all (RFC 8446 6.1)."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the TLS connection ended without close_notify")


class TLSChannel:
    """One end of a TLS connection, by pyOpenSSL's public methods; see exproxy.tls.binding for a faster one.

    ``connection`` is on a non-blocking socket, in connect state where it ``begins``, else in accept state.
    ``wants_write``: the last recv_into() or handshake() waits until the socket can be written to;
    ``wants_read``: the last send() waits until something came. ``learn(connection)``, where it is set, is
    called once, when the first bytes have come: a server's session tickets come before them. ``later()``,
    where it is set, is called when an end or a loss was found behind bytes: one must ask once more, the
    socket will tell nothing.
    """

    __slots__ = (
        "_connection",
        "_end",
        "_refusal",
        "begins",
        "later",
        "learn",
        "secured",
        "wants_read",
        "wants_write",
    )

    def __init__(self, connection: SSL.Connection, begins: bool = False) -> None:
        self._connection: Any = connection
        self.begins = begins
        self._end: Exception | None = None
        self._refusal: Failure | None = None
        self.later: Callable[[], None] | None = None
        self.learn: Callable[[SSL.Connection], None] | None = None
        self.secured = False
        self.wants_read = False
        self.wants_write = False

    @property
    def connection(self) -> SSL.Connection:
        """What Twisted calls the handle of a TLS transport."""
        found: SSL.Connection = self._connection
        return found

    def failVerification(self, failure: Failure) -> None:
        """The peer's certificate will not do, for that reason: the handshake fails with it."""
        self._refusal = failure

    # -- the life of a connection ----------------------------------------------------

    def handshake(self) -> bool:
        """Go on with the handshake; True once it is done, False while it waits.

        Raises OSError where the connection is lost; it is ChannelLost for what the peer's certificate was
        refused for, and for OpenSSL's reasons (rubbish, an alert, nothing in common).
        """
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self.wants_write = False
        except SSL.WantWriteError:
            self.wants_write = True
        except SSL.Error as error:
            raise self._refused(error) from None
        else:
            self.secured = True
            self.wants_write = False
        return self.secured

    def recv_into(self, buffer: memoryview, size: int) -> int:
        """Decrypt into ``buffer``, up to ``size`` bytes; how many there were, 0 at the peer's close_notify.

        Less than ``size`` means that the socket is empty, or that pending() says why not. Raises
        BlockingIOError where nothing is there, and any other OSError where the connection is lost.
        """
        total = 0
        while total < size and self._end is None:
            try:
                total += self._connection.recv_into(buffer[total:size])
            except SSL.WantReadError:
                self.wants_write = False
                break
            except SSL.WantWriteError:
                self.wants_write = True
                break
            except SSL.ZeroReturnError:
                self._end = GOODBYE
            except SSL.Error as error:
                self._end = lost(error)
        return self._brought(total)

    def send(self, data: bytes | memoryview) -> int:
        """Encrypt and send; how many bytes of ``data`` were taken.

        What was not taken has to be offered again before anything else, at no shorter length: a part of
        it may be encrypted already. Raises BlockingIOError where nothing was taken, and any other OSError
        where the connection is lost.
        """
        if self._connection is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        view, total = memoryview(data), 0
        while total < len(view):
            try:
                total += self._connection.send(view[total:])
            except (SSL.WantReadError, SSL.WantWriteError) as stop:
                self.wants_read = isinstance(stop, SSL.WantReadError)
                if not total:
                    raise BlockingIOError from None
                break
            except SSL.Error as error:
                raise lost(error) from None
        return total

    def pending(self) -> bool:
        """Whether recv_into() has something to say that the socket will not be ready for."""
        return self._end is not None or self._connection.pending() > 0

    def shutdown(self) -> bool:
        """Say close_notify; False where the socket is full: to be called again when it can be written to."""
        if self.secured and self._connection is not None:
            try:
                self._connection.shutdown()
            except SSL.WantWriteError:
                return False
            except SSL.Error:
                # Whoever cannot be told has gone.
                pass
        return True

    def close(self) -> None:
        """Let go of the socket, which is the caller's to close after this; idempotent."""
        connection, self._connection = self._connection, None
        self.learn = self.later = None
        if connection is not None:
            # Its session can be used again however it ended (OpenSSL would forget it): truncation was told.
            connection.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
            # What was raised knows its frames, and so this channel.
            self._end = OSError(errno.EBADF, os.strerror(errno.EBADF))

    # -- inside ----------------------------------------------------------------------

    def _refused(self, error: SSL.Error) -> OSError:
        """Why a handshake failed."""
        return lost(error) if self._refusal is None else ChannelLost(self._refusal)

    def _brought(self, total: int) -> int:
        if total:
            if self.learn is not None:
                learn, self.learn = self.learn, None
                learn(self._connection)
            if self._end is not None and self.later is not None:
                self.later()
            return total
        if self._end is None:
            raise BlockingIOError
        if self._end is GOODBYE:
            return 0
        raise self._end


def lost(error: SSL.Error) -> OSError:
    """What an error of OpenSSL's says of the connection: Truncated, the system's error, or ChannelLost."""
    if isinstance(error, SSL.SysCallError):
        number = error.args[0] if error.args else -1
        return OSError(number, os.strerror(number)) if number > 0 else Truncated()
    queue = error.args[0] if error.args else []
    # OpenSSL 4 leaves no reason where the other end has gone, older ones leave this.
    if not queue or queue[-1][-1].casefold().startswith("unexpected eof"):
        return Truncated()
    # Without the frames that it came through, and all that they know.
    return ChannelLost(Failure(error.with_traceback(None)))
