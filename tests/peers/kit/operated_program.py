"""exproxy with an operator at its standard input: `python -m tests.peers.kit.operated_program CONFIGURATION`.

A line is a number and a command, and is answered with one line that begins with `#` and the number:

    drain|maint|ready SERVICE SERVER   the operator's wish, in every pool of the service
    empty SERVICE SERVER               ask the clients of a server to leave it; answers how many links it had
    links SERVICE SERVER               answers how many links it has
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as running
from twisted.internet.stdio import StandardIO
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.protocols.basic import LineReceiver

from exproxy.config import load
from exproxy.pool import Pool
from exproxy.service import ExproxyService

reactor: Any = running


class Operator(LineReceiver):
    """Carries out what the test says."""

    delimiter = b"\n"

    def __init__(self, service: ExproxyService) -> None:
        self._service = service

    def lineReceived(self, line: bytes) -> None:
        """One command."""
        number, word, service, server = line.decode().split()
        pools, grace = self._of(service)
        total = 0
        for pool in pools:
            backend = pool.find(server)
            if backend is None:
                raise ValueError(f"{pool.name} has no server {server}")
            if word == "empty":
                total += pool.empty(server, grace)
            elif word == "links":
                total += backend.links
            else:
                pool.operate(server, word)
        print(f"#{number} {total}", flush=True)

    def connectionLost(self, reason: Any = None) -> None:
        """The test is gone."""

    def _of(self, name: str) -> tuple[list[Pool], float]:
        [built] = [each for each in self._service.built if each.config.name == name]
        return [pool for pool, _ in built.pools], built.config.timeouts.grace


def main(path: Path) -> None:
    """Until SIGTERM."""
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    service = ExproxyService(load(path), reactor)
    service.bind()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    StandardIO(Operator(service))
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
