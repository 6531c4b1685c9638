"""Mutated PDUs of real exchanges, played to everything that reads PDUs.

    python -m tests.msrpc.fuzz                        # 1,000,000 mutated PDUs, and the figures
    python -m tests.msrpc.fuzz --pdus 20000 --seed 7
    python -m tests.msrpc.fuzz --seed 7 --round 1234  # one round again, that failed

A round is one conversation: an exchange of the samples, some of its PDUs mutated, cut into random pieces.
Whatever comes, nothing may raise, nothing may be kept, and what only passes must pass as it was.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from exproxy.actions import Action, Drain, Fail, Hangup, Pass, Pick, Relay, ToBackend, ToClient
from exproxy.backend import Backend
from exproxy.events import Began, Connected, Data, Deadline, Draining, Eof, Event, Lost, Unavailable
from exproxy.interfaces import IConversation
from exproxy.model import BACKEND, CLIENT, Listening, Side
from exproxy.settings import Limits
from exproxy.testing import FakeService, facts, link, service
from protocols.msrpc.associations import Associations
from protocols.msrpc.check import epm_dialogue, rpc_dialogue
from protocols.msrpc.epm import Epm
from protocols.msrpc.locating import Locator
from protocols.msrpc.names import KNOWN
from protocols.msrpc.options import EpmOptions, RpcOptions
from protocols.msrpc.own_mapper import OwnMapper
from protocols.msrpc.rpc import Rpc
from protocols.msrpc.served import Served
from protocols.msrpc.survey import Survey
from tests.msrpc import lookup_samples as lookup
from tests.msrpc import protected_samples as protected
from tests.msrpc import samples
from tests.msrpc.mutations import Step, mutated
from tests.msrpc.support import pdus

# Mutated PDUs, after which memory has reached the size that it must keep; and by how much it may grow.
WARM, GROWTH = 50_000, 16 * 1024 * 1024
# Seconds in which a run of WARM must be over; else it hangs, and its stack is shown.
HANG = 600

Exchange: TypeAlias = tuple[Step, ...]


def _exchange(*turns: bytes) -> Exchange:
    """Client and server in turn, each turn cut into its PDUs."""
    sides = (CLIENT, BACKEND)
    return tuple((sides[n % 2], pdu.raw) for n, turn in enumerate(turns) for pdu in pdus(turn))


EXCHANGES = (
    _exchange(samples.PLAIN_BIND, samples.PLAIN_BIND_ACK, samples.SAMR_CALL, samples.SAMR_ANSWER),
    _exchange(
        samples.IMPACKET_BIND,
        samples.IMPACKET_BIND_ACK,
        samples.EMSMDB_CALL,
        samples.EMSMDB_ANSWER,
        samples.NSPI_CALL,
        samples.NSPI_ANSWER,
        samples.LSARPC_CALL,
        samples.LSARPC_ANSWER,
    ),
    _exchange(
        samples.BIG_BIND,
        samples.BIG_BIND_ACK,
        samples.BIG_MAP_CALL,
        samples.BIG_MAP_ANSWER,
        lookup.BIG_LOOKUP_CALL,
        lookup.BIG_LOOKUP_ANSWER,
    ),
    _exchange(samples.SCAPY_BIND, samples.SCAPY_BIND_ACK, samples.SCAPY_CALL, samples.SCAPY_ANSWER),
    _exchange(samples.WIDE_BIND, samples.WIDE_BIND_ACK, samples.WIDE_CALL, samples.WIDE_ANSWER),
    _exchange(samples.WIDE_BIND_REJECTED, samples.WIDE_REJECTION),
    _exchange(lookup.ALL_BIND, lookup.ALL_BIND_ACK, lookup.ALL_CALL, lookup.ALL_ANSWER),
    _exchange(
        samples.TORTURE_BIND,
        samples.TORTURE_BIND_ACK,
        lookup.PART_CALL,
        lookup.PART_ANSWER,
        lookup.FREE_CALL,
        lookup.FREE_ANSWER,
        lookup.LAST_CALL,
        lookup.LAST_ANSWER,
    ),
    _exchange(samples.JOIN_BIND, samples.JOIN_BIND_ACK, samples.NO_CONTEXT_CALL, samples.NO_CONTEXT_FAULT),
    _exchange(samples.STRANGE_BIND, samples.STRANGE_BIND_NAK),
    _exchange(samples.PLAIN_BIND, samples.PLAIN_BIND_ACK, samples.ALTER, samples.ALTER_ACK),
    _exchange(
        protected.SEALED_BIND,
        protected.SEALED_BIND_ACK,
        protected.SEALED_AUTH3 + protected.SEALED_CALL,
        protected.SEALED_ANSWER,
    ),
    _exchange(
        protected.SIGNED_BIND,
        protected.SIGNED_BIND_ACK,
        protected.SIGNED_ALTER,
        protected.SIGNED_ALTER_ACK,
        protected.SIGNED_CALL,
        protected.SIGNED_ANSWER,
    ),
)
KNOWN_FACTS = facts(destination="192.0.2.200", port=135)
EXCH1 = link()
SMALL = Limits(pdu=2048, reassembly=4096)


def _mapper(limits: Limits, **options: object) -> FakeService:
    """A mapper's service beside those of Exchange."""
    backend = Backend("rpc/exch1", "exch1", "127.0.0.11", 59531)
    beside = service(
        RpcOptions(interface=(KNOWN["emsmdb"], KNOWN["nspi"])),
        name="rpc",
        protocol="rpc",
        listens=(Listening("", 6001, (backend,)),),
    )
    chosen = EpmOptions.model_validate(options)
    here = (Listening("", 135, (backend,)),)
    return service(chosen, name="epm", protocol="epm", siblings=[beside], listens=here, limits=limits)


