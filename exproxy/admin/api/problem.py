"""What goes wrong, as RFC 9457 has it: application/problem+json."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from exproxy.admin.api.models import ProblemAnswer, Wrong

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is not what was asked for. ``kind``: one word for programs, the problem's type;
    ``headers``: for the answer, as text. The detail says what to do."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        *,
        errors: tuple[Wrong, ...] = (),
        services: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.errors = errors
        self.services = services
        self.headers: dict[str, str] = dict(headers or {})

    @property
    def answer(self) -> ProblemAnswer:
        """Its body."""
        return ProblemAnswer(
            type=self.kind,
            title=self.status.phrase,
            status=int(self.status),
            detail=str(self),
            errors=self.errors,
            services=self.services,
        )


def wrong_values(errors: list[Any]) -> tuple[Wrong, ...]:
    """pydantic's errors, each with the path of what is wrong."""
    return tuple(
        Wrong(path=".".join(map(str, each["loc"])), message=str(each["msg"]).removeprefix("Value error, "))
        for each in errors
    )
