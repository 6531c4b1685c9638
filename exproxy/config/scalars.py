"""The values of YAML scalars: the core schema's, ``!env NAME`` and ``!file path``."""

from __future__ import annotations

import math
import os
from pathlib import Path

from exproxy.plugins import did_you_mean

CORE = "tag:yaml.org,2002:"
# What !file reads: a secret or a password, never a data base.
MAX_SECRET = 64 * 1024


class Unreadable(Exception):
    """A scalar, or a whole file, that has no value; the text is for the administrator."""


class Scalars:
    """Makes values; ``!file`` paths are relative to ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def value(self, tag: str, text: str) -> str | int | float | bool | None:
        """The value of a scalar with that resolved tag; raises Unreadable."""
        if tag == "!env":
            return _environment(text)
        if tag == "!file":
            return _file(self._folder / text)
        name = tag.removeprefix(CORE)
        if name == "null":
            return None
        if name == "bool":
            return text in ("true", "True", "TRUE")
        if name == "int":
            return _integer(text)
        if name == "float":
            return _number(text)
        if name == "str":
            return _text(text)
        raise Unreadable(f"the tag {tag.replace(CORE, '!!')} is unknown; there are !env NAME and !file PATH")


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unreadable("has a character that Unicode does not have") from None
    return text


def _integer(text: str) -> int:
    try:
        if text[:2] in ("0o", "0x"):
            return int(text, 0)
        return int(text)
    except ValueError:
        raise Unreadable("is no number that can be used") from None


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise Unreadable("is no number") from None
    if not math.isfinite(number):
        raise Unreadable("is too large a number")
    return number


def _environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        likely = did_you_mean(name, os.environ)
        hint = f"; did you mean {likely!r}?" if likely else ""
        raise Unreadable(f"the environment has no variable {name!r}{hint}")
    return _text(value)


def _file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SECRET + 1)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_SECRET:
        raise Unreadable(f"{path} is larger than {MAX_SECRET // 1024} kB")
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Unreadable(f"{path} holds no UTF-8 text; for random bytes use base64") from None
