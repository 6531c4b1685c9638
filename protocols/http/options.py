"""What ``protocol: {https: {…}}`` may say."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class HttpOptions(BaseModel):
    """Options of ``http`` and ``https``."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )

    ntlmv1: Literal["refuse", "pass"] = Field(
        default="pass",
        description="refuse: a log-in by NTLMv1, or one that cannot be read, is answered with 403.",
    )
