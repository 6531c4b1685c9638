"""The wrapping that Negotiate puts around a mechanism's token (RFC 4178 4.2, RFC 4559), taken off.

Only as much DER as that needs, bounded by the token itself: every length must fit into what holds it.
"""

from __future__ import annotations

from collections.abc import Iterator

_SPNEGO = bytes.fromhex("06062b0601050502")
# Kerberos 5 (RFC 4121 4.1) and the number that Windows 2000 gave it by mistake.
_KERBEROS = (bytes.fromhex("06092a864886f712010202"), bytes.fromhex("06092a864882f712010202"))
_APPLICATION, _INIT, _RESPONSE = 0x60, 0xA0, 0xA1
_SEQUENCE, _OCTETS, _TOKEN = 0x30, 0x04, 0xA2


class NotDER(ValueError):
    """Bytes that are no DER, or another one than SPNEGO's."""


def inner(data: bytes) -> bytes:
    """The mechanism's token in a Negotiate token; b"" where it has none. Raises NotDER."""
    tag, body = _only(data)
    if tag == _APPLICATION:
        if body.startswith(_KERBEROS):
            return data
        if not body.startswith(_SPNEGO):
            raise NotDER("neither SPNEGO nor Kerberos")
        tag, body = _only(body[len(_SPNEGO) :])
        if tag != _INIT:
            raise NotDER("no NegTokenInit")
    elif tag != _RESPONSE:
        raise NotDER("no NegotiationToken")
    tag, body = _only(body)
    if tag != _SEQUENCE:
        raise NotDER("no sequence")
    # Both kinds of message have the token at [2].
    found = [content for kind, content in _each(body) if kind == _TOKEN]
    if not found:
        return b""
    tag, token = _only(found[0])
    if tag != _OCTETS or len(found) > 1:
        raise NotDER("no single token")
    return token


def is_kerberos(token: bytes) -> bool:
    """Whether a mechanism's token is one of Kerberos."""
    try:
        tag, body = _only(token)
    except NotDER:
        return False
    return tag == _APPLICATION and body.startswith(_KERBEROS)


def _only(data: bytes) -> tuple[int, bytes]:
    """The one element that ``data`` is."""
    found = list(_each(data))
    if len(found) != 1:
        raise NotDER("not one element")
    return found[0]


def _each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in a row."""
    at = 0
    while at < len(data):
        if len(data) - at < 2:
            raise NotDER("cut off")
        tag, length, at = data[at], data[at + 1], at + 2
        if length >= 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4 or len(data) - at < size:
                raise NotDER("a length that nobody needs")
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if length > len(data) - at:
            raise NotDER("cut off")
        yield tag, data[at : at + length]
        at += length
