"""Malformed and ambiguous HTTP, and what is right for each: the files *.txt beside this one.

requests: every file but answers.txt; answers.txt has what hostile servers say. A case:

    === name
    # why, with the RFC
    refused 400                what is right, see `Case`
    | GET / HTTP/1.1           the bytes: what follows "| ", and CRLF
    | Host: a\\                 a backslash at the end: no CRLF
    |

with \\r \\n \\t \\0 \\\\ and \\xHH in the bytes and in what is right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ANSWERS = "answers"
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|[rnt0\\])")
_PLAIN = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


@dataclass(frozen=True)
class Case:
    """One case. ``right`` are lines of a word and its arguments.

    Of a request:
    ``served METHOD TARGET [BODY]``: the server sees this request next, and the client gets its answer;
    ``field NAME: VALUE``: that request has the field once, with this value; ``without NAME``: not at all;
    ``refused STATUS``: the client gets this answer, then the end, and the server sees nothing of it;
    ``closes``: after what was served comes the end; else the connection goes on in order;
    ``unfinished [METHOD TARGET]``: nothing more can be said until the client sends more: the server has
    seen the begin of that request, or nothing, and gets no whole one when the client ends.

    Of an answer:
    ``asked METHOD [VERSION]``: what the client asks with (GET, 1.1); ``ends``: the server closes after it;
    ``passed STATUS [BODY]``: the client gets this, complete; ``closes``: and then the end;
    ``refused 502``; ``cut STATUS [BODY]``: the client gets no more than this and an end that
    is no proper one, or 502.
    """

    suite: str
    name: str
    why: str
    right: tuple[str, ...]
    raw: bytes


def unescape(text: str) -> bytes:
    """The bytes that a line stands for."""

    def plain(found: re.Match[str]) -> str:
        word = found[1]
        return chr(int(word[1:], 16)) if word[0] == "x" else _PLAIN[word]

    return _ESCAPE.sub(plain, text).encode("latin-1")


def _read(suite: str, text: str) -> list[Case]:
    cases = []
    for block in re.split(r"(?m)^=== ", text)[1:]:
        name, *lines = block.splitlines()
        raw = b""
        for line in lines:
            if line.startswith("|"):
                content = line[2:]
                open_end = re.search(r"(?<!\\)(?:\\\\)*\\$", content)
                raw += unescape(content[:-1]) if open_end else unescape(content) + b"\r\n"
        why = " ".join(line[2:] for line in lines if line.startswith("# "))
        right = tuple(line for line in lines if line and line[0] not in "|#")
        cases.append(Case(suite, name, why, right, raw))
    return cases


def suites() -> dict[str, list[Case]]:
    """All requests, by the name of their file."""
    paths = sorted(path for path in HERE.glob("*.txt") if path.stem != ANSWERS)
    return {path.stem: _read(path.stem, path.read_text(encoding="ascii")) for path in paths}


def answers() -> list[Case]:
    """What servers say."""
    return _read(ANSWERS, (HERE / f"{ANSWERS}.txt").read_text(encoding="ascii"))
