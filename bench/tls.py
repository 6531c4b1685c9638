"""exproxy's TLS profiles against Mozilla's configurations of the same names, asked by sslyze.

    make scan                            # with sslyze in an environment of its own, .venv-sslyze
    python -m bench.tls PATH-OF-SSLYZE   # the same with one that is there already

Everything runs on 127.0.0.1, ports 9490 and 9491, and ends with the tool; the exit code is that of the worst.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from bench.corpus import await_port
from tests.certificates import ca_file, pem

# `old` is without 3DES here, and wants a certificate with RSA besides.
PROFILES = {"intermediate": 9490, "modern": 9491}
_SERVICE = """\
  {profile}:
    protocol: https
    listen: "127.0.0.1:{port}"
    certificate: {pem}
    status: 404
    tls: {{profile: {profile}}}
"""


def main(sslyze: str) -> int:
    """0 where every profile is what Mozilla says it is."""
    certificate = pem("localhost", "127.0.0.1")
    services = "".join(
        _SERVICE.format(profile=profile, port=port, pem=certificate) for profile, port in PROFILES.items()
    )
    with tempfile.TemporaryDirectory(prefix="exproxy-tls-") as folder:
        configuration = Path(folder, "exproxy.yaml")
        kept = f"state-dir: {folder}/state\naccess-log: {folder}/access.json\n"
        configuration.write_text(f"{kept}servers: {{nobody: 127.0.0.2}}\nservices:\n{services}")
        twistd = str(Path(sysconfig.get_path("scripts"), "twistd"))
        argv = [sys.executable, twistd, "-n", "--pidfile=", "exproxy", "-c", str(configuration)]
        exproxy = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        try:
            for port in PROFILES.values():
                await_port(port)
            return max([_scan(sslyze, profile, port) for profile, port in PROFILES.items()])
        finally:
            exproxy.terminate()
            exproxy.wait(10)


def _scan(sslyze: str, profile: str, port: int) -> int:
    options = ["--certinfo_ca_file", str(ca_file()), "--mozilla_config", profile]
    done = subprocess.run(
        [sslyze, *options, f"127.0.0.1:{port}"], capture_output=True, text=True, timeout=120, check=False
    )
    _, _, verdict = done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")
    print(f"{profile}: {verdict or done.stdout + done.stderr}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
