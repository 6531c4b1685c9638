"""``exproxyctl persistence``: where clients go again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from exproxy.ctl.asking import asking
from exproxy.ctl.client import Client, part
from exproxy.ctl.columns import ENTRIES
from exproxy.ctl.output import Output

F = TypeVar("F", bound=Callable[..., Any])


def _chosen(function: F) -> F:
    for option in (
        click.option("--user", help="Of that user."),
        click.option("--client", "peer", help="Of that address."),
        click.option("--key", help="With that key, KIND:HEX as it is listed."),
        click.option("--server", help="That lead to that server."),
    ):
        function = option(function)
    return function


def _words(server: str | None, key: str | None, peer: str | None, user: str | None) -> dict[str, str | None]:
    words = {"server": server, "key": key, "client": peer, "user": user}
    if not any(words.values()):
        raise click.UsageError("say which entries: --server, --key, --client or --user")
    return words


@click.group(short_help="Find, forget and move persistence entries.")
def persistence() -> None:
    """Find, forget and move the entries of a TABLE: a group, or a service without one."""


@persistence.command()
@click.argument("table")
@_chosen
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, help="So many at most.")
@asking
def find(
    client: Client,
    output: Output,
    table: str,
    server: str | None,
    key: str | None,
    peer: str | None,
    user: str | None,
    limit: int,
) -> None:
    """List the entries of TABLE that fit, those used last first."""
    words = {"server": server, "key": key, "client": peer, "user": user, "limit": limit}
    output.rows(client.get(f"/groups/{part(table)}/entries", **words), ENTRIES, "No entry fits.")


@persistence.command()
@click.argument("table")
@_chosen
@asking
def delete(
    client: Client,
    output: Output,
    table: str,
    server: str | None,
    key: str | None,
    peer: str | None,
    user: str | None,
) -> None:
    """Forget the entries of TABLE that fit: their clients are scheduled anew."""
    words = _words(server, key, peer, user)
    done = client.ask("DELETE", f"/groups/{part(table)}/entries", query=words)
    count = done["deleted"]
    output.done(f"{count} entr{'y' if count == 1 else 'ies'} forgotten", done)


@persistence.command()
@click.argument("table")
@click.argument("to", metavar="SERVER")
@_chosen
@asking
def move(
    client: Client,
    output: Output,
    table: str,
    to: str,
    server: str | None,
    key: str | None,
    peer: str | None,
    user: str | None,
) -> None:
    """Have the entries of TABLE that fit lead to SERVER."""
    words = _words(server, key, peer, user)
    done = client.ask("PUT", f"/groups/{part(table)}/entries", {"server": to}, words)
    count = done["moved"]
    output.done(f"{count} entr{'y leads' if count == 1 else 'ies lead'} to {to} now", done)
