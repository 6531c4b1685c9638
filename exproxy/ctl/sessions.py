"""``exproxyctl sessions``: the client connections, and cutting them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from exproxy.ctl.asking import asking
from exproxy.ctl.client import Client, part
from exproxy.ctl.columns import SESSIONS
from exproxy.ctl.output import Output

F = TypeVar("F", bound=Callable[..., Any])


def _chosen(function: F) -> F:
    for option in (
        click.option("--client", "peer", help="From that address or network."),
        click.option("--server", help="On that server."),
        click.option("--service", help="Of that service."),
    ):
        function = option(function)
    return function


@click.group(short_help="Client connections, and cutting them.")
def sessions() -> None:
    """List client connections, and cut them."""


@sessions.command("list")
@_chosen
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, help="So many at most.")
@asking
def list_(
    client: Client, output: Output, service: str | None, server: str | None, peer: str | None, limit: int
) -> None:
    """List the connections that fit, the oldest first."""
    rows = client.get("/sessions", service=service, server=server, client=peer, limit=limit)
    output.rows(rows, SESSIONS, "No connection fits.")


@sessions.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_chosen
@click.option("--reason", default="no reason given", help="Why, for the access log.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@asking
def kill(
    client: Client,
    output: Output,
    ids: tuple[str, ...],
    service: str | None,
    server: str | None,
    peer: str | None,
    reason: str,
    yes: bool,
) -> None:
    """Cut the connections with these IDs, or all that fit."""
    words = {"service": service, "server": server, "client": peer}
    if bool(ids) == any(words.values()):
        raise click.UsageError("say either which IDs, or --service, --server or --client")
    if ids:
        count = sum(
            client.ask("DELETE", f"/sessions/{part(each)}", query={"reason": reason})["killed"]
            for each in ids
        )
    else:
        if not yes and sys.stdin.isatty():
            there = len(client.get("/sessions", **words, limit=10_000))
            click.confirm(f"Cut {there} connections?", abort=True, err=True)
        count = client.ask("DELETE", "/sessions", query={**words, "reason": reason})["killed"]
    output.done(f"{count} connection{'' if count == 1 else 's'} cut", {"killed": count})
