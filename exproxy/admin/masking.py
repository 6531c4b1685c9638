"""The configuration for other eyes: every secret in it hidden."""

from __future__ import annotations

from typing import Any

import yaml

from exproxy.config import Config
from exproxy.config.rendering import rendered

# What has one of these words in its name is a secret.
SECRET = ("secret", "password", "token", "credential")


def masked(config: Config) -> dict[str, Any]:
    """See IPlane.configuration: the file with its template in it; what it takes from the environment or
    from other files stays there, and what is a secret by its name is hidden."""
    found: dict[str, Any] = _hidden(yaml.load(rendered(config.path), _Loader))  # noqa: S506  # a SafeLoader
    return found


class _Loader(yaml.SafeLoader):
    """Reads !file and !env as the text that they are."""


def _tagged(loader: Any, suffix: str, node: Any) -> str:
    return f"!{suffix} {node.value}"


_Loader.add_multi_constructor("!", _tagged)


def _hidden(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {str(key): _hidden(each, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each, name) for each in value]
    hide = any(word in name.lower() for word in SECRET) and value is not None
    if hide and isinstance(value, str) and value.startswith(("!file ", "!env ")):
        return value
    return "…" if hide else value
