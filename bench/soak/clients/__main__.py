"""The clients' process: ``python -m bench.soak.clients ARGUMENT``, orders as lines of JSON on stdin.

``{"do": "each"}``: each kind once with each pool, and nothing long; answered by ``{"done": "each"}``.
``{"do": "load", "clients": …}``: until ``{"do": "stop"}``, which ``{"done": "stop"}`` answers, with counts.
What somebody has to account for is told at once, as an ``Outcome``. The end of stdin is the end.
"""

from __future__ import annotations

import json
import random
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.soak.clients.attempt import Attempt, Outcome, Refused
from bench.soak.clients.kinds import KINDS
from bench.soak.line import Cut
from bench.soak.site import POOLS, Site
from bench.soak.stream import Wrong

# Kinds at a time where each is done once.
_AT_ONCE = 12
# Seconds between two deeds of a client, in the mean.
_PAUSE = 0.1


class Crowd:
    """Threads that do one thing after the other."""

    def __init__(self, site: Site, seed: int, only: Sequence[str]) -> None:
        self._site = site
        self._seed = seed
        self._names = [name for name in KINDS if not only or name.startswith(tuple(only))]
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        # By kind: whole, of which with which pool; rules; bytes.
        self.done: Counter[str] = Counter()
        self.pools: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()
        self.bytes = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.load_verify_locations(site.ca)

    def each(self) -> None:
        """Each kind once with each pool."""
        deeds = [(kind, pool) for kind in self._names for pool in POOLS]
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for number, (kind, pool) in enumerate(deeds):
                # Nobody else may be at the same address: some of them count its connections.
                threads.submit(
                    self._one, kind, pool, random.Random(f"{self._seed} {kind} {pool}"), number, {}, True
                )

    def load(self, clients: int) -> None:
        """Begin."""
        for number in range(clients):
            thread = threading.Thread(target=self._client, args=(number,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, seconds: float) -> int:
        """Let all come to their ends, at most so long; how many have not."""
        self._stop.set()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return sum(thread.is_alive() for thread in self._threads)

    def say(self, what: dict[str, Any]) -> None:
        """A line for whoever has started us."""
        with self._lock:
            print(json.dumps(what), flush=True)

    def _client(self, number: int) -> None:
        dice = random.Random(f"{self._seed} {number}")
        memory: dict[tuple[str, ...], tuple[str, float]] = {}
        weights = [KINDS[name][1] for name in self._names]
        while not self._stop.wait(dice.expovariate(1 / _PAUSE)):
            self._one(
                dice.choices(self._names, weights)[0], dice.choice(list(POOLS)), dice, number, memory, False
            )

    def _one(
        self,
        kind: str,
        pool: str,
        dice: random.Random,
        thread: int,
        memory: dict[tuple[str, ...], tuple[str, float]],
        quick: bool,
    ) -> None:
        attempt = Attempt(kind, pool, self._site, dice, thread, self._context, memory, self._tell, quick)
        try:
            KINDS[kind][0](attempt)
            with self._lock:
                self.done[kind] += 1
                self.pools[pool] += 1
        except Cut as cut:
            attempt.failed("cut", str(cut))
        except Refused as refused:
            attempt.failed("refused", str(refused))
        except Wrong as wrong:
            attempt.failed("wrong", str(wrong))
        except Exception as error:
            attempt.failed("wrong", f"the client failed: {error!r}")
        finally:
            attempt.close()
            with self._lock:
                self.rules[kind] += attempt.rules
                self.bytes += attempt.moved_bytes

    def _tell(self, outcome: Outcome) -> None:
        self.say(asdict(outcome))


def main() -> None:
    """Obey until stdin ends."""
    said = json.loads(sys.argv[1])
    site = Site(Path(said["folder"]), said["network"], Path(said["ca"]), Path(said["pem"]))
    threading.stack_size(256 * 1024)
    crowd = Crowd(site, said["seed"], said["only"])
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "each":
            crowd.each()
            crowd.say({"done": "each"})
        elif order["do"] == "load":
            crowd.load(order["clients"])
        else:
            left = crowd.stop(order["seconds"])
            counts = {"whole": crowd.done, "pools": crowd.pools, "rules": crowd.rules}
            crowd.say({"done": "stop", "unfinished": left, "bytes": crowd.bytes, **counts})


if __name__ == "__main__":
    main()
