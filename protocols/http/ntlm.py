"""The messages of NTLM (MS-NLMP 2.2.1), as far as a proxy may look: who logs in, and how strongly.

Nothing of a challenge, a response or a hash leaves this module.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

SIGNATURE = b"NTLMSSP\0"
_UNICODE = 0x00000001
# The six descriptions of an AUTHENTICATE message, and its flags, after signature and type (2.2.1.3).
_AUTHENTICATE = struct.Struct("<HHIHHIHHIHHIHHIHHII")
_FIXED = 12 + _AUTHENTICATE.size
# The response to a challenge has 24 bytes in LM, NTLM and "NTLM2 session" (3.3.1); that of NTLMv2 has
# 16 and a structure of 28 at least (2.2.2.8).
_V1 = 24
_V2 = 16 + 28
# Bytes of a name: 256 characters of UTF-16, more than any directory allows.
_NAME = 512


@dataclass(frozen=True, slots=True)
class Negotiate:
    """Type 1: somebody begins."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Type 2: the server's answer."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Type 3. ``version``: 2 for NTLMv2, 1 for everything older, 0 for anonymous."""

    user: str
    domain: str
    version: int

    @property
    def name(self) -> str:
        r"""``DOMAIN\user``, ``user`` where no domain is given, "" for anonymous."""
        return f"{self.domain}\\{self.user}" if self.domain and self.user else self.user


Message: TypeAlias = Negotiate | Challenge | Authenticate


def parse(data: bytes) -> Message | None:
    """The message in ``data``, or None where it is none that could be believed."""
    if len(data) < 12 or not data.startswith(SIGNATURE):
        return None
    (kind,) = struct.unpack_from("<I", data, 8)
    if kind == 1:
        return Negotiate()
    if kind == 2:
        return Challenge()
    return _authenticate(data) if kind == 3 else None


def _authenticate(data: bytes) -> Authenticate | None:
    if len(data) < _FIXED:
        return None
    found = _AUTHENTICATE.unpack_from(data, 12)
    pieces = [_piece(data, length, at) for length, _, at in zip(*[iter(found[:18])] * 3, strict=True)]
    lm, nt, domain, user = pieces[:4]
    if lm is None or nt is None or domain is None or user is None:
        return None
    version = _version(lm, nt)
    unicode = bool(found[18] & _UNICODE)
    names = [_text(domain, unicode), _text(user, unicode)]
    if version is None or names[0] is None or names[1] is None:
        return None
    return Authenticate(names[1], names[0], version)


def _piece(data: bytes, length: int, at: int) -> bytes | None:
    """What a description points at; None where that lies outside of the message."""
    return data[at : at + length] if at + length <= len(data) else None


def _version(lm: bytes, nt: bytes) -> int | None:
    if len(nt) >= _V2:
        return 2
    if len(nt) == _V1 or (not nt and len(lm) == _V1):
        return 1
    # Anonymous: no response at all, but for one byte of zero (3.2.5.1.2).
    return 0 if not nt and lm in (b"", b"\0") else None


def _text(data: bytes, unicode: bool) -> str | None:
    """A name as it may be shown and logged; None for what is none."""
    if len(data) > _NAME:
        return None
    try:
        text = data.decode("utf-16-le" if unicode else "cp1252")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None
