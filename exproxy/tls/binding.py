"""What is private to pyOpenSSL is touched here only: its binding to OpenSSL's own functions.

Its public methods copy each read once more, and have no word for some of what OpenSSL can do. Where a
later pyOpenSSL has other names, ``DIRECT`` is False, and the public methods carry everything.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

from exproxy.tls.channel import GOODBYE, TLSChannel, Truncated, lost

try:
    from OpenSSL._util import ffi as _ffi
    from OpenSSL._util import lib as _lib
except ImportError:  # a pyOpenSSL that keeps it elsewhere
    _ffi = _lib = None

_NEEDED = (
    "ERR_clear_error",
    "SSL_ERROR_WANT_READ",
    "SSL_ERROR_WANT_WRITE",
    "SSL_ERROR_ZERO_RETURN",
    "SSL_CIPHER_get_name",
    "SSL_do_handshake",
    "SSL_get0_alpn_selected",
    "SSL_get_current_cipher",
    "SSL_get_error",
    "SSL_get_servername",
    "SSL_get_version",
    "SSL_pending",
    "SSL_read",
    "SSL_write",
    "TLSEXT_NAMETYPE_host_name",
)
DIRECT = all(hasattr(_lib, name) for name in _NEEDED) and hasattr(SSL.Connection, "_raise_ssl_error")

# The buffer that was read into last, and OpenSSL's way to it: nearly always the one that all share.
#
# CPython before 3.14 crashes where garbage has a memoryview and cffi's way into it (gh-77894). So cffi gets
# the bytearray below the view, and what it has of bytes to be sent is gone before anything is raised, since
# a traceback keeps what its frames know.
_buffer: memoryview | None = None
_address: Any = None
# Where OpenSSL writes an address and a length.
_place: Any
_length: Any
_place, _length = (_ffi.new("unsigned char **"), _ffi.new("unsigned int *")) if DIRECT else (None, None)
# OpenSSL's words by their address: they are constants of its.
_words: dict[Any, str] = {}


def channel(connection: SSL.Connection, begins: bool) -> TLSChannel:
    """The fastest channel that this pyOpenSSL allows for. ``connection`` is on a non-blocking socket,
    ``begins`` where it is a client's."""
    if begins:
        connection.set_connect_state()
    else:
        connection.set_accept_state()
    kind = DirectChannel if DIRECT and hasattr(connection, "_ssl") else TLSChannel
    return kind(connection, begins)


def restrict_groups(context: SSL.Context, groups: bytes) -> bool:
    """Agree on keys over these groups only (OpenSSL's names, with colons); whether that was possible."""
    several = getattr(_lib, "SSL_CTX_set1_curves_list", None)
    pointer = getattr(context, "_context", None)
    return several is not None and pointer is not None and several(pointer, groups) == 1


def resumed(connection: Any) -> bool | None:
    """Whether a session was used again; None where this pyOpenSSL does not tell."""
    reused = getattr(_lib, "SSL_session_reused", None)
    pointer = getattr(connection, "_ssl", None)
    return None if reused is None or pointer is None else bool(reused(pointer))


def agreed(connection: Any) -> tuple[str, str | None, bytes | None, bytes]:
    """Version, cipher, the server's name as the client said it, and the protocol (ALPN, b"" for none)."""
    ssl = getattr(connection, "_ssl", None)
    if not DIRECT or ssl is None:
        return (
            connection.get_protocol_version_name(),
            connection.get_cipher_name(),
            connection.get_servername(),
            connection.get_alpn_proto_negotiated(),
        )
    name = _lib.SSL_get_servername(ssl, _lib.TLSEXT_NAMETYPE_host_name)
    _lib.SSL_get0_alpn_selected(ssl, _place, _length)
    cipher = _lib.SSL_get_current_cipher(ssl)
    return (
        _text(_lib.SSL_get_version(ssl)),
        _text(_lib.SSL_CIPHER_get_name(cipher)) if cipher else None,
        _ffi.string(name) if name else None,
        _ffi.buffer(_place[0], _length[0])[:] if _length[0] else b"",
    )


class DirectChannel(TLSChannel):
    """SSL_read into the caller's own buffer, and SSL_write from it: no copy, one call for each record."""

    __slots__ = ("_ssl",)

    def __init__(self, connection: Any, begins: bool = False) -> None:
        super().__init__(connection, begins)
        self._ssl = connection._ssl

    def handshake(self) -> bool:
        """See TLSChannel."""
        result = _lib.SSL_do_handshake(self._ssl)
        if result == 1:
            self.secured, self.wants_write = True, False
            # What verifying a certificate left behind would be taken for an error of the next read.
            _lib.ERR_clear_error()
            return True
        reason = _lib.SSL_get_error(self._ssl, result)
        self.wants_write = reason == _lib.SSL_ERROR_WANT_WRITE
        if reason != _lib.SSL_ERROR_WANT_READ and not self.wants_write:
            try:
                # It knows what a callback has raised.
                self._connection._raise_ssl_error(self._ssl, result)
            except SSL.Error as error:
                raise self._refused(error) from None
            finally:
                _lib.ERR_clear_error()
        return False

    def recv_into(self, buffer: memoryview, size: int) -> int:
        """See TLSChannel. A buffer that is all of a bytearray is read into without a copy."""
        if self._end is not None:
            return self._brought(0)
        if buffer is not _buffer and not _remember(buffer):
            return super().recv_into(buffer, size)
        ssl, read, total = self._ssl, _lib.SSL_read, 0
        while total < size:
            count = read(ssl, _address + total, size - total)
            if count <= 0:
                reason = _lib.SSL_get_error(ssl, count)
                self.wants_write = reason == _lib.SSL_ERROR_WANT_WRITE
                if reason == _lib.SSL_ERROR_ZERO_RETURN:
                    self._end = GOODBYE
                elif reason != _lib.SSL_ERROR_WANT_READ and not self.wants_write:
                    self._end = self._failure(count)
                break
            total += count
        return self._brought(total)

    def send(self, data: bytes | memoryview) -> int:
        """See TLSChannel."""
        ssl = self._ssl
        if ssl is None:
            return super().send(data)
        address, write, size, total = _ffi.from_buffer(data), _lib.SSL_write, len(data), 0
        while total < size:
            count = write(ssl, address + total, size - total)
            if count <= 0:
                del address
                reason = _lib.SSL_get_error(ssl, count)
                self.wants_read = reason == _lib.SSL_ERROR_WANT_READ
                if reason != _lib.SSL_ERROR_WANT_WRITE and not self.wants_read:
                    raise self._failure(count)
                if not total:
                    raise BlockingIOError
                break
            total += count
        return total

    def pending(self) -> bool:
        """See TLSChannel."""
        return self._end is not None or _lib.SSL_pending(self._ssl) > 0

    def close(self) -> None:
        """See TLSChannel."""
        super().close()
        self._ssl = None

    def _failure(self, count: int) -> OSError:
        try:
            self._connection._raise_ssl_error(self._ssl, count)
        except SSL.Error as error:
            return lost(error)
        finally:
            _lib.ERR_clear_error()
        return Truncated()


def _remember(buffer: memoryview) -> bool:
    """Prepare for reading into it; False where it is a part of something."""
    global _buffer, _address
    whole = buffer.obj
    if not isinstance(whole, bytearray) or len(whole) != buffer.nbytes:
        return False
    _buffer, _address = buffer, _ffi.from_buffer(whole)
    return True


def _text(word: Any) -> str:
    found = _words.get(word)
    if found is None:
        found = _words[word] = _ffi.string(word).decode("ascii", "replace")
    return found
