"""All the ways in which a network cuts bytes, as far as a parser can tell."""

from __future__ import annotations

from collections.abc import Iterator


def every_split(data: bytes) -> Iterator[tuple[bytes, ...]]:
    """``data`` in one piece, in two pieces at every cutting point, and byte by byte.

    Joined, the pieces are always ``data``; none of them is empty.
    """
    yield (data,) if data else ()
    for cut in range(1, len(data)):
        yield data[:cut], data[cut:]
    if len(data) > 2:
        yield tuple(data[at : at + 1] for at in range(len(data)))
