"""A configuration file as it was read: plain values, and where in the file each of them stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exproxy.config.errors import Problem, Severity, Where


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the file: line and column from 1, and how many characters of that line it takes."""

    line: int
    column: int
    width: int = 1


@dataclass(slots=True)
class Document:
    """One file's values, the spots of every key and value, and all problems met so far.

    ``data`` holds dict (text keys), list, str, int, float, bool and None only.
    """

    path: Path
    # The path as the administrator typed it.
    shown: Path
    lines: Sequence[str]
    data: Any = None
    values: dict[Where, Spot] = field(default_factory=dict)
    keys: dict[Where, Spot] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    # Values that came by !env or !file, with that tag and what followed it: never shown.
    hidden: dict[Where, tuple[str, str]] = field(default_factory=dict)
    _broken: set[Where] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        """What relative paths in the file are relative to."""
        return self.path.parent

    def known(self, where: Where) -> Where:
        """``where`` without the parts that the file does not have (a default, a list of one)."""
        found: Where = ()
        for part in where:
            if (*found, part) in self.values:
                found = (*found, part)
        return found

    def has(self, where: Where) -> bool:
        """Something stands there, right or wrong."""
        return where in self.values

    def raw(self, where: Where) -> Any:
        """The value there as it was read, or None."""
        value = self.data
        for part in where:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def error(self, where: Where, message: str, at_key: bool = False) -> None:
        """Something is wrong with the value (or the key) there."""
        self._add(where, message, "error", at_key)

    def warn(self, where: Where, message: str, at_key: bool = False) -> None:
        """Something is doubtful there."""
        self._add(where, message, "warning", at_key)

    def broken(self, where: Where, message: str) -> None:
        """An error which makes all further words on that value useless."""
        self.error(where, message)
        self._broken.add(where)

    @property
    def valid(self) -> bool:
        """No error yet; warnings do not count."""
        return not any(problem.severity == "error" for problem in self.problems)

    def _add(self, where: Where, message: str, severity: Severity, at_key: bool) -> None:
        known = self.known(where)
        if any(known[:length] in self._broken for length in range(len(known) + 1)):
            return
        spot = (self.keys.get(known) if at_key else None) or self.values.get(known) or Spot(1, 1)
        width = spot.width if known else 0
        shown = where if at_key else known
        self.problems.append(Problem(shown, message, spot.line, spot.column, width, severity))

    def at(self, line: int, column: int, message: str, width: int = 1) -> None:
        """An error at a place that has no path: the text is no YAML."""
        self.problems.append(Problem((), message, line, column, width))
