"""Mixed load under random faults; in the end nothing may be left, nothing wrong, and no cut without a cause.

    make soak [MINUTES=20] [SEED=n] [OUT=FOLDER] [WORKERS=n]
    python -m bench.soak --help

See docs/soak.md. It needs Linux; everything runs on 127.0.0.0/8 and ends with the tool. Exit code 1:
something leaked or was wrong; 2: it could not be done.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import machine
from bench.soak import faults, report
from bench.soak.running import Blind, Failed, Soak
from bench.soak.site import NAME, Site, own_network
from tests.certificates import ca_file, pem

CLIENTS = 40


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write."""
    options = _options().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    machine.raise_files()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 31)
    seconds = options.seconds or options.minutes * 60
    plan = faults.schedule(seed, seconds)
    _say(f"SEED={seed}: {len(plan)} faults in {seconds:.0f} s, {options.clients} clients")
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    site = Site(folder, own_network(), ca_file(), pem(NAME), options.workers)
    soak = Soak(site, seed, _say, options.only)
    try:
        soak.start()
        _say("each kind of client once")
        soak.warm()
        _say("load")
        soak.load(options.clients, plan, seconds)
        _say("no more load")
        soak.stop()
        soak.finish()
        about = {"seed": seed, "clients": options.clients, "workers": options.workers}
        made = report.result(soak, seconds, about)
        _publish(made, soak, options.out)
    except (Failed, Blind) as failed:
        _keep(soak, options.out)
        _say(f"the soak has failed: {failed}")
        return 2
    finally:
        soak.close()
        shutil.rmtree(folder, ignore_errors=True)
    return int(bool(made["problems"]))


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="of load")
    parser.add_argument("--seconds", type=float, default=0.0, help="the same")
    parser.add_argument(
        "--seed", type=int, help="of the faults and the clients, as an earlier run has shown it"
    )
    parser.add_argument("--clients", type=int, default=CLIENTS, help="at a time")
    parser.add_argument("--workers", default="", help="exproxy's `workers:`; nothing leaves it out")
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of clients' names")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="where results are written")
    return parser


def _publish(made: dict[str, Any], soak: Soak, out: Path) -> None:
    print("\n" + report.table(made) + "\n\n" + report.summary(made) + "\n", flush=True)
    _keep(soak, out)
    (out / "soak.json").write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    _say(f"written to {out}: soak.json, exproxy.log")


def _keep(soak: Soak, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if soak.output.exists():
        shutil.copyfile(soak.output, out / "exproxy.log")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
