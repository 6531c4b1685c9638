"""The results as Markdown tables, which a terminal shows well too."""

from __future__ import annotations

from collections.abc import Sequence

from bench.figures import OURS, THEIRS, Summary, ratio
from bench.measuring import Outcome, Row

_DISTURBED = 0.05


def number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, never an exponent; ``-`` for nothing."""
    if value is None:
        return "-"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if not whole and value:
        # Zeros behind the point are not significant.
        text = f"{value:.{digits - 1}e}"
        return f"{value:.{max(0, -int(text.partition('e')[2]) + digits - 1)}f}"
    return f"{value:,.{max(0, digits - whole)}f}" if value else "0"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table; the first ``left`` columns begin at the left, figures end at the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(cells) + " |"

    rule = [("-" * width if at < left else "-" * (width - 1) + ":") for at, width in enumerate(widths)]
    return "\n".join([line(head), "| " + " | ".join(rule) + " |", *map(line, rows)])


def costs_ratio(row: Row) -> float | None:
    """Our cost divided by theirs; below 1 ours is cheaper."""
    ours, theirs = _summary(row, row.workload.ours), _summary(row, row.workload.theirs)
    return ratio(ours.cost if ours else None, theirs.cost if theirs else None)


def _summary(row: Row, peer: str) -> Summary | None:
    outcome = row.outcomes.get(peer)
    return outcome.summary if outcome is not None else None


def costs(rows: Sequence[Row], peers: Sequence[str]) -> str:
    """CPU per unit of work, the ratio, and the goals."""
    head = ["workload", "exproxy is", "CPU in", *peers, "ratio", "reach", "then", "reached"]
    lines = []
    for row in rows:
        if not any(outcome.rounds or outcome.problem for outcome in row.outcomes.values()):
            continue
        found, goal = costs_ratio(row), row.workload.goal
        lines.append(
            [
                row.workload.title,
                row.workload.mode,
                row.workload.unit.text,
                *(_cost(row, peer) for peer in peers),
                number(found),
                number(goal.reach) if goal.reach else "",
                number(goal.then) if goal.then else "",
                goal.verdict(found),
            ]
        )
    return markdown(head, lines, left=3)


def _cost(row: Row, peer: str) -> str:
    outcome = row.outcomes.get(peer)
    if outcome is None:
        return ""
    if outcome.problem:
        return "failed"
    found = outcome.summary
    return number(found.cost * row.workload.unit.scale if found else None)


def rates(rows: Sequence[Row]) -> str:
    """Rate, latency and spread of each peer."""
    head = [
        "workload",
        "peer",
        "per second",
        "p50 ms",
        "p99 ms",
        "busy",
        "rounds",
        "CPU, least to most",
        "disturbed",
    ]
    lines = []
    for row in rows:
        unit = row.workload.unit
        for outcome in row.outcomes.values():
            found = outcome.summary
            if found is None:
                continue
            lines.append(
                [
                    row.workload.title,
                    outcome.peer,
                    "-" if row.workload.kind == "day" else f"{number(found.rate)} {unit.many}",
                    number(found.p50 * 1e3 if found.p50 is not None else None),
                    number(found.p99 * 1e3 if found.p99 is not None else None),
                    f"{found.busy:.0%}",
                    str(found.rounds),
                    f"{number(found.low * unit.scale)} to {number(found.high * unit.scale)} {unit.sign}",
                    f"{found.disturbed:.0%}" + (" !" if found.disturbed > _DISTURBED else ""),
                ]
            )
    return markdown(head, lines, left=2)


def memory(rows: Sequence[Row], peers: Sequence[str]) -> str:
    """KiB of the proxy's process per idle connection."""
    lines = []
    for row in rows:
        known = {name: one.memory for name, one in row.outcomes.items() if one.memory is not None}
        if known:
            counts = max(one.connections for one in row.outcomes.values())
            title = f"{'HTTPS' if row.workload.kind == 'keep-alive' else 'TCP'}, {row.workload.mode}"
            cells = [number(known[name] / 1024) if name in known else "" for name in peers]
            found = ratio(known.get(OURS), known.get(THEIRS))
            lines.append([title, f"{counts:,}", *cells, number(found)])
    head = ["KiB per idle connection", "connections", *peers, "ratio"]
    return markdown(head, lines) if lines else ""


def remarks(rows: Sequence[Row]) -> list[str]:
    """What failed, what was not resumed, what was spoken."""
    said: list[str] = []
    for row in rows:
        for outcome in row.outcomes.values():
            if outcome.problem:
                said.append(f"{row.workload.title}, {outcome.peer}: {outcome.problem}")
            elif row.workload.options.get("resumed") and outcome.notes.get("resumed", 0) < 1:
                share = outcome.notes.get("resumed", 0)
                said.append(f"{row.workload.title}, {outcome.peer}: {share:.0%} were resumed, the rest full")
        said += _ciphers(row)
    return said


def _ciphers(row: Row) -> list[str]:
    spoken = {one.peer: one.notes["cipher"] for one in row.outcomes.values() if "cipher" in one.notes}
    if len(set(spoken.values())) < 2:
        return []
    return [f"{row.workload.title}: not one cipher: " + ", ".join(f"{p} {c}" for p, c in spoken.items())]


def disturbed(outcomes: Sequence[Outcome]) -> bool:
    """Whether somebody else took the processor from a proxy in some round."""
    return any(one.summary is not None and one.summary.disturbed > _DISTURBED for one in outcomes)
