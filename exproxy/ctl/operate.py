"""drain, maint, ready and weight: what the operator wants of a server."""

from __future__ import annotations

import datetime
import sys
import time
from typing import Any

import click

from exproxy.ctl.asking import asking, server_names
from exproxy.ctl.client import Client, Failed, Refused, part
from exproxy.ctl.output import Output, lasting

# Seconds between two looks while waiting.
PACE = 1.0

_name = click.argument("name", shell_complete=server_names)
_reason = click.option("--reason", default="", help="Why, for those who look later.")
_until = click.option(
    "--until",
    help="Ready again by itself: after 2h, or at 2026-11-26T06:00 (this machine's time, or with +01:00).",
)
_force = click.option("--force", is_flag=True, help="Even the last usable server of a service.")
_wait = click.option("--wait", is_flag=True, help="Until no connection is left, and show how many there are.")
_timeout = click.option("--timeout", help="Cut what is left after that time, for example 10m.")
_drain = click.option(
    "--move/--keep",
    "move",
    default=None,
    help="Known clients go elsewhere with their next connection, or go on coming. Default: as configured.",
)


def duration(text: str) -> float:
    """Seconds of ``10m``; wrong usage otherwise."""
    from exproxy.units import duration as seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def moment(text: str, now: float) -> str:
    """RFC 3339 of ``2h`` from now, or of a time that is written."""
    try:
        when = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        when = datetime.datetime.fromtimestamp(now + duration(text), datetime.timezone.utc)
    when = when.astimezone()
    if when.timestamp() <= now:
        raise click.BadParameter(f"--until: {when.isoformat(timespec='seconds')} is over")
    return when.isoformat()


def place(name: str) -> tuple[str | None, str]:
    """(service or None, server) of ``ex1`` or ``https/ex1``."""
    service, slash, server = name.partition("/")
    if slash and "/" in server:
        advice = "routes and ports of a service go together: name SERVER or SERVICE/SERVER"
        raise click.BadParameter(f"{name!r}: {advice}")
    return (service, server) if slash else (None, name)


def path_of(name: str, what: str) -> str:
    """The API's path of a server's state or weight."""
    service, server = place(name)
    if service is not None:
        return f"/backends/{part(service)}/{part(server)}/{what}"
    return f"/servers/{part(server)}/{what}"


@click.command(short_help="Nobody new onto a server.")
@_name
@_reason
@_until
@_wait
@_timeout
@_force
@_drain
@asking
def drain(client: Client, output: Output, **words: Any) -> None:
    """Let nobody new onto NAME, a server or SERVICE/SERVER; who is there, or known, may go on.

    With --wait the command ends when nobody is left.
    """
    _operate(client, output, "drain", **words)


@click.command(short_help="Take a server out.")
@_name
@_reason
@_until
@_wait
@_timeout
@_force
@asking
def maint(client: Client, output: Output, **words: Any) -> None:
    """Take NAME, a server or SERVICE/SERVER, out: nobody comes, and it is not checked."""
    _operate(client, output, "maint", move=None, **words)


@click.command(short_help="Have a server in use again.")
@_name
@_reason
@asking
def ready(client: Client, output: Output, name: str, reason: str) -> None:
    """Have NAME, a server or SERVICE/SERVER, in use again."""
    done = client.ask("PUT", path_of(name, "state"), {"state": "ready", "reason": reason})
    output.done(_said(done), done)


@click.command(short_help="Give a server another share.")
@_name
@click.argument("value", type=click.IntRange(0, 256))
@asking
def weight(client: Client, output: Output, name: str, value: int) -> None:
    """Give NAME, a server or SERVICE/SERVER, the weight VALUE, 0 to 256 (0: no new clients).

    It lasts until the configuration is read again.
    """
    done = client.ask("PUT", path_of(name, "weight"), {"weight": value})
    output.done(f"{done['server']} has weight {done['weight']} in {', '.join(done['services'])}", done)


def _operate(
    client: Client,
    output: Output,
    state: str,
    *,
    name: str,
    reason: str,
    until: str | None,
    wait: bool,
    timeout: str | None,
    force: bool,
    move: bool | None,
) -> None:
    body: dict[str, Any] = {"state": state, "reason": reason, "force": force}
    if until is not None:
        body["until"] = moment(until, time.time())
    if timeout is not None:
        body["timeout"] = duration(timeout)
    if move is not None:
        body["drain"] = "move" if move else "keep"
    done = _confirmed(client, path_of(name, "state"), body)
    if output.people or not wait:
        output.done(_said(done), done)
    for text in done["warnings"]:
        click.echo(f"exproxyctl: {text}", err=True)
    if wait:
        left = wait_until_empty(client, name)
        if not output.people:
            output.done("", {**done, "left": left})


def _confirmed(client: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Do it; where a service would have nobody left, ask whoever sits at the terminal."""
    try:
        done: dict[str, Any] = client.ask("PUT", path, body)
    except Refused as refused:
        if refused.kind != "last-usable":
            raise
        if not sys.stdin.isatty():
            raise Failed(f"{refused.message} (--force)") from None
        click.echo(refused.message, err=True)
        click.confirm("Take it out all the same?", abort=True, err=True)
        done = client.ask("PUT", path, {**body, "force": True})
    return done


def _said(done: dict[str, Any]) -> str:
    words = {"ready": "is ready", "drain": "drains", "maint": "is in maintenance"}
    count = done["sessions"]
    left = "" if done["state"] == "ready" else f"; {count} connection{'' if count == 1 else 's'} left"
    return f"{done['server']} {words[done['state']]} in {', '.join(done['services'])}{left}"


def wait_until_empty(client: Client, name: str) -> int:
    """Look until nothing is left (0), with progress on stderr; Failed where somebody has it ready again."""
    service, server = place(name)
    began, before = time.monotonic(), None
    live = sys.stderr.isatty()
    while True:
        rows = client.get("/backends", service=service, server=server)
        left = sum(each["sessions"]["current"] for each in rows)
        if left != before or live:
            ending = "\r\033[K" if live else ""
            text = f"{ending}{name}: {left} left after {lasting(time.monotonic() - began)}"
            click.echo(text, err=True, nl=not live or not left)
        if not left:
            return 0
        if all(each["operator"] is None or each["operator"]["state"] == "ready" for each in rows):
            raise Failed(f"{name} is ready again, with {left} connections; somebody else wants it in use")
        before = left
        time.sleep(PACE)
