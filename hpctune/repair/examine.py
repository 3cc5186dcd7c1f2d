"""One inspection of an experiment: finds all damage. Changes nothing, takes no lock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from hpctune.errors import StorageError, UsageError
from hpctune.model.spec import ExperimentSpec
from hpctune.ports import Cluster
from hpctune.repair.checks.bundle import check_bundles
from hpctune.repair.checks.job import JobsSeen, ask, check_jobs
from hpctune.repair.checks.journal import check_journal
from hpctune.repair.checks.own import check_ownership, walk
from hpctune.repair.checks.root import LeaseSeen, check_lease, check_root, see_lease
from hpctune.repair.checks.trial import check_trial
from hpctune.repair.checks.worker import check_driver_jobs, check_workers
from hpctune.repair.derived import LoggerMaker, check_derived, check_policy_log, chosen_loggers
from hpctune.repair.facts import Facts, policy_files
from hpctune.repair.findings import Finding
from hpctune.repair.perform import MENDED_JOURNAL
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths

ClusterOf = Callable[[ExperimentSpec], tuple[Cluster | None, str]]
"""The cluster of an experiment, or None and why it cannot be asked."""


@dataclass(frozen=True, slots=True)
class FsckOptions:
    """``rebuild``: make every derived file again. ``cancel_orphans``: cancel the jobs that belong to no trial any more.
    ``ask_always``: look for jobs of experiments that are over, too: one more call of Slurm for each."""

    rebuild: bool = False
    cancel_orphans: bool = False
    ask_always: bool = False


@dataclass(slots=True)
class Inspection:
    """``facts``: None if the journal cannot be read. ``driven``: the driver, if one certainly runs."""

    findings: list[Finding] = field(default_factory=list)
    facts: Facts | None = None
    loggers: Sequence[LoggerMaker] = ()
    cluster: Cluster | None = None
    driven: str = ""


def _shared(paths: ExperimentPaths) -> bool:
    """Whether the experiment is shared with the directory's group; False if that cannot be read."""
    try:
        return spec_file.read(paths).share_with_group
    except (StorageError, UsageError, OSError):
        return False


def examine(
    paths: ExperimentPaths, options: FsckOptions, cluster_of: ClusterOf, *, holding: bool = False
) -> Inspection:
    """Inspect everything. ``holding``: this process holds the lease, so no other driver is looked for."""
    look = Inspection()
    seen = LeaseSeen(None, False) if holding else see_lease(paths)
    look.driven = seen.who if seen.alive else ""
    look.findings += check_ownership(walk(paths.root), os.geteuid(), shared=_shared(paths))
    if (paths.root / MENDED_JOURNAL).is_dir() and not paths.journal.exists():
        what = "a repair was killed before it had put the repaired journal in its place"
        look.findings.append(Finding("unfinished repair", "journal", what, "Call hpctune fsck without --dry-run"))
        return look
    try:
        spec = spec_file.read(paths)
        journal = check_journal(paths, spec)
    except (StorageError, UsageError) as error:
        look.findings.append(Finding("unreadable", ".", str(error).rstrip("."), "Cannot be made again from anything"))
        return look
    except OSError as error:
        what = f"{error.filename}: {error.strerror}"
        look.findings.append(Finding("unreadable", "journal", what, "See to its permissions, or to the filesystem"))
        return look
    look.facts = journal.facts
    look.findings += [x for x in journal.findings if not (look.driven and x.kind == "torn tail")]
    if not holding:
        look.findings += check_lease(seen, journal.facts.epoch if journal.facts is not None else 0)
    bundles, bundle = check_bundles(paths)
    look.findings += bundles
    if look.facts is not None:
        look.loggers = chosen_loggers(bundle.names, bundle.switched_on, look.facts, paths)
        logs_exploits = "log_config" in bundle.switched_on or (bundle.names is None and any(policy_files(paths.root)))
        if logs_exploits and not look.driven:
            look.findings += check_policy_log(look.facts, paths, every=options.rebuild)
        look.findings += _contents(look, look.facts, paths, options, cluster_of)
    return look


def _contents(
    look: Inspection, facts: Facts, paths: ExperimentPaths, options: FsckOptions, cluster_of: ClusterOf
) -> Iterator[Finding]:
    """Checks of trials and jobs. While a driver runs, only of those that it has finished."""
    driven = bool(look.driven)
    jobs = JobsSeen(None)
    over = facts.state.ended is not None
    if not driven and (not over or options.cancel_orphans or options.ask_always):
        look.cluster, why = cluster_of(facts.spec)
        jobs = ask(look.cluster, time.time(), "" if over and not options.cancel_orphans else why)
    if not driven:
        yield from check_root(paths, facts)
        yield from check_workers(paths)
        yield from check_driver_jobs(paths)
        yield from check_jobs(facts.state, jobs, facts.spec.cluster, cancel=options.cancel_orphans)
    for trial in facts.state.trials.values():
        if trial.finalized or not driven:
            yield from check_trial(facts, trial, paths, jobs.live)
    yield from check_derived(facts, paths, look.loggers, every=options.rebuild, finalized_only=driven)
