"""The configuration file: from YAML to frozen values, with all errors at once.

``load(path)`` reads (``nodes`` -> Document), takes to pieces (``draft``, pydantic ``models``), checks
what goes across sections (``services``, ``listens``, ``backends``, ``membership``) and freezes
(``resolve`` -> Config). Every problem is told to the Document, with its place, and shown by ``errors``.
"""

from exproxy.config.errors import Invalid, Problem, render, render_json, summary
from exproxy.config.load import load, reload
from exproxy.config.resolved import (
    AdminConfig,
    AdminToken,
    BackendConfig,
    CertificateFiles,
    Config,
    GroupConfig,
    Listen,
    Reaching,
    Role,
    RouteConfig,
    ServerConfig,
    ServiceConfig,
    Target,
)

__all__ = [
    "AdminConfig",
    "AdminToken",
    "BackendConfig",
    "CertificateFiles",
    "Config",
    "GroupConfig",
    "Invalid",
    "Listen",
    "Problem",
    "Reaching",
    "Role",
    "RouteConfig",
    "ServerConfig",
    "ServiceConfig",
    "Target",
    "load",
    "reload",
    "render",
    "render_json",
    "summary",
]
