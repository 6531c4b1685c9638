"""One check carried out: connect, let its conversation talk, and come to an outcome in time.

:class:`Asking` is for a running reactor; :func:`ask_once` is for commands, and runs one itself.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy import actions, events
from exproxy.connect import ConnectFailed, connect
from exproxy.dialling import Introduce
from exproxy.farewell import Farewell
from exproxy.interfaces import ICheck, IWire, IWireUser
from exproxy.model import BACKEND, TLS, Link
from exproxy.names import resolve
from exproxy.wire import Wire

# Seconds in which a last word may go out after a good answer.
FAREWELL = 1.0


@implementer(IWireUser)
class Asking:
    """Asks once. ``done(outcome)`` is called exactly once, unless stop() comes first."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        check: ICheck,
        server: str,
        address: tuple[str, int],
        client_tls: Callable[[], Any] | None,
        timeout: float,
        done: Callable[[actions.Outcome], None],
        met: Callable[[TLS], actions.Fail | None] | None = None,
        introduce: Introduce | None = None,
    ) -> None:
        """``client_tls()`` gives the TLS of this backend; None where it speaks plain TCP.
        ``timeout``: seconds for all of it. ``met(tls)`` is told of each TLS handshake, and may say
        that such a server is none. ``introduce(wire)``: what is sent before anything else."""
        self._reactor = reactor
        self._check = check
        self._conversation: Any = None
        self._address = address
        self._link = Link(1, server, *address)
        self._client_tls = client_tls
        self._done: Callable[[actions.Outcome], None] | None = done
        self._at_once = check.tls != "starttls"
        self._met = met
        self._introduce = introduce
        self._wire: Wire | None = None
        self._timeout = timeout
        self._connecting: Deferred[Wire] | None = None
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Begin."""
        try:
            self._conversation = self._check.dialogue()
            tls = self._client_tls() if self._client_tls is not None and self._at_once else None
        except Exception:
            self._mistake()
            return
        self._connecting = connecting = connect(
            self._reactor,
            *self._address,
            timeout=self._timeout,
            tls=tls,
            handshake=self._timeout + 1,
            introduce=self._introduce,
        )
        # After the connect's own, so that a silence before TLS is called by its right name.
        self._timer = self._reactor.callLater(self._timeout, self._too_late)
        connecting.addCallbacks(self._connected, self._failed)

    def stop(self) -> None:
        """Give up without an outcome; idempotent."""
        self._done = None
        self._clean()

    # -- the connection --------------------------------------------------------------

    def _connected(self, wire: Wire) -> None:
        self._connecting = None
        if self._done is None:
            wire.abort()
            return
        self._wire = wire
        if wire.tls is not None and self._objects(wire.tls):
            return
        self._tell(events.Connected(self._link))
        if self._done is not None:
            wire.attach(self)

    def _failed(self, failure: Failure) -> None:
        self._connecting = None
        error = failure.value
        if isinstance(error, ConnectFailed):
            self._end(actions.Fail(error.code, error.phase, error.reason))
        elif self._done is not None:
            self.log.failure("a check could not be carried out", failure)
            self._end(actions.Fail("L4CON", "connect", str(error)))

    def _objects(self, tls: TLS) -> bool:
        objection = self._met(tls) if self._met is not None and self._done is not None else None
        if objection is not None:
            self._end(objection)
        return objection is not None

    def _too_late(self) -> None:
        self._timer = None
        if self._connecting is not None:
            secure = self._client_tls is not None and self._at_once
            phase, layer = ("TLS handshake", "L6") if secure else ("connect", "L4")
        else:
            phase, layer = getattr(self._conversation, "phase", "answer"), self._check.layer
        self._end(actions.Fail(f"{layer}TOUT", phase, f"no answer in {self._timeout:g} s"))

    def received(self, wire: IWire, data: bytes) -> None:
        """See IWireUser."""
        self._tell(events.Data(BACKEND, data, self._link))

    def ended(self, wire: IWire) -> None:
        """See IWireUser."""
        self._tell(events.Eof(BACKEND, self._link))

    def lost(self, wire: IWire, reason: str) -> None:
        """See IWireUser."""
        self._tell(events.Lost(BACKEND, reason, self._link))
        phase = getattr(self._conversation, "phase", "answer")
        self._end(actions.Fail(f"{self._check.layer}RSP", phase, f"connection {reason}"))

    def secured(self, wire: IWire, tls: TLS) -> None:
        """See IWireUser."""
        if not self._objects(tls):
            self._tell(events.Secured(BACKEND, tls, self._link))

    def filled(self, wire: IWire) -> None:
        """A check says little; its timeout guards it."""

    def drained(self, wire: IWire) -> None:
        """See filled."""

    # -- the conversation ------------------------------------------------------------

    def _tell(self, event: events.Event) -> None:
        if self._done is None:
            return
        try:
            for action in self._conversation.handle(event):
                if self._done is None:
                    return
                self._perform(action)
        except Exception:
            self._mistake()

    def _mistake(self) -> None:
        self.log.failure("check {check} failed", check=self._check)
        self._end(actions.Fail(f"{self._check.layer}RSP", "check", "internal error"))

    def _perform(self, action: actions.Action) -> None:
        wire = self._wire
        assert wire is not None
        if isinstance(action, (actions.Pass, actions.Drain, actions.Fail)):
            self._end(action)
        elif isinstance(action, actions.ToBackend):
            wire.write(action.data)
        elif isinstance(action, actions.StartTLS):
            if self._client_tls is None:
                raise ValueError("StartTLS in a check of a backend without TLS options")
            wire.start_tls(self._client_tls())
        else:
            raise TypeError(f"a check cannot ask for {type(action).__name__}")

    def _end(self, outcome: actions.Outcome) -> None:
        done, self._done = self._done, None
        polite = isinstance(outcome, actions.Pass)
        self._clean(polite)
        if done is not None:
            done(outcome)

    def _clean(self, polite: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.addErrback(lambda failure: None)
            connecting.cancel()
        if self._wire is not None:
            # A last word (QUIT) may still go out; a silent server is not waited for.
            if polite:
                Farewell(self._reactor, self._wire, FAREWELL)
            else:
                self._wire.abort()


def ask(reactor: Any, check: ICheck, host: str, port: int, timeout: float) -> Deferred[actions.Outcome]:
    """Ask a server that is no backend, in plain TCP: a Deferred of Pass, Drain or Fail, never a failure.

    ``host``: an address or a name, whose addresses are tried until one accepts; ``timeout``: seconds for
    the name, and for each address. Cancelling gives it up.
    """
    return Deferred.fromCoroutine(_ask(reactor, check, host, port, timeout))


async def _ask(reactor: Any, check: ICheck, host: str, port: int, timeout: float) -> actions.Outcome:
    outcome = actions.Fail("L4CON", "name", f"{host} cannot be resolved")
    try:
        addresses = await resolve(reactor, host).addTimeout(timeout, reactor)
    except TimeoutError:
        return actions.Fail("L4TOUT", "name", f"{host} cannot be resolved in {timeout:g} s")
    for address in addresses:
        answer = await _asked(reactor, check, host, (address, port), timeout)
        if not isinstance(answer, actions.Fail) or not answer.code.startswith("L4"):
            return answer
        outcome = answer
    return outcome


def _asked(
    reactor: Any, check: ICheck, server: str, address: tuple[str, int], timeout: float
) -> Deferred[actions.Outcome]:
    answer: Deferred[actions.Outcome] = Deferred(lambda _: asking.stop())
    asking = Asking(reactor, check, server, address, None, timeout, answer.callback)
    asking.start()
    return answer


def ask_once(check: ICheck, host: str, port: int, timeout: float) -> actions.Outcome:
    """ask(), with the reactor run in the foreground until there is an outcome: for commands.

    Once in a process, since Twisted's reactor runs once. Raises KeyboardInterrupt where it is stopped
    before that, nothing for reasons of the network.
    """
    # Its import installs it.
    from twisted.internet import reactor

    running: Any = reactor
    outcomes: list[actions.Outcome] = []
    mistakes: list[Failure] = []

    def over(result: Any) -> None:
        if not isinstance(result, Failure):
            outcomes.append(result)
        elif isinstance(result.value, CancelledError):
            return
        else:
            mistakes.append(result)
        running.stop()

    def begin() -> None:
        answer = ask(running, check, host, port, timeout)
        # Stopped from outside, it is given up before its connection is taken away.
        running.addSystemEventTrigger("before", "shutdown", answer.cancel)
        answer.addBoth(over)

    running.callWhenRunning(begin)
    running.run()
    for mistake in mistakes:
        mistake.raiseException()
    if not outcomes:
        raise KeyboardInterrupt
    return outcomes[0]
