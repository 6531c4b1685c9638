"""exproxy.testing: the doubles keep their interfaces, the scripts explain, the checks find what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from exproxy import actions, events
from exproxy.interfaces import (
    ICheckPlugin,
    IConversation,
    IKeys,
    ILearner,
    IPersistence,
    IPersistencePlugin,
    IScheduling,
    IService,
    IWire,
    IWireUser,
)
from exproxy.model import BACKEND, CLIENT, TLS, Candidate, Destination, Facts, Key, Listening, Source
from exproxy.plugins import NoOptions
from exproxy.protocol import Protocol
from exproxy.testing import (
    FakeKeys,
    FakeService,
    FakeWire,
    FakeWireUser,
    Script,
    check_check_plugin,
    check_persistence,
    check_protocol_plugin,
    check_scheduling,
    every_split,
    facts,
    keys,
    link,
    service,
)


@implementer(IConversation)
class Polite:
    """Picks, relays, refuses with a word; what the tests below bend."""

    def __init__(self, served: Any = None) -> None:
        self.served = served

    def handle(self, event: events.Event) -> Iterable[actions.Action]:
        if isinstance(event, events.Began):
            return (actions.Pick(event.facts),)
        if isinstance(event, events.Connected):
            return (actions.Relay(),)
        if isinstance(event, events.Unavailable):
            return self.refuse(event.reason)
        return ()

    def refuse(self, reason: str) -> Iterable[actions.Action]:
        return (actions.ToClient(b"no\r\n"), actions.Hangup())


POLITE = Protocol("polite", "a protocol", Polite)


class ScriptTests(SynchronousTestCase):
    def test_on(self) -> None:
        """An event gives the list of its actions."""
        script = Script(Polite())
        self.assertEqual(script.on(events.Began(facts())), [actions.Pick(facts())])
        self.assertEqual(script.on(events.Eof(CLIENT)), [])

    def test_what_is_kept(self) -> None:
        """A script keeps the bytes sent either way and the deadlines that are set."""

        class Talker(Polite):
            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                seconds = None if isinstance(event, events.Eof) else 5.0
                return (
                    actions.ToClient(b"c"),
                    actions.ToBackend(b"b"),
                    actions.SetDeadline("bed", seconds),
                )

        script = Script(Talker())
        script.on(events.Draining(1.0))
        self.assertEqual((script.client, script.server, script.deadlines), (b"c", b"b", {"bed": 5.0}))
        script.expire("bed")
        script.on(events.Eof(CLIENT))
        self.assertEqual((script.client, script.deadlines), (b"ccc", {}))
        self.assertRaises(AssertionError, script.expire, "bed")

    def test_no_actions(self) -> None:
        """What is no iterable of actions is named with the event that it answered."""

        class Forgetful(Polite):
            answer: Any = None

            def handle(self, event: events.Event) -> Any:
                return self.answer

        script = Script(Forgetful())
        error = self.assertRaises(AssertionError, script.on, events.Draining(1.0))
        self.assertIn("None, which is no iterable", str(error))
        Forgetful.answer = [b"bytes"]
        error = self.assertRaises(AssertionError, script.on, events.Draining(1.0))
        self.assertIn("b'bytes', which is no action", str(error))

    def test_play(self) -> None:
        """Many steps at once; an event that no list follows must be answered by nothing."""
        Script(Polite()).play(
            events.Began(facts()),
            [actions.Pick(facts())],
            events.Data(BACKEND, b"early"),
            events.Connected(link()),
            [actions.Relay()],
            events.Lost(CLIENT, "closed"),
        )

    def test_play_tells_the_difference(self) -> None:
        """A step that goes another way is shown with all that was right before it."""
        error = self.assertRaises(
            AssertionError,
            Script(Polite()).play,
            events.Began(facts()),
            [actions.Pick(facts())],
            events.Unavailable("down"),
            [actions.ToClient(b"yes\r\n"), actions.Hangup()],
        )
        text = str(error)
        self.assertIn(f"      {actions.Pick(facts())!r}", text)
        self.assertIn("-     ToClient(data=b'yes\\r\\n')", text)
        self.assertIn("+     ToClient(data=b'no\\r\\n')", text)

    def test_transcript(self) -> None:
        """The same as a text that an administrator can read."""
        Script(Polite()).transcript("""
            began
                -> pick
            # no server is up
            unavailable: all are DOWN
                -> client: no
                -> hang up
        """)

    def test_transcript_tells_the_difference(self) -> None:
        """A transcript that went another way is shown as lines with + and -."""
        error = self.assertRaises(
            AssertionError, Script(Polite()).transcript, "began\n-> pick\nconnected\n-> hang up"
        )
        self.assertIn("- -> hang up", str(error))
        self.assertIn("+ -> relay", str(error))

    def test_words_of_events(self) -> None:
        """Every event has its line."""
        script = Script(Polite())
        script.transcript("""
            client: hello
            server: hello
            client ends
            server ends
            server lost: closed
            client lost: reset
            deadline greeting
            draining
        """)
        self.assertEqual(
            [event for event, _ in script.steps],
            [
                events.Data(CLIENT, b"hello\r\n"),
                events.Data(BACKEND, b"hello\r\n"),
                events.Eof(CLIENT),
                events.Eof(BACKEND),
                events.Lost(BACKEND, "closed"),
                events.Lost(CLIENT, "reset"),
                events.Deadline("greeting"),
                events.Draining(30.0),
            ],
        )
        error = self.assertRaises(AssertionError, script.transcript, "server says: hello")
        self.assertIn("no event", str(error))

    def test_words_of_actions(self) -> None:
        """Every action that a conversation of lines asks for has its line; others are their repr."""
        said: list[tuple[actions.Action, str]] = [
            (actions.Pick(facts(), "owa"), "pick owa"),
            (actions.ToBackend(b"a\r\nb\r\n"), "server: a\n-> server: b"),
            (actions.ToClient(b"a\r\nb"), "client: a\n-> client (no line end): b"),
            (actions.Hold(CLIENT), "hold client"),
            (actions.Release(BACKEND), "release server"),
            (actions.Close(BACKEND), "close server"),
            (actions.Retry("greeting: 554"), "retry: greeting: 554"),
            (actions.SetDeadline("greeting", 10.0), "deadline greeting in 10 s"),
            (actions.SetDeadline("greeting", None), "no deadline greeting"),
            (actions.Learn(3), "learn: 3"),
            (actions.Hangup("why"), "hang up: why"),
            (actions.Pass(), "pass"),
            (actions.Pass(2), "Pass(learnt=2)"),
            (actions.Drain("soon"), "drain: soon"),
            (actions.Fail("L7STS", "EHLO", "500"), "fail L7STS EHLO: 500"),
            (actions.Relay(limit=4), "Relay(sides=(CLIENT, BACKEND), limit=4, idle=None)"),
            (actions.Pin(link()), repr(actions.Pin(link()))),
        ]

        class Speaker(Polite):
            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                return [action for action, _ in said]

        text = "\n".join(f"-> {words}" for _, words in said)
        Script(Speaker()).transcript(f"draining\n{text}")


class DoubleTests(SynchronousTestCase):
    def test_interfaces(self) -> None:
        """Each double is held to the interface that it stands for."""
        for interface, double in (
            (IService, service()),
            (IKeys, keys()),
            (IWire, FakeWire()),
            (IWireUser, FakeWireUser()),
        ):
            verifyObject(interface, double)
        verifyClass(IKeys, FakeKeys)
        self.assertIsInstance(service(), FakeService)

    def test_service(self) -> None:
        """A service has the settings of a silent configuration, and what a test says."""
        mine = service(NoOptions(), tls={993: "passthrough"}, trusted_proxies=("192.0.2.0/24",))
        self.assertEqual(mine.port_tls(993), "passthrough")
        self.assertEqual(mine.port_tls(143), "none")
        self.assertEqual(mine.timeouts.greeting, 10.0)
        self.assertIn("192.0.2.7", mine.trusted_proxies)
        self.assertIsNone(mine.marker())

    def test_services_of_one_process(self) -> None:
        """It is among its own siblings, others are added, and it listens where the test says."""
        here = Listening("", 135, ())
        epm = service(protocol="epm", name="epm", listens=(here,))
        mine = service(siblings=[epm])
        self.assertEqual(mine.siblings, {"epm": epm, "test": mine})
        self.assertEqual((mine.protocol, epm.protocol, epm.listenings()), ("test", "epm", (here,)))
        self.assertIn("epm", repr(epm))

    def test_facts(self) -> None:
        """Facts have a source and a destination; equal calls give equal facts."""
        known = facts(TLS("TLSv1.3"), source="192.0.2.9", port=993)
        self.assertEqual(known[Source].host, "192.0.2.9")
        self.assertEqual(known[Destination].port, 993)
        self.assertEqual(known[TLS].version, "TLSv1.3")
        self.assertEqual(facts(), facts())
        self.assertEqual(link(), link())

    def test_keys(self) -> None:
        """Digests are deterministic, of 16 bytes, and tell kinds, parts and secrets apart."""
        one = keys().digest("user", b"ab", b"c")
        self.assertEqual(one, keys().digest("user", b"ab", b"c"))
        self.assertEqual(len(one.digest), 16)
        for other in (
            keys().digest("user", b"a", b"bc"),
            keys(secret=b"x").digest("user", b"ab", b"c"),
            keys(group="g").digest("user", b"ab", b"c"),
        ):
            self.assertNotEqual(one.digest, other.digest)

    def test_tokens(self) -> None:
        """Each server's token is found in the table, and says nothing of its name."""
        mine = keys(("exch1", "exch2"))
        for server in mine.servers:
            token = mine.token("cookie", server)
            self.assertEqual(mine.tokens("cookie")[token], server)
            self.assertNotIn(server.encode(), token)

    def test_splits(self) -> None:
        """Whole, at every cutting point, and byte by byte."""
        self.assertEqual(
            list(every_split(b"abc")), [(b"abc",), (b"a", b"bc"), (b"ab", b"c"), (b"a", b"b", b"c")]
        )
        self.assertEqual(list(every_split(b"ab")), [(b"ab",), (b"a", b"b")])
        self.assertEqual(list(every_split(b"")), [()])


