"""POP's grammar, as far as a proxy must have it: which answers have many lines, and CAPA's list."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

# Answered by many lines where the answer is +OK; the others where they have no argument.
_LONG = frozenset((b"CAPA", b"RETR", b"TOP"))
_LONG_ALONE = frozenset((b"LIST", b"UIDL", b"AUTH", b"LANG"))
# What only a proxy may say of its client.
HIDDEN = frozenset((b"XCLIENT",))
# Lines of an answer to CAPA.
LINES = 100
_STAMP = re.compile(rb" ?<[^<> ]*@[^<> ]*>")


def long_answer(line: bytes) -> bool:
    """Whether a good answer to that command goes on to a line with a single dot."""
    words = line.upper().split()
    return bool(words) and (words[0] in _LONG or (len(words) == 1 and words[0] in _LONG_ALONE))


def good(line: bytes) -> bool:
    """+OK (RFC 1939 3)."""
    return line[:3] == b"+OK" and line[3:4] in (b"", b" ")


def shown(greeting: bytes, apop: bool) -> bytes:
    """A greeting as the client is to have it: without its stamp, where APOP is not possible (RFC 1939 7)."""
    text = greeting.replace(b" [XCLIENT]", b"")
    return text if apop else _STAMP.sub(b"", text)


def keywords(lines: Iterable[bytes]) -> dict[bytes, bytes]:
    """CAPA's list: keyword in upper case → arguments (RFC 2449 5)."""
    pairs = (line.partition(b" ") for line in lines)
    return {word.upper(): rest for word, _, rest in pairs}


@dataclass(frozen=True, slots=True)
class Edits:
    """How the list is changed on its way to the client. ``starttls``: offer STLS, hide it, or None to
    leave it; ``login``: whether a login may be offered."""

    starttls: bool | None
    login: bool
    offer: Sequence[bytes] = ()
    hide: Collection[bytes] = ()

    def list(self, lines: Iterable[bytes]) -> list[bytes]:
        """The lines as the client is to have them."""
        kept = [kept for line in lines if (kept := self._kept(line)) is not None]
        there = {line.split(b" ", 1)[0].upper() for line in kept}
        more = [b"STLS"] if self.starttls else []
        return kept + [word for word in (*more, *self.offer) if word.split(b" ", 1)[0].upper() not in there]

    def _kept(self, line: bytes) -> bytes | None:
        word, _, rest = line.partition(b" ")
        name = word.upper()
        if name in HIDDEN or name in self.hide or (name == b"STLS" and self.starttls is False):
            return None
        if name == b"USER" and not self.login:
            return None
        if name != b"SASL":
            return line
        # Channel binding ties a login to a TLS connection that ends here.
        having = [each for each in rest.split() if not each.upper().endswith(b"-PLUS")]
        having = [each for each in having if each.upper() not in self.hide]
        return b"SASL " + b" ".join(having) if self.login and having else None
