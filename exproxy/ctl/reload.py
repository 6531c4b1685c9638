"""``exproxyctl reload``: have what the configuration file says now."""

from __future__ import annotations

import click

from exproxy.ctl.asking import asking
from exproxy.ctl.client import Client
from exproxy.ctl.output import Output


@click.command(short_help="Have what the configuration file says now.")
@click.option("--dry-run", is_flag=True, help="Only say what would change, and how many connections it cuts.")
@asking
def reload(client: Client, output: Output, dry_run: bool) -> None:
    """Read the configuration again; where it cannot be used nothing changes."""
    done = client.ask("POST", "/reload", {"dry_run": dry_run})
    if not output.people:
        output.done("", done)
        return
    for change in done["changes"]:
        click.echo(change)
    count = done["cut"]
    cut = f"{count} connection{'' if count == 1 else 's'}"
    if not done["changes"]:
        click.echo("Nothing changes." if dry_run else "Read again; nothing has changed.")
    elif dry_run:
        click.echo(f"This would cut {cut}.")
    else:
        click.echo(f"The configuration is in use; {cut} cut.")
