"""A value, or a Deferred of one: what a plane gives, awaited in one way."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


async def later(value: T | Deferred[T]) -> T:
    """The value, now or when it is there."""
    return await value if isinstance(value, Deferred) else value
