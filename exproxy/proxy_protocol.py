"""The PROXY protocol, versions 1 and 2: who the client is, said once before its first byte.

Pure: bytes to values and back. The text of the protocol is HAProxy's ``proxy-protocol.txt``; the
numbers in brackets are its sections.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import TypeAlias

from exproxy.errors import ExproxyError
from exproxy.model import Destination, Source, Version

# A line of version 1 at its longest, CR LF included [2.1].
LONGEST_LINE = 107
# A header of version 2 at its longest here; 65551 could be said, and no known sender needs 1000.
LONGEST_HEADER = 16 * 1024

_LINE = b"PROXY "
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
# Bytes of both addresses, by the upper half of the family byte: unspecified, IPv4, IPv6, UNIX [2.2].
_ADDRESSES = {0: 0, 1: 12, 2: 36, 3: 216}
_CRC32C = 0x03
_UNKNOWN = b"PROXY UNKNOWN"
# Decimal, without leading zeros.
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Malformed(ExproxyError):
    """These bytes are no header of the PROXY protocol, and no more bytes will make them one.

    The texts are few and say nothing of the bytes, so that they can be counted.
    """


@dataclass(frozen=True, slots=True)
class Header:
    """A whole header of ``length`` bytes; the client's own bytes follow it.

    ``source`` and ``destination`` are both there or both None: then (LOCAL, UNKNOWN, another family
    than TCP over IP) the connection's own addresses hold.
    """

    length: int
    source: Source | None = None
    destination: Destination | None = None


# -- reading -----------------------------------------------------------------------------------


def parse(data: bytes) -> Header | None:
    """The header at the beginning of ``data``, or None while more bytes are needed for it.

    Raises Malformed as soon as it cannot become one. ``data`` never has to be longer than
    LONGEST_HEADER for an answer.
    """
    if data[:1] == _LINE[:1]:
        return _line(data)
    if data[: len(_SIGNATURE)] != _SIGNATURE[: len(data)]:
        raise Malformed("it does not begin with a PROXY protocol header")
    return _binary(data) if len(data) >= _FIXED else None


def _line(data: bytes) -> Header | None:
    """Version 1 [2.1]."""
    if data[: len(_LINE)] != _LINE[: len(data)]:
        raise Malformed("it does not begin with a PROXY protocol header")
    line, end, _ = data[:LONGEST_LINE].partition(b"\n")
    if not end:
        if len(data) >= LONGEST_LINE:
            raise Malformed(f"a PROXY line without an end in its first {LONGEST_LINE} bytes")
        return None
    if not line.endswith(b"\r"):
        raise Malformed("a PROXY line that does not end with CR LF")
    length, line = len(line) + 1, line[:-1]
    if line == _UNKNOWN or line.startswith(_UNKNOWN + b" "):
        return Header(length)
    words = line.decode("latin-1").split(" ")
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise Malformed("a PROXY line of another form than PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT")
    kind = ipaddress.IPv4Address if words[1] == "TCP4" else ipaddress.IPv6Address
    source, destination = (_written(kind, text) for text in words[2:4])
    here, there = (_port(text) for text in words[4:6])
    return Header(length, Source(source, here), Destination(destination, there))


def _written(kind: type[Address], text: str) -> str:
    try:
        address = kind(text)
    except ValueError:
        raise Malformed("a PROXY line with an address that is none of its family") from None
    if "%" in text:
        raise Malformed("a PROXY line with a scope in its address")
    return _plain(address)


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise Malformed("a PROXY line with a port that is none")
    return int(text)


def _plain(address: Address) -> str:
    """An IPv4 address in IPv6 clothes is the IPv4 one, as everywhere in exproxy."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _binary(data: bytes) -> Header | None:
    """Version 2 [2.2]; ``data`` has the fixed part."""
    command, family, size = struct.unpack_from("!BBH", data, len(_SIGNATURE))
    if command not in (_LOCAL, _PROXY):
        raise Malformed("a PROXY header of another version than 2, or with an unknown command")
    if command == _PROXY and (family >> 4 not in _ADDRESSES or family & 0x0F > 2):
        raise Malformed("a PROXY header of an unknown family")
    length = _FIXED + size
    if length > LONGEST_HEADER:
        raise Malformed(f"a PROXY header of more than {LONGEST_HEADER} bytes")
    if command == _PROXY and size < _ADDRESSES[family >> 4]:
        raise Malformed("a PROXY header that is too short for its addresses")
    if len(data) < length:
        return None
    if command == _LOCAL:
        # Whatever else stands in it is to be discarded.
        return Header(length)
    _check_vectors(data[:length], _FIXED + _ADDRESSES[family >> 4])
    if family not in (_TCP4, _TCP6):
        return Header(length)
    return Header(length, *_addresses(data, family))


