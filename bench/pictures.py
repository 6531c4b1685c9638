"""Which charts are drawn of the results."""

from __future__ import annotations

from collections.abc import Sequence

from bench.figures import OURS, THEIRS
from bench.measuring import Row
from bench.svg import Group, chart
from bench.tables import costs_ratio, number

_TITLES = {
    "tcp": "TCP: CPU of the proxy's process",
    "bulk": "Bulk: CPU of the proxy's process",
    "web": "HTTP and HTTPS, kept connections: CPU of the proxy's process",
    "handshakes": "TLS handshakes: CPU of the proxy's process",
    "day": "A mixed day: CPU of the proxy's process",
}
NAMES = ("ratio", "memory", *_TITLES)
"""All pictures that there can be."""


def pictures(rows: Sequence[Row]) -> dict[str, str]:
    """Name of a file without its ending → its SVG; what was not measured is not drawn."""
    drawn = {"ratio": _ratios(rows), "memory": _memory(rows)}
    for name, title in _TITLES.items():
        drawn[name] = _costs(title, [row for row in rows if row.workload.picture == name])
    return {name: text for name, text in drawn.items() if text}


def _ratios(rows: Sequence[Row]) -> str:
    groups = []
    for row in rows:
        found, goal = costs_ratio(row), row.workload.goal
        if found is None:
            continue
        marks = [(goal.reach, "goal: reach"), (goal.then, "goal: then")]
        known = [(value, text) for value, text in marks if value is not None]
        bars = [(OURS, found, number(found)), (THEIRS, 1.0, "1")]
        groups.append(Group(row.workload.title, bars, known))
    title = "CPU per unit of work compared with HAProxy's; shorter is cheaper; lines are the goals"
    return chart(title, groups) if groups else ""


def _costs(title: str, rows: Sequence[Row]) -> str:
    groups = []
    for row in rows:
        unit = row.workload.unit
        bars = [
            (outcome.peer, found.cost * unit.scale, f"{number(found.cost * unit.scale)} {unit.text}")
            for outcome in row.outcomes.values()
            if (found := outcome.summary) is not None
        ]
        if bars:
            groups.append(Group(row.workload.title, bars))
    return chart(title, groups) if groups else ""


def _memory(rows: Sequence[Row]) -> str:
    groups = []
    for row in rows:
        bars = [
            (one.peer, one.memory / 1024, f"{number(one.memory / 1024)} KiB")
            for one in row.outcomes.values()
            if one.memory is not None
        ]
        if bars:
            groups.append(Group(row.workload.title, bars))
    return chart("Memory of the proxy's process for each idle connection", groups) if groups else ""
