"""exproxy, HAProxy and nginx side by side: what a unit of work costs each of them.

    make bench                # within 10 minutes
    make bench QUICK=1        # in about 2
    python -m bench --help

Everything runs on 127.0.0.0/8, ports 9500 to 9509, and ends with the tool. See docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import machine, tables
from bench.configurations import Site
from bench.figures import Budget
from bench.load.tls import NAME
from bench.measuring import Row, measure
from bench.peers import MODULES, Peer, Running, peers
from bench.pictures import NAMES, pictures
from bench.workloads import CROWD, Workload, workloads
from tests.certificates import ca_file, pem, rsa_pem

# Seconds for all rounds; starting and ending take some more.
_QUICK, _FULL = 105.0, 540.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0 unless exproxy failed somewhere."""
    options = _options().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    files = machine.raise_files()
    chosen = _chosen(workloads(options.quick, files, options.crowd), options.only)
    known = [one for one in peers((*MODULES, *options.modules)) if one.name not in options.without]
    before = machine.load()
    for text in dict.fromkeys(peer.missing for peer in known if peer.missing):
        _say(text)
    if before > machine.QUIET:
        _say(f"the load average is {before}: somebody else is at work, the figures are not for publishing")
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    rows = _run(chosen, [one for one in known if one.version], options, files)
    facts: dict[str, Any] = {
        "began": began,
        "quick": options.quick,
        "load before": before,
        "machine": machine.description(),
        "cores": asdict(machine.cores()),
        "versions": {one.name: one.version for one in known if one.version},
        "missing": sorted({one.missing for one in known if one.missing}),
    }
    _publish(rows, known, facts, options.out)
    return int(any(row.outcomes["exproxy"].problem for row in rows if "exproxy" in row.outcomes))


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="where results are written")
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of workloads' names")
    parser.add_argument("--without", nargs="*", default=[], help="peers to leave out")
    parser.add_argument("--rounds", type=int, default=0, help="of each workload and peer; 0: 5, quick 3")
    parser.add_argument("--seconds", type=float, default=0.0, help="of a round; 0: 1.2, quick 0.3")
    parser.add_argument("--crowd", type=int, default=CROWD, help="connections of the largest ping-pong")
    parser.add_argument("--modules", nargs="*", type=Path, default=[], help="more folders of nginx's modules")
    return parser


def _chosen(every: list[Workload], beginnings: Sequence[str]) -> list[Workload]:
    if not beginnings:
        return every
    chosen = [one for one in every if one.name.startswith(tuple(beginnings))]
    if not chosen:
        raise SystemExit("no such workload; there are: " + ", ".join(one.name for one in every))
    return chosen


def _run(chosen: list[Workload], able: Sequence[Peer], options: argparse.Namespace, files: int) -> list[Row]:
    seconds = options.seconds or (0.3 if options.quick else 1.2)
    rounds = options.rounds or (3 if options.quick else 5)
    rows: list[Row] = []
    folder = Path(tempfile.mkdtemp(prefix="exproxy-bench-"))
    running: list[Running] = []
    try:
        for at, peer in enumerate(able, 1):
            site = _site(folder / peer.name.replace(" ", "-"), at, files)
            running.append(Running(peer, site, machine.cores()))
        weights = sum(workload.weight for workload in chosen)
        budget = Budget(_QUICK if options.quick else _FULL, weights, time.monotonic)
        for number, workload in enumerate(chosen, 1):
            if budget.over:
                _say(f"the time is over: {workload.title} and what follows are left out")
                break
            budget.begin(workload.weight)
            _say(f"{number}/{len(chosen)} {workload.title}")
            row = measure(workload, running, rounds, seconds, budget, _say)
            rows.append(row)
    finally:
        for one in running:
            one.close()
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def _site(folder: Path, number: int, files: int) -> Site:
    certificates = {"ec": pem(NAME), "rsa": rsa_pem(NAME)}
    # Listening sockets, the log, and what a proxy keeps for itself come on top of the crowd.
    return Site(
        folder=folder,
        host=f"127.0.41.{number}",
        origin=f"127.0.42.{number}",
        ca=ca_file(),
        certificates=certificates,
        connections=min(CROWD + 200, (files - 1000) // 2),
    )


def _publish(rows: list[Row], known: Sequence[Peer], facts: dict[str, Any], out: Path) -> None:
    names = [one.name for one in known if one.version]
    parts = [
        _headline(facts),
        "CPU of the proxy's process for each unit of work, medians; ratio: exproxy / haproxy, below 1 is "
        "cheaper:",
        tables.costs(rows, names),
        tables.rates(rows),
        tables.memory(rows, names),
        "\n".join(f"- {remark}" for remark in [*facts["missing"], *tables.remarks(rows)]),
    ]
    text = "\n\n".join(part for part in parts if part)
    print("\n" + text + "\n")
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.md").write_text(text + "\n", "utf-8")
    (out / "results.json").write_text(json.dumps({**facts, "rows": _plain(rows)}, indent=1) + "\n", "utf-8")
    drawn = pictures(rows)
    for name in NAMES:
        # A picture of an earlier run would be taken for one of this.
        (out / f"{name}.svg").unlink(missing_ok=True)
        if name in drawn:
            (out / f"{name}.svg").write_text(drawn[name], "utf-8")
    if any(tables.disturbed(list(row.outcomes.values())) for row in rows):
        _say("some rounds were disturbed (marked !): something else used the proxies' processor")
    _say(f"written to {out}: results.md, results.json and pictures")


def _headline(facts: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    length = "quick" if facts["quick"] else "full"
    return f"{facts['began']}, {length}, load average before {facts['load before']:.2f}: {versions}"


def _plain(rows: list[Row]) -> list[dict[str, Any]]:
    plain = []
    for row in rows:
        workload = row.workload
        outcomes = {
            name: {**asdict(one), "summary": asdict(one.summary) if one.summary else None}
            for name, one in row.outcomes.items()
        }
        plain.append(
            {
                "workload": workload.name,
                "title": workload.title,
                "mode": workload.mode,
                "unit": workload.unit.text,
                "scale": workload.unit.scale,
                "options": workload.options,
                "ratio": tables.costs_ratio(row),
                "goal": asdict(workload.goal),
                "reached": workload.goal.verdict(tables.costs_ratio(row)),
                "left out": row.left_out,
                "peers": outcomes,
            }
        )
    return plain


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
