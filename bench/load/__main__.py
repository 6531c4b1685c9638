"""The clients' process: orders as JSON lines on stdin, an answer to each on stdout.

``{"do": "prepare", "kind": …, "host": …, "ports": {…}, "options": {…}}``, ``{"do": "warm"}``,
``{"do": "run", "seconds": …}``, ``{"do": "close"}``. An answer with ``error`` says what the proxy did wrong.
The end of stdin is the end.
"""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import asdict
from typing import Any

from bench.load.bulk import Bulk
from bench.load.day import Day
from bench.load.handshakes import Handshakes
from bench.load.http import KeepAlive
from bench.load.loop import Loop
from bench.load.tcp import PingPong, Short
from bench.load.work import LoadError, Target, Work

KINDS: dict[str, type[Work]] = {
    "short": Short,
    "ping-pong": PingPong,
    "bulk": Bulk,
    "keep-alive": KeepAlive,
    "handshakes": Handshakes,
    "day": Day,
}


class Clients:
    """One kind of load at a time."""

    def __init__(self) -> None:
        self._loop: Loop | None = None
        self._work: Work | None = None

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """What came of an order."""
        try:
            return self._obey(order)
        except (LoadError, OSError) as error:
            self._drop()
            return {"error": str(error)}

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["do"] == "prepare":
            self._drop()
            self._loop = Loop()
            target = Target(order["host"], order["ports"])
            self._work = KINDS[order["kind"]](self._loop, target, order["options"])
            made = self._work.prepare()
            # What is there stays; the collector need not look at thousands of connections again and again.
            gc.collect()
            gc.freeze()
            return {"connections": made}
        if order["do"] in ("warm", "run"):
            if self._work is None:
                raise LoadError("nothing is prepared")
            if order["do"] == "warm":
                self._work.warm()
                return {}
            return asdict(self._work.run(order["seconds"]))
        self._drop()
        return {}

    def _drop(self) -> None:
        work, self._work = self._work, None
        loop, self._loop = self._loop, None
        if work is not None:
            work.close()
        if loop is not None:
            loop.close()
        gc.unfreeze()


def main() -> None:
    """Until stdin ends."""
    clients = Clients()
    for line in sys.stdin:
        print(json.dumps(clients.obey(json.loads(line))), flush=True)
    clients.obey({"do": "close"})


if __name__ == "__main__":
    main()
