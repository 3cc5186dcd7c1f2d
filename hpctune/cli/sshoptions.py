"""The options of ``hpctune run`` about files and machines that are reached by ssh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from click.decorators import FC

from hpctune.cli.values import size_option
from hpctune.errors import UsageError

SSH_FIELDS = frozenset({"yes", "code", "code_limit", "wheels", "no_doctor", "detach"})
"""Names of the parameters."""
_FOR_JOBS = frozenset({"code", "code_limit"})
"""Those that also have a meaning for jobs that do not see the user's files."""


def _limit(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    return 0 if value == "0" else size_option(ctx, param, value)


_CODE = [
    click.option(
        "--code",
        multiple=True,
        metavar="PATH",
        help="Bring this file or directory too, to --on, or to jobs of --hosts and --file-transfer; repeatable.",
    ),
    click.option(
        "--code-limit",
        callback=_limit,
        metavar="SIZE",
        help="Maximum size of the files to bring; 0: no file of the project goes to jobs. Default: 100MB.",
    ),
]
_OPTIONS = [
    click.option("--yes", "-y", is_flag=True, help="Send new files without asking."),
    *_CODE,
    click.option("--wheels", metavar="DIR", help="Make the environment from the packages in DIR, without an index."),
    click.option("--no-doctor", is_flag=True, help="Do not check the cluster before the first run."),
    click.option("--detach", is_flag=True, help="Return when the search is started; do not follow it."),
]


def ssh_options(function: FC) -> FC:
    """Add them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def code_options(function: FC) -> FC:
    """Add those about files for jobs that do not see them."""
    for option in reversed(_CODE):
        function = option(function)
    return function


def refuse_ssh_options(given: Mapping[str, Any]) -> None:
    """Raise UsageError for one that was given without --on."""
    meant = _FOR_JOBS | ({"wheels"} if given["make_env"] else set())
    wrong = next((name for name in sorted(SSH_FIELDS - meant) if given[name]), None)
    if wrong is not None:
        raise UsageError(f"--{wrong.replace('_', '-')} is for a cluster that is reached over ssh. Add --on CLUSTER.")
