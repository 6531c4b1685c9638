"""What a service, or a route, has chosen, held against each other."""

from __future__ import annotations

from typing import Any

from exproxy.config.context import Context
from exproxy.config.layers import Layers
from exproxy.config.selection import lacking
from exproxy.plugins import Selected
from exproxy.settings import HealthSettings


def fitting(
    context: Context, stack: Layers, persistence: Selected[Any] | None, protocol: Selected[Any]
) -> None:
    """Tell of a persistence that needs what the protocol does not give."""
    missing = lacking(persistence, protocol) if persistence else ()
    if persistence is None or not missing:
        return
    context.document.error(
        stack.where("persistence"),
        f"persistence {persistence.name!r} needs {' and '.join(missing)}, which protocol "
        f"{protocol.name!r} does not give; {_advice(protocol)}",
    )


def _advice(protocol: Selected[Any]) -> str:
    """The protocol's own, where an option of it would help."""
    advice = str(getattr(protocol.plugin, "advice", "") or "choose another, such as source-ip")
    return advice.replace("%s", protocol.name)


def health(context: Context, stack: Layers) -> None:
    """Tell of a check that may last longer than the time from one to the next."""
    values = stack.values("health", HealthSettings)
    if values.timeout > values.interval:
        where = stack.where("health")
        at = (*where, "timeout") if context.document.has((*where, "timeout")) else where
        context.document.error(
            at, f"timeout ({values.timeout:g}s) must not be longer than interval ({values.interval:g}s)"
        )
