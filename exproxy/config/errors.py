"""What is wrong with a configuration file, and how it is shown: all of it, in file order.

``etc/exchange.yaml:12:9: error: services.smtp.lisen: unknown option; did you mean 'listen'?``,
then the line and a caret under the spot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from exproxy.errors import ConfigurationError

Where: TypeAlias = tuple[str | int, ...]
Severity: TypeAlias = Literal["error", "warning"]

# Longer source lines are no help. A line with the secret, a password or a token is not shown at all.
LONGEST_LINE = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (``error``) or doubtful (``warning``).

    ``line`` and ``column`` count from 1, ``width`` is how many characters the caret
    underlines; 0 is for the file as a whole.
    """

    path: Where
    message: str
    line: int = 1
    column: int = 1
    width: int = 1
    severity: Severity = "error"

    @property
    def where(self) -> str:
        """The path as people write it: ``services.smtp.listen[1]``."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text

    def headline(self, file: str) -> str:
        """``file:line:col: error: path: message``."""
        start = f"{file}:{self.line}:{self.column}: {self.severity}: "
        return start + (f"{self.where}: {self.message}" if self.path else self.message)


class Invalid(ConfigurationError):
    """A configuration that cannot be used. ``str()`` is the whole text for the administrator."""

    def __init__(self, file: Path, lines: Sequence[str], problems: Iterable[Problem]) -> None:
        self.file = file
        self.lines = lines
        self.problems = in_order(problems)
        super().__init__(self.render())

    def render(self) -> str:
        """All problems with their lines, then ``N errors in FILE``; no newline at the end."""
        return f"{render(self.problems, self.file, self.lines)}{summary(self.problems, self.file)}"

    def render_json(self) -> str:
        """See :func:`render_json`."""
        return render_json(self.problems, self.file)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """In file order, each once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column)))


def render(problems: Iterable[Problem], file: Path, lines: Sequence[str]) -> str:
    """Each problem's headline, its source line and a caret; each line ends with a newline."""
    return "".join(_shown(problem, str(file), lines) for problem in problems)


def _shown(problem: Problem, file: str, lines: Sequence[str]) -> str:
    text = problem.headline(file) + "\n"
    source = lines[problem.line - 1].rstrip() if 0 < problem.line <= len(lines) else ""
    hidden = problem.path[:1] == ("secret",) or "token" in problem.path or "tokens" in problem.path
    private = hidden or source.startswith("secret") or "password" in source or "token" in source
    if not source.strip() or len(source) > LONGEST_LINE or private or not problem.width:
        return text
    before = source[: problem.column - 1]
    width = max(1, min(problem.width, len(source) - len(before)))
    # Tabs are kept in front of the caret, so that it stands right however wide they are.
    indent = "".join("\t" if character == "\t" else " " for character in before)
    return f"{text}    {source}\n    {indent}{'^' * width}\n"


def summary(problems: Sequence[Problem], file: Path) -> str:
    """``2 errors and 1 warning in FILE``, or ``FILE: configuration OK``."""
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if not errors:
        return f"{file}: configuration OK" + (f", {_count(warnings, 'warning')}" if warnings else "")
    also = f" and {_count(warnings, 'warning')}" if warnings else ""
    return f"{_count(errors, 'error')}{also} in {file}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def render_json(problems: Sequence[Problem], file: Path) -> str:
    """``{"file", "valid", "problems": [{"file", "line", "column", "severity", "path", "message"}]}``."""
    listed = [
        {
            "file": str(file),
            "line": problem.line,
            "column": problem.column,
            "severity": problem.severity,
            "path": problem.where,
            "message": problem.message,
        }
        for problem in problems
    ]
    valid = not any(problem.severity == "error" for problem in problems)
    return json.dumps({"file": str(file), "valid": valid, "problems": listed}, indent=2)
