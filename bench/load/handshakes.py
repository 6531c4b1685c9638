"""TLS handshakes and nothing else, full ones or resumed ones."""

from __future__ import annotations

import ssl
from typing import Any

from bench.load import tls
from bench.load.http import WHAT, Requester
from bench.load.loop import AGAIN, Channel
from bench.load.work import PREPARING, Work


class _Handshake(Channel):
    """Connect, shake hands, say goodbye, close when the other side has done so too."""

    def __init__(self, work: Handshakes) -> None:
        self.work = work
        self._since = work.loop.clock()
        super().__init__(work.loop, work.socket())

    def secured(self) -> None:
        self.work.shaken(self._since, self.sock.session_reused)
        self._read()

    def _read(self) -> None:
        # Tickets come in here, then the other side's goodbye.
        try:
            self.sock.unwrap()
        except AGAIN:
            return
        except OSError:
            # Gone without a goodbye: just as good.
            pass
        self.close()
        self.work.done()

    def ended(self, reason: str) -> None:
        self.work.fail(f"a handshake failed: {reason}")


class _First(Requester):
    """A whole request, after which the session's ticket has come."""

    def __init__(self, work: Handshakes) -> None:
        self.work = work
        super().__init__(work.loop, work.socket())
        self.ask(*WHAT["page"])

    def answered(self, since: float, problem: str) -> None:
        if problem:
            self.work.fail(problem)
        self.work.session = self.sock.session
        self.work.busy -= 1

    def ended(self, reason: str) -> None:
        self.work.fail(f"the first connection ended: {reason}")


class Handshakes(Work):
    """``at-once`` handshakes at a time with ``service``; ``resumed``: with a session from before."""

    session: ssl.SSLSession | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._context = tls.context()
        self._resumed = 0

    def socket(self) -> Any:
        """A new connection's."""
        return tls.wrapped(self._context, self.target.address(self.options["service"]), self.session)

    def prepare(self) -> int:
        self.busy += 1
        first = _First(self)
        self.wait(PREPARING)
        self.notes["cipher"] = first.sock.cipher()[0]
        first.close()
        if not self.options["resumed"]:
            self.session = None
        return 0

    def begin(self) -> None:
        self._resumed = 0
        for _ in range(self.options["at-once"]):
            self._next()

    def _next(self) -> None:
        self.busy += 1
        try:
            _Handshake(self)
        except OSError as error:
            self.fail(f"cannot connect: {error}")

    def shaken(self, since: float, resumed: bool) -> None:
        """One handshake is done."""
        self.samples.append(self.loop.clock() - since)
        self._resumed += resumed

    def done(self) -> None:
        """... and its connection gone."""
        self.busy -= 1
        self.units += 1
        self.notes["resumed"] = self._resumed / self.units
        if self.more(self.loop.clock()):
            self._next()
