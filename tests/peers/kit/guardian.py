"""A small process that outlives the tests by a moment, and clears away what they could not.

It reads what there is to guard from the tests' pipe. When the pipe ends, because the tests did (also
by kill -9), it kills everything in the guarded namespaces and removes the guarded folders. It guards
only what it was told of, so that two test runs on one machine do not meet.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

_PATIENCE = 5.0


def inhabitants(namespace: int) -> list[int]:
    """The living processes in the network namespace with this inode number, the caller not counted."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            inside = os.stat(entry / "ns" / "net").st_ino == namespace
        except OSError:  # it ended, or is a zombie
            continue
        if inside and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


class Guardian:
    """The tests' end of the pipe."""

    def __init__(self) -> None:
        """Start the process; it belongs to no terminal, so that Ctrl-C does not end it first."""
        argv = [sys.executable, "-I", "-S", __file__]
        self._child = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True, cwd="/")

    def close(self) -> None:
        """End the pipe, and wait until everything is cleared away."""
        self._child.communicate()

    def _tell(self, *words: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(" ".join(words).encode() + b"\n")
        self._child.stdin.flush()

    def namespace(self, inode: int) -> None:
        """Guard a namespace."""
        self._tell("+namespace", str(inode))

    def left(self, inode: int) -> None:
        """Forget a namespace, before its number may be given to another."""
        self._tell("-namespace", str(inode))

    def folder(self, path: Path) -> None:
        """Guard a folder; removed by then is fine."""
        self._tell("+folder", str(path))


@cache
def guardian() -> Guardian:
    """The one of this process."""
    return Guardian()


@atexit.register  # at import, so that what is registered later comes before it
def _leave() -> None:
    if guardian.cache_info().currsize:
        guardian().close()


def _guard() -> None:
    """What the process does: listen until the tests end, then clear away."""
    guarded: dict[str, set[str]] = {"namespace": set(), "folder": set()}
    for line in sys.stdin:
        word, value = line.rstrip("\n").split(" ", 1)
        (guarded[word[1:]].add if word[0] == "+" else guarded[word[1:]].discard)(value)
    deadline = time.monotonic() + _PATIENCE
    for inode in map(int, guarded["namespace"]):
        while (left := inhabitants(inode)) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
    for folder in guarded["folder"]:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _guard()
