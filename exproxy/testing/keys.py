"""A double of the secrets that persistence strategies are given."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from zope.interface import implementer

from exproxy.interfaces import IKeys
from exproxy.model import Key


@implementer(IKeys)
@dataclass
class FakeKeys:
    """An IKeys whose secret is known: equal arguments give equal keys, in every run.

    ``digested`` lists what was turned into keys, as (kind, parts).
    """

    group: str = "test"
    servers: tuple[str, ...] = ("exch1", "exch2")
    secret: bytes = b"no secret"
    digested: list[tuple[str, tuple[bytes, ...]]] = field(default_factory=list)

    def digest(self, kind: str, *parts: bytes) -> Key:
        """See IKeys; ``(b"ab", b"c")`` and ``(b"a", b"bc")`` are different."""
        self.digested.append((kind, parts))
        return Key(kind, self._hash(kind.encode(), *parts))

    def tokens(self, purpose: str) -> Mapping[bytes, str]:
        """See IKeys."""
        return {self.token(purpose, server): server for server in self.servers}

    def token(self, purpose: str, server: str) -> bytes:
        """See IKeys."""
        return self._hash(b"token", purpose.encode(), server.encode()).hex().encode("ascii")

    def _hash(self, *parts: bytes) -> bytes:
        text = b"".join(len(part).to_bytes(4, "big") + part for part in (self.group.encode(), *parts))
        return hashlib.blake2b(text, digest_size=16, key=self.secret).digest()


def keys(
    servers: tuple[str, ...] = ("exch1", "exch2"), *, group: str = "test", secret: bytes = b"no secret"
) -> FakeKeys:
    """An IKeys for a strategy under test."""
    return FakeKeys(group, servers, secret)
