"""Prometheus' own promtool looks at /metrics of a running exproxy, and at the alert rules."""

from __future__ import annotations

import subprocess
import urllib.request
from pathlib import Path

from tests.loopback.twistd import PATIENCE, ROOT, TwistdCase
from tests.peers.kit.needs import skip_unless

LISTENS = r"(?s)the administration listens on (http://127\.0\.0\.1:\d+).*exproxyctl finds"


class PromtoolTests(TwistdCase):
    def setUp(self) -> None:
        skip_unless("promtool")
        super().setUp()

    def promtool(self, *arguments: str, given: bytes | None = None) -> None:
        """It has nothing to say against it."""
        done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done.stdout)

    def test_metrics(self) -> None:
        """What a running process answers is taken, and `promtool check metrics` has no advice."""
        more = "admin: {listen: {address: 127.0.0.1, port: 0}}\n"
        process = self.begin("-n", "--pidfile=", "exproxy", "-c", self.configure(more=more))
        url = self.until(process, LISTENS)[1]
        with urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE) as answer:
            self.promtool("check", "metrics", given=answer.read())

    def test_rules(self) -> None:
        """`promtool check rules` takes the rules, and `promtool test rules` sees them fire."""
        rules = ROOT / "etc" / "prometheus-rules.yml"
        self.promtool("check", "rules", str(rules))
        test = Path(self.folder, "test.yaml")
        test.write_text(TEST.format(rules=rules))
        self.promtool("test", "rules", str(test))


TEST = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'exproxy_server_usable{{instance="lb1", proxy="https", server="a"}}', values: '1 1 0 0 0'}}
      - {{series: 'exproxy_server_usable{{instance="lb1", proxy="https", server="b"}}', values: '0 0 0 0 0'}}
    alert_rule_test:
      - {{eval_time: 1m, alertname: ExproxyServiceWithoutServer}}
      - eval_time: 4m
        alertname: ExproxyServiceWithoutServer
        exp_alerts:
          - exp_labels: {{severity: critical, instance: lb1, proxy: https}}
            exp_annotations:
              summary: https has no usable server
              description: New clients are refused. `exproxyctl show backends https` says why.
"""
