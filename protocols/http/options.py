"""What ``protocol: {https: {…}}`` may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from exproxy.plugins import Options


class HttpOptions(Options):
    """Options of ``http`` and ``https``."""

    ntlmv1: Literal["refuse", "pass"] = Field(
        default="pass",
        description="refuse: a log-in by NTLMv1, or one that cannot be read, is answered with 403.",
    )
