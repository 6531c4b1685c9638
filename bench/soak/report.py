"""What came of a soak: the problems, a table, and the same as JSON."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import asdict
from typing import Any

from bench.soak import judging
from bench.soak.clients.kinds import KINDS
from bench.soak.faults import explained
from bench.soak.logs import bad_lines
from bench.soak.running import Findings, Soak
from bench.tables import markdown, number

_WHAT = ("cut", "refused", "lied", "moved", "wrong")
# Unexplained outcomes that are told one by one.
_SHOWN = 20
# Twisted ends a process by the signal that it was told to end by; its last word is that all is done.
ENDS = (0, -signal.SIGTERM)
_LAST = "Server Shut Down"


def result(soak: Soak, seconds: float, options: dict[str, Any]) -> dict[str, Any]:
    """All of it, with ``problems``: why the soak has failed."""
    found, log = soak.found, soak.access_log
    count, shown = bad_lines(soak.output)
    split = _split(found)
    for outcome in split[False]:
        outcome["records"] = log.wanted.get(outcome["client"], [])
    grown, used = judging.growth(found.memory), judging.growth(found.allocated)
    made: dict[str, Any] = {
        **options,
        "seconds": seconds,
        "processes": found.processes,
        "faults": [asdict(each) for each in found.faults],
        "kinds": _kinds(found, split),
        "pools": found.counts.get("pools", {}),
        "bytes": found.counts.get("bytes", 0),
        "unfinished": found.counts.get("unfinished", 0),
        "explained": len(split[True]),
        "unexplained": split[False],
        "settled": round(found.settled, 1),
        "left": judging.left(found.before, found.after),
        "tables": judging.tables(found.before, found.after),
        "descriptors": {"before": found.before.descriptors, "after": found.after.descriptors},
        "objects": {"before": found.before.objects, "after": found.after.objects},
        "sizes": {"before": found.before.sizes, "after": found.after.sizes},
        "collected": found.after.collected - found.before.collected,
        "memory": {"samples": found.memory, "growth": asdict(grown) if grown else None},
        "allocated": {"samples": found.allocated, "growth": asdict(used) if used else None},
        "log": {"bad": count, "shown": shown, "ended": _LAST in soak.output.read_text(errors="replace")},
        "access log": {"lines": log.lines, "broken": log.broken, "reasons": log.reasons.most_common(50)},
        "exit code": found.code,
    }
    made["problems"] = _problems(made, found, used, seconds)
    return made


def _split(found: Findings) -> dict[bool, list[dict[str, Any]]]:
    split: dict[bool, list[dict[str, Any]]] = {True: [], False: list(found.warming)}
    for outcome in found.outcomes:
        split[explained(outcome, found.happened, found.began)].append(outcome)
    return split


def _kinds(found: Findings, split: dict[bool, list[dict[str, Any]]]) -> dict[str, dict[str, int]]:
    whole, rules = found.counts.get("whole", {}), found.counts.get("rules", {})
    kinds: dict[str, dict[str, int]] = {}
    for kind in KINDS:
        seen = Counter(each["what"] for each in split[True] if each["kind"] == kind)
        kinds[kind] = {
            "whole": whole.get(kind, 0),
            "by a rule": rules.get(kind, 0),
            **{what: seen[what] for what in _WHAT[:-1]},
            "unexplained": sum(each["kind"] == kind for each in split[False]),
        }
    return kinds


def _problems(
    made: dict[str, Any], found: Findings, used: judging.Growth | None, seconds: float
) -> list[str]:
    problems = [f"unexplained: {text(each)}" for each in made["unexplained"][:_SHOWN]]
    if len(made["unexplained"]) > _SHOWN:
        problems.append(f"and {len(made['unexplained']) - _SHOWN} more of these")
    for part, counts in made["left"].items():
        problems += [f"left of {part}: {count} {name}" for name, count in counts.items()]
    if made["unfinished"]:
        problems.append(f"{made['unfinished']} clients did not come to an end")
    if made["log"]["bad"]:
        problems.append(f"{made['log']['bad']} bad lines in exproxy's log, see `log` in the JSON file")
    internal = dict(made["access log"]["reasons"]).get("internal error", 0)
    if internal or made["access log"]["broken"]:
        problems.append(
            f"access log: {internal} internal errors, {made['access log']['broken']} broken lines"
        )
    if used is not None and used.bad and seconds >= judging.JUDGED:
        problems.append(f"allocated memory grows by {used.slope:.1f} MiB an hour")
    if found.code not in ENDS or not made["log"]["ended"]:
        problems.append("it did not end at SIGTERM" if found.code is None else f"exit code {found.code}")
    if found.stray:
        problems.append(f"processes that outlive it: {found.stray}")
    return problems


def text(outcome: dict[str, Any]) -> str:
    """One outcome as a line."""
    where = f"{outcome['pool']}/{outcome['server'] or '?'}"
    return f"{outcome['kind']} with {where} {outcome['what']}: {outcome['why']}"


def _sizes(made: dict[str, Any]) -> str:
    before, after = made["sizes"]["before"], made["sizes"]["after"]
    return ", ".join(f"{after[name]:,} ({after[name] - before[name]:+,}) {name}" for name in after)


def _each(made: dict[str, Any]) -> float:
    return float(made["collected"] / max(1, made["access log"]["lines"]))


def table(made: dict[str, Any]) -> str:
    """For people."""
    head = ["client", "whole", "by a rule", *_WHAT[:-1], "unexplained"]
    rows = [
        [kind, *(str(counts[name]) if counts[name] else "" for name in head[1:])]
        for kind, counts in made["kinds"].items()
    ]
    return markdown(head, rows)


def _grown(made: dict[str, Any], what: str) -> str:
    samples, growth = made[what]["samples"], made[what]["growth"]
    if not growth:
        return "too few samples"
    sizes = f"{samples[0][1] / judging.MIB:.1f} to {samples[-1][1] / judging.MIB:.1f} MiB"
    verdict = "reached" if growth["slope"] - 2 * growth["error"] <= judging.GROWTH else "not reached"
    if made["seconds"] < judging.JUDGED:
        verdict = f"not judged below {judging.JUDGED / 60:.0f} minutes"
    return (
        f"{sizes}, {growth['slope']:+.2f} ± {growth['error']:.2f} MiB an hour in the last two thirds "
        f"(goal: {judging.GROWTH:g}, {verdict})"
    )


def summary(made: dict[str, Any]) -> str:
    """The lines below the table."""
    kinds = Counter(each["what"] for each in made["faults"])
    lines = [
        f"seed {made['seed']}, {made['seconds']:.0f} s, {made['clients']} clients, "
        f"{made['processes']} process(es) of exproxy",
        f"faults: {', '.join(f'{n} {what}' for what, n in sorted(kinds.items())) or 'none'}",
        f"whole transfers by pool: {made['pools']}, {number(made['bytes'] / 1e9)} GB verified",
        f"cut, refused, lied or moved: {made['explained']} by faults, {len(made['unexplained'])} unexplained",
        f"resident memory: {_grown(made, 'memory')}",
        f"allocated of it: {_grown(made, 'allocated')}",
        f"allocated, after and before: {_sizes(made)}",
        f"freed by the collector only: {_each(made):.1f} objects for each record of the access log",
        f"kept in tables, grown by: {made['tables'] or 'nothing'}",
        f"left after {made['settled']:.1f} s: {made['left'] or 'nothing'}",
        f"log: {made['log']['bad']} bad lines; access log: {made['access log']['lines']} records",
    ]
    lines += [f"PROBLEM: {problem}" for problem in made["problems"]] or ["no problem"]
    return "\n".join(lines)
