"""A snapshot as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from hpctune.cli import snapshot as look
from hpctune.cli.snapshot import Snapshot
from hpctune.common.text import (
    clean,
    count,
    duration,
    number,
    quoted,
    settings,
    shorten,
    shorten_middle,
    size,
    table,
    when,
)
from hpctune.mirror.options import copy_of
from hpctune.model import failures
from hpctune.model.budget import UNITS
from hpctune.model.ranking import pareto_front
from hpctune.model.rows import lookup
from hpctune.model.trial import Phase, Trial
from hpctune.output.display.words import amounts, front_words, state_counts

MAX_ROWS = 15
INDENT = " " * 6
_WAITS = "Trials wait for room, up to 10 minutes each; nothing is lost"
WAITING = (Phase.SUBMITTING, Phase.QUEUED, Phase.PENDING, Phase.PAUSED)


def render(shot: Snapshot, columns: int) -> str:
    """The whole status as text, for a terminal of ``columns``."""
    lines = [*head(shot, columns), *_running(shot, columns), *_waiting(shot, columns), *_failed(shot, columns)]
    return "\n".join([*lines, "", *_tail(shot)])


def head(shot: Snapshot, columns: int) -> Iterator[str]:
    """What the whole experiment does: driver, counts of trials, workers, disk, best."""
    spec, driving = shot.state.spec, shot.driving
    goal = "".join(f", {mode} {metric}" for metric, mode in spec.objectives)
    yield f"Experiment {clean(spec.name)} ({clean(spec.trainable)}{goal})"
    yield f"  state     {clean(driving.text)}"
    if driving.resume is not None:
        yield f"            {'try the failed again' if driving.word == 'finished' else 'go on'}: {driving.resume}"
    if shot.jobs is not None and driving.word != "finished":
        yield f"  driver    {clean(_driver_jobs(shot.jobs, driving.alive))}"
    yield f"  trials    {_counts(shot)}"
    if shot.status is not None and shot.status.workers and shot.driving.word != "finished":
        yield f"  workers   {clean(shot.status.workers)}"
    if shot.status is not None and shot.status.queue and shot.driving.word != "finished":
        yield f"  queue     {clean(shot.status.queue)}"
    if shot.storage and shot.driving.word != "finished":
        yield from textwrap.wrap(
            f"  storage   {clean(shot.storage)}. {_WAITS}", columns, subsequent_indent=" " * 12, break_on_hyphens=False
        )
    if shot.state.checkpoints.count:
        yield f"  disk      {_checkpoints(shot)}"
    if spec.time_budget_s is not None:
        yield f"  budget    {duration(shot.state.driven_s)} of {duration(spec.time_budget_s)} used"
    if shot.cost:
        yield from textwrap.wrap(f"  cost      {shot.cost}", columns, subsequent_indent=" " * 12)
    if spec.budget is not None:
        held = shot.state.budget_held
        more = ": no trial starts that could pass it" if spec.budget.warned(held) else ""
        yield f"  budget    {spec.budget.words(held)}{more}"
    yield from _best(shot, columns)


def _driver_jobs(jobs: look.DriverJobs, alive: bool | None) -> str:
    """The driver job that runs and its end, and its successors."""
    parts = []
    if jobs.running is not None:
        until = f" until {when(jobs.running.ends_at)}" if jobs.running.ends_at is not None else ""
        parts.append(f"job {jobs.running.job_id}{until}")
    if jobs.waiting:
        ids = ", ".join(job.job_id for job in jobs.waiting)
        parts.append(f"next {'is job' if len(jobs.waiting) == 1 else 'are jobs'} {ids}, in the queue when last looked")
    elif alive is not True:
        parts.append("no waiting driver job is recorded")
    noted = jobs.running or jobs.last
    if noted is not None and noted.note:
        parts.append(f"job {noted.job_id} said: {noted.note}")
    return "; ".join(parts) or "no driver job waits"


def _counts(shot: Snapshot) -> str:
    wanted = shot.state.num_samples
    have = len(shot.state.trials)
    states = state_counts(shot.state.trials.values(), shot.state.phases)
    more = "" if shot.state.exhausted or shot.driving.word == "finished" else f" so far (num_samples {wanted})"
    return f"{have}{more}: {amounts(states)}" if have else f"none yet (num_samples {wanted})"


def _checkpoints(shot: Snapshot) -> str:
    """The checkpoints with their sizes and limits, as the journal knows them; nothing is looked up on the disk."""
    totals, policy = shot.state.checkpoints, shot.state.spec.checkpoint
    most = "" if policy.max_total is None else f" (at most {policy.max_total})"
    bytes_ = "" if policy.max_total_bytes is None else f" (at most {size(policy.max_total_bytes)})"
    unknown = f", {totals.unknown} of unknown size" if totals.unknown else ""
    free = "" if shot.free_bytes is None else f"; {size(shot.free_bytes)} free"
    return f"{count(totals.count, 'checkpoint')}{most} of {size(totals.bytes)}{bytes_}{unknown}{free}"


def _best(shot: Snapshot, columns: int) -> Iterator[str]:
    spec, best = shot.state.spec, shot.best
    if spec.metric is None:
        yield "  best      no metric was given; choose one: hpctune best --metric NAME --mode min|max"
    elif best is None:
        reported = any(lookup(trial.last, spec.metric) is not None for trial in shot.state.trials.values())
        yield f"  best      no trial has {'a finite' if reported else 'reported'} {spec.metric} yet"
    elif spec.more_objectives:
        yield f"  front     {front_words(pareto_front(shot.state.trials.values(), spec.objectives), spec.objectives)}"
        yield f"            the trials: hpctune best {quoted(shot.paths.root)}"
    else:
        value = number(lookup(best.last, spec.metric))
        yield f"  best      {spec.metric} = {value} at iteration {best.last_iteration} of trial {best.trial_id}"
        yield f"            {settings(look.what_varied(best), columns - 12)}"


def _running(shot: Snapshot, columns: int) -> Iterator[str]:
    trials = shot.in_phase(Phase.RUNNING)
    if not trials:
        return
    metric = shot.state.spec.metric
    header = ["trial", "iter", *([metric] if metric else []), "running", "time left", "node", "job", "config"]
    rows = [_running_row(shot, t, metric) for t in trials[:MAX_ROWS]]
    yield from _section("Running", len(trials), table(header, rows, "  "), "RUNNING", columns)


def _running_row(shot: Snapshot, trial: Trial, metric: str | None) -> list[object]:
    attempt = trial.attempt
    assert attempt is not None
    since = duration(shot.now - attempt.started_at) if attempt.started_at is not None else "-"
    left = duration(attempt.ends_at - shot.now) if attempt.ends_at is not None else "-"
    state = "suspended" if look.suspended(trial) else "stopping" if trial.stop is not None else left
    value = [number(lookup(trial.last, metric))] if metric else []
    place = [attempt.nodes or "-", attempt.job_id or "-"]
    config = settings(look.what_varied(trial), 200)
    return [trial.trial_id, str(trial.last_iteration or "-"), *value, since, state, *place, config]


def _waiting(shot: Snapshot, columns: int) -> Iterator[str]:
    trials = shot.in_phase(*WAITING)
    if not trials:
        return
    lines = []
    for reason, group in look.waiting_groups(trials)[:MAX_ROWS]:
        oldest = min(_waits_since(t) for t in group)
        why = f"{count(len(group), 'trial')}, for up to {duration(shot.now - oldest)}: {clean(reason)}"
        lines += textwrap.wrap(why, columns, initial_indent="  ", subsequent_indent="    ")
        some = ", ".join(f"{t.trial_id}{_job(t)}" for t in group[:3]) + (", ..." if len(group) > 3 else "")
        lines.append(f"      {some}")
    yield ""
    yield f"Waiting ({len(trials)})"
    yield from (shorten(line, columns) for line in lines)


def _waits_since(trial: Trial) -> float:
    return trial.attempt.requested_at if trial.attempt is not None else trial.added_at


def _job(trial: Trial) -> str:
    return f" (job {trial.attempt.job_id})" if trial.attempt is not None and trial.attempt.job_id else ""


def _failed(shot: Snapshot, columns: int) -> Iterator[str]:
    trials = shot.in_phase(Phase.ERROR)
    if not trials:
        return
    lines = []
    for group in failures.grouped(trials)[:MAX_ROWS]:
        first = group[0]
        begin, end = map(clean, failures.first_and_last(first))
        lines.append(f"  {first.trial_id}  {shorten_middle(begin, max(columns - len(first.trial_id) - 4, 20))}")
        if end != begin:
            lines += textwrap.wrap(
                end, max(columns, 40), initial_indent=INDENT, subsequent_indent=INDENT, max_lines=3, placeholder=" ..."
            )
        lines.append(f"{INDENT}{shot.paths.trial(first.dirname).error}")
        if len(group) > 1:
            others = ", ".join(trial.trial_id for trial in group[1:])
            lines.append(shorten(f"{INDENT}the same: {count(len(group) - 1, 'other trial')} ({others})", columns))
    yield from _section("Failed", len(trials), lines, "ERROR", columns)


def _section(title: str, amount: int, lines: list[str], phase: str, columns: int) -> Iterator[str]:
    yield ""
    yield f"{title} ({amount})"
    yield from (line if line.startswith(INDENT) else shorten(line, columns) for line in lines)
    if amount > MAX_ROWS and phase != "ERROR":
        yield f"  and {amount - MAX_ROWS} more: hpctune list DIR --filter 'status == {phase}'"


def _tail(shot: Snapshot) -> Iterator[str]:
    status = shot.status
    if status is not None and status.calls.total:
        calls = status.calls
        live = shot.driving.alive is not False
        lately = f", {calls.last_minute} in the last minute" if live else " by its last driver"
        budget = f" (at most {calls.budget_per_minute} a minute)" if calls.budget_per_minute else ""
        put_off = f", {calls.deferred} put off to keep to that" if calls.deferred else ""
        yield f"Calls to {status.cluster}: {calls.total}{lately}{budget}{put_off}"
    if status is not None and status.note:
        yield f"Note ({when(status.updated_at)}): {clean(status.note)}"
    if shot.mirror is not None:
        yield f"Copy: {clean(shot.mirror.describe(shot.now))}"
    place = copy_of(shot.paths.root)
    yield f"Directory: {shot.paths.root}" if place is None else f"Copy at: {clean(place)}"
    named = place or shot.paths.root
    if shot.jobs is not None and shot.jobs.last is not None:
        yield f"Output of the driver: hpctune logs {quoted(named)} --driver"
    example = shot.best or next(iter(shot.state.trials.values()), None)
    if example is not None:
        yield f"Output of a trial: hpctune logs {quoted(named)} {example.trial_id}"


def as_dict(shot: Snapshot) -> dict[str, Any]:
    """The whole status as plain data."""
    state, spec, driving = shot.state, shot.state.spec, shot.driving
    return {
        "name": spec.name,
        "experiment_id": spec.experiment_id,
        "directory": str(shot.paths.root),
        "trainable": spec.trainable,
        "metric": spec.metric,
        "mode": spec.mode,
        "created_at": spec.created_at,
        "now": shot.now,
        "state": driving.word,
        "state_text": driving.text,
        "resume": driving.resume,
        "driver": _driver(shot),
        "num_samples": state.num_samples,
        "counts": {"total": len(state.trials), **look.counts(state)},
        "time_budget_s": spec.time_budget_s,
        "driven_s": state.driven_s,
        "budget": _budget(shot),
        "best": None if shot.best is None else _trial(shot, shot.best),
        "running": [_trial(shot, t) for t in shot.in_phase(Phase.RUNNING)],
        "waiting": [_trial(shot, t) for t in shot.in_phase(*WAITING)],
        "failed": [_trial(shot, t) for t in shot.in_phase(Phase.ERROR)],
        "cluster": _cluster(shot),
        "storage": shot.storage,
        "checkpoints": {
            **asdict(state.checkpoints),
            "max_count": spec.checkpoint.max_total,
            "max_bytes": spec.checkpoint.max_total_bytes,
            "free_bytes": shot.free_bytes,
        },
        "mirror": None if shot.mirror is None else asdict(shot.mirror),
        "note": shot.status.note if shot.status is not None else "",
    }


def _budget(shot: Snapshot) -> dict[str, Any] | None:
    budget = shot.state.spec.budget
    if budget is None:
        return None
    return {"amount": budget.amount, "unit": UNITS[budget.unit], "held": shot.state.budget_held}


def _driver(shot: Snapshot) -> dict[str, Any] | None:
    holder, driving = shot.driving.holder, shot.driving
    if holder is None:
        return None
    seen = {"alive": driving.alive, "silent_s": driving.silent_s}
    jobs = None if shot.jobs is None else _jobs(shot.jobs)
    return {"host": holder.host, "pid": holder.pid, "since": holder.since, "job": holder.job, **seen, "jobs": jobs}


def _jobs(jobs: look.DriverJobs) -> dict[str, Any]:
    return {
        "running": None if jobs.running is None else asdict(jobs.running),
        "waiting": [asdict(job) for job in jobs.waiting],
        "last": None if jobs.last is None else asdict(jobs.last),
    }


def _cluster(shot: Snapshot) -> dict[str, Any] | None:
    status = shot.status
    if status is None:
        return None
    return {
        "name": status.cluster,
        "updated_at": status.updated_at,
        "calls": status.calls.total,
        "calls_last_minute": status.calls.last_minute,
        "calls_budget_per_minute": status.calls.budget_per_minute,
        "calls_put_off": status.calls.deferred,
        "workers": status.workers,
        "queue": status.queue,
    }


def _trial(shot: Snapshot, trial: Trial) -> dict[str, Any]:
    attempt, paths = trial.attempt, shot.paths.trial(trial.dirname)
    metric = shot.state.spec.metric
    data: dict[str, Any] = {
        "trial_id": trial.trial_id,
        "index": trial.index,
        "phase": trial.phase.value,
        "iteration": trial.last_iteration,
        "value": lookup(trial.last, metric) if metric else None,
        "config": trial.shown_config,
        "directory": str(paths.root),
    }
    if attempt is not None:
        data |= {"attempt": attempt.number, "job_id": attempt.job_id, "nodes": attempt.nodes}
        data |= {"started_at": attempt.started_at, "ends_at": attempt.ends_at}
    if trial.phase in WAITING:
        data["reason"] = look.waiting_reason(trial)
    if trial.phase is Phase.ERROR:
        data |= {"error": str(trial.error or trial.reason), "error_file": str(paths.error)}
    return data
