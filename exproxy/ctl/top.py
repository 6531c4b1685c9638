"""``exproxyctl top``: the status, live."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator
from typing import Any

import click

from exproxy.ctl.asking import asking
from exproxy.ctl.client import Client
from exproxy.ctl.columns import BACKENDS, SERVICES
from exproxy.ctl.output import Output, clean, coloured, table
from exproxy.ctl.status import headline

_ENTER = "\033[?1049h\033[?25l"
_LEAVE = "\033[?25h\033[?1049l"
_HOME, _REST_OF_LINE, _REST = "\033[H", "\033[K", "\033[J"


@click.command(short_help="The status, live.")
@click.option("--every", type=click.FloatRange(0.5, 60), default=2.0, help="Seconds between two looks.")
@asking
def top(client: Client, output: Output, every: float) -> None:
    """Show services and backends live; q or Ctrl-C to leave.

    Without a terminal it shows them once.
    """
    if not output.people:
        raise click.UsageError("top is for people; use `exproxyctl status -o json`")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        for line in lines(client.get("/status"), coloured()):
            click.echo(line)
        return
    with _screen():
        while True:
            size = shutil.get_terminal_size()
            sys.stdout.write(drawn(lines(client.get("/status"), coloured()), size.columns, size.lines))
            sys.stdout.flush()
            if _left(every):
                return


def lines(found: dict[str, Any], colour: bool) -> list[str]:
    """The lines of one look."""
    backends = [
        backend
        for service in found["services"]
        for target in service["targets"]
        for backend in target["backends"]
    ]
    text = [f"{headline(found)}    {found['time']}", ""]
    text += table(found["services"], SERVICES, colour)
    text += ["", *table(backends, BACKENDS, colour)]
    return text + [clean(f"{each['kind']}: {each['text']}") for each in found["warnings"]]


def drawn(text: list[str], columns: int, rows: int) -> str:
    """What redraws a terminal of that size in place, without flicker."""
    kept = text if len(text) <= rows - 1 else [*text[: rows - 2], f"… {len(text) - rows + 2} lines more"]
    return _HOME + "".join(f"{_cut(line, columns)}{_REST_OF_LINE}\r\n" for line in kept) + _REST


def _cut(line: str, columns: int) -> str:
    """The line's first letters; what only colours does not count."""
    if len(click.unstyle(line)) <= columns:
        return line
    shown, index, count = [], 0, 0
    while index < len(line) and count < columns:
        if line[index] == "\033":
            end = line.index("m", index) + 1
            shown.append(line[index:end])
            index = end
        else:
            shown.append(line[index])
            index += 1
            count += 1
    return "".join(shown) + "\033[0m"


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """Keys without Enter, on a screen of its own; what was there before comes back, whatever happens."""
    here = sys.stdin.fileno()
    before = termios.tcgetattr(here)
    try:
        tty.setcbreak(here)
        sys.stdout.write(_ENTER)
        yield
    except KeyboardInterrupt:
        return
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        termios.tcsetattr(here, termios.TCSADRAIN, before)


def _left(seconds: float) -> bool:
    """Wait so long; whether q was pressed meanwhile, or nobody is there any more."""
    end = time.monotonic() + seconds
    while (remaining := end - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], remaining)[0]:
            key = os.read(sys.stdin.fileno(), 1)
            if key in (b"q", b"Q", b""):
                return True
    return False
