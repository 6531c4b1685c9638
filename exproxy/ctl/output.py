"""What commands print: aligned tables for people, JSON and CSV for everything else."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

# A state is always a word; colour only helps to find it.
_COLOURS = {
    "UP": "green", "OPEN": "green", "READY": "green", "L4OK": "green", "L6OK": "green", "L7OK": "green",
    "DOWN": "red", "STOP": "red", "error": "red", "critical": "red",
    "DRAIN": "yellow", "FULL": "yellow", "warn": "yellow", "MAINT": "blue", "no": "yellow",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """``get``: the value of a row; ``shown``: for people, when that differs; numbers stand on the right."""

    title: str
    get: Callable[[Any], Any]
    shown: Callable[[Any], str] | None = None
    number: bool = False
    state: bool = False


def clean(text: object) -> str:
    """Without control characters: some of what is shown comes from clients, and a terminal obeys."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def coloured() -> bool:
    """Colour is wanted: on a terminal, unless NO_COLOR (https://no-color.org) says otherwise."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Output:
    """``form`` is table, json or csv."""

    def __init__(self, form: str = "table") -> None:
        self.form = form

    @property
    def people(self) -> bool:
        """Somebody reads it."""
        return self.form == "table"

    def rows(
        self,
        rows: Sequence[Any],
        columns: Sequence[Column],
        nothing: str = "There are none.",
        raw: Any = None,
    ) -> None:
        """Print them; ``raw`` is what JSON shows instead of the rows."""
        if self.form == "json":
            self.value(rows if raw is None else raw)
        elif self.form == "csv":
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow([_key(column.title) for column in columns])
            writer.writerows([[_cell(column.get(row)) for column in columns] for row in rows])
            click.echo(text.getvalue(), nl=False)
        elif rows:
            for line in table(rows, columns, coloured()):
                click.echo(line)
        else:
            click.echo(nothing)

    def value(self, value: Any) -> None:
        """Print it as JSON."""
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))

    def done(self, text: str, value: Any) -> None:
        """Tell what was done: a sentence, or the answer itself."""
        if self.people:
            click.echo(clean(text))
        elif self.form == "json":
            self.value(value)
        else:
            text_ = io.StringIO()
            csv.writer(text_, lineterminator="\n").writerows(
                [list(value), [_cell(each) for each in value.values()]]
            )
            click.echo(text_.getvalue(), nl=False)


def table(rows: Iterable[Any], columns: Sequence[Column], colour: bool) -> list[str]:
    """Aligned lines, the titles first."""
    cells = [[_text(column, row) for column in columns] for row in rows]
    widths = [
        max(len(column.title), *(len(line[index]) for line in cells)) if cells else len(column.title)
        for index, column in enumerate(columns)
    ]
    lines = ["  ".join(_padded(c.title, w, c.number) for c, w in zip(columns, widths, strict=True)).rstrip()]
    for line in cells:
        whole = []
        for text, column, width in zip(line, columns, widths, strict=True):
            padded = _padded(text, width, column.number)
            name = _COLOURS.get(text.split(" ")[0]) if column.state and colour else None
            whole.append(click.style(padded, fg=name) if name else padded)
        lines.append("  ".join(whole).rstrip())
    return lines


def _padded(text: str, width: int, number: bool) -> str:
    return text.rjust(width) if number else text.ljust(width)


def _text(column: Column, row: Any) -> str:
    if column.shown is not None:
        return clean(column.shown(row))
    value = column.get(row)
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return clean(_cell(value))


def _key(title: str) -> str:
    return title.lower().replace(" ", "_").replace("/s", "_per_second")


def _cell(value: Any) -> Any:
    """One field of CSV. What a spreadsheet would take for a formula is text."""
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return " ".join(f"{key}={each}" for key, each in value.items())
    if isinstance(value, str) and value[:1] in ("=", "+", "@", "\t"):
        return f"'{value}"
    return "" if value is None else value


def size(count: float) -> str:
    """Bytes for people: 512, 1.5k, 20M."""
    for unit in ("", "k", "M", "G"):
        if count < 1000:
            return f"{count:.1f}{unit}" if unit and count < 10 else f"{count:.0f}{unit}"
        count /= 1000
    return f"{count:.0f}T"


def lasting(seconds: float | None) -> str:
    """A duration for people: 45s, 12m, 3h05m, 2d4h."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d{hours % 24}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m{whole % 60:02}s" if minutes else f"{whole}s"
