"""SMTP's grammar, as far as a proxy must have it: replies, EHLO's list, the end of a message."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from exproxy.checks import dialogue

# Lines of one reply; a server that says more is not one.
LINES = 200
_CODE = re.compile(rb"[2-5][0-9]{2}(?=[ -]|$)")
# Extensions between servers that let a peer say who it is, change roles, or begin TLS past exproxy.
HIDDEN = frozenset(
    b"XCLIENT XFORWARD X-ANONYMOUSTLS X-EXPS XSHADOW XSHADOWREQUEST XPROXY XPROXYFROM XPROXYTO "
    b"XSESSIONPARAMS XEXCH50 TURN ATRN".split()
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply (RFC 5321 4.2): its code and its lines, codes included, without line ends."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def good(self) -> bool:
        """2xx."""
        return 200 <= self.code < 300

    @property
    def data(self) -> bytes:
        """As it goes out."""
        return b"".join(line + b"\r\n" for line in self.lines)


def code_of(line: bytes) -> int | None:
    """The code of a line of a reply, None where it is none."""
    found = _CODE.match(line)
    return int(found[0]) if found else None


def last(line: bytes) -> bool:
    """Whether a reply ends with that line."""
    return line[3:4] != b"-"


def keywords(reply: Reply) -> dict[bytes, bytes]:
    """EHLO's list: keyword in upper case → parameters (RFC 5321 4.1.1.1)."""
    found = {}
    for line in reply.lines[1:]:
        word, _, rest = line[4:].partition(b" ")
        found[word.upper()] = rest
    return found


def mechanisms(found: Mapping[bytes, bytes]) -> frozenset[bytes]:
    """The SASL mechanisms of that list."""
    return frozenset(found.get(b"AUTH", b"").upper().split())


@dataclass(frozen=True, slots=True)
class Edits:
    """How the list is changed on its way to the client. ``starttls``: offer it, hide it, or None to leave
    it; ``auth``: whether a login may be offered."""

    starttls: bool | None
    auth: bool
    offer: Sequence[bytes] = ()
    hide: Collection[bytes] = ()


def listed(name: bytes, words: Sequence[bytes]) -> Reply:
    """The answer to EHLO: a name and what is offered."""
    texts = (name, *words)
    lines = [b"250-" + text for text in texts[:-1]]
    return Reply(250, (*lines, b"250 " + texts[-1]))


def edited(reply: Reply, edits: Edits) -> Reply:
    """The server's answer to EHLO as the client is to have it."""
    kept = [kept for line in reply.lines[1:] if (kept := _kept(line[4:], edits)) is not None]
    if edits.starttls and not any(line.upper() == b"STARTTLS" for line in kept):
        kept.append(b"STARTTLS")
    there = {line.split(b" ", 1)[0].upper() for line in kept}
    kept += [word for word in edits.offer if word.split(b" ", 1)[0].upper() not in there]
    return listed(reply.lines[0][4:], kept)


def _kept(line: bytes, edits: Edits) -> bytes | None:
    word, _, rest = line.partition(b" ")
    name = word.upper()
    if name in HIDDEN or name in edits.hide or (name == b"STARTTLS" and edits.starttls is False):
        return None
    if name != b"AUTH" and not name.startswith(b"AUTH="):
        return line
    # "AUTH=LOGIN" is how the first clients would have it.
    have = (word[5:] + b" " + rest if name.startswith(b"AUTH=") else rest).split()
    # Channel binding ties a login to a TLS connection that ends here.
    having = [each for each in have if not each.upper().endswith(b"-PLUS") and each.upper() not in edits.hide]
    if not edits.auth or not having:
        return None
    return word[:5].rstrip() + (b"" if name.startswith(b"AUTH=") else b" ") + b" ".join(having)


class Message:
    """Finds the end of a message where servers find it: CR LF . CR LF and nothing else (RFC 5321 4.1.1.4).

    ``strict``: a CR or LF alone is told of, since some servers would find an end in it; so a CR goes on
    only with its LF.
    """

    __slots__ = ("_before", "_held", "_strict", "bare")

    def __init__(self, strict: bool) -> None:
        self.bare = False
        self._held = b""
        self._strict = strict
        # The last bytes that went before; DATA's own line end counts for a message that begins with a dot.
        self._before = b"\r\n"

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """What of ``data`` belongs to the message, its end included, and what follows that end, or None
        where the message goes on. ``bare`` is set where it has what it must not have."""
        seen = self._before + self._held + data
        end = seen.find(b"\r\n.\r\n")
        mine = seen if end < 0 else seen[: end + 5]
        if self._strict:
            self._held = b"\r" if mine.endswith(b"\r") else b""
            mine = mine[: len(mine) - len(self._held)]
            # What went before begins with a LF where that is the second half of a pair.
            self.bare = self.bare or not (
                mine.count(b"\r\n") == mine.count(b"\r") == mine.count(b"\n") - mine.startswith(b"\n")
            )
        begin = len(self._before)
        self._before = mine[-4:]
        return mine[begin:], (None if end < 0 else seen[end + 5 :])


def seen(reply: Reply) -> str:
    """A reply made fit for a log."""
    return dialogue.seen(reply.lines[-1])
