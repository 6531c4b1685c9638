"""The section of one route."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator

from exproxy.config import grammar
from exproxy.config.answers import AnswerSection
from exproxy.config.kinds import Single, listed
from exproxy.config.models import PoolSection
from exproxy.config.sections import Section, limits_section, timeouts_section

# A route is known only once a request is there, so the connection's own waits are the service's.
ROUTE_TIMEOUTS = ("connect", "answer", "idle", "tunnel", "backend_keep_alive")

# So are the limits of the connection and of the head.
ROUTE_LIMITS = ("body", "body_rate", "retry_buffer")

if TYPE_CHECKING:
    RouteTimeoutsSection: TypeAlias = Section
    RouteLimitsSection: TypeAlias = Section
else:
    RouteLimitsSection = limits_section("RouteLimits", ROUTE_LIMITS)
    RouteTimeoutsSection = timeouts_section("RouteTimeouts", ROUTE_TIMEOUTS)


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError(f"a path begins with /, like /owa, not {text!r}")
    if re.search(r"[\x00-\x20\x7f?#%;\\*]", text):
        raise ValueError("a path is written plainly: no blanks, escapes, wildcards, ?, #, ; or \\")
    if any(not part.strip(". ") for part in text.rstrip("/").split("/")[1:]):
        raise ValueError("a path has no empty parts, and none of dots only")
    return text


def _exact(text: str) -> str:
    return text if text == "/" else _path(text)


def _host(text: str) -> str:
    if text.startswith("*."):
        return "*." + grammar.host(text[2:])
    return grammar.host(text)


Paths: TypeAlias = Annotated[list[Annotated[str, AfterValidator(_path)]], BeforeValidator(listed), Single()]
ExactPaths: TypeAlias = Annotated[
    list[Annotated[str, AfterValidator(_exact)]], BeforeValidator(listed), Single()
]
Hosts: TypeAlias = Annotated[list[Annotated[str, AfterValidator(_host)]], BeforeValidator(listed), Single()]


class RouteSection(PoolSection, AnswerSection):
    """A part of an http or https service: which requests it takes, and what becomes of them."""

    path: Paths | None = None
    """Paths, each with all below it: /owa is /owa and /owa/x, not /owax. Case does not matter."""
    exact: ExactPaths | None = None
    """Whole paths; / is the root alone. Case does not matter."""
    host: Hosts | None = None
    """Host names, exact or *.example.org for all below it. Default: any."""
    servers: Annotated[list[str], BeforeValidator(listed), Single()] | None = None
    """The names of its servers. Default: the service's."""
    timeouts: RouteTimeoutsSection | None = None
    """How long its waits may last; the service's where silent."""
    limits: RouteLimitsSection | None = None
    """How much a request may bring; the service's where silent."""
    client_certificate: Literal["required"] | None = None
    """required: a client that has shown none is answered 403; the service asks for them (`tls:`)."""


def written_pool_keys(section: RouteSection) -> list[str]:
    """The keys that only a route with servers has, as they stand in the file."""
    names = [*PoolSection.model_fields, "servers", "timeouts", "limits"]
    kept = [name for name in names if name not in ("allow", "deny")]
    return [name.replace("_", "-") for name in kept if getattr(section, name) is not None]
