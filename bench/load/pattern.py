"""The bytes that are sent: always the same, so that whoever gets them can compare each of them."""

from __future__ import annotations

import random

MIB = 1 << 20
# Twice, so that a piece can be cut out at any place of the first one.
_TWICE = random.Random(6).randbytes(MIB) * 2
VIEW = memoryview(_TWICE)
SMALL = _TWICE[:64]
PAGE = _TWICE[:512]
BODY = _TWICE[:MIB]


def matches(data: bytes | bytearray, position: int) -> bool:
    """Whether ``data`` is what stands at ``position`` of the endless repetition; at most 1 MiB at a time."""
    start = position % MIB
    return data == _TWICE[start : start + len(data)]


def piece(position: int, length: int) -> memoryview:
    """Up to ``length`` bytes from ``position`` on; at most 1 MiB at a time."""
    start = position % MIB
    return VIEW[start : start + min(length, MIB)]
