"""The options of every command that asks the process: where it is, and how the answer is shown."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from exproxy.ctl.client import Client, Failed, Place, usual_sockets
from exproxy.ctl.output import Output

F = TypeVar("F", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path)
_OPTIONS = (
    click.option("--socket", type=_PATH, envvar="EXPROXY_SOCKET", help="Its unix socket [EXPROXY_SOCKET]."),
    click.option(
        "-c", "--config", type=_PATH, help="Its configuration file, whose state-dir has the socket."
    ),
    click.option("--url", envvar="EXPROXY_URL", help="Its administration elsewhere [EXPROXY_URL]."),
    click.option(
        "--token-file",
        type=_PATH,
        envvar="EXPROXY_TOKEN_FILE",
        help="The token for --url [EXPROXY_TOKEN_FILE; or the token itself in EXPROXY_TOKEN].",
    ),
    click.option("--ca", type=_PATH, envvar="EXPROXY_CA", help="Who signed its certificate [EXPROXY_CA]."),
)
_FORM = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    help="For people, for programs, for sheets.",
)


def asking(function: F) -> F:
    """Give a command those options; it gets ``client`` and ``output``."""

    @functools.wraps(function)
    def command(
        *,
        socket: Path | None,
        config: Path | None,
        url: str | None,
        token_file: Path | None,
        ca: Path | None,
        form: str,
        **more: Any,
    ) -> Any:
        place = _place(socket, config, url, token_file, ca)
        return function(client=Client(place), output=Output(form), **more)

    for option in reversed((*_OPTIONS, _FORM)):
        command = option(command)
    return command  # type: ignore[return-value]


def _place(
    socket: Path | None, config: Path | None, url: str | None, token_file: Path | None, ca: Path | None
) -> Place:
    if socket is not None:
        return Place((socket,))
    if config is not None:
        return Place((_state_dir(config) / "exproxy.sock",))
    return Place(usual_sockets(), url, token_file, ca)


def _state_dir(file: Path) -> Path:
    from exproxy.config import Invalid, load

    try:
        return load(file).state_dir
    except Invalid:
        raise Failed(f"{file} cannot be used; see `exproxyctl check {file}`, or say --socket PATH") from None


def server_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For the shell: servers, and SERVICE/SERVER once there is a slash; nothing where nobody answers."""
    try:
        status = Client(Place(usual_sockets(), url=None)).get("/status")
    except click.ClickException:
        return []
    names = [each["name"] for each in status["servers"]]
    services = status["services"]
    pairs = [f"{each['name']}/{name}" for each in services for name in names] if "/" in incomplete else []
    whole = [*names, *(f"{each['name']}/" for each in services), *pairs]
    return [each for each in dict.fromkeys(whole) if each.startswith(incomplete)]