class FakeWireTests(SynchronousTestCase):
    def test_receives(self) -> None:
        """What arrives is told in order; while paused, or without a user, it is kept."""
        wire, user = FakeWire(), FakeWireUser()
        wire.receive(b"early")
        wire.attach(user)
        wire.pause()
        wire.receive(b"a")
        wire.end()
        wire.lose("reset")
        self.assertEqual(user.heard, [("received", b"early")])
        wire.resume()
        self.assertEqual(user.heard[1:], [("received", b"a"), ("ended", None), ("lost", "reset")])
        self.assertEqual(user.data, b"earlya")
        self.assertEqual(wire.state, "gone")

    def test_writes(self) -> None:
        """What is written is recorded until an end of ours."""
        for end, state in (("close", "closed"), ("abort", "aborted")):
            wire = FakeWire()
            wire.write(b"a")
            getattr(wire, end)()
            wire.write(b"b")
            self.assertEqual((wire.written, wire.state), (b"a", state))

    def test_half_close(self) -> None:
        """A half-close ends writing, a close after it everything."""
        wire = FakeWire()
        wire.close(half=True)
        self.assertEqual(wire.state, "half")
        wire.close()
        self.assertEqual(wire.state, "closed")
        self.assertIn("closed", repr(wire))

    def test_tls(self) -> None:
        """start_tls drops the plain text not yet delivered; secure ends the handshake."""
        wire, user = FakeWire(), FakeWireUser()
        wire.receive(b"smuggled")
        self.assertEqual(wire.start_tls("context"), 8)
        wire.attach(user)
        wire.secure()
        self.assertEqual(user.heard, [("secured", TLS("TLSv1.3"))])
        self.assertEqual(wire.context, "context")

    def test_pressure(self) -> None:
        """Back-pressure is told at once, and nobody is told before there is a user."""
        wire, user = FakeWire(), FakeWireUser()
        wire.fill()
        wire.empty()
        wire.attach(user)
        wire.pause()
        wire.fill()
        wire.empty()
        self.assertEqual(user.heard, [("filled", None), ("drained", None)])
        self.assertIsNone(wire.detach())


