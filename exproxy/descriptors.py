"""File descriptors: as many as the system lets us have, and a word where that is too few."""

from __future__ import annotations

import resource

# Logs, listening sockets, checks, the reactor's own.
OTHERS = 200


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            # macOS calls its hard limit infinite and allows less.
            return soft
    return hard


def shortage(limit: int, connections: int) -> str | None:
    """A warning where ``connections`` clients, with a server connection each, need more than ``limit``."""
    needed = 2 * connections + OTHERS
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return None
    return (
        f"limits.connections add up to {connections} clients, which need {needed} open files, and the system "
        f"allows {limit}: raise it (`ulimit -n`, or LimitNOFILE= in the systemd unit)"
    )
