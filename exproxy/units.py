"""Durations and sizes as people write them, as pydantic types with a JSON Schema of their own."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
SIZE_PATTERN = r"^[0-9]+[kmgKMG]?$"

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]+)([kmg]?)", re.IGNORECASE)
# Longer than any wait that makes sense, and within what a timer can take.
LONGEST = 366 * 86400.0
# What is only said to others may last longer.
LONGEST_AGE = 10 * LONGEST


def duration(written: object, longest: float = LONGEST) -> float:
    """Seconds of ``500ms``, ``10s``, ``5m``, ``2h10m``, ``1d``; raises ValueError with advice."""
    if isinstance(written, bool) or not isinstance(written, (str, int, float)):
        raise ValueError("must be a duration, like 500ms, 10s, 5m or 2h")
    if written == 0:
        return 0.0
    text = str(written)
    if not re.fullmatch(DURATION_PATTERN[1:-1], text):
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            raise ValueError(f"a duration needs a unit: {text}s or {text}m?")
        raise ValueError(f"{text!r} is no duration; write it like 500ms, 10s, 5m, 2h or 2h10m")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds > longest:
        raise ValueError(f"{text} is longer than {'a year' if longest == LONGEST else 'ten years'}")
    return seconds


def age(written: object) -> float:
    """A duration that nobody here waits for: up to ten years."""
    return duration(written, LONGEST_AGE)


def size(written: object) -> int:
    """Bytes of ``64k``, ``10m``, ``1g`` or a bare number of bytes; raises ValueError with advice."""
    if not isinstance(written, bool) and isinstance(written, (str, int)):
        match = _SIZE.fullmatch(str(written))
        if match and len(match[1]) <= 15:
            return int(match[1]) * BYTES[match[2].lower()]
    raise ValueError(f"{written!r} is no size; write it like 512, 64k, 10m or 1g")


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than 0")
    return seconds


def _some(count: int) -> int:
    if count < 1:
        raise ValueError("must be at least 1")
    return count


def _schema(pattern: str, *examples: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "examples": list(examples)}


_DURATION = {"anyOf": [_schema(DURATION_PATTERN, "500ms", "10s", "5m", "2h"), {"const": 0}]}
_SIZE_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 1}, _schema(SIZE_PATTERN, "64k", "10m", "1g")]}

# Seconds, 0 included.
Duration: TypeAlias = Annotated[float, BeforeValidator(duration), WithJsonSchema(_DURATION)]
# Seconds, 0 included, up to ten years.
Age: TypeAlias = Annotated[float, BeforeValidator(age), WithJsonSchema(_DURATION)]
# Seconds, more than 0.
Wait: TypeAlias = Annotated[
    float,
    BeforeValidator(duration),
    AfterValidator(_positive),
    WithJsonSchema(_schema(DURATION_PATTERN, "500ms", "10s", "5m", "2h")),
]
# Bytes (or a count), at least 1.
Size: TypeAlias = Annotated[int, BeforeValidator(size), AfterValidator(_some), WithJsonSchema(_SIZE_SCHEMA)]
