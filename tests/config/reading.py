"""Configuration texts to Configs and problems, in a temporary folder."""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path
from textwrap import dedent
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy.config import Config, Invalid, Problem, ServiceConfig, load
from tests.config.fakes import fake_catalogue

SERVERS = "servers: {a: 192.0.2.11, b: 192.0.2.12}\n"
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.timezone.utc)


class ReadingTestCase(SynchronousTestCase):
    """Reads texts with the fake plugins."""

    now = NOW

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="exproxy-config-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def write(self, text: str, name: str = "exproxy.yaml") -> Path:
        path = self.folder / name
        path.write_text(dedent(text))
        return path

    def config(self, text: str, *more: tuple[Any, Any]) -> Config:
        return load(self.write(text), catalogue=fake_catalogue(*more), host_name="lb.test", now=self.now)

    def invalid(self, text: str, *more: tuple[Any, Any]) -> Invalid:
        return self.assertRaises(Invalid, self.config, text, *more)

    def problems(self, text: str, *more: tuple[Any, Any]) -> list[str]:
        """``3:5 services.smtp.lisen: message`` of every problem, warnings too."""
        try:
            found: tuple[Problem, ...] = self.config(text, *more).warnings
        except Invalid as invalid:
            found = invalid.problems
        return [f"{problem.line}:{problem.column} {problem.where}: {problem.message}" for problem in found]

    def messages(self, text: str, *more: tuple[Any, Any]) -> list[str]:
        """``services.smtp.lisen: message`` of every problem."""
        return [problem.partition(" ")[2] for problem in self.problems(text, *more)]

    def service(self, text: str, *more: tuple[Any, Any]) -> ServiceConfig:
        """The only service of a file that consists of the servers a and b and ``services: {s: text}``."""
        return self.config(f"{SERVERS}services:\n  s: {text}\n", *more).services["s"]

    def wrong(self, text: str, *more: tuple[Any, Any]) -> list[str]:
        """The messages of the same file, without ``services.s`` in front."""
        found = self.messages(f"{SERVERS}services:\n  s: {text}\n", *more)
        return [message.removeprefix("services.s.").removeprefix("services.s") for message in found]