def _addresses(data: bytes, family: int) -> tuple[Source, Destination]:
    kind, width = (ipaddress.IPv4Address, 4) if family == _TCP4 else (ipaddress.IPv6Address, 16)
    at = _FIXED
    source = _plain(kind(data[at : at + width]))
    destination = _plain(kind(data[at + width : at + 2 * width]))
    here, there = struct.unpack_from("!HH", data, at + 2 * width)
    return Source(source, here), Destination(destination, there)


def _check_vectors(header: bytes, at: int) -> None:
    """The type-length-value vectors from ``at`` on: they must fill the header, and the checksum, where
    there is one, must be right [2.2.3]."""
    while at < len(header):
        if at + 3 > len(header):
            raise Malformed("a PROXY header with a torn vector")
        kind, size = struct.unpack_from("!BH", header, at)
        begin, at = at + 3, at + 3 + size
        if at > len(header):
            raise Malformed("a PROXY header with a vector longer than itself")
        if kind == _CRC32C:
            blank = header[:begin] + bytes(size) + header[at:]
            if size != 4 or int.from_bytes(header[begin:at], "big") != crc32c(blank):
                raise Malformed("a PROXY header with a wrong checksum")


# -- writing -----------------------------------------------------------------------------------


def build(version: Version, source: Source, destination: Destination) -> bytes:
    """The header that tells of a client.

    Of two families the IPv4 address is written v4-mapped, as HAProxy does. Where one of them is no IP
    address at all it is ``PROXY UNKNOWN`` or LOCAL.
    """
    try:
        here, there = ipaddress.ip_address(source.host), ipaddress.ip_address(destination.host)
    except ValueError:
        return b"PROXY UNKNOWN\r\n" if version == "v1" else local()
    both = 4 if here.version == there.version == 4 else 6
    if version == "v1":
        ends = " ".join(_text(each, both) for each in (here, there))
        return f"PROXY TCP{both} {ends} {source.port} {destination.port}\r\n".encode("ascii")
    block = _packed(here, both) + _packed(there, both) + struct.pack("!HH", source.port, destination.port)
    return _SIGNATURE + struct.pack("!BBH", _PROXY, _TCP4 if both == 4 else _TCP6, len(block)) + block


def _text(address: Address, version: int) -> str:
    return str(address) if address.version == version else f"::ffff:{address}"


def _packed(address: Address, version: int) -> bytes:
    return address.packed if address.version == version else bytes(10) + b"\xff\xff" + address.packed


def local() -> bytes:
    """The header of version 2 that says: this connection is the proxy's own, there is no client."""
    return _SIGNATURE + struct.pack("!BBH", _LOCAL, 0, 0)


def own(version: Version, source: Source, destination: Destination) -> bytes:
    """The header of a connection that is our own, a check: LOCAL in version 2.

    Version 1 has no such word (Postfix answers ``PROXY UNKNOWN`` with 421), so there it is the
    connection's own two ends.
    """
    return local() if version == "v2" else build(version, source, destination)


def _table() -> tuple[int, ...]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


_CRC_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC32C (Castagnoli) of ``data`` (RFC 3720 appendix B)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC_TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
