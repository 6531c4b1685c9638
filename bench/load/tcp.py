"""Short TCP connections, and ping-pong on many that last."""

from __future__ import annotations

from typing import Any

from bench.load.loop import Channel, connect
from bench.load.pattern import SMALL
from bench.load.work import PREPARING, Work

# Connections of a crowd that are made before the first of them must have been answered.
_BATCH = 200


class _Short(Channel):
    """Connect, send, get the same back, close."""

    def __init__(self, work: Short) -> None:
        self.work = work
        self._since = work.loop.clock()
        self._got = b""
        super().__init__(work.loop, connect(work.target.address("echo")))
        self.write(SMALL)

    def received(self, data: bytes) -> None:
        self._got += data
        if len(self._got) < len(SMALL):
            return
        self.close()
        self.work.done(self._since, self._got == SMALL)

    def ended(self, reason: str) -> None:
        self.work.fail(f"a short connection ended too soon: {reason}")


class Short(Work):
    """``at-once`` connections at a time, each for one exchange of 64 bytes; a unit is one of them."""

    def begin(self) -> None:
        for _ in range(self.options["at-once"]):
            self._next()

    def _next(self) -> None:
        self.busy += 1
        try:
            _Short(self)
        except OSError as error:
            self.fail(f"cannot connect: {error}")

    def done(self, since: float, right: bool) -> None:
        """One is through."""
        now = self.loop.clock()
        self.busy -= 1
        self.units += 1
        self.samples.append(now - since)
        if not right:
            self.fail("other bytes came back than were sent")
        elif self.more(now):
            self._next()


class _Ping(Channel):
    def __init__(self, work: PingPong) -> None:
        self.work = work
        self._since = 0.0
        self._got = b""
        super().__init__(work.loop, connect(work.target.address("echo")))

    def ping(self, now: float) -> None:
        self._since = now
        self.write(SMALL)

    def received(self, data: bytes) -> None:
        if data != SMALL:
            self._got += data
            if len(self._got) < len(SMALL):
                return
            data, self._got = self._got, b""
        work = self.work
        now = work.loop.clock()
        work.units += 1
        work.samples.append(now - self._since)
        if data != SMALL:
            work.fail("other bytes came back than were sent")
        elif now < work.until:
            self.ping(now)
        else:
            work.busy -= 1

    def ended(self, reason: str) -> None:
        self.work.fail(f"a connection ended: {reason}")


class PingPong(Work):
    """``connections`` that exchange 64 bytes all the time; a unit is one such exchange."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pings: list[_Ping] = []

    def prepare(self) -> int:
        self.until = 0.0
        for first in range(0, self.options["connections"], _BATCH):
            made = [_Ping(self) for _ in range(min(_BATCH, self.options["connections"] - first))]
            self._pings += made
            self._start(made)
            self.wait(PREPARING)
        return len(self._pings)

    def _start(self, pings: list[_Ping]) -> None:
        now = self.loop.clock()
        self.busy += len(pings)
        for ping in pings:
            ping.ping(now)

    def begin(self) -> None:
        self._start(self._pings)

    def close(self) -> None:
        for ping in self._pings:
            ping.close()
        self._pings.clear()
