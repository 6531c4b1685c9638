"""YAML to a Document: scalars, marks, duplicate keys, secrets, hostile files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from exproxy.config import Invalid
from exproxy.config.document import Document
from exproxy.config.nodes import MAX_BYTES, read
from tests.config.reading import ReadingTestCase


class NodesTestCase(ReadingTestCase):
    def document(self, text: str) -> Document:
        return read(self.write(text))

    def told(self, text: str) -> list[str]:
        try:
            problems = self.document(text).problems
        except Invalid as invalid:
            problems = list(invalid.problems)
        return [f"{problem.line}:{problem.column} {problem.message}" for problem in problems]


class ScalarTests(NodesTestCase):
    def value(self, text: str) -> Any:
        return self.document(f"x: {text}\n").data["x"]

    def test_core_schema(self) -> None:
        """The scalars are those of YAML 1.2, so that words of mail and times stay text."""
        table = {
            "off": "off",
            "no": "no",
            "yes": "yes",
            "22:22": "22:22",
            "2019-01-01": "2019-01-01",
            "1_000": "1_000",
            "0b11": "0b11",
            "true": True,
            "False": False,
            "443": 443,
            "-1": -1,
            "0755": 755,
            "0o17": 15,
            "0x1F": 31,
            "1.5": 1.5,
            "1e3": 1000.0,
            ".inf": ".inf",
            "192.0.2.1": "192.0.2.1",
            "~": None,
            "null": None,
            "": None,
            "'443'": "443",
            '"true"': "true",
            "!!str 443": "443",
        }
        for text, value in table.items():
            found = self.value(text)
            self.assertEqual((found, type(found)), (value, type(value)), text)

    def test_numbers_that_are_none(self) -> None:
        """Numbers beyond any use, and other tags, are errors in their place."""
        for text in (
            "1e999",
            "9" * 5000,
            "!!float x",
            "!!int x",
            "!!binary aGk=",
            "!!python/name:os.system ''",
        ):
            self.assertEqual(len(self.told(f"x: {text}\n")), 1, text)
            self.assertTrue(self.told(f"x: {text}\n")[0].startswith("1:4 "), text)

    def test_environment(self) -> None:
        """!env is the variable's text; a missing one is an error with the likeliest."""
        self.patch(__import__("os"), "environ", {"EXPROXY_SECRET": "0123"})
        self.assertEqual(self.value("!env EXPROXY_SECRET"), "0123")
        self.assertEqual(
            self.told("x: !env EXPROXY_SECERT"),
            ["1:4 the environment has no variable 'EXPROXY_SECERT'; did you mean 'EXPROXY_SECRET'?"],
        )

    def test_file(self) -> None:
        """!file is the file's text without its last line end, relative to the configuration."""
        self.write("hush\n", "secret")
        self.assertEqual(self.value("!file secret"), "hush")
        self.assertEqual(
            self.told("x: !file nothing"),
            [f"1:4 {self.folder}/nothing cannot be read: No such file or directory"],
        )
        (self.folder / "binary").write_bytes(b"\xff\xfe\x00")
        self.assertIn("holds no UTF-8 text", self.told("x: !file binary")[0])
        (self.folder / "large").write_bytes(b"x" * 70_000)
        self.assertIn("larger than 64 kB", self.told("x: !file large")[0])
        self.assertIn("Is a directory", self.told("x: !file .")[0])


