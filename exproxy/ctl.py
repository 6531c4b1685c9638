"""``exproxyctl``: check a configuration, print its JSON Schema, show templates; and plugins' commands.

Exit codes: 0 good, 1 the configuration (or a plugin) cannot be used, 2 wrong usage.
"""

from __future__ import annotations

import copy
from pathlib import Path

import click

from exproxy import __version__
from exproxy.errors import ConfigurationError
from exproxy.interfaces import ICommandPlugin

DEFAULT_FILE = "/etc/exproxy/exproxy.yaml"


class Commands(click.Group):
    """The commands here, and those of plugins. One that cannot be used says so and stops no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        from exproxy.plugins import names

        return sorted({*super().list_commands(ctx), *names(ICommandPlugin)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; ours win."""
        return super().get_command(ctx, cmd_name) or _foreign(cmd_name)


def _foreign(name: str) -> click.Command | None:
    from exproxy.plugins import UnknownPlugin, find

    try:
        plugin = find(ICommandPlugin, name)
        command = copy.copy(plugin.command)
        command.short_help = plugin.summary
    except UnknownPlugin:
        return None
    except Exception as error:
        # Whatever is wrong with somebody's module, the other commands go on.
        return _unusable(name, str(error) or type(error).__name__)
    return command  # type: ignore[no-any-return]  # ICommandPlugin says so


def _unusable(name: str, reason: str) -> click.Command:
    def refuse(**ignored: object) -> None:
        raise click.ClickException(reason)

    settings = {"ignore_unknown_options": True}
    anything = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
    return click.Command(
        name, settings, refuse, [anything], short_help="(cannot be used)", help=f"Cannot be used: {reason}"
    )


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="exproxyctl", message="%(prog)s %(version)s")
def main() -> None:
    """Look after exproxy, the load balancer for Microsoft Exchange and mail."""


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default=DEFAULT_FILE)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="For people or programs."
)
def check(file: Path, form: str) -> None:
    """Check a configuration FILE and everything that it names: all errors at once.

    Nothing is started, bound, written or looked up in DNS. Without FILE it is /etc/exproxy/exproxy.yaml.
    """
    # Imported late, so that --help and --version are quick.
    from exproxy.config import Invalid, load, render_json, summary

    try:
        config = load(file)
    except Invalid as invalid:
        click.echo(invalid.render_json() if form == "json" else str(invalid))
        raise SystemExit(1) from None
    if form == "json":
        click.echo(render_json(config.warnings, file))
    else:
        click.echo(config.warning_text + summary(config.warnings, file))


@main.command()
def schema() -> None:
    """Print the JSON Schema of configuration files, for editors: all known plugins are in it."""
    from exproxy.config.schema import schema_text

    try:
        click.echo(schema_text(), nl=False)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None


@main.group()
def template() -> None:
    """Show the templates that a configuration can begin with."""


@template.command("list")
def list_() -> None:
    """Print the names of all templates, each with its first line."""
    from exproxy.config.templates import NAMES, path_of

    for name in NAMES:
        first = path_of(name).read_text("utf-8").partition("\n")[0]
        click.echo(f"{name:<15}{first.lstrip('# ')}")


@template.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the template NAME as it stands in the package."""
    from exproxy.config.templates import NAMES, path_of

    if name not in NAMES:
        raise click.BadParameter(f"{name!r}; there are {', '.join(NAMES)}", param_hint="NAME")
    click.echo(path_of(name).read_text("utf-8"), nl=False)


@template.command()
@click.argument("file", type=click.Path(path_type=Path), default=DEFAULT_FILE)
def render(file: Path) -> None:
    """Print the configuration FILE with its template in it, every key that counts.

    What stands in the environment or in other files (!env, !file) stays there.
    """
    from exproxy.config import Invalid
    from exproxy.config.rendering import rendered

    try:
        click.echo(rendered(file), nl=False)
    except Invalid as invalid:
        click.echo(str(invalid), err=True)
        raise SystemExit(1) from None
