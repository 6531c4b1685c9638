"""``exproxyctl completion``: what a shell needs to complete commands, options and names of servers."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(short_help="Print what a shell needs to complete.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion for SHELL; eval "$(exproxyctl completion bash)" in ~/.bashrc has it."""
    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "exproxyctl", "_EXPROXYCTL_COMPLETE").source())
