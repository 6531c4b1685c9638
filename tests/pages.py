"""The code blocks of a documentation page, as files and commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```([a-z]*)(?: title=\"([^\"]+)\")?( append)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One code block: its language, the file that it is, whether it is added to that file."""

    language: str
    title: str
    append: bool
    text: str


def blocks(page: str) -> list[Block]:
    """All code blocks of ``docs/page``, in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [
        Block(language, title, bool(append), code) for language, title, append, code in BLOCK.findall(text)
    ]


def write(block: Block, folder: Path) -> None:
    """Write the file that a block is."""
    path = folder / block.title
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text(encoding="utf-8") + "\n\n" if block.append else ""
    path.write_text(before + block.text, encoding="utf-8")


def environment(folder: Path) -> dict[str, str]:
    """The environment of somebody who stands in ``folder`` and has exproxy installed."""
    path = os.pathsep.join((str(folder), str(ROOT)))
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**os.environ, "PATH": programs, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def run(command: str, folder: Path) -> tuple[int, str]:
    """Run one command of a page: its exit code, and what it printed."""
    done = subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout
