"""How the small values between the layers are made: events, actions, heads.

They are frozen, and mypy holds everybody to that; at run time nothing does. A dataclass that is frozen
then too sets each of its fields through ``object.__setattr__``, which takes three times as long as the whole
object does here, and several of them are made for each HTTP request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen: bool = True, **options: Any) -> Any:
        """``@value(frozen=True, slots=True)`` is read and checked like the same words to ``dataclass``."""
        return dataclass(unsafe_hash=frozen, **options)


__all__ = ["value"]
