"""Temporary folders that go with their test, under either runner."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any


def folder(test: Any) -> Path:
    """An empty folder until the test is over."""
    path = Path(tempfile.mkdtemp(prefix="exproxy-test-"))
    test.addCleanup(shutil.rmtree, path, ignore_errors=True)
    return path
