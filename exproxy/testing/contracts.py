"""What the framework counts on, as checks that a plugin's own tests can call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from zope.interface.verify import verifyObject

from exproxy.actions import Close, Drain, Fail, Hangup, Pass, Pick, ToClient
from exproxy.events import Began, Connected, Data, Deadline, Draining, Eof, Event, Lost, Unavailable
from exproxy.interfaces import (
    ICheck,
    ICheckPlugin,
    IConversation,
    IKeys,
    ILearner,
    IPersistence,
    IPersistencePlugin,
    IProtocolFactory,
    IProtocolPlugin,
    IScheduling,
    IService,
)
from exproxy.model import BACKEND, BOTH, CLIENT, AnyOf, Candidate, Facts, Key, Known, Named
from exproxy.testing.keys import keys
from exproxy.testing.script import Script
from exproxy.testing.service import service
from exproxy.testing.splits import every_split
from exproxy.testing.values import facts, link

KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# Words of a reason, which a client must never read.
PRIVATE = (b"exch1", b"10.99.98.97", b"L4CON")
RUBBISH = (
    b"\x00" * 100,
    b"\xff" * 70_000,
    b"A" * 200_000,
    b"\r\n" * 50,
    b"GET / HTTP/1.1\r\n\r\n",
    bytes(range(256)) * 4,
    b"\x16\x03\x01\xff\xff\x01\xff\xff\xff",
    b"\x05\x00\x0b\x03\x10\x00\x00\x00\xff\xff\xff\xff",
)


def check_protocol_plugin(
    plugin: IProtocolPlugin,
    *,
    opening: bytes = b"",
    options: Any = None,
    conversation: Callable[[IService], IConversation] | None = None,
) -> None:
    """Hold a protocol to its interface, its refusal to silence about reasons, its parser to rubbish.

    ``opening``: what a client says until a backend is picked (none where the server speaks first);
    ``options``: an instance of the plugin's model, default ``plugin.options()``; ``conversation``:
    what the factory makes for each client, default ``plugin.conversation``.
    """
    verifyObject(IProtocolPlugin, plugin)
    _check_named(plugin)
    _check_ports(plugin)
    make: Any = conversation or getattr(plugin, "conversation", None)
    _require(make is not None, "name the conversation: check_protocol_plugin(plugin, conversation=…)")
    for mode in plugin.tls_modes:
        served = service(options if options is not None else plugin.options(), tls={25: mode})
        _require(IProtocolFactory.providedBy(plugin.factory(served)), "factory() gives no IProtocolFactory")
        verifyObject(IConversation, make(served))

        def fresh(served: IService = served) -> Script:
            return Script(make(served))

        said = opening if _waits(fresh) else b""
        _check_pick(fresh, said)
        _check_refusal(fresh, said)
        _check_rubbish(fresh, said)


def _waits(fresh: Callable[[], Script]) -> bool:
    return not any(isinstance(action, Pick) for action in fresh().on(Began(facts())))


def _check_named(plugin: Any) -> None:
    _require(bool(KEBAB.fullmatch(plugin.name)), f"the name {plugin.name!r} is not kebab-case")
    _require(bool(plugin.summary) and "\n" not in plugin.summary, "summary is not one line")
    _require(hasattr(plugin.options, "model_validate"), "options is no pydantic model class")


def _check_ports(plugin: IProtocolPlugin) -> None:
    modes = plugin.tls_modes
    _require(
        bool(modes) and set(modes) <= {"none", "implicit", "starttls", "passthrough"}, f"tls_modes: {modes!r}"
    )
    for port, mode in plugin.default_ports.items():
        _require(mode in modes, f"default_ports: {port} is {mode!r}, which tls_modes lacks")
    _require(all(isinstance(kind, type) for kind in plugin.gives), "gives: not all of them are types")
    _require(all(isinstance(key, str) for key in plugin.defaults), "defaults: not all keys are texts")


def _open(script: Script, pieces: Iterable[bytes]) -> list[Pick]:
    actions = script.on(Began(facts()))
    for piece in pieces:
        if any(isinstance(action, Pick) for action in actions):
            break  # from here on the session holds the client's bytes
        actions = actions + script.on(Data(CLIENT, piece))
    return [action for action in actions if isinstance(action, Pick)]


def _check_pick(fresh: Callable[[], Script], opening: bytes) -> None:
    whole = _open(fresh(), (opening,) if opening else ())
    _require(
        len(whole) == 1,
        "no Pick came; a protocol whose client speaks first is checked with opening=its first bytes",
    )
    for pieces in every_split(opening):
        picks = _open(fresh(), pieces)
        _require(len(picks) == 1, f"cut as {pieces!r} the opening led to {len(picks)} picks")


def _check_refusal(fresh: Callable[[], Script], opening: bytes) -> None:
    script = fresh()
    _open(script, (opening,) if opening else ())
    actions = script.on(Unavailable(b" ".join(PRIVATE).decode("ascii")))
    sent = b"".join(action.data for action in actions if isinstance(action, ToClient))
    for word in PRIVATE:
        _require(word not in sent, f"the refusal tells the client the reason: {sent!r}")
    closes = any(isinstance(action, (Hangup, Close)) for action in actions)
    _require(bool(sent) or closes, "Unavailable is answered by nothing: the client would wait for ever")


def _check_rubbish(fresh: Callable[[], Script], opening: bytes) -> None:
    for rubbish in RUBBISH:
        for script, events in _ways_of_rubbish(fresh, opening, rubbish):
            for event in events:
                _survives(script, event)


def _ways_of_rubbish(
    fresh: Callable[[], Script], opening: bytes, rubbish: bytes
) -> Iterable[tuple[Script, list[Event]]]:
    end: list[Event] = [Draining(1.0), Deadline("nothing"), *(Eof(side) for side in BOTH)]
    end += [Lost(BACKEND, "closed"), Lost(CLIENT, "closed")]
    pieces = [rubbish[:1], rubbish[1:700], rubbish[700:]]
    chunks = [piece for piece in pieces if piece]
    yield fresh(), [Began(facts()), *(Data(CLIENT, chunk) for chunk in chunks), *end]
    script = fresh()
    _open(script, (opening,) if opening else ())
    yield script, [Connected(link()), *(Data(BACKEND, chunk, link()) for chunk in chunks), *end]


def _survives(script: Script, event: Event) -> None:
    try:
        script.on(event)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{event!r:.200} raised {error!r}") from error


def check_scheduling(make: Callable[[], IScheduling], *, random: bool = False) -> None:
    """Hold a scheduling to its promise: each candidate exactly once, and no state changed by asking.

    ``make()`` gives a new one; ``random``: asking twice may give two answers.
    """
    scheduling = make()
    verifyObject(IScheduling, scheduling)
    for count in (0, 1, 2, 5, 50):
        candidates = [Candidate(f"exch{n}", 1.0 + n % 3, n % 4) for n in range(count)]
        for number in range(2 * count + 2):
            known = facts(source=f"192.0.2.{number}")
            order = list(scheduling.order(candidates, known))
            again = list(scheduling.order(candidates, known))
            _require(
                sorted(order, key=_by_name) == sorted(candidates, key=_by_name),
                f"of {candidates!r} it gave {order!r}: not each exactly once",
            )
            _require(random or order == again, "asking changed its state: a second answer was different")
            if order:
                scheduling.taken(order[0])
            if number % 3 == 2 and len(candidates) > 1:
                candidates = candidates[1:]  # a server went away between two choices


def _by_name(candidate: Candidate) -> str:
    return candidate.server


def check_persistence(
    plugin: IPersistencePlugin,
    options: Any = None,
    *,
    known: Sequence[Facts] = (),
    observations: Sequence[object] = (),
) -> None:
    """Hold a persistence strategy to its interface and to purity.

    ``options``: an instance of the plugin's model, default ``plugin.options()``; ``known``: facts of
    clients that it should know again; ``observations``: what it should learn from, where it is an
    ILearner.
    """
    verifyObject(IPersistencePlugin, plugin)
    _check_named(plugin)
    chosen = options if options is not None else plugin.options()
    mine = keys()
    verifyObject(IKeys, mine)
    strategy, same = plugin.strategy(chosen, mine), plugin.strategy(chosen, keys())
    verifyObject(IPersistence, strategy)
    for one in (facts(), *known):
        first, second = strategy.candidates(one), strategy.candidates(one)
        _require(isinstance(first, tuple), f"candidates() gave {first!r}, which is no tuple")
        _require(all(isinstance(c, (Named, Key, AnyOf)) for c in first), f"candidates() gave {first!r}")
        _require(first == second == same.candidates(one), "candidates() gave two answers for equal facts")
        held = strategy.remember(one)
        _require(
            isinstance(held, tuple) and all(isinstance(k, Key) for k in held), f"remember() gave {held!r}"
        )
        _require(set(held) <= _looked_up(first), "remember() gave a key that candidates() does not look up")
        _check_learner(strategy, one, observations)
    for one in known:
        _require(bool(strategy.candidates(one)), f"candidates() says nothing of {one!r}")


def _looked_up(candidates: Sequence[Known]) -> set[Known]:
    inner = [key for each in candidates if isinstance(each, AnyOf) for key in (*each.keys, *each.then)]
    return {*candidates, *inner}


def _check_learner(strategy: IPersistence, one: Facts, observations: Sequence[object]) -> None:
    if not ILearner.providedBy(strategy):
        _require(not observations, "it does not provide ILearner")
        return
    learner = ILearner(strategy)
    verifyObject(ILearner, strategy)
    _require(learner.observe(one, object()) == (), "an observation of a strange type must give no keys")
    for observation in observations:
        seen = learner.observe(one, observation)
        _require(isinstance(seen, tuple) and bool(seen), f"observe({observation!r}) gave {seen!r}")


def check_check_plugin(plugin: ICheckPlugin, options: Any = None) -> None:
    """Hold a check to its interface: a new dialogue for each question, and an outcome for rubbish.

    ``options``: an instance of the plugin's model, default ``plugin.options()``.
    """
    verifyObject(ICheckPlugin, plugin)
    _check_named(plugin)
    check = plugin.check(options if options is not None else plugin.options())
    verifyObject(ICheck, check)
    _require(check.tls in ("backend", "never", "always"), f"tls: {check.tls!r}")
    _require(check.layer in ("L4", "L6", "L7"), f"layer: {check.layer!r}")
    _require(check.dialogue() is not check.dialogue(), "dialogue() gave the same conversation twice")
    for rubbish in RUBBISH:
        script = Script(check.dialogue())
        verifyObject(IConversation, script.conversation)
        for event in (Connected(link()), Data(BACKEND, rubbish), Eof(BACKEND), Lost(BACKEND, "closed")):
            if not _ended(script):
                _survives(script, event)
        _require(_ended(script), f"{rubbish[:40]!r}… and the end of the connection led to no outcome")


def _ended(script: Script) -> bool:
    return any(isinstance(a, (Pass, Drain, Fail)) for _, actions in script.steps for a in actions)


def _require(good: bool, otherwise: str) -> None:
    if not good:
        raise AssertionError(otherwise)
