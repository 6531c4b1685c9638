"""Pipes for splice(2): few, large, and used again and again."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TypeAlias

# What one pipe holds (bytes): the most that Linux gives to others than root without being told to
# (fs.pipe-max-size). All that is spliced in one turn fits in.
CAPACITY = 1024 * 1024
# At most so many exist at a time, which is what Linux lets a user fill (fs.pipe-user-pages-soft, 64 MiB).
# A pipe is in somebody's hands only while bytes are in it: a bulk transfer whose reader is slow.
MOST = 64
# So many are kept when nobody needs them.
SPARE = 16

# The end to read from, and the end to write to.
Pipe: TypeAlias = tuple[int, int]


def spliced() -> bool:
    """Whether this system splices at all."""
    return hasattr(os, "splice") and hasattr(fcntl, "F_SETPIPE_SZ")


class Pipes:
    """A pool of pipes. ``most`` 0: none are given, and everything is copied."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most if spliced() else 0
        self.made = 0
        self._spare: list[Pipe] = []

    def take(self) -> Pipe | None:
        """An empty pipe, or None: all are in use, or the system gives none (no descriptor left)."""
        if self._spare:
            return self._spare.pop()
        if self.made >= self.most:
            return None
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        self.made += 1
        try:
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, CAPACITY)
        except OSError:
            # A small pipe costs more calls than it saves copying.
            self.drop(pipe)
            return None
        return pipe

    def give(self, pipe: Pipe) -> None:
        """Give an empty pipe back."""
        if len(self._spare) < SPARE and self.most:
            self._spare.append(pipe)
        else:
            self.drop(pipe)

    def drop(self, pipe: Pipe) -> None:
        """Close one that may have bytes in it."""
        self.made -= 1
        for end in pipe:
            with suppress(OSError):
                os.close(end)

    def refuse(self) -> None:
        """No more of them: this system does not splice these sockets."""
        self.most = 0
        self.close()

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._spare:
            self.drop(self._spare.pop())
