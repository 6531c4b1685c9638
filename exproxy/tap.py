"""``twistd exproxy``: options, and the service that twistd runs. Nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

from exproxy import __version__
from exproxy.config import Config, Invalid, load, summary
from exproxy.errors import ConfigurationError

DEFAULT = "/etc/exproxy/exproxy.yaml"


class Options(usage.Options):
    """The command line of ``twistd exproxy``."""

    optParameters = [["config", "c", DEFAULT, "The configuration file."]]
    optFlags = [
        ["check", "t", "Only check the configuration: exit 0 where it is good, else 1."],
        ["demo", None, "Run little clients too, and show who serves them (for a configuration with a lab)."],
    ]
    longdesc = "A load balancer for Microsoft Exchange and mail. Documentation: docs/ of the project."

    def opt_version(self) -> None:
        """Print exproxy's version and exit."""
        print(f"exproxy {__version__}")
        raise SystemExit(0)

    opt_V = opt_version

    def postOptions(self) -> None:
        """twistd changes its folder when it becomes a daemon: make the path absolute before."""
        self["config"] = Path(self["config"]).absolute()


def makeService(options: Any) -> IService:
    """Read the configuration, bind its addresses while there are privileges, and give the service.

    An error is a text on stderr and exit code 1, before anything has been started.
    """
    path = options["config"]
    try:
        config = load(path)
    except Invalid as invalid:
        print(invalid, file=sys.stderr)
        raise SystemExit(1) from None
    if options["check"]:
        print(config.warning_text + summary(config.warnings, path))
        raise SystemExit(0)
    if config.warning_text:
        print(config.warning_text, file=sys.stderr)
    from twisted.internet import reactor

    try:
        return _whole(config, reactor, options["demo"])
    except ConfigurationError as error:
        print(f"exproxy: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _whole(config: Config, reactor: Any, demo: bool) -> IService:
    """What serves, bound, and its administration."""
    from exproxy.admin.local import LocalPlane
    from exproxy.admin.service import AdminService
    from exproxy.admin.whole import Administered, summed
    from exproxy.inherited import Inherited
    from exproxy.notify import Notify
    from exproxy.service import ExproxyService

    inherited, notify = Inherited.taken_from(os.environ), Notify.taken_from(os.environ, reactor)
    service = ExproxyService(config, reactor)
    service.bind(inherited)
    for address in inherited.close():
        print(
            f"exproxy: {address} was opened for exproxy and is no `listen:` of the configuration; closed",
            file=sys.stderr,
        )
    plane = LocalPlane(service)
    admin = AdminService(config, reactor, plane, ready=lambda: bool(service.ready.called))
    admin.bind()
    serving: IService = service
    if demo:
        from exproxy.demo import DemoService

        serving = DemoService(service, reactor)
    whole: IService = Administered(serving, plane, admin, notify)
    service.ready.addCallback(lambda _: notify.ready(summed(config)))
    return whole