class CheckProtocolTests(SynchronousTestCase):
    def _wrong(self, conversation: Any, **changes: Any) -> str:
        opening = changes.pop("opening", b"")
        plugin = replace(POLITE, conversation=conversation, **changes)
        return str(self.assertRaises(AssertionError, check_protocol_plugin, plugin, opening=opening))

    def test_good(self) -> None:
        """A polite protocol passes."""
        check_protocol_plugin(POLITE)

    def test_leak(self) -> None:
        """A refusal with the reason in it is found."""

        class Leaky(Polite):
            def refuse(self, reason: str) -> Iterable[actions.Action]:
                return (actions.ToClient(reason.encode()), actions.Hangup())

        self.assertIn("tells the client the reason", self._wrong(Leaky))

    def test_silence(self) -> None:
        """A refusal that does nothing at all is found."""

        class Silent(Polite):
            def refuse(self, reason: str) -> Iterable[actions.Action]:
                return ()

        self.assertIn("wait for ever", self._wrong(Silent))

    def test_rubbish(self) -> None:
        """An exception on rubbish is found."""

        class Brittle(Polite):
            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                if isinstance(event, events.Data):
                    event.data.decode("ascii")
                return super().handle(event)

        self.assertIn("UnicodeDecodeError", self._wrong(Brittle))

    def test_never_picks(self) -> None:
        """A protocol that never picks says what the check lacks."""

        class Waiter(Polite):
            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                return ()

        self.assertIn("opening=", self._wrong(Waiter))

    def test_splits(self) -> None:
        """A parser that counts on bytes coming in one piece is found."""

        class Lucky(Polite):
            known = facts()

            def handle(self, event: events.Event) -> Iterable[actions.Action]:
                if event == events.Data(CLIENT, b"hello"):
                    return (actions.Pick(self.known),)
                return () if isinstance(event, events.Began) else super().handle(event)

        self.assertIn("led to 0 picks", self._wrong(Lucky, opening=b"hello"))

    def test_record(self) -> None:
        """A record's own mistakes are found."""
        for changes, word in (
            ({"name": "Not_Kebab"}, "kebab"),
            ({"summary": ""}, "summary"),
            ({"tls_modes": ()}, "tls_modes"),
            ({"tls_modes": ("ssl",)}, "tls_modes"),
            ({"default_ports": {993: "implicit"}}, "default_ports"),
            ({"gives": ("Source",)}, "gives"),
            ({"defaults": {1: 2}}, "defaults"),
            ({"options": object}, "options"),
        ):
            self.assertIn(word, self._wrong(Polite, **changes))


