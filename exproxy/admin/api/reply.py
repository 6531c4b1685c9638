"""An answer of the administration before it is written, and the header fields that each of them has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from exproxy.admin.api.models import ProblemAnswer
from exproxy.admin.api.openapi import adapter
from exproxy.admin.api.problem import MEDIA_TYPE, Problem

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

# Nothing inline, nothing from elsewhere, in nobody's frame, kept by nobody.
ALWAYS: Mapping[str, str] = {
    "Server": "exproxy",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """``headers`` come over those that are always there."""

    body: bytes = b""
    media_type: str = JSON
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


def written(kind: Any, value: Any, status: HTTPStatus, headers: Mapping[str, str]) -> Reply:
    """A value of that type as JSON."""
    return Reply(adapter(kind).dump_json(value) + b"\n", JSON, status, headers)


def text(body: str, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    """A line for people and probes."""
    return Reply(body.encode(), TEXT, status)


def refusal(problem: Problem) -> Reply:
    """A problem as RFC 9457 has it; what is empty is left out."""
    body = adapter(ProblemAnswer).dump_json(problem.answer, exclude_defaults=True)
    return Reply(body + b"\n", MEDIA_TYPE, problem.status, problem.headers)
