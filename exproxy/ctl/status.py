"""``exproxyctl status``: all at a glance."""

from __future__ import annotations

from typing import Any

import click

from exproxy.ctl.asking import asking
from exproxy.ctl.client import Client
from exproxy.ctl.columns import SERVERS, SERVICES
from exproxy.ctl.output import Column, Output, clean, coloured, lasting, table


@click.command(short_help="The process, services and servers at a glance.")
@asking
def status(client: Client, output: Output) -> None:
    """Show the process, its services and servers, and what needs attention.

    With -o csv it is the services.
    """
    found = client.get("/status")
    if not output.people:
        output.rows(found["services"], SERVICES, raw=found)
        return
    for line in lines(found, coloured()):
        click.echo(line)


@click.command(short_help="Whether the process answers: exit code 0, else 3.")
@asking
def ping(client: Client, output: Output) -> None:
    """Say whether the process answers, for health checks of containers and scripts.

    One that drains answers, too; whether it takes new clients is what /readyz says.
    """
    process = client.get("/status")["process"]
    answer = {"answers": True, "draining": process["draining"]}
    if not output.people:
        output.rows(
            [answer],
            (Column("answers", lambda row: row["answers"]), Column("draining", lambda row: row["draining"])),
            raw=answer,
        )
        return
    click.echo("exproxy answers" + (", and drains" if process["draining"] else ""))


def lines(found: dict[str, Any], colour: bool) -> list[str]:
    """The lines of a status."""
    text = [headline(found), ""]
    text += table(found["services"], SERVICES, colour)
    text += ["", *table(found["servers"], SERVERS, colour)]
    for each in found["warnings"]:
        text += ["", clean(f"{each['kind']}: {each['text']}")]
    return text


def headline(found: dict[str, Any]) -> str:
    """One line on the process."""
    process = found["process"]
    workers = process["workers"]
    sessions = sum(each["sessions"]["current"] for each in found["services"])
    parts = [
        f"exproxy {process['version']} on {process['node']}",
        f"pid {process['pid']}",
        f"up {lasting(process['uptime'])}",
        f"{len(workers)} worker{'' if len(workers) == 1 else 's'}",
        f"{sessions} session{'' if sessions == 1 else 's'}",
    ]
    if process["draining"]:
        parts.append("DRAINING")
    return clean(", ".join(parts))
