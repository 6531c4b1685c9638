"""The first packet of a channel of RPC over HTTP (MS-RPCH 2.2.3): which virtual connection it joins.

A virtual connection is two requests, RPC_OUT_DATA and RPC_IN_DATA, on connections of their own. Each
body begins with an RTS packet (CONN/A1, CONN/B1, and IN_R1 and OUT_R1 for a channel that takes
another's place) whose second command is the cookie of the virtual connection: equal in all of them.
"""

from __future__ import annotations

import struct

METHODS = frozenset((b"RPC_IN_DATA", b"RPC_OUT_DATA"))
# Bytes of the body up to the end of that cookie.
OPENING = 48
# version 5.0, RTS, first and last fragment, little-endian; no authentication, call 0 (2.2.3.5).
_HEAD = struct.Struct("<4s4sHHI")
_RTS = b"\x05\x00\x14\x03"
_LITTLE_ENDIAN = b"\x10\x00\x00\x00"
_VERSION, _COOKIE = 6, 3


def virtual_connection(opening: bytes) -> bytes | None:
    """The cookie (16 bytes) in the first OPENING bytes of a channel's body; None where there is none."""
    if len(opening) < OPENING:
        return None
    kind, order, length, authentication, call = _HEAD.unpack_from(opening)
    if (kind, order, authentication, call) != (_RTS, _LITTLE_ENDIAN, 0, 0) or length < OPENING:
        return None
    commands, version, _, cookie = struct.unpack_from("<HIII", opening, 18)
    if commands < 2 or version != _VERSION or cookie != _COOKIE:
        return None
    return opening[32:OPENING]
