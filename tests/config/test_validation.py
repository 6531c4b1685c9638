"""Models against the file: one place and one plain sentence for every error."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from exproxy.config.validation import known_keys, without
from exproxy.interfaces import ICheckPlugin
from exproxy.plugins import NoOptions
from tests.config.fakes import HttpOptions, Question
from tests.config.reading import SERVERS, ReadingTestCase


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    port: int
    kind: Literal["quick", "thorough"] = "quick"
    ratio: float = 0.5
    names: tuple[str, ...] = ()


class Before(BaseModel):
    """A validator before a tuple, which strictness alone would refuse."""

    model_config = ConfigDict(extra="forbid")

    status: tuple[int | str, ...] = ()
    count: int = 0

    @field_validator("status", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return value if isinstance(value, list) else [value]


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: list[Inner] = []
    by_name: dict[str, Inner] = {}
    word: str = ""
    sure: bool = False
    some: list[int] = Field([1], min_length=1)


STEPS = (ICheckPlugin, Question("steps", Options))


class PluginOptionsTests(ReadingTestCase):
    def check(self, options: str) -> list[str]:
        text = f"{{protocol: tcp, listen: 25, check: {{steps: {options}}}}}"
        return [message.removeprefix("check.steps") for message in self.wrong(text, STEPS)]

    def test_too_few(self) -> None:
        """An empty list is too short; one whose only entry is wrong has that error alone."""
        self.assertEqual(self.check("{some: []}"), [".some: has 0 entries; at least 1 must be there"])
        self.assertEqual(self.check("{some: [x]}"), [".some[0]: must be a whole number, not 'x'"])

    def test_good(self) -> None:
        """A plugin gets an instance of its own model."""
        service = self.service("{protocol: tcp, listen: 25, check: {steps: {steps: [{port: 5}]}}}", STEPS)
        self.assertEqual(service.check.options, Options(steps=[Inner(port=5)]))

    def test_every_error_in_its_place(self) -> None:
        """A plugin's options get the same treatment as ours, however deep."""
        self.assertEqual(
            self.check("{steps: [{port: x}, {prot: 5}], sure: 1, word: 5, wodr: a}"),
            [
                ".steps[0].port: must be a whole number, not 'x'",
                ".steps[1].prot: unknown option; did you mean 'port'?",
                ".sure: must be true or false, not 1",
                ".word: must be text, not 5",
                ".wodr: unknown option; did you mean 'word'?",
            ],
        )

    def test_texts(self) -> None:
        """Each kind of mistake has its sentence."""
        self.assertEqual(
            self.check("{by_name: {a: {port: 1, kind: quik, ratio: x, names: b}}, steps: 5}"),
            [
                ".by_name.a.kind: must be 'quick' or 'thorough', not 'quik'; did you mean 'quick'?",
                ".by_name.a.ratio: must be a number, not 'x'",
                ".by_name.a.names: must be a list, not 'b'",
                ".steps: must be a list, not 5",
            ],
        )

    def test_validators_before_a_list(self) -> None:
        """A plugin's own validator may stand before a list; scalars beside it stay strict."""
        before = (ICheckPlugin, Question("before", Before))
        text = "{protocol: tcp, listen: 25, check: {before: {status: %s, count: %s}}}"
        for written in ("200", "[200]"):
            self.assertEqual(self.service(text % (written, 1), before).check.options.status, (200,))
        self.assertEqual(
            self.wrong(text % ("[200, {}]", "'1'"), before)[-1],
            "check.before.count: must be a whole number, not '1'",
        )

    def test_no_options(self) -> None:
        """A plugin without options says so."""
        wrong = self.wrong("{protocol: tcp, listen: 25, scheduling: {random: {seed: 1}}}")
        self.assertEqual(wrong, ["scheduling.random.seed: unknown option; there are none here"])

    def test_secrets_are_not_shown(self) -> None:
        """What came from a file or the environment is not repeated in a message."""
        self.write("hunter2", "password")
        text = (
            f"{SERVERS}services:\n  s: {{protocol: tcp, listen: !file password, retries: !file password}}\n"
        )
        shown = str(self.invalid(text))
        self.assertIn("services.s.retries: must be a whole number", shown)
        self.assertIn("services.s.listen: what !env or !file gives does not fit here", shown)
        self.assertNotIn("hunter2", shown)


class PartsTests(ReadingTestCase):
    def test_without(self) -> None:
        """Wrong parts are left out, the rest stays."""
        data = {"a": [1, 2, 3], "b": {"c": 1, "d": 2}, "e": 5}
        self.assertEqual(
            without(data, {("a", 0), ("a", 2), ("b", "c"), ("e",)}),
            {"a": [2], "b": {"d": 2}},
        )

    def test_known_keys(self) -> None:
        """The keys at a place come from the model's schema."""
        self.assertEqual(known_keys(HttpOptions.model_json_schema(), ("routes", "any")), {"prefix"})
        self.assertEqual(known_keys(NoOptions.model_json_schema(), ()), set())


class MissingTests(ReadingTestCase):
    def test_a_plugin_that_needs_options(self) -> None:
        """A plugin named without an option that it needs says which."""
        text = "{protocol: http, listen: 80, persistence: %s}"
        self.assertEqual(self.wrong(text % "cookie"), ["persistence: 'cookie' is missing"])
        self.assertEqual(self.wrong(text % "{cookie: {}}"), ["persistence.cookie: 'cookie' is missing"])
        self.assertEqual(
            self.wrong(text % "{cookie: {cokie: a}}"),
            ["persistence.cookie.cokie: unknown option; did you mean 'cookie'?"],
        )
