"""The path of a request as the server behind will see it, and what two readers could see differently.

A refusal of ``/ecp`` is worth something only if nobody can write ``/ecp`` in a way that the refusal
does not see and the server does. IIS decodes percent-escapes, takes ``\\`` for ``/``, resolves dot
segments, ignores case, drops ``(S(...))`` segments (ASP.NET's cookieless sessions) and knows a few
more spellings of old. So a path is decoded once, as UTF-8 (RFC 3986 6.2.2), compared in lower case, and
whatever would not mean the same to everybody is refused with 400 rather than interpreted.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from protocols.http.faults import BadMessage

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# Control characters never belong there, escaped or not: NUL ends a path for some, CR LF a line.
_CONTROL = re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff])")
# Separators, dots and percent signs that somebody decodes and somebody does not: . / \ % ? #
_HIDDEN = re.compile(rb"%(?:2[3EeFf5]|3[Ff]|5[Cc])")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# A path of nothing but these needs no second look: most are.
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*)*/?")
# ASP.NET takes such a segment out before it looks at the path.
_COOKIELESS = re.compile(r"\([A-Za-z]\(")
# NAME~1: the second name of a file with a long one.
_SHORT_NAME = re.compile(r"[^~]~[0-9]")
# What Windows' conversions turn into a separator or a dot besides the compatibility forms (NFKC).
_LIKE_SLASH = frozenset("\u2044\u2215\u2216\u29f5\u29f8\u29f9\u00a5\u20a9")
_SPECIAL = frozenset("/\\.%:;@?#")
_INVISIBLE = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
# CVE-2021-34473 and CVE-2022-41040: Exchange takes the mailbox of an autodiscover.json address out of
# the whole URL, and what is left is another directory's path.
_AUTODISCOVER = "autodiscover"
_SMUGGLED = re.compile(r"autodiscover\.json|powershell|@[^&]*[/\\]")
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Path:
    """``segments``: decoded, in lower case; ``/owa/`` is ``("owa", "")``, the root is ``("",)``.
    ``raw``: what is sent on, which says the same: only escapes that never needed one are undone."""

    segments: tuple[str, ...]
    raw: bytes


def check(path: bytes) -> None:
    """What no server can make sense of: a broken escape, a control character. Raises BadMessage (400)."""
    if b"%" in path and (_BROKEN_ESCAPE.search(path) or _CONTROL.search(path)):
        raise BadMessage(400, "broken escape or control character in the path")


def canonical(path: bytes, query: bytes | None = None, depth: int = 1) -> Path:
    """The path in the one form that everybody reads in the same way; raises BadMessage (400).

    ``path`` begins with ``/``; ``depth``: so many segments decide on the route, and are held to
    stricter rules than the file names below them.
    """
    plain = _PLAIN.fullmatch(path) is not None
    if not plain:
        path = _decoded(path)
    try:
        segments = tuple((_bytes(path) if b"%" in path else path).decode("utf-8").split("/")[1:])
    except UnicodeDecodeError:
        # An overlong form, or a code page that only the server knows.
        raise BadMessage(400, "path is no UTF-8") from None
    if not plain:
        _judge(segments, depth)
    # Only now: to lower case some letters become ASCII.
    segments = tuple([segment.lower() for segment in segments])
    if segments[0] == _AUTODISCOVER:
        _judge_autodiscover(segments, query)
    return Path(segments, path)


def prefix(text: str) -> tuple[str, ...]:
    """The segments of a configured prefix, ``/owa`` or ``/owa/``; () for ``/``."""
    return tuple(text.rstrip("/").lower().split("/")[1:])


def _decoded(path: bytes) -> bytes:
    """The path without escapes that never needed one (RFC 3986 2.3)."""
    check(path)
    if _HIDDEN.search(path):
        raise BadMessage(400, "separator, dot or percent sign hidden by an escape")
    if b"\\" in path or b"//" in path:
        raise BadMessage(400, "backslash or doubled slash in the path")
    return _ESCAPE.sub(_plain, path)


def _plain(found: re.Match[bytes]) -> bytes:
    code = int(found[1], 16)
    return bytes((code,)) if code in _UNRESERVED else found[0].upper()


def _bytes(path: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), path)


def _judge(segments: tuple[str, ...], depth: int) -> None:
    for index, segment in enumerate(segments):
        # What is nothing but dots and blanks is a dot segment to Windows, "..;x" to others.
        if _COOKIELESS.search(segment) or (segment and not segment.partition(";")[0].strip(". ")):
            raise BadMessage(400, "segment that is resolved before the path is looked at")
        if index < depth and (segment.endswith((".", " ")) or _SHORT_NAME.search(segment)):
            # Windows ignores them at the end of a name, and has names of its own making.
            raise BadMessage(400, "another spelling of a directory's name")
        # A file stream (NTFS) or a parameter may hide behind a directory's name.
        if index < depth and (":" in segment or ";" in segment or (index == 0 and "@" in segment)):
            raise BadMessage(400, "parameter or separator in a directory's name")
        if not segment.isascii():
            _judge_letters(segment, index < depth)


def _judge_letters(segment: str, deciding: bool) -> None:
    """Letters that a conversion on the way could make ASCII of."""
    for letter in segment:
        if letter.isascii():
            continue
        plain = unicodedata.normalize("NFKC", letter)
        if letter in _LIKE_SLASH or not _SPECIAL.isdisjoint(plain):
            raise BadMessage(400, "look-alike of a separator in the path")
        if deciding and (_is_ascii_to_some(letter, plain) or unicodedata.category(letter) in _INVISIBLE):
            raise BadMessage(400, "look-alike of a plain letter in a directory's name")


def _is_ascii_to_some(letter: str, plain: str) -> bool:
    cases = (letter.upper(), letter.lower())
    return any(map(str.isascii, plain)) or any(len(each) == 1 and each.isascii() for each in cases)


def _judge_autodiscover(segments: tuple[str, ...], query: bytes | None) -> None:
    # A mailbox is asked for by the query; in the path it leads elsewhere.
    if any("@" in segment for segment in segments):
        raise BadMessage(400, "mailbox in the path of an autodiscover address")
    if not query or not any(segment.startswith("autodiscover.json") for segment in segments):
        return
    text = query
    for _ in range(_ROUNDS):
        text = _bytes(text)
    if _SMUGGLED.search(text.decode("latin-1").lower()):
        raise BadMessage(400, "another address in the query of autodiscover.json")
