"""Ways in which PDUs go wrong: bits, fields, lengths, ends, order."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

from exproxy.model import Side
from protocols.msrpc.pdu import HEADER, KINDS

# Who says it, and what.
Step: TypeAlias = tuple[Side, bytes]

# Offsets of the header's and the calls' fields, and where counts and pointers of a bind or stub stand.
_FIELDS = (2, 3, 4, 8, 9, 10, 11, 12, 16, 18, 20, 22, 24, 28, 30, 32, 44, 48, 52, 56, 60, 64, 68, 72)
_EDGES = (0, 1, 2, 3, 4, 7, 8, 15, 16, 23, 24, 64, 65, 127, 128, 255, 256)
_VALUES = (*_EDGES, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_KINDS = tuple(KINDS)


def fitted(data: bytes) -> bytes:
    """The PDU with the length in its header that it has, where it has a header."""
    if not HEADER <= len(data) <= 0xFFFF:
        return data
    order = "<" if data[4] & 0xF0 else ">"
    return data[:8] + struct.pack(order + "H", len(data)) + data[10:]


def _bits(random: Random, data: bytearray) -> None:
    reach = min(len(data), 32) if random.random() < 0.5 else len(data)
    for _ in range(random.randint(1, 4)):
        data[random.randrange(reach)] ^= 1 << random.randrange(8)


def _number(random: Random, data: bytearray) -> None:
    """An integer at a field or anywhere becomes one that is at some edge."""
    at = random.choice(_FIELDS) if random.random() < 0.7 else random.randrange(len(data))
    value = random.choice(_VALUES) if random.random() < 0.8 else random.randrange(len(data) + 2)
    size = random.choice((1, 2, 2, 4, 4, 8))
    order = "little" if data[4] & 0xF0 else "big"
    # The offsets may lie beyond a short PDU's end.
    if at + size <= len(data):
        data[at : at + size] = (value & (256**size - 1)).to_bytes(size, order)  # type: ignore[arg-type]


def _kind(random: Random, data: bytearray) -> None:
    data[2] = random.choice(_KINDS)


def _flags(random: Random, data: bytearray) -> None:
    data[3] = random.randrange(256) if random.random() < 0.5 else random.randrange(4)


def _order(random: Random, data: bytearray) -> None:
    """The other byte order: what was a length of 72 is one of 18432."""
    data[4] ^= 0x10


def _call(random: Random, data: bytearray) -> None:
    data[12:16] = struct.pack("<I", random.randint(1, 4))


def _end(random: Random, data: bytearray) -> None:
    """Cut short; what is left says so itself, or does not."""
    del data[random.randrange(5, len(data)) :]
    if random.random() < 0.7:
        data[:] = fitted(bytes(data))


def _more(random: Random, data: bytearray) -> None:
    """Bytes put in somewhere."""
    at = random.randrange(HEADER, len(data)) if random.random() < 0.5 else len(data)
    data[at:at] = random.randbytes(random.choice((1, 3, 4, 8, 60, 1000)))
    if random.random() < 0.8:
        data[:] = fitted(bytes(data))


def _rubbish(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    size = min(len(data) - at, random.randint(1, 40))
    data[at : at + size] = random.randbytes(size)


_WAYS: tuple[Callable[[Random, bytearray], None], ...] = (
    _bits,
    _bits,
    _number,
    _number,
    _number,
    _kind,
    _flags,
    _order,
    _call,
    _end,
    _more,
    _rubbish,
)


def _changed(random: Random, data: bytes) -> bytes:
    """One PDU mutated in one way, or in a few."""
    made = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if len(made) > HEADER:
            random.choice(_WAYS)(random, made)
    return bytes(made)


def mutated(random: Random, exchange: Sequence[Step], other: Sequence[Step]) -> tuple[list[Step], int]:
    """An exchange with some of its PDUs mutated, doubled, left out, exchanged, or crossed with ``other``'s;
    and how many of them are not what they were, at least one."""
    steps: list[Step] = []
    count = 0
    rate = random.choice((0.15, 0.5, 0.8))
    for side, data in exchange:
        if random.random() >= rate:
            steps.append((side, data))
            continue
        count += 1
        way = random.random()
        if way < 0.75:
            steps.append((side, _changed(random, data)))
        elif way < 0.82:
            steps += [(side, data)] * random.choice((2, 2, 3, 20))
        elif way < 0.88:
            # Half of it, and half of another.
            head, tail = data[: random.randrange(len(data))], random.choice(other)[1]
            steps.append((side, fitted(head + tail[random.randrange(len(tail)) :])))
        elif way < 0.94:
            steps.insert(random.randrange(len(steps) + 1), (side, data))
        elif way < 0.97:
            steps.append((side, random.choice(other)[1]))
    if not count:
        side, data = steps[-1]
        steps[-1] = (side, _changed(random, data))
        count = 1
    return steps, count
