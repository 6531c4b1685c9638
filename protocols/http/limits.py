"""How much of one HTTP message is taken before it is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """The most that one message may bring; sizes are bytes, all at least 1.

    ``head``: the whole head with its last empty line; ``target``: the request target; ``fields``:
    field lines of a head. ``extension``: extensions of one chunk, sixteen times that in one body;
    ``trailer`` and ``trailer_fields``: the trailer section, its size and its lines.
    """

    head: int = 64 * 1024
    target: int = 16 * 1024
    fields: int = 500
    extension: int = 1024
    trailer: int = 8 * 1024
    trailer_fields: int = 100


DEFAULT_LIMITS = MessageLimits()
