"""The two messages of a TLS handshake that are sent in plain text: ClientHello and ServerHello.

Enough of RFC 8446 4.1 and 5.1 (and RFC 5246, 6066, 7301) to learn who is wanted and which session is
meant. Sans-I/O: :class:`Handshake` puts a message together from records, the other two read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

CLIENT_HELLO, SERVER_HELLO = 1, 2
# Content type and largest length of a plain-text record (RFC 8446 5.1).
HANDSHAKE = 22
LARGEST_RECORD = 1 << 14
# Post-quantum key shares make hellos of some kilobytes; nothing known comes near this.
LARGEST_MESSAGE = 32 * 1024
SERVER_NAME, ALPN, SUPPORTED_VERSIONS = 0, 16, 43
VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}


class NotHello(ValueError):
    """The bytes are no TLS handshake that begins with the wanted message; the text says why."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """A fact: what a TLS client asked for.

    ``server_name`` is in lower case, None where none was sent; ``session_id`` has 0 to 32 bytes;
    ``alpn`` in the client's order; ``versions`` are those that it offers, as far as they are known,
    named like ``TLSv1.2``. A client without the supported_versions extension offers its best only.
    """

    server_name: str | None = None
    session_id: bytes = b""
    alpn: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    @property
    def offers_tls13(self) -> bool:
        """Whether the session id may be made up: TLS 1.3 clients send one that means nothing, to look
        like a TLS 1.2 resumption (RFC 8446 4.1.2)."""
        return "TLSv1.3" in self.versions


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What a TLS server chose: the version, and a session id of 0 to 32 bytes (TLS 1.3: an echo)."""

    version: str
    session_id: bytes


class Handshake:
    """Puts the first handshake message of one side together from its records.

    ``kind``: CLIENT_HELLO or SERVER_HELLO. A message may be cut over records, and records over reads.
    """

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._unread = bytearray()
        self._message = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """The message's body once it is complete, else None; raises NotHello as soon as that is sure."""
        self._unread += data
        at = 0
        while len(self._unread) - at > 0:
            end = self._record_end(at)
            if end is None:
                break
            self._message += self._unread[at + 5 : end]
            at = end
            body = self._body()
            if body is not None:
                return body
        del self._unread[:at]
        return None

    def _record_end(self, at: int) -> int | None:
        head = self._unread[at : at + 5]
        if head[0] != HANDSHAKE:
            raise NotHello(f"not TLS: the first byte of a record is {head[0]}, not {HANDSHAKE}")
        if len(head) > 1 and head[1] != 3:
            raise NotHello(f"not TLS: a record of version {head[1]}")
        if len(head) < 5:
            return None
        length = int.from_bytes(head[3:], "big")
        if not 0 < length <= LARGEST_RECORD:
            raise NotHello(f"a TLS record of {length} bytes")
        end = at + 5 + length
        return end if end <= len(self._unread) else None

    def _body(self) -> bytes | None:
        if self._message[0] != self._kind:
            raise NotHello(f"TLS handshake message {self._message[0]} instead of {self._kind}")
        if len(self._message) < 4:
            return None
        length = int.from_bytes(self._message[1:4], "big")
        if length > LARGEST_MESSAGE:
            raise NotHello(f"a TLS hello of {length} bytes")
        return bytes(self._message[4 : 4 + length]) if len(self._message) >= 4 + length else None


def client_hello(body: bytes) -> ClientHello:
    """Read a ClientHello (RFC 8446 4.1.2, RFC 5246 7.4.1.2); raises NotHello."""
    rest = _Bytes(body)
    version = rest.number(2)
    rest.take(32)
    session_id = rest.vector(1, most=32)
    if len(rest.vector(2)) % 2:
        raise NotHello("a list of ciphers of odd length")
    rest.vector(1)
    found = _extensions(rest)
    return ClientHello(
        server_name=_read(found, SERVER_NAME, _server_name),
        session_id=session_id,
        alpn=_read(found, ALPN, _alpn) or (),
        versions=_read(found, SUPPORTED_VERSIONS, _versions) or _named(version),
    )


def server_hello(body: bytes) -> ServerHello:
    """Read a ServerHello (RFC 8446 4.1.3, RFC 5246 7.4.1.3); raises NotHello."""
    rest = _Bytes(body)
    version = rest.number(2)
    rest.take(32)
    session_id = rest.vector(1, most=32)
    rest.take(3)
    found = _extensions(rest)
    if SUPPORTED_VERSIONS in found:
        version = _Bytes(found[SUPPORTED_VERSIONS]).number(2)
    return ServerHello(VERSIONS.get(version, f"0x{version:04x}"), session_id)


class _Bytes:
    """Bytes that are read from the front; running out of them raises NotHello."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise NotHello("a TLS hello that ends too early")
        self._at += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int, most: int = 0xFFFF) -> bytes:
        """Bytes with their count in front, itself of ``size`` bytes (RFC 8446 3.4)."""
        count = self.number(size)
        if count > most:
            raise NotHello(f"{count} bytes where TLS allows {most}")
        return self.take(count)


def _extensions(rest: _Bytes) -> Mapping[int, bytes]:
    found: dict[int, bytes] = {}
    if not rest:
        return found
    block = _Bytes(rest.vector(2))
    while block:
        kind = block.number(2)
        if kind in found:
            raise NotHello(f"TLS extension {kind} twice")
        found[kind] = block.vector(2)
    if rest:
        raise NotHello("bytes after a TLS hello's end")
    return found


def _read(found: Mapping[int, bytes], kind: int, read: Callable[[bytes], T]) -> T | None:
    return read(found[kind]) if kind in found else None


def _server_name(data: bytes) -> str | None:
    names = _Bytes(_Bytes(data).vector(2))
    while names:
        kind, name = names.number(1), names.vector(2)
        if kind == 0:  # host_name, the only one there is (RFC 6066 3)
            return _text(name).lower()
    return None


def _alpn(data: bytes) -> tuple[str, ...]:
    return tuple(_text(name) for name in _vectors(_Bytes(_Bytes(data).vector(2))))


def _vectors(rest: _Bytes) -> Iterator[bytes]:
    while rest:
        yield rest.vector(1)


def _versions(data: bytes) -> tuple[str, ...]:
    listed = _Bytes(_Bytes(data).vector(1))
    names: list[str] = []
    while listed:
        names += _named(listed.number(2))
    return tuple(names)


def _named(version: int) -> tuple[str, ...]:
    return (VERSIONS[version],) if version in VERSIONS else ()


def _text(name: bytes) -> str:
    # GREASE (RFC 8701) puts bytes that are no ASCII among the ALPN names.
    return name.decode("ascii", "backslashreplace")
