"""``hpctune fetch NAME --on CLUSTER``: bring an experiment of a cluster here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from hpctune.cli import exitcodes
from hpctune.cli.fetch import bring, target_of
from hpctune.common.text import count, quoted, size
from hpctune.errors import UsageError
from hpctune.mirror.options import is_url
from hpctune.remote import fetch as there
from hpctune.remote.session import Session


def fetch(session: Session, given: Mapping[str, Any]) -> int:
    """Bring it. Returns the exit code."""
    name = given["place"]
    if is_url(name):
        raise UsageError(f"{name} is a URL, and is fetched without --on.")
    root, experiment_id = there.where(session, name)
    place = f"{session.cluster.name}:{root}"
    target = target_of(place, root.rpartition("/")[2], given["directory"], lambda: experiment_id)
    checkpoints = given["checkpoints"] or "best"
    listed = bring(
        target,
        checkpoints,
        given["best"] or 1,
        lambda wanted, chosen: there.bring(session, root, target, wanted, chosen),
    )
    click.echo(f"{target}: {place} has {count(len(listed.files), 'file')} of {size(listed.bytes)}.")
    click.echo(session.traffic.describe(), err=True)
    click.echo(f"Look: hpctune status {quoted(target)}. It goes on there: hpctune resume {quoted(name)} --on "
               f"{quoted(session.cluster.name)}")  # fmt: skip
    return exitcodes.DONE
