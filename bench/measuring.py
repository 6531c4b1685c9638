"""Rounds: one peer after the other does the same, again and again, and its process's CPU time is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench import machine
from bench.figures import Budget, Round, Summary, summary
from bench.peers import Running
from bench.worker import Failed
from bench.workloads import Workload

# Seconds after a round in which a proxy closes what the clients have closed.
_SETTLE = 0.05
# Connections that are made and closed before memory is looked at: whatever is made once is there then.
_FIRST = 50


@dataclass(slots=True)
class Outcome:
    """What came of one workload with one peer. ``memory``: bytes per idle connection."""

    peer: str
    rounds: list[Round] = field(default_factory=list)
    connections: int = 0
    memory: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def summary(self) -> Summary | None:
        """The medians; None where there is no whole round, or where something went wrong."""
        return None if self.problem else summary(self.rounds)


@dataclass(slots=True)
class Row:
    """One workload with all peers that took part; ``left_out``: name of a peer, and why it did not."""

    workload: Workload
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def taking_part(workload: Workload, running: Sequence[Running], row: Row) -> list[Running]:
    """Those who can do it; the others are noted in the row."""
    able = []
    for one in running:
        if not workload.among(one.peer.name):
            continue
        if not workload.services <= one.peer.services:
            row.left_out[one.peer.name] = one.peer.missing
        elif one.peer.tuned and not workload.tuned:
            row.left_out[one.peer.name] = "only for bulk"
        else:
            able.append(one)
            row.outcomes[one.peer.name] = Outcome(one.peer.name)
    return able


def measure(
    workload: Workload,
    running: Sequence[Running],
    rounds: int,
    seconds: float,
    budget: Budget,
    say: Callable[[str], None],
) -> Row:
    """One workload; whoever fails is left out of the rest of it, and the row says why."""
    row = Row(workload)
    able = taking_part(workload, running, row)
    _restart([one for one in able if workload.fresh or not one.alive], row)
    for one in able:
        _attempt(row, one, partial(_prepare, workload, one, row.outcomes[one.peer.name]))
        if not workload.longer:
            # Ten thousand TLS connections of the load take more memory than the proxies do.
            _attempt(row, one, one.close_load)
    lasted, lasts = 0.0, seconds * workload.longer
    for number in range(rounds if lasts else 0):
        if not budget.another(number, lasted):
            say(f"{workload.title}: {number} of {rounds} rounds, as the time is short")
            break
        began = time.monotonic()
        # Each has each place once in a while, so that nobody is always the first after a pause.
        for at in range(len(able)):
            one = able[(at + number) % len(able)]
            _attempt(row, one, partial(_round, one, row.outcomes[one.peer.name], lasts))
        lasted = time.monotonic() - began
    for one in able:
        _attempt(row, one, one.close_load)
    return row


def _attempt(row: Row, one: Running, deed: Callable[[], object]) -> None:
    outcome = row.outcomes[one.peer.name]
    if outcome.problem:
        return
    try:
        deed()
    except (Failed, OSError) as failed:
        outcome.problem = str(failed)


def _restart(able: Sequence[Running], row: Row) -> None:
    for one in able:
        one.start()
    for one in able:
        _attempt(row, one, one.ready)


def _prepare(workload: Workload, one: Running, outcome: Outcome) -> None:
    options = dict(workload.options)
    if not workload.memory:
        outcome.connections = one.prepare(workload.kind, options)
        return
    one.prepare(workload.kind, {**options, "connections": _FIRST})
    one.close_load()
    time.sleep(_SETTLE)
    before = machine.resident(one.pid)
    outcome.connections = one.prepare(workload.kind, options)
    time.sleep(_SETTLE)
    outcome.memory = (machine.resident(one.pid) - before) / outcome.connections


def _round(one: Running, outcome: Outcome, seconds: float) -> None:
    pid = one.pid
    one.clients.ask({"do": "warm"}, 70.0)
    time.sleep(_SETTLE)
    ran, waited = machine.usage(pid)
    # What is under way when the time is over may take a while.
    said = one.clients.ask({"do": "run", "seconds": seconds}, seconds + 15.0)
    time.sleep(_SETTLE)
    ran_then, waited_then = machine.usage(pid)
    outcome.notes.update(said["notes"])
    outcome.rounds.append(
        Round(said["units"], said["seconds"], ran_then - ran, waited_then - waited, said["p50"], said["p99"])
    )