@implementer(IScheduling)
class Backwards:
    """A scheduling: the last first. The flaws are for the tests."""

    def __init__(self, flaw: str = "") -> None:
        self.flaw = flaw
        self.asked = 0

    def order(self, candidates: Sequence[Candidate], facts: Facts) -> Iterable[Candidate]:
        self.asked += 1
        found = list(reversed(candidates))
        if self.flaw == "loses":
            return found[:1]
        if self.flaw == "counts" and self.asked % 2:
            return found[::-1]
        return found + found[:1] if self.flaw == "repeats" else found

    def taken(self, candidate: Candidate) -> None:
        """Nothing to advance."""


class CheckSchedulingTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Every candidate once, and the same again."""
        check_scheduling(Backwards)

    def test_flaws(self) -> None:
        """Losing one, giving one twice and changing by being asked are found."""
        for flaw, word in (
            ("loses", "exactly once"),
            ("repeats", "exactly once"),
            ("counts", "second answer"),
        ):
            error = self.assertRaises(AssertionError, check_scheduling, lambda flaw=flaw: Backwards(flaw))
            self.assertIn(word, str(error))
        check_scheduling(lambda: Backwards("counts"), random=True)


@implementer(IPersistence, ILearner)
class BySource:
    """A persistence with flaws for the tests."""

    def __init__(self, my_keys: IKeys, flaw: str = "") -> None:
        self.keys = my_keys
        self.lifetime: float | None = None
        self.flaw = flaw
        self.count = 0

    def candidates(self, facts: Facts) -> Any:
        self.count += 1
        salt = b"%d" % self.count if self.flaw == "counts" else b""
        found = (self.keys.digest("source", facts[Source].host.encode(), salt),)
        return list(found) if self.flaw == "lists" else found

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        return (self.keys.digest("other", b""),) if self.flaw == "forgets" else self.candidates(facts)

    def observe(self, facts: Facts, observation: object) -> tuple[Key, ...]:
        return () if self.flaw == "learns nothing" else (self.keys.digest("seen"),) * (observation == 7)


@implementer(IPersistencePlugin)
@dataclass(frozen=True)
class BySourcePlugin:
    flaw: str = ""
    name: str = "by-source"
    summary: str = "for tests"
    options: Any = NoOptions
    needs: tuple[type, ...] = ()
    uses: tuple[type, ...] = (Source,)

    def strategy(self, options: Any, keys: IKeys) -> BySource:
        return BySource(keys, self.flaw)


class CheckPersistenceTests(SynchronousTestCase):
    def test_good(self) -> None:
        """A pure strategy passes."""
        check_persistence(BySourcePlugin(), known=[facts(source="192.0.2.3")], observations=[7])

    def test_flaws(self) -> None:
        """What is not pure, not a tuple, never found again or not learnt is found."""
        for flaw, word in (
            ("counts", "two answers"),
            ("lists", "no tuple"),
            ("forgets", "does not look up"),
            ("learns nothing", "observe(7)"),
        ):
            error = self.assertRaises(
                AssertionError, check_persistence, BySourcePlugin(flaw), observations=[7]
            )
            self.assertIn(word, str(error))


@implementer(ICheckPlugin)
@dataclass(frozen=True)
class SilentCheckPlugin:
    name: str = "silent"
    summary: str = "for tests"
    options: Any = NoOptions

    def check(self, options: Any) -> Any:
        from exproxy.checks.record import Check

        return Check(Polite)


class CheckCheckTests(SynchronousTestCase):
    def test_no_outcome(self) -> None:
        """A dialogue that comes to no outcome is found."""
        error = self.assertRaises(AssertionError, check_check_plugin, SilentCheckPlugin())
        self.assertIn("no outcome", str(error))
