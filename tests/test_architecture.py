"""The house rules that a reader cannot be asked to remember."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
FILE_CAP = 400
FUNCTION_CAP = 50
TEXTS = (".py", ".md", ".yaml", ".txt", ".json")

# Layer of each module of exproxy/ (a folder stands for all in it). Imports point down or sideways.
LAYERS: dict[int, tuple[str, ...]] = {
    0: (
        "model",
        "question",
        "events",
        "actions",
        "errors",
        "interfaces",
        "transports",
        "proxy_protocol",
        "settings",
        "routes",
        "units",
        "values",
        "plugins",
        "lazy",
        "testing",
        "__init__",
    ),
    1: (
        "backend",
        "pool",
        "choosing",
        "learning",
        "waiting",
        "explaining",
        "scheduling",
        "persistence",
        "health",
        "ramp",
        "rate",
        "past",
        "tally",
        "rehearsing",
        "store",
        "workers.messages",
        "workers.codec",
        "workers.owner",
        "workers.replica",
        "workers.lending",
        "workers.places",
        "workers.standing",
        "workers.shares",
        "workers.hearing",
        "workers.respawning",
    ),
    2: (
        "readiness",
        "alarms",
        "poller",
        "socket_options",
        "channel",
        "endpoints",
        "stream",
        "wire",
        "door",
        "farewell",
        "detaching",
        "relay",
        "connect",
        "dialling",
        "refusals",
        "passage",
        "securing",
        "accepting",
        "end",
        "deadlines",
        "dispatch",
        "links",
        "performing",
        "record",
        "protocol",
        "session",
        "client_session",
        "virtual",
        "listening",
        "proxied",
        "transparent",
        "names",
        "monitor",
        "asking",
        "locating",
        "checks",
        "tls",
        "access_log",
        "event_log",
        "secret",
        "workers.channel",
        "workers.worker_log",
        "descriptors",
        "inherited",
        "notify",
        "plugins",
    ),
    4: ("config", "build", "service", "traffic", "workers", "tap", "ctl", "lab", "demo", "admin"),
}
# Layers 0 and 1 know neither a reactor nor a socket.
IMPURE = ("socket", "twisted.internet.reactor", "twisted.internet.tcp", "OpenSSL")
PURE_PROTOCOLS = ("socket", "twisted.internet", "OpenSSL")


def sources(folder: str) -> Iterator[Path]:
    """The Python files of a package."""
    yield from sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """What a file imports at run time, as dotted names; imports for type checkers do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(module: str) -> int | None:
    """The layer of ``exproxy.NAME…``."""
    parts = module.split(".")
    # A file of a folder may have a layer of its own.
    for name in (".".join(parts[1:3]), parts[1] if len(parts) > 1 else "__init__"):
        found = next((layer for layer, names in LAYERS.items() if name in names), None)
        if found is not None:
            return found
    return None


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


class ArchitectureTests(SynchronousTestCase):
    """Imports point down, files stay small, plugins stay findable."""

    def test_every_module_has_a_layer(self) -> None:
        """A new module says where it belongs."""
        lost = [m for m in map(module_of, sources("exproxy")) if layer_of(m) is None]
        self.assertEqual(lost, [])

    def test_imports_point_down(self) -> None:
        """No module imports one of a higher layer."""
        wrong = []
        for path in sources("exproxy"):
            here = layer_of(module_of(path))
            for name in imports(path):
                there = layer_of(name) if name.startswith("exproxy.") else None
                if here is not None and there is not None and there > here:
                    wrong.append(f"{module_of(path)} (layer {here}) imports {name} (layer {there})")
        self.assertEqual(wrong, [])

    def test_the_framework_does_not_know_its_protocols(self) -> None:
        """exproxy/ never imports protocols/."""
        wrong = [
            f"{module_of(path)}: {name}"
            for path in sources("exproxy")
            for name in imports(path)
            if name == "protocols" or name.startswith("protocols.")
        ]
        self.assertEqual(wrong, [])

    def test_protocols_stay_below_the_wiring(self) -> None:
        """protocols/ imports nothing of layer 4."""
        wrong = [
            f"{module_of(path)}: {name}"
            for path in sources("protocols")
            for name in imports(path)
            if name.startswith("exproxy.") and layer_of(name) == 4
        ]
        self.assertEqual(wrong, [])

    def test_decisions_are_pure(self) -> None:
        """Layers 0 and 1 and the protocols import neither a reactor nor a socket."""
        wrong = []
        for path in sources("exproxy"):
            if layer_of(module_of(path)) in (0, 1):
                wrong += [f"{module_of(path)}: {n}" for n in imports(path) if n.startswith(IMPURE)]
        for path in sources("protocols"):
            wrong += [f"{module_of(path)}: {n}" for n in imports(path) if n.startswith(PURE_PROTOCOLS)]
        self.assertEqual(wrong, [])

    def test_sizes(self) -> None:
        """400 lines a file, 50 a function, at the most."""
        wrong = []
        for folder in ("exproxy", "protocols", "twisted"):
            for path in sources(folder):
                text = path.read_text(encoding="utf-8")
                if text.count("\n") > FILE_CAP:
                    wrong.append(f"{path.name}: {text.count(chr(10))} lines")
                for node in ast.walk(ast.parse(text)):
                    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                        length = (node.end_lineno or node.lineno) - node.lineno + 1
                        if length > FUNCTION_CAP:
                            wrong.append(f"{path.name}:{node.lineno} {node.name}: {length} lines")
        self.assertEqual(wrong, [])

    def test_twisted_is_no_package_of_ours(self) -> None:
        """An __init__.py under twisted/ would hide Twisted itself."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_no_merge_is_unfinished(self) -> None:
        """No file has the marks of a conflict."""
        marks = tuple(sign * 7 for sign in "<>")
        folders = ("exproxy", "protocols", "twisted", "tests", "docs", "etc", "bench")
        texts = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in TEXTS]
        wrong = [
            path.name
            for path in [*texts, *ROOT.glob("*.md")]
            if any(line.startswith(marks) for line in path.read_text(encoding="utf-8").splitlines())
        ]
        self.assertEqual(wrong, [])
