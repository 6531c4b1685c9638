"""``exproxyctl explain``: why a client goes where it goes."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from exproxy.ctl.asking import asking
from exproxy.ctl.client import Client
from exproxy.ctl.output import Column, Output, clean, coloured, table

_BACKENDS = (
    Column("", lambda r: "*" if r["taken"] else ""),
    Column("BACKEND", lambda r: r["name"]),
    Column("STATE", lambda r: r["state"], state=True),
    Column("PLACE", lambda r: r["place"], number=True),
    Column("WEIGHT", lambda r: r["weight"], number=True),
    Column("RAMP", lambda r: r["ramp"], lambda r: f"{r['ramp']:.0%}", number=True),
    Column("LINKS", lambda r: r["links"], number=True),
    Column("LIMIT", lambda r: r["limit"], number=True),
    Column("WHY", lambda r: r["why"]),
)
_KNOWN = (
    Column("", lambda r: "*" if r["decides"] else ""),
    Column("KNOWN BY", lambda r: r["kind"]),
    Column("KEY", lambda r: r["key"]),
    Column("FROM", lambda r: r["facts"]),
    Column("SERVER", lambda r: r["server"]),
    Column("WHY", lambda r: r["why"]),
)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"{text!r}: write it like 'Name: value'", param_hint="--header")
    return name.strip(), value.strip()


@click.command(short_help="Which server a client gets, and why.")
@click.argument("service", default="")
@click.option("--from", "source", default="", help="The client's address.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port that it comes to.")
@click.option("--method", default="GET", help="Of its HTTP request.")
@click.option("--host", default="", help="Of its HTTP request.")
@click.option("--path", default="/", help="Of its HTTP request.")
@click.option(
    "--header", "headers", multiple=True, help="Of its HTTP request: 'Name: value'; may be repeated."
)
@click.option("--user", default="", help="Who it logs in as.")
@click.option("--server-name", default="", help="Of its TLS handshake.")
@click.option("--session-id", default="", help="A TLS session that it resumes, hexadecimal.")
@click.option("--association", type=int, default=0, help="An RPC association group.")
@click.option("--session", default="", help="Instead: a live session's ID.")
@click.option("--record", default="", help="Instead: a line of the access log, or - to read it from stdin.")
@asking
def explain(
    client: Client,
    output: Output,
    service: str,
    session: str,
    record: str,
    headers: tuple[str, ...],
    **words: Any,
) -> None:
    """Say which server of SERVICE a client gets, and why; nothing changes by asking.

    The client is a hypothetical one, a live --session, or a --record of the access log.
    """
    question: dict[str, Any] = {"service": service, "session": session}
    if record:
        question["record"] = _record(record)
    elif not session:
        if not service:
            raise click.UsageError("say SERVICE, --session or --record")
        question["client"] = {**words, "headers": [_header(each) for each in headers]}
    found = client.ask("POST", "/explain", question)
    if output.form == "json":
        output.value(found)
    elif output.form == "csv":
        output.rows(found["backends"], _BACKENDS[1:])
    else:
        for line in lines(found, coloured()):
            click.echo(line)


def _record(text: str) -> dict[str, Any]:
    raw = sys.stdin.readline() if text == "-" else text
    try:
        value = json.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise click.BadParameter("it is no JSON object of the access log", param_hint="--record")
    return value


def lines(found: dict[str, Any], colour: bool) -> list[str]:
    """The explanation for people."""
    route = f", route {found['route']}" if found["route"] else ""
    text = [f"service {found['service']}{route}"]
    if found["answer"]:
        text.append(clean(f"exproxy answers itself: {found['answer']}"))
    text += [clean(f"  {name}: {value}") for name, value in found["facts"].items()]
    if found["known"]:
        text += ["", *table(found["known"], _KNOWN, colour)]
    if found["backends"]:
        text += ["", *table(found["backends"], _BACKENDS, colour)]
    if found["server"]:
        how = f" ({found['persistence']})" if found["persistence"] else ""
        text += ["", clean(f"It gets {found['server']}{how}: {found['reason']}")]
    else:
        text += ["", clean(f"It gets no server: {found['reason']}")]
    if found["claims"]:
        text.append(f"It would be remembered in {found['table']} by {', '.join(found['claims'])}")
    return text + [clean(each) for each in found["notes"]]
