"""The commands of exproxyctl, and those of plugins (ICommandPlugin)."""

from __future__ import annotations

import copy

import click


class Commands(click.Group):
    """The commands here, and those of plugins. One that cannot be used says so and stops no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        # Imported late: the commands here need none of it.
        from exproxy.interfaces import ICommandPlugin
        from exproxy.plugins import names

        return sorted({*super().list_commands(ctx), *names(ICommandPlugin)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; ours win."""
        return super().get_command(ctx, cmd_name) or _foreign(cmd_name)


def _foreign(name: str) -> click.Command | None:
    from exproxy.interfaces import ICommandPlugin
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