class Broken(AssertionError):
    """A round that showed an error; the text says how to play it again."""


@dataclass
class Fuzz:
    """A run. ``mutated`` counts PDUs, ``rounds`` conversations, ``ends`` how these ended."""

    seed: int
    mutated: int = 0
    rounds: int = 0
    fed: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    associations: Associations = field(default_factory=Associations)

    def __post_init__(self) -> None:
        self._services = [
            (Rpc, service(RpcOptions())),
            (Rpc, service(RpcOptions(relay="full"), limits=SMALL)),
            (Epm, _mapper(Limits())),
            (Epm, _mapper(SMALL, others="hide")),
            (Epm, _mapper(Limits(), others="hide")),
        ]
        self._own = [_mapper(Limits(), answer="proxy"), _mapper(SMALL, answer="proxy")]
        interfaces = (KNOWN["emsmdb"], KNOWN["nspi"])
        self._dialogues: tuple[Callable[[], IConversation], ...] = (
            lambda: rpc_dialogue(()),
            lambda: rpc_dialogue(interfaces[:1]),
            lambda: epm_dialogue(()),
            lambda: epm_dialogue(interfaces),
            Locator(interfaces[0]).dialogue,
            Survey,
        )

    def run(self, count: int) -> None:
        """Rounds until so many PDUs more were mutated."""
        wanted = self.mutated + count
        while self.mutated < wanted:
            self.play(self.rounds)
            self.rounds += 1

    def play(self, number: int) -> None:
        """One round; raises Broken."""
        random = Random(self.seed << 40 | number)
        steps, changed = mutated(random, random.choice(EXCHANGES), random.choice(EXCHANGES))
        self.mutated += changed
        self.fed += len(steps)
        kind = random.random()
        try:
            if kind < 0.6:
                self.ends[self._converse(random, steps)] += 1
            elif kind < 0.8:
                self.ends[self._ask_ours(random, steps)] += 1
            else:
                self.ends[self._check(random, steps)] += 1
        except Exception as error:
            again = f"--seed {self.seed} --round {number}"
            raise Broken(f"{error!r}; again: python -m tests.msrpc.fuzz {again}") from error

    # -- who is fed ------------------------------------------------------------------

    def _converse(self, random: Random, steps: Sequence[Step]) -> str:
        """Client and server of an RPC service or of a mapper."""
        make, served = random.choice(self._services)
        passing = make is Rpc
        talk = _Talk(make(served, self.associations), random)
        talk.on(Began(KNOWN_FACTS))
        for side, piece in _pieces(random, steps):
            if side is BACKEND and not talk.connected:
                continue
            talk.on(Data(side, piece, EXCH1 if side is BACKEND else None))
            if talk.over:
                break
        if passing and not talk.over:
            # Of what comes in part, no more than a header and what is short is kept back.
            assert talk.from_server.startswith(talk.to_client), "what a server said did not pass as it was"
            assert len(talk.from_server) - len(talk.to_client) <= served.limits.pdu, "it is kept"
            assert not talk.connected or talk.to_server == talk.from_client, "a client's bytes did not pass"
        if not talk.over and random.random() < 0.5:
            talk.on(random.choice((Draining(30.0), Deadline("idle"), Eof(CLIENT), Lost(BACKEND, "reset"))))
        talk.on(Lost(CLIENT, "closed"))
        assert not self.associations, "an association outlived its connections"
        return talk.over or "open"

    def _ask_ours(self, random: Random, steps: Sequence[Step]) -> str:
        """The client of our own mapper."""
        served = random.choice(self._own)
        talk = _Talk(OwnMapper(served, Served(served)), random)
        talk.on(Began(KNOWN_FACTS))
        for _, piece in _pieces(random, [step for step in steps if step[0] is CLIENT]):
            talk.on(Data(CLIENT, piece))
        pdus(talk.to_client)
        talk.on(Lost(CLIENT, "closed"))
        return talk.over or "open"

    def _check(self, random: Random, steps: Sequence[Step]) -> str:
        """The server that is checked."""
        talk = _Talk(random.choice(self._dialogues)(), random)
        talk.on(Connected(EXCH1))
        for _, piece in _pieces(random, [step for step in steps if step[0] is BACKEND]):
            talk.on(Data(BACKEND, piece, EXCH1))
        if not talk.outcome:
            talk.on(Eof(BACKEND, EXCH1))
        assert talk.outcome, "a dialogue did not end with its connection"
        return talk.outcome