class MarkTests(NodesTestCase):
    def test_keys_and_values(self) -> None:
        """Every key and value has its line, column and width."""
        document = self.document("a:\n  bc: [10, {d: efg}]\n")
        spots = {where: (s.line, s.column, s.width) for where, s in document.values.items()}
        self.assertEqual(spots["a", "bc", 0], (2, 8, 2))
        self.assertEqual(spots["a", "bc", 1, "d"], (2, 16, 3))
        self.assertEqual(document.keys["a", "bc"].column, 3)

    def test_columns_count_characters(self) -> None:
        """Letters beyond ASCII take one column each, a byte order mark none."""
        document = self.document("\ufeffä: {ßü: 'é', x: 1}\n")
        self.assertEqual(document.values["ä", "x"].column, 17)
        self.assertEqual(document.lines, ["ä: {ßü: 'é', x: 1}"])

    def test_duplicates(self) -> None:
        """Every further use of a key is told; the first one counts."""
        document = self.document("a: 1\nb: 2\na: 3\na: 4\n")
        self.assertEqual(document.data, {"a": 1, "b": 2})
        self.assertEqual([problem.line for problem in document.problems], [3, 4])
        self.assertIn("the first is in line 1", document.problems[0].message)

    def test_aliases(self) -> None:
        """An alias is what its anchor is; merge keys are refused with advice."""
        self.assertEqual(self.document("a: &x [1]\nb: *x\n").data, {"a": [1], "b": [1]})
        self.assertIn("merge keys", self.told("a: &x {c: 1}\nb: {<<: *x}\n")[0])

    def test_keys_that_are_no_words(self) -> None:
        """A key is text, whatever it looks like; a list is none."""
        self.assertEqual(self.document("443: a\ntrue: b\n").data, {"443": "a", "true": "b"})
        for key in ("[1, 2]", "!env HOME", "!file x", "? {a: b}\n"):
            self.assertIn("a key must be a plain word", self.told(f"{key}: a\nb: c\n")[0])


class HostileTests(NodesTestCase):
    def test_syntax(self) -> None:
        """Text that is no YAML is told with its place, and often with the reason."""
        self.assertIn("; indent with spaces", self.told("a:\n\tb: 1\n")[0])
        self.assertIn('an IPv6 address needs quotes: "[::]:443"', self.told("a:\n  listen: [::]:443\n")[0])
        self.assertIn("needs quotes", self.told("a: b: c\n")[0])
        self.assertEqual(len(self.told("a: [1, 2\nb: 3\n")), 1)
        self.assertIn("this is no YAML", self.told("a: b\n---\nc: d\n")[0])
        self.assertIn("this is no YAML", self.told("a: \x01\n")[0])

    def test_not_a_mapping(self) -> None:
        """An empty file, a list and a word are told for what they are."""
        self.assertIn("the file is empty", self.told("# nothing\n")[0])
        self.assertIn("must be a mapping", self.told("- a\n")[0])
        self.assertIn("must be a mapping", self.told("hello\n")[0])

    def test_unreadable(self) -> None:
        """A file that is not there, a folder, no UTF-8 and a huge file are told at once."""
        for path, word in ((self.folder / "none", "No such file"), (self.folder, "Is a directory")):
            self.assertIn(word, str(self.assertRaises(Invalid, read, path)))
        (self.folder / "latin").write_bytes(b"a: 1\nb: \xe4\n")
        self.assertIn("no UTF-8 text (line 2)", str(self.assertRaises(Invalid, read, self.folder / "latin")))
        (self.folder / "large").write_bytes(b"#" * (MAX_BYTES + 1))
        self.assertIn("larger than 1024 kB", str(self.assertRaises(Invalid, read, self.folder / "large")))

    def test_depth(self) -> None:
        """Deep nesting is refused before it can exhaust the stack."""
        self.assertIn("nested deeper than", self.told("a: " + "[" * 200_000)[0])

    def test_alias_bomb(self) -> None:
        """Aliases that unfold without end are refused."""
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
        self.assertIn("the aliases (*name) unfold", self.told("\n".join(lines) + "\n")[0])
        self.assertIn("the aliases (*name) unfold", self.told("a: &a [*a]\n")[0])

    def test_too_many_values(self) -> None:
        """Very many values are refused."""
        self.assertIn("more than 100000 values", self.told("a: [" + "1," * 250_000 + "]")[0])

    @given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
    @settings(max_examples=100, deadline=None)
    def test_any_bytes(self, content: bytes) -> None:
        """Whatever stands in the file, it is read or refused, and nothing else happens."""
        path = Path(self.folder, "any")
        path.write_bytes(content)
        try:
            read(path)
        except Invalid as invalid:
            self.assertTrue(invalid.problems)
