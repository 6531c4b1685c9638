"""What there is of exproxy's processes: descriptors by kind, memory, and what is alive inside of them."""

from __future__ import annotations

import json
import os
import re
import socket
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import PROC, resident

_LISTENING = "0A"
_INODE = re.compile(r"socket:\[(\d+)\]")
# Seconds for an answer from inside.
_PATIENCE = 30.0
# Bytes of Python's small objects, in the mean.
BLOCK = 96


class Blind(Exception):
    """A process does not tell what is in it."""


@dataclass
class View:
    """Counts at one moment, of all processes together. ``sizes``: what is allocated, not judged by itself."""

    descriptors: Counter[str] = field(default_factory=Counter)
    objects: Counter[str] = field(default_factory=Counter)
    timers: Counter[str] = field(default_factory=Counter)
    sessions: Counter[str] = field(default_factory=Counter)
    leases: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    # Objects in cycles, which only the collector could free, since the processes began.
    collected: int = 0

    def least(self, other: View) -> View:
        """The smaller count of each: what was there at both times."""
        both = {name: getattr(self, name) & getattr(other, name) for name in (*PARTS, "sizes")}
        return View(**both, collected=min(self.collected, other.collected))

    def most(self, other: View) -> View:
        """The larger count of each."""
        both = {name: getattr(self, name) | getattr(other, name) for name in (*PARTS, "sizes")}
        return View(**both, collected=max(self.collected, other.collected))


PARTS = ("descriptors", "objects", "timers", "sessions", "leases")


def processes(pid: int) -> list[int]:
    """That process and all below it."""
    found = [pid]
    for each in found:
        with suppress(OSError):
            for task in (PROC / str(each) / "task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def memory(pids: Iterable[int]) -> int:
    """Bytes that they have together."""
    sizes = 0
    for pid in pids:
        with suppress(OSError):
            sizes += resident(pid)
    return sizes


def view(pids: Iterable[int], folder: Path) -> View:
    """All of it. Raises Blind."""
    seen = View()
    for pid in pids:
        inside = _ask(folder / str(pid), b"all")
        seen.objects.update(inside["objects"])
        seen.timers.update(inside["timers"])
        seen.sessions.update(inside["sessions"])
        for what in ("links", "load"):
            seen.leases.update({f"{what} of {name}": count for name, count in inside[what].items()})
        seen.sizes.update(inside["sizes"])
        seen.collected += inside["collected"]
        seen.descriptors.update(descriptors(pid))
    return seen


def allocated(pids: Iterable[int], folder: Path) -> int:
    """Bytes that they use of what they have, about: a block of Python's is taken for one of BLOCK bytes. A
    process that has just begun or ended counts as nothing."""
    used = 0
    for pid in pids:
        with suppress(Blind):
            sizes = _ask(folder / str(pid), b"sizes")["sizes"]
            used += sizes.get("bytes of malloc", 0) + BLOCK * sizes["blocks of Python"]
    return used


def _ask(path: Path, word: bytes) -> dict[str, Any]:
    said = b""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_PATIENCE)
        try:
            line.connect(str(path))
            line.sendall(word)
            while data := line.recv(65_536):
                said += data
        except OSError as error:
            raise Blind(f"process {path.name} cannot be asked: {error}") from None
    answer: dict[str, Any] = json.loads(said)
    if "error" in answer:
        raise Blind(f"process {path.name}: {answer['error']}")
    return answer


def descriptors(pid: int) -> Counter[str]:
    """Open descriptors by kind; files by name."""
    tcp = _tcp(pid)
    found: Counter[str] = Counter()
    for entry in (PROC / str(pid) / "fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            # It was closed, or was the one that we looked with.
            continue
        found[_kind(target, tcp)] += 1
    return found


def _kind(target: str, tcp: dict[str, str]) -> str:
    inode = _INODE.match(target)
    if inode:
        state = tcp.get(inode[1])
        if state is None:
            return "other socket"
        return "listening socket" if state == _LISTENING else "TCP connection"
    if target.startswith("pipe:"):
        return "pipe"
    return target


def _tcp(pid: int) -> dict[str, str]:
    """The state of each TCP socket by its inode."""
    states = {}
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (PROC / str(pid) / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                states[fields[9]] = fields[3]
    return states
