"""Names for requests, by which one is found again in the logs of client, exproxy and backend."""

from __future__ import annotations

import itertools
import secrets


class RequestIds:
    """Gives a new id at every call: what tells processes apart, and a count.

    They say nothing of the client and are no secret.
    """

    def __init__(self, prefix: bytes | None = None) -> None:
        """``prefix``: visible ASCII; None takes twelve random hexadecimal digits, at the first call,
        so that processes forked before it differ."""
        self._prefix = prefix
        self._count = itertools.count(1)

    def __call__(self) -> bytes:
        """Something like ``9f86d081884c-1a``."""
        if self._prefix is None:
            self._prefix = secrets.token_hex(6).encode("ascii")
        return b"%b-%x" % (self._prefix, next(self._count))
