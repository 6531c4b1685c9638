"""``exproxyctl events``: what happened."""

from __future__ import annotations

import json
from typing import Any

import click

from exproxy.ctl.asking import asking
from exproxy.ctl.client import Client
from exproxy.ctl.columns import EVENTS
from exproxy.ctl.output import Output, clean, coloured

LEVELS = ("debug", "info", "warn", "error", "critical")
_COLOURS = {"warn": "yellow", "error": "red", "critical": "red"}


@click.command(short_help="The latest events of the log, or all to come.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("-n", "--limit", type=click.IntRange(1, 2000), default=20, help="The last so many.")
@click.option("--level", type=click.Choice(LEVELS), default="info", help="Of that level or above.")
@asking
def events(client: Client, output: Output, follow: bool, limit: int, level: str) -> None:
    """Show the latest events of the log.

    With --follow each is a line; -o json gives one object a line then.
    """
    chosen = [each for each in client.get("/events", limit=2000) if _fits(each, level)][-limit:]
    if not follow:
        output.rows(chosen, EVENTS, "Nothing has happened yet.")
        return
    if output.form == "csv":
        raise click.UsageError("-o csv does not go with --follow; -o json does")
    for each in chosen:
        _say(each, output)
    last = chosen[-1]["number"] if chosen else 0
    try:
        for kind, value in client.stream(since=last):
            if kind == "event" and value["number"] > last and _fits(value, level):
                _say(value, output)
    except KeyboardInterrupt:
        return


def _fits(event: dict[str, Any], level: str) -> bool:
    known = event["level"]
    return known not in LEVELS or LEVELS.index(known) >= LEVELS.index(level)


def _say(event: dict[str, Any], output: Output) -> None:
    if output.form == "json":
        click.echo(json.dumps(event, ensure_ascii=False))
        return
    word = f"{event['level']:<8}"
    name = _COLOURS.get(event["level"])
    if name and coloured():
        word = click.style(word, fg=name)
    click.echo(f"{event['time']}  {word}  {clean(event['text'])}")
