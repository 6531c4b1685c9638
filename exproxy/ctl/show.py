"""``exproxyctl show``: one kind of thing."""

from __future__ import annotations

from typing import Any

import click

from exproxy.ctl.asking import asking
from exproxy.ctl.client import Client
from exproxy.ctl.columns import BACKENDS, CERTIFICATES, GROUPS, SERVERS, SERVICES
from exproxy.ctl.output import Output

_WHAT = {
    "services": SERVICES,
    "backends": BACKENDS,
    "servers": SERVERS,
    "groups": GROUPS,
    "certificates": CERTIFICATES,
}


@click.command(short_help="Services, backends, servers, groups, certificates, config.")
@click.argument("what", type=click.Choice([*_WHAT, "config"]))
@click.argument("name", default="")
@asking
def show(client: Client, output: Output, what: str, name: str) -> None:
    """Show services, backends, servers, groups, certificates, or the configuration as it is served.

    NAME: only that service, server or group; for backends those of that service, for certificates too.
    """
    if what == "config":
        _config(client.get("/configuration"), output, name)
        return
    if what == "backends":
        rows = client.get("/backends", service=name or None)
    elif what == "groups":
        rows = client.get("/status")["groups"]
    else:
        rows = client.get(f"/{what}")
    if name and what != "backends":
        key = "service" if what == "certificates" else "name"
        rows = [each for each in rows if each[key] == name]
    if name and not rows:
        raise click.ClickException(f"there is no {name!r} among the {what}; see `exproxyctl show {what}`")
    output.rows(rows, _WHAT[what])


def _config(values: dict[str, Any], output: Output, name: str) -> None:
    if name and name not in values:
        there = ", ".join(values)
        raise click.ClickException(f"there is no section {name!r} in the configuration; there are {there}")
    chosen = {name: values[name]} if name else values
    if output.form == "csv":
        raise click.UsageError("a configuration is no table: use -o json, or neither")
    if output.form == "json":
        output.value(chosen)
        return
    import yaml

    click.echo(yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True), nl=False)
