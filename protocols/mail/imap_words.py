"""IMAP's grammar, as far as a proxy must have it: commands with literals, and lists of capabilities."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from protocols.mail.sasl import NAME, Credentials

_LITERAL = re.compile(rb"\{([0-9]{1,10})(\+|-)?\}\Z")
_TAG = re.compile(rb"[!#$&',./0-9:;<=>?@A-Z\[\]^_`a-z|}~-]{1,64}")
_ATOM = re.compile(rb'[^\x00-\x20(){%*"\\\x7f-\xff]+')
_CODE = re.compile(rb"\A(\S+ (?:OK|PREAUTH) \[CAPABILITY )([^\]\r\n]*)(\].*)\Z", re.IGNORECASE | re.DOTALL)
# What only a proxy may say of its client (Dovecot's words in ID); "\x-" is "x-" for whoever unescapes it.
_PROXY_FIELD = re.compile(rb'"x-', re.IGNORECASE)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal to come (RFC 9051 4.3): bytes, and whether the client waits to be asked for them."""

    size: int
    waits: bool


def literal(line: bytes) -> Literal | None:
    """The literal that a line without its end announces, or None."""
    found = _LITERAL.search(line)
    return Literal(int(found[1]), found[2] is None) if found is not None else None


@dataclass(frozen=True, slots=True)
class Command:
    """A whole command. ``pieces`` are its lines without their ends, each but the last followed by its
    literal: line, literal, line, …"""

    tag: bytes
    word: bytes
    pieces: tuple[bytes, ...] = field(repr=False)

    def arguments(self) -> list[bytes] | None:
        """Its arguments, where each is an atom, a quoted string or a literal; None where one is not."""
        found: list[bytes] = []
        text = self.pieces[0].split(b" ", 2)[2] if self.pieces[0].count(b" ") > 1 else b""
        rest = list(self.pieces[1:])
        while text:
            if literal(text) is not None and text.startswith(b"{"):
                found.append(rest.pop(0))
                text = rest.pop(0)
            else:
                value, text = _string(text)
                if value is None:
                    return None
                found.append(value)
            if text and not text.startswith(b" "):
                return None
            text = text[1:]
        # What is left was no literal for whoever reads words: nobody may guess.
        return None if rest else found

    def credentials(self) -> Credentials | None:
        """Those of LOGIN; None where it has not just the two."""
        found = self.arguments()
        if found is None or len(found) != 2 or not 0 < len(found[0]) <= NAME or b"\0" in b"".join(found):
            return None
        return Credentials(*found)

    @property
    def claims(self) -> bool:
        """Whether it says of the client what only a proxy may say."""
        return self.word == b"ID" and any(
            _PROXY_FIELD.search(_ESCAPED.sub(rb"\1", piece)) for piece in self.pieces
        )


def _string(text: bytes) -> tuple[bytes | None, bytes]:
    """The atom or quoted string that ``text`` begins with (None: neither), and what follows it."""
    if not text.startswith(b'"'):
        # ASTRING-CHAR has "]" beside an atom's; passwords have more, and servers take them.
        end = text.find(b" ")
        word = text if end < 0 else text[:end]
        return (word if word and b'"' not in word[:1] else None), text[len(word) :]
    at, value = 1, bytearray()
    while at < len(text):
        if text[at : at + 1] == b'"':
            return bytes(value), text[at + 1 :]
        at += text[at : at + 1] == b"\\"
        value += text[at : at + 1]
        at += 1
    return None, b""


def head(line: bytes) -> tuple[bytes, bytes] | None:
    """Tag and word of a command's first line, the word in upper case; None where they are none."""
    words = line.split(b" ", 2)
    if len(words) < 2 or not _TAG.fullmatch(words[0]) or not _ATOM.fullmatch(words[1]):
        return None
    return words[0], words[1].upper()


def quoted(value: bytes) -> bytes | None:
    """A quoted string (RFC 9051 4.3); None where only a literal can carry it."""
    if len(value) > 1000 or any(not 0x20 <= byte < 0x7F for byte in value):
        return None
    return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def status(line: bytes, tag: bytes) -> bytes | None:
    """OK, NO or BAD of a line that ends the command with that tag; None for any other line."""
    words = line.split(b" ", 2)
    return words[1].upper() if len(words) > 1 and words[0] == tag else None


@dataclass(frozen=True, slots=True)
class Edits:
    """How lists of capabilities are changed on their way to the client. ``starttls``: offer it, hide it, or
    None to leave it; ``login``: whether a login may be offered."""

    starttls: bool | None
    login: bool
    offer: Sequence[bytes] = ()
    hide: Collection[bytes] = ()

    def list(self, words: Iterable[bytes]) -> bytes:
        """The words as the client is to have them."""
        kept = [word for word in words if self._keeps(word.upper())]
        there = {word.upper() for word in kept}
        more = [b"STARTTLS"] if self.starttls else []
        more += [b"LOGINDISABLED"] if not self.login else []
        kept += [word for word in (*more, *self.offer) if word.upper() not in there]
        return b" ".join(kept)

    def line(self, line: bytes) -> bytes:
        """A line of the server, changed where it has such a list."""
        if line[:13].upper() == b"* CAPABILITY ":
            return line[:13] + self.list(line[13:].split())
        found = _CODE.match(line)
        if found is None:
            return line
        return found[1] + self.list(found[2].split()) + found[3]

    def _keeps(self, word: bytes) -> bool:
        if word in self.hide or (word == b"STARTTLS" and self.starttls is False):
            return False
        # Channel binding ties a login to a TLS connection that ends here.
        return not word.startswith(b"AUTH=") or (self.login and not word.endswith(b"-PLUS"))


def listed(line: bytes) -> frozenset[bytes] | None:
    """The capabilities that a line of the server has, in upper case, or None."""
    if line[:13].upper() == b"* CAPABILITY ":
        return frozenset(line[13:].upper().split())
    found = _CODE.match(line)
    return frozenset(found[2].upper().split()) if found is not None else None


def without_list(line: bytes) -> bytes:
    """A greeting without the capabilities in it."""
    found = _CODE.match(line)
    if found is None:
        return line
    return found[1].rpartition(b"[")[0] + found[3][1:].lstrip()
