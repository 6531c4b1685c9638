"""Samba's suite raw_protocol: some 190 tests that send packets and read packets, nothing else.

Some of them pass nowhere here: they want named pipes or Kerberos, or another Samba. Which ones was
measured directly at a server (tests/peers/raw_protocol_not_passing.txt); a proxy must not change it.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .netns import Done
from .samba import ADMINISTRATOR, REALM, WORKGROUP
from .server import PASSWORD
from .site import Site

NOT_PASSING = Path(__file__).parents[1] / "raw_protocol_not_passing.txt"
_SUITE = "samba.tests.dcerpc.raw_protocol.TestDCERPC_BIND"
_NAMES = """
import unittest
from samba.tests.dcerpc.raw_protocol import TestDCERPC_BIND
print(*unittest.defaultTestLoader.getTestCaseNames(TestDCERPC_BIND))
"""
# The tests mostly wait; so many run at once. Every test has connections of its own.
_AT_ONCE = 6
_LIMIT = 180.0
_PYTHON = "/usr/bin/python3"


def expected() -> dict[str, str]:
    """The tests that do not pass directly: name -> FAIL or ERROR."""
    lines = NOT_PASSING.read_text().splitlines()
    return dict(line.split()[::-1] for line in lines if line and not line.startswith("#"))


def differing(found: dict[str, str]) -> dict[str, str]:
    """The tests whose results are not those that they have directly."""
    known = expected()
    return {name: result for name, result in found.items() if result != known.get(name, "ok")}


def names(site: Site) -> list[str]:
    """All tests of the suite."""
    done = site.namespace.run([_PYTHON, "-c", _NAMES])
    if done.code:
        raise AssertionError(done.err)
    return done.out.split()


def run(site: Site, address: str, tests: list[str]) -> dict[str, str]:
    """Run them, several at once; gives for each `ok`, `FAIL`, `ERROR` or `skipped`."""
    with site.namespace.entered(), ThreadPoolExecutor(_AT_ONCE) as pool:
        # Threads of the calling one's namespace.
        shares = [tests[start::_AT_ONCE] for start in range(_AT_ONCE)]
        done = list(pool.map(lambda share: _share(site, address, share), [s for s in shares if s]))
    found: dict[str, str] = {}
    for each in done:
        found |= dict(
            re.findall(r"(?m)^(test_\w+) \(.*\.\.\. (?:.*\n)*?.*?\b(ok|FAIL|ERROR|skipped)\b", each.err)
        )
    if lost := set(tests) - set(found):
        raise AssertionError(f"no result of {sorted(lost)}:\n" + "\n".join(each.err[-2000:] for each in done))
    return found


def _share(site: Site, address: str, tests: list[str]) -> Done:
    folder = site.new_folder("raw-protocol")
    configuration = folder / "smb.conf"
    kept = ("private dir", "lock directory", "state directory", "cache directory", "pid directory")
    own = "".join(f"  {name} = {folder}\n" for name in kept)
    configuration.write_text(f"[global]\n  workgroup = {WORKGROUP}\n  realm = {REALM}\n{own}")
    extra = {
        "SERVER": address,
        "TARGET_HOSTNAME": address,
        "DOMAIN": WORKGROUP,
        "REALM": REALM,
        "USERNAME": ADMINISTRATOR,
        "PASSWORD": PASSWORD,
        "SMB_CONF_PATH": str(configuration),
        "MAX_NUM_AUTH": "8",
    }
    argv = [_PYTHON, "-m", "unittest", "-v", *(f"{_SUITE}.{test}" for test in tests)]
    return site.namespace.run(argv, timeout=_LIMIT, extra=extra)
