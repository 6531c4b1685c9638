"""What Linux tells of this machine and of a process: processors, CPU time, memory, load."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_PDEATHSIG = 1
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Twice 10,000 connections, and room.
FILES = 65_536
# Above so much load others are at work, and the figures are nobody's.
QUIET = 0.5


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the proxies run, and where everything else does; the same one where there is only one."""

    proxy: int
    load: int


def cores() -> Cores:
    """The first two processors that we may use."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[min(1, len(usable) - 1)])


def bound_child(core: int) -> None:
    """To be called in a new child: pin it, and let it end with its parent however that ends."""
    os.sched_setaffinity(0, {core})
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)


def family(pid: int) -> list[int]:
    """A process and all that it has started, and these."""
    found = [pid]
    for one in found:
        for task in (PROC / str(one) / "task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def usage(pid: int) -> tuple[float, float]:
    """Seconds on a processor, and seconds ready without one, of all threads of a process and of those that
    it has started."""
    on, waiting = 0, 0
    for one in family(pid):
        for task in (PROC / str(one) / "task").iterdir():
            ran, waited, _ = (task / "schedstat").read_text().split()
            on += int(ran)
            waiting += int(waited)
    return on / 1e9, waiting / 1e9


def resident(pid: int) -> int:
    """Bytes of memory that a process has at the moment."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE


def load() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def raise_files() -> int:
    """As many open files as we may have, up to FILES; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in ((FILES, max(FILES, hard)), (min(FILES, hard), hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        except (OSError, ValueError):
            continue
        return limit[0]
    return soft


def description() -> dict[str, object]:
    """For the record: processor, kernel, Python."""
    model = "unknown"
    for line in (PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
