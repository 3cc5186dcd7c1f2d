"""``hpctune fetch NAME --on CLUSTER``: bring an experiment of a cluster here."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import click

from hpctune.cli import exitcodes
from hpctune.cli.fetch import bring, target_of
from hpctune.common.text import count, quoted, size
from hpctune.errors import UsageError
from hpctune.mirror.options import is_url
from hpctune.remote.fetch import Fetching
from hpctune.remote.session import Session


def fetch(session: Session, given: Mapping[str, Any]) -> int:
    """Bring it. Returns the exit code."""
    name = given["place"]
    if is_url(name):
        raise UsageError(f"{name} is a URL, and is fetched without --on.")
    checkpoints = given["checkpoints"] or "best"
    there = Fetching(session, name, ["all"] if checkpoints == "all" else [])
    place = f"{session.cluster.name}:{there.root}"
    here = there.root.rpartition("/")[2]
    target = target_of(place, here, given["directory"], lambda: there.experiment_id)
    words = ["hpctune", "fetch", name, *([given["directory"]] if given["directory"] else [])]
    whole = " ".join(map(quoted, [*words, "--on", session.cluster.name, "--checkpoints", "all"]))
    listed = bring(target, checkpoints, given["best"] or 1, functools.partial(there.bring, target), whole)
    click.echo(f"{target}: {place} has {count(len(listed.files), 'file')} of {size(listed.bytes)}.")
    click.echo(session.traffic.describe(), err=True)
    click.echo(f"Look: hpctune status {quoted(target)}. It goes on there: hpctune resume {quoted(name)} --on "
               f"{quoted(session.cluster.name)}")  # fmt: skip
    return exitcodes.DONE
