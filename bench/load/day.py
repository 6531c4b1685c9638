"""The reference mixed day: many that are silent, and a few that are not, at a fixed pace.

Nobody waits for the proxy here: what is due is done whether or not the proxy keeps up. A unit is one second
of the day, so the costs are CPU seconds per second.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from bench.load import rpc, tls
from bench.load.http import WHAT, Requester
from bench.load.loop import Channel, connect
from bench.load.pattern import PAGE
from bench.load.work import PREPARING, Work

GREETING = b"* OK IMAP4rev1 ready\r\n"
LOGIN, WELCOME = b"a LOGIN somebody secret\r\n", b"a OK LOGIN completed\r\n"
IDLE, IDLING = b"b IDLE\r\n", b"+ idling\r\n"
DONE, STOPPED = b"DONE\r\n", b"b OK IDLE terminated\r\n"
# Requests of one OWA burst, one after the other on one connection.
_BURST = 6
# Seconds; phones ask to be told within anything between these two.
_SHORT_WAIT, _LONG_WAIT = 5.0, 60.0


class Talker(Channel):
    """A mostly silent connection: what is said, and exactly what is answered."""

    def __init__(self, work: Day, service: str) -> None:
        self.work = work
        self._since = 0.0
        self._got = b""
        self._expected: deque[bytes] = deque()
        super().__init__(work.loop, connect(work.target.address(service)))

    def say(self, data: bytes, expected: bytes) -> None:
        """Say something; or wait for what the other side says by itself."""
        self._since = self.loop.clock()
        self.work.busy += 1
        self._expected.append(expected)
        if data:
            self.write(data)

    def received(self, data: bytes) -> None:
        self._got += data
        while self._expected and len(self._got) >= len(self._expected[0]):
            wanted = self._expected.popleft()
            got, self._got = self._got[: len(wanted)], self._got[len(wanted) :]
            self.work.busy -= 1
            self.work.took(
                self._since, "" if got == wanted else f"{got[:80]!r} came in place of {wanted[:80]!r}"
            )

    def ended(self, reason: str) -> None:
        self.work.fail(f"a silent connection ended: {reason}")


class Phone(Requester):
    """ActiveSync's Ping: a request that is answered when something has come, and then the next one."""

    def __init__(self, work: Day) -> None:
        self.work = work
        super().__init__(work.loop, work.secure())
        self._wait()

    def _wait(self) -> None:
        seconds = self.work.random.uniform(_SHORT_WAIT, _LONG_WAIT)
        self.ask(b"GET /Microsoft-Server-ActiveSync?Cmd=Ping&wait=%.1f" % seconds, b"", PAGE)

    def answered(self, since: float, problem: str) -> None:
        if problem:
            self.work.fail(problem)
        else:
            self.work.notes["waits answered"] = self.work.notes.get("waits answered", 0) + 1
            self._wait()

    def ended(self, reason: str) -> None:
        self.work.fail(f"a waiting phone was cut: {reason}")


class Burst(Requester):
    """Somebody opens OWA: a new connection with several requests."""

    def __init__(self, work: Day) -> None:
        self.work = work
        self._left = _BURST
        work.busy += 1
        super().__init__(work.loop, work.secure())
        self.ask(*WHAT["page"])

    def answered(self, since: float, problem: str) -> None:
        self.work.took(since, problem)
        self._left -= 1
        if self._left:
            self.ask(*WHAT["page"])
        else:
            self.work.busy -= 1
            self.close()

    def ended(self, reason: str) -> None:
        self.work.fail(f"a browser was cut: {reason}")


class Day(Work):
    """``outlooks`` and ``idlers`` with a word each ``pause`` seconds, ``phones``, ``bursts`` a second."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.random = random.Random(6)
        self._context = tls.context()
        self._outlooks: list[Talker] = []
        self._idlers: list[Talker] = []
        self._phones: list[Phone] = []
        self._said = 0
        self._began = 0.0

    def secure(self) -> Any:
        """A new connection to https."""
        return tls.wrapped(self._context, self.target.address("re-ec"))

    def prepare(self) -> int:
        for _ in range(self.options["outlooks"]):
            self._outlooks.append(Talker(self, "rpc"))
            self._outlooks[-1].say(rpc.bind(), rpc.bound(self.target.ports["rpc"]))
            self._breathe()
        for _ in range(self.options["idlers"]):
            self._idlers.append(Talker(self, "imap"))
            self._idlers[-1].say(b"", GREETING)
            self._breathe(1)
            self._idlers[-1].say(LOGIN, WELCOME)
            self._breathe(1)
            self._idlers[-1].say(IDLE, IDLING)
            self._breathe()
        self.wait(PREPARING)
        for _ in range(self.options["phones"]):
            self._phones.append(Phone(self))
            self.loop.until(lambda: not self._phones[-1].shaking, PREPARING)
        return len(self._outlooks) + len(self._idlers) + len(self._phones)

    def _breathe(self, most: int = 200) -> None:
        if self.busy >= most:
            self.wait(PREPARING)

    def begin(self) -> None:
        pause = self.options["pause"]
        self._began = self.loop.clock()
        # What goes on by itself keeps the run going until its time is over.
        self.busy += 1
        self.loop.later(self.until - self.loop.clock(), self._over)
        self._every(pause / max(1, len(self._outlooks)), self._ping)
        self._every(pause / max(1, len(self._idlers)), self._idle)
        self._every(1 / self.options["bursts"], lambda: Burst(self))

    def _over(self) -> None:
        self.units = self.loop.clock() - self._began
        self.busy -= 1

    def _every(self, seconds: float, deed: Any) -> None:
        def due(at: float) -> None:
            if at >= self.until:
                return
            try:
                deed()
            except OSError as error:
                self.fail(f"cannot connect: {error}")
            # From when it was due, not from now: a slow proxy does not get less to do.
            self.loop.later(at + seconds - self.loop.clock(), lambda: due(at + seconds))

        first = self.loop.clock() + seconds / 2
        self.loop.later(seconds / 2, lambda: due(first))

    def _ping(self) -> None:
        self._said += 1
        self._outlooks[self._said % len(self._outlooks)].say(rpc.ping(), rpc.pong())

    def _idle(self) -> None:
        self._said += 1
        talker = self._idlers[self._said % len(self._idlers)]
        talker.say(DONE, STOPPED)
        talker.say(IDLE, IDLING)

    def took(self, since: float, problem: str) -> None:
        """Something was answered."""
        self.samples.append(self.loop.clock() - since)
        if problem:
            self.fail(problem)

    def close(self) -> None:
        self.loop.forget()
        for one in (*self._outlooks, *self._idlers, *self._phones):
            one.close()
        self._outlooks.clear()
        self._idlers.clear()
        self._phones.clear()
