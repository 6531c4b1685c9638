"""The JSON Schema: made from the same models, with the plugins in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy.config.schema import DIALECT, schema, schema_text
from tests.config.fakes import fake_catalogue

ROOT = Path(__file__).parent.parent.parent


def keys(node: Any) -> Iterator[str]:
    """The names of all properties anywhere in a schema."""
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield from node["properties"]
        for value in node.values():
            yield from keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from keys(value)


class SchemaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.schema = schema(fake_catalogue())
        self.definitions = self.schema["$defs"]

    def test_head(self) -> None:
        """It says what dialect it is in, and what a file cannot do without."""
        self.assertEqual(self.schema["$schema"], DIALECT)
        self.assertEqual(self.schema["required"], ["servers"])
        self.assertEqual(self.schema["if"], {"not": {"required": ["template"]}})
        self.assertEqual(self.schema["then"]["required"], ["services"])
        services = self.schema["then"]["properties"]["services"]["additionalProperties"]
        self.assertEqual(services["required"], ["protocol", "listen"])
        self.assertFalse(self.schema["additionalProperties"])

    def test_plugins_and_their_options(self) -> None:
        """Each kind of plugin is a name or a mapping with that plugin's own options."""
        check = self.definitions["x-check"]["anyOf"]
        self.assertIn({"const": "imap", "description": "a check"}, check)
        options = check[-1]["properties"]["http"]["$ref"].rpartition("/")[2]
        self.assertEqual(set(self.definitions[options]["properties"]), {"path", "status", "body-text"})

    def test_group_in_every_persistence(self) -> None:
        """A group can be named with every persistence."""
        persistences = self.definitions["x-persistence"]["anyOf"][-1]["properties"]
        for name, options in persistences.items():
            self.assertIn("group", options["properties"], name)
        self.assertIn("mask", persistences["source-ip"]["properties"])

    def test_references_lead_somewhere(self) -> None:
        """No reference is without its definition, and no placeholder is left."""
        text = json.dumps(self.schema)
        for part in text.split('"#/$defs/')[1:]:
            self.assertIn(part.partition('"')[0], self.definitions)
        self.assertNotIn("x-plugin", text)
        self.assertNotIn('"default": null', text)

    def test_short_forms(self) -> None:
        """An editor takes 443, an address, a mapping and a list of them for `listen`."""
        listen = self.definitions["ServiceSection"]["properties"]["listen"]["anyOf"]
        self.assertEqual([form.get("type") for form in listen[0]["anyOf"]], ["integer", "string", None])
        self.assertEqual(listen[1]["type"], "array")

    def test_units(self) -> None:
        """Durations and sizes are patterns with examples, and tell their defaults."""
        idle = self.definitions["Timeouts"]["properties"]["idle"]
        self.assertEqual(idle["type"], "string")
        self.assertIn("Default 660s.", idle["description"])
        self.assertIn("Default 64k.", self.definitions["Limits"]["properties"]["head"]["description"])

    def test_the_published_file(self) -> None:
        """etc/exproxy.schema.json is what `exproxyctl schema` prints."""
        published = (ROOT / "etc" / "exproxy.schema.json").read_text()
        self.assertEqual(json.loads(published), json.loads(schema_text()))

    def test_documentation_names_every_key(self) -> None:
        """docs/configuration.md speaks of every key that the schema has."""
        page = (ROOT / "docs" / "configuration.md").read_text()
        missing = sorted({key for key in keys(json.loads(schema_text())) if f"`{key}" not in page})
        self.assertEqual(missing, [])
