"""The demonstration's table: who is served by which server. Values in, text out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from shutil import get_terminal_size
from typing import Any, TextIO

from exproxy.lab.clients import Outcome

_BOLD, _RED, _DIM, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[2m", "\x1b[0m"
_UP, _CLEAR_LINE, _CLEAR_REST = "\x1b[{}A", "\x1b[K", "\x1b[J"


@dataclass(slots=True)
class Row:
    """What one client has seen."""

    counts: Counter[str] = field(default_factory=Counter)
    last: str = ""
    errors: int = 0
    error: str = ""


class Tally:
    """All outcomes so far, by (client, service) in the order of their first appearance."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        row = self.rows.setdefault((outcome.client, outcome.service), Row())
        if outcome.server is None:
            row.errors += 1
            row.error = outcome.error or "no answer"
        else:
            row.counts[outcome.server] += 1
            row.error = ""
        row.last = outcome.server or "-"


States = Mapping[tuple[str, str], str]


def table(
    tally: Tally, servers: Sequence[str], states: States, colour: bool = False, width: int = 120
) -> str:
    """The table as lines of at most `width` characters (colours not counted).

    `states` gives each (service, server) a word; it stands beside the count unless it is UP or ok.
    """
    head = f"{'client':<12}{'service':<12}" + "".join(f"{name:>18}" for name in servers)
    lines = [_paint(f"{head}  {'last':<10}{'errors':>6}"[:width], _BOLD, colour)]
    for (client, service), row in tally.rows.items():
        cells = "".join(f"{_cell(row.counts[name], states.get((service, name), '')):>18}" for name in servers)
        text = f"{client[:11]:<12}{service[:11]:<12}{cells}  {row.last[:9]:<10}{row.errors:>6}  {row.error}"
        lines.append(_paint(text[:width].rstrip(), _RED if row.error else "", colour))
    bad = [f"{service}/{name} {word}" for (service, name), word in states.items() if not _good(word)]
    summary = "not as usual: " + ", ".join(bad) if bad else "all services are as usual"
    lines.append(_paint(summary[:width], _DIM, colour))
    return "\n".join(lines)


def summary(tally: Tally, servers: Sequence[str]) -> str:
    """One line: requests served by each server, and errors."""
    total: Counter[str] = Counter()
    for row in tally.rows.values():
        total.update(row.counts)
    counts = ", ".join(f"{name} {total[name]}" for name in servers)
    errors = sum(row.errors for row in tally.rows.values())
    latest = next((f" ({'/'.join(key)}: {row.error})" for key, row in tally.rows.items() if row.error), "")
    return f"served by: {counts}; errors: {errors}{latest}"


def _good(word: str) -> bool:
    return word.lower() in ("", "up", "ok")


def _cell(count: int, word: str) -> str:
    return str(count) if _good(word) else f"[{word[:9]}] {count}"


def _paint(text: str, code: str, colour: bool) -> str:
    return f"{code}{text}{_PLAIN}" if colour and code else text


class Board:
    """Shows a tally on `output`: redrawn in place on a terminal, else one line every `every` seconds.

    `clock` is an IReactorTime; `states` is asked at each drawing; `notes` are shown once, above the table;
    `size` gives the terminal's columns and lines.
    """

    def __init__(
        self,
        output: TextIO,
        clock: Any,
        servers: Sequence[str],
        states: Callable[[], States],
        notes: str = "",
        every: float = 5.0,
        size: Callable[[], tuple[int, int]] = get_terminal_size,
    ) -> None:
        self.tally = Tally()
        self._output = output
        self._clock = clock
        self._servers = tuple(servers)
        self._states = states
        self._notes = notes
        self._terminal = output.isatty()
        self._every = 0.5 if self._terminal else every
        self._size = size
        self._drawn = 0
        self._next: Any = None

    def start(self) -> None:
        """Show the notes, then draw now and again."""
        self._output.write(self._notes + "\n")
        self._draw()

    def _draw(self) -> None:
        self._next = self._clock.callLater(self._every, self._draw)
        if self._terminal:
            self._redraw()
        elif self.tally.rows:
            self._output.write(summary(self.tally, self._servers) + "\n")
        self._output.flush()

    def _redraw(self) -> None:
        """Over the last drawing; what the terminal has no line for is left out, or it would scroll away."""
        width, height = self._size()
        text = table(self.tally, self._servers, self._states(), colour=True, width=width - 1)
        lines = text.split("\n")[: max(1, height - 1)]
        back = _UP.format(self._drawn) if self._drawn else ""
        body = "".join(f"{line}{_CLEAR_LINE}\n" for line in lines)
        self._output.write(back + body + _CLEAR_REST)
        self._drawn = len(lines)

    def stop(self) -> None:
        """Draw no more; off a terminal the whole table is shown once at the end."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if not self._terminal:
            self._output.write(table(self.tally, self._servers, self._states()) + "\n")
            self._output.flush()
