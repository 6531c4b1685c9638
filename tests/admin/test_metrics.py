"""What Prometheus reads."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from exproxy.admin.metrics import SERVER_STATES, exposition, state_of
from tests.admin.fakes import FakePlane, backend, made


def samples(**wishes: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples by name and labels."""
    status = made(wishes={("https", server): state for server, state in wishes.items()})
    text = exposition(status, FakePlane().certificates()).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class MetricsTests(SynchronousTestCase):
    def test_names(self) -> None:
        """The names are HAProxy's, below exproxy_, by proxy and server."""
        found = samples()
        at = (("proxy", "https"), ("server", "ex1"))
        self.assertEqual(found["exproxy_server_current_sessions", at], 2)
        self.assertEqual(found["exproxy_server_bytes_in_total", at], 1000)
        self.assertEqual(found["exproxy_frontend_sessions_total", (("proxy", "https"),)], 80)
        code = (("code", "5xx"), ("proxy", "https"))
        self.assertEqual(found["exproxy_frontend_http_responses_total", code], 3)
        self.assertEqual(found["exproxy_table_server_entries", (("server", "ex1"), ("table", "mapi"))], 7)
        self.assertEqual(found["exproxy_config_last_reload_success", ()], 1)
        self.assertEqual(found["exproxy_build_info", (("version", "0.1.0"),)], 1)

    def test_states(self) -> None:
        """Exactly one state of a server is 1."""
        found = samples(ex1="drain")
        states = {
            state: found["exproxy_server_status", (("proxy", "https"), ("server", "ex1"), ("state", state))]
            for state in SERVER_STATES
        }
        self.assertEqual(states, {"UP": 0, "DOWN": 0, "DRAIN": 1, "MAINT": 0, "NOLB": 0})

    def test_words(self) -> None:
        """A state that is changing counts as what it is still; one without a check as UP."""
        for state, word in (
            ("UP", "UP"), ("UP 2/3", "UP"), ("DOWN 1/2", "DOWN"), ("MAINT", "MAINT"), ("no check", "UP"),
            ("no address", "NOLB"), ("no port", "NOLB"),
        ):  # fmt: skip
            self.assertEqual(state_of(backend("s", "a", state=state)), word)

    def test_histogram(self) -> None:
        """Buckets are cumulative, in seconds, with their sum and count."""
        found = samples()
        name = "exproxy_request_duration_seconds"
        at = lambda bound: (("le", bound), ("proxy", "https"))  # noqa: E731
        self.assertEqual(found[f"{name}_bucket", at("0.001")], 10)
        self.assertEqual(found[f"{name}_bucket", at("0.005")], 30)
        self.assertEqual(found[f"{name}_bucket", at("+Inf")], 30)
        self.assertEqual(found[f"{name}_sum", (("proxy", "https"),)], 0.0625)
        self.assertEqual(found[f"{name}_count", (("proxy", "https"),)], 30)

    def test_certificates(self) -> None:
        """The end of each certificate is told in Unix time."""
        [value] = [v for (name, _), v in samples().items() if name.endswith("not_after_timestamp_seconds")]
        self.assertEqual(value, 1798761600)
