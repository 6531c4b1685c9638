"""A worker's process: ``python -m exproxy.workers CHANNEL REACTOR``; started by the supervisor only."""

from __future__ import annotations

import signal
import sys


def main(argv: list[str]) -> int:
    """Be a worker until the supervisor has none any more."""
    if len(argv) != 2 or not argv[0].isdigit():
        print("exproxy's workers are started by exproxy itself: twistd exproxy", file=sys.stderr)
        return 2
    # Whatever is sent to all of us is for the supervisor, which tells us what to do.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    from exproxy.workers.worker import run

    return run(int(argv[0]), argv[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
