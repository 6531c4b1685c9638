"""The alert rules and the Grafana dashboard in etc/ ask for metrics that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from exproxy.admin.metrics import exposition
from tests.admin.fakes import FakePlane, made

ETC = Path(__file__).resolve().parent.parent.parent / "etc"


def there() -> set[str]:
    """All names of samples."""
    text = exposition(made(), FakePlane().certificates()).decode()
    return {each.name for family in text_string_to_metric_families(text) for each in family.samples}


class FilesTests(SynchronousTestCase):
    def asked(self, text: str) -> set[str]:
        """The metrics' names in an expression."""
        return set(re.findall(r"\bexproxy_[a-z0-9_]+", text))

    def test_rules(self) -> None:
        """Every rule has a severity and two texts, and asks for what is there."""
        rules = yaml.safe_load((ETC / "prometheus-rules.yml").read_text())["groups"][0]["rules"]
        for rule in rules:
            self.assertEqual(self.asked(rule["expr"]) - there(), set(), rule["alert"])
            self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))
            self.assertEqual(set(rule["annotations"]), {"summary", "description"})

    def test_dashboard(self) -> None:
        """Every panel of the dashboard asks for what is there; no two lie on each other."""
        dashboard = json.loads((ETC / "grafana-dashboard.json").read_text())
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                found = self.asked(target["expr"])
                self.assertEqual(found - there(), set(), panel["title"])
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            self.assertEqual(cells & taken, set(), panel["title"])
            taken |= cells
