"""exproxy's logs: whether something in them ought not to be there."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

_BAD = re.compile(
    r"Traceback \(most recent|Unhandled|#critical\]|#error\]|Exception ignored|was never awaited"
)
# An error for whoever runs servers, and no mistake.
_FINE = re.compile(r"has no server available!")
# Lines that are shown of what is bad.
_SHOWN = 5


class AccessLog:
    """The access log, rotated now and then; the lines are counted by why the connection ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rotated: list[Path] = []
        self._number = 0
        self.lines = 0
        self.broken = 0
        self.reasons: Counter[str] = Counter()
        # Records of clients that are wanted: what came of them is asked about before their lines are read.
        self.wanted: dict[str, list[dict[str, Any]]] = {}

    def rotate(self) -> None:
        """Move it away; whoever writes it is to be told next."""
        self._read(leave=1)
        self._number += 1
        away = self._path.with_suffix(f".{self._number}")
        if self._path.exists():
            self._path.rename(away)
            self._rotated.append(away)

    def finish(self) -> None:
        """All the rest."""
        self._rotated.append(self._path)
        self._read(leave=0)

    def _read(self, leave: int) -> None:
        # The last one that was moved may still be written.
        while len(self._rotated) > leave:
            path = self._rotated.pop(0)
            if path.exists():
                with path.open("rb") as file:
                    for line in file:
                        self._count(line)
                path.unlink()

    def _count(self, line: bytes) -> None:
        self.lines += 1
        try:
            record = json.loads(line)
            self.reasons[str(record["reason"])] += 1
            if record["client"] in self.wanted:
                self.wanted[record["client"]].append(record)
        except (ValueError, KeyError, TypeError):
            self.broken += 1


def bad_lines(output: Path) -> tuple[int, list[str]]:
    """How many lines of twistd's log tell of a mistake, and the first of them with what follows."""
    count, shown = 0, []
    lines = output.read_text(errors="replace").splitlines()
    for at, line in enumerate(lines):
        if _BAD.search(line) and not _FINE.search(line):
            count += 1
            if count <= _SHOWN:
                shown += lines[at : at + 12]
    return count, shown
