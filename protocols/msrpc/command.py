"""The command ``exproxyctl epm``."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click
from zope.interface import implementer

from exproxy.actions import Fail, Pass
from exproxy.asking import ask_once
from exproxy.interfaces import ICommandPlugin
from protocols.msrpc.locating import MAPPER_PORT
from protocols.msrpc.names import named, title
from protocols.msrpc.survey import Endpoint, check


def rows(endpoints: Sequence[Endpoint]) -> list[dict[str, object]]:
    """What is shown: one row for each interface and place, the interfaces with names first."""
    found: dict[tuple[object, ...], dict[str, object]] = {}
    for each in endpoints:
        tower = each.tower
        name = named(tower.interface)
        row: dict[str, object] = {
            "interface": name,
            "version": f"{tower.major}.{tower.minor}",
            "uuid": str(tower.interface),
            "transport": tower.transport,
            "port": tower.port or None,
            "address": tower.host or None,
            "title": title(tower.interface) or each.annotation,
        }
        found.setdefault(tuple(row.values()), row)
    return sorted(
        found.values(),
        key=lambda row: (row["interface"] == row["uuid"], str(row["interface"]), row["port"] or 0),
    )


def table(shown: Sequence[dict[str, object]]) -> str:
    """The rows as text, a heading over them."""
    heading = ("interface", "version", "port", "transport", "title")
    cells = [heading, *(tuple(str(row[key] or "") for key in heading) for row in shown)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heading))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)


@click.command()
@click.argument("address")
@click.option("--port", default=MAPPER_PORT, show_default=True, help="The mapper's port.")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds for all of it.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", help="For people or programs."
)
@click.option("--tcp", is_flag=True, help="Only what can be reached over TCP.")
def epm(address: str, port: int, timeout: float, output: str, tcp: bool) -> None:
    """Ask the endpoint mapper at ADDRESS what it knows: interfaces and their ports.

    ADDRESS is any server, or exproxy itself. Exit code 1: there was no good answer.
    """
    outcome = ask_once(check, address, port, timeout)
    if not isinstance(outcome, Pass):
        reason = (
            f"{outcome.code} {outcome.phase}: {outcome.reason}"
            if isinstance(outcome, Fail)
            else outcome.reason
        )
        raise click.ClickException(f"{address}:{port} gave no good answer ({reason})")
    learnt = outcome.learnt
    assert isinstance(learnt, tuple)
    shown = rows([each for each in learnt if each.tower.port or not tcp])
    click.echo(json.dumps(shown, indent=2) if output == "json" else table(shown))


@implementer(ICommandPlugin)
class _Plugin:
    name = "epm"
    summary = "Ask a server's endpoint mapper what it knows."
    command = epm


plugin = _Plugin()