class _Talk:
    """A conversation that is fed, and what it did."""

    def __init__(self, conversation: IConversation, random: Random) -> None:
        self._conversation = conversation
        self._random = random
        self.connected = False
        self.over = ""
        self.outcome = ""
        self.to_client = self.to_server = self.from_client = self.from_server = b""

    def on(self, event: Event) -> None:
        """Feed it, and do as it says."""
        if isinstance(event, Data):
            if event.side is CLIENT:
                self.from_client += event.data
            else:
                self.from_server += event.data
        ended = self.over
        actions = list(self._conversation.handle(event))
        for action in actions:
            self._do(action)
        if ended:
            assert not any(isinstance(each, (ToClient, ToBackend, Pick)) for each in actions), "it went on"
        if any(isinstance(each, Pick) for each in actions):
            self._choose()

    def _do(self, action: Action) -> None:
        if isinstance(action, ToClient):
            self.to_client += action.data
        elif isinstance(action, ToBackend):
            self.to_server += action.data
        elif isinstance(action, Hangup):
            self.over = "malformed" if action.reason.startswith("malformed") else "hung up"
        elif isinstance(action, Relay):
            self.over = "relayed"
        elif isinstance(action, (Pass, Fail, Drain)):
            self.outcome = type(action).__name__

    def _choose(self) -> None:
        if self._random.random() < 0.05:
            self.on(Unavailable("all are DOWN", self._random.random() < 0.5))
        else:
            self.connected = True
            self.on(Connected(EXCH1))


def _pieces(random: Random, steps: Sequence[Step]) -> list[tuple[Side, bytes]]:
    """The bytes of these steps as a network may bring them: cut anywhere, and put together."""
    found: list[tuple[Side, bytes]] = []
    for side, data in steps:
        if found and found[-1][0] is side and random.random() < 0.4:
            data = found.pop()[1] + data
        while len(data) > 1 and random.random() < 0.4:
            cut = random.randrange(1, min(len(data), 64 if random.random() < 0.5 else len(data)))
            found.append((side, data[:cut]))
            data = data[cut:]
        if data:
            found.append((side, data))
    return found


def resident() -> int:
    """Bytes of memory that this process has now."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Run, and tell the figures; exit code 1 where memory grows by GROWTH or more."""
    parser = argparse.ArgumentParser(description="Play mutated PDUs to everything that reads PDUs.")
    parser.add_argument("--pdus", type=int, default=1_000_000, help="how many mutated PDUs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--round", type=int, default=None, help="this one only")
    options = parser.parse_args()
    fuzz = Fuzz(options.seed)
    if options.round is not None:
        fuzz.play(options.round)
        print(f"round {options.round}: {dict(fuzz.ends)}")
        return
    began, warm = time.monotonic(), 0
    while fuzz.mutated < options.pdus:
        faulthandler.dump_traceback_later(HANG, exit=True)
        fuzz.run(min(WARM, options.pdus - fuzz.mutated))
        warm = warm or resident()
    faulthandler.cancel_dump_traceback_later()
    seconds, grown = time.monotonic() - began, resident() - warm
    print(f"seed {fuzz.seed}: {fuzz.mutated:,} mutated PDUs ({fuzz.fed:,} in all), {fuzz.rounds:,} talks")
    print(f"{seconds:.0f} s, {fuzz.mutated / seconds:,.0f} mutated PDUs a second")
    print(f"ends: {', '.join(f'{name} {count:,}' for name, count in fuzz.ends.most_common())}")
    print(f"resident memory after the first {WARM:,}: {warm / 2**20:.1f} MiB, then {grown / 2**20:+.2f} MiB")
    if grown >= GROWTH:
        raise SystemExit(f"it grew by more than {GROWTH / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
