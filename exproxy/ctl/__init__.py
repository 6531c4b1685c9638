"""``exproxyctl``: look after exproxy from a terminal or a script.

Some commands read files (check, schema, template); the others ask the running process, by its unix socket or
its URL. Exit codes: 0 done; 1 refused, or a configuration that cannot be used; 2 wrong usage; 3 no process
answers.
"""

from __future__ import annotations

import click

from exproxy import __version__
from exproxy.ctl.completion import completion
from exproxy.ctl.config_files import check, schema, template
from exproxy.ctl.events import events
from exproxy.ctl.explain import explain
from exproxy.ctl.operate import drain, maint, ready, weight
from exproxy.ctl.persistence import persistence
from exproxy.ctl.plugged import Commands
from exproxy.ctl.reload import reload
from exproxy.ctl.sessions import sessions
from exproxy.ctl.show import show
from exproxy.ctl.status import ping, status
from exproxy.ctl.top import top


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="exproxyctl", message="%(prog)s %(version)s")
def main() -> None:
    """Look after exproxy, the load balancer for Microsoft Exchange and mail."""


_COMMANDS = (
    check, completion, drain, events, explain, maint, persistence, ping, ready, reload, schema, sessions,
    show, status, template, top, weight,
)  # fmt: skip
for _command in _COMMANDS:
    main.add_command(_command)
