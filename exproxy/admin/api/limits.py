"""What one listening address of the administration bears: counts, bytes and seconds, each with a name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """``body``: bytes of a request's body; ``connections`` at a time; ``in_flight``: requests that are being
    answered; ``streams``: readers of server-sent events.

    ``request``: seconds in which a request's head and body must be there; ``idle``: seconds that a connection
    may be silent between two; ``answer``: seconds after which a request that is not answered is given up.
    ``backlog``: events that wait for one slow reader of a stream, ``stalled``: seconds that it may read
    nothing; beyond either it is dropped. ``step``: seconds between two statuses in a stream.
    """

    body: int = 1024 * 1024
    connections: int = 256
    in_flight: int = 32
    streams: int = 16
    request: float = 15.0
    idle: float = 60.0
    answer: float = 60.0
    backlog: int = 256
    stalled: float = 30.0
    step: float = 2.0
