"""check, schema and template: what concerns configuration files; no process is asked."""

from __future__ import annotations

from pathlib import Path

import click

DEFAULT_FILE = "/etc/exproxy/exproxy.yaml"


@click.command(short_help="Check a configuration file: all errors at once.")
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


@click.command(short_help="Print the JSON Schema of configuration files.")
def schema() -> None:
    """Print the JSON Schema of configuration files, for editors: all known plugins are in it."""
    from exproxy.config.schema import schema_text
    from exproxy.errors import ConfigurationError

    try:
        click.echo(schema_text(), nl=False)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None


@click.group(short_help="Templates that a configuration can begin with.")
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
