"""``hpctune logs`` without a trial: the output of all of them, and failures by what went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import click

from hpctune.analysis.followed import FollowedExperiment
from hpctune.cli import snapshot
from hpctune.cli.outputfiles import Stream
from hpctune.common.text import count, quoted
from hpctune.common.throttle import Throttle
from hpctune.core.state import ExperimentState
from hpctune.model import failures
from hpctune.model.trial import Phase, Trial
from hpctune.storage.layout import ExperimentPaths

LAST_LINES = 10
"""Lines of each trial that are shown, if nothing else is asked for."""
FOLLOW_S, STATE_S = 0.5, 2.0
"""Seconds between two reads of the files, and of the experiment."""
COLORS = ("cyan", "green", "yellow", "blue", "magenta", "bright_cyan", "bright_green", "bright_blue")
FAILURE_LINES = 5

StreamsOf = Callable[[Trial], list[Stream]]


class _Lines:
    """The whole lines of one trial's output. ``prefix``: the end of its id."""

    def __init__(self, trial: Trial, streams: Sequence[Stream]) -> None:
        self.prefix = f"{trial.trial_id.rpartition('_')[2]} | "
        self.color = COLORS[trial.index % len(COLORS)]
        self.streams, self._rest = list(streams), [""] * len(streams)

    def take(self, texts: Iterator[str], *, last: bool = False) -> None:
        """Print the lines in ``texts``, one text for each stream. ``last``: what has no line end yet, too."""
        for number, text in enumerate(texts):
            lines = (self._rest[number] + text).split("\n")
            self._rest[number] = "" if last else lines.pop()
            for line in lines:
                if line or not last:
                    click.echo(click.style(self.prefix, fg=self.color) + line)

    def news(self, *, last: bool = False) -> None:
        self.take((stream.news() for stream in self.streams), last=last)


def show_all(paths: ExperimentPaths, streams_of: StreamsOf, lines: int | None, *, follow: bool) -> list[Trial]:
    """Print the last ``lines`` lines of each trial that has begun; with ``follow``, what they print until the end.

    Returns the trials that have begun if none of them has printed anything.
    """
    shown: dict[str, _Lines] = {}
    finished: set[str] = set()
    wanted: int | None = LAST_LINES if lines is None else lines
    followed, throttle = FollowedExperiment(paths.root), Throttle(STATE_S)
    while True:
        over = False
        if throttle.due(time.monotonic()):
            with throttle.measured(time.monotonic()):
                state = followed.read().view.state
            for trial in state.trials.values():
                _begin(trial, shown, streams_of, wanted, last=not follow)
            wanted = None
            ended = {name for name in shown if state.trials[name].phase.final} - finished
            over = _is_over(paths, state) or not follow
            for name in ended:
                shown[name].news(last=True)
            finished |= ended
        for name, one in shown.items():
            if over or name not in finished:
                one.news(last=over)
        if over:
            break
        time.sleep(FOLLOW_S)
    if not shown:
        click.echo(f"No trial has begun. Its state: hpctune status {quoted(paths.root)}", err=True)
    printed = any(stream.offset for one in shown.values() for stream in one.streams)
    return [] if printed else [state.trials[name] for name in shown]


def _begin(trial: Trial, shown: dict[str, _Lines], streams_of: StreamsOf, lines: int | None, *, last: bool) -> None:
    """Print the beginning of a trial's output, if it has begun since the last look. ``last``: nothing will follow."""
    if trial.trial_id in shown or trial.started_at is None:
        return
    one = shown[trial.trial_id] = _Lines(trial, streams_of(trial))
    one.take((stream.last(lines) for stream in one.streams), last=last or trial.phase.final)


def _is_over(paths: ExperimentPaths, state: ExperimentState) -> bool:
    if state.ended is not None:
        return True
    driving = snapshot.driving(paths, state, time.time())
    if driving.alive is False and not state.live:
        click.echo(f"No driver is running, and no trial. {driving.resume}", err=True)
        return True
    return False


def show_failed(paths: ExperimentPaths, state: ExperimentState, streams_of: StreamsOf) -> int:
    """Print each kind of failure once: how often, which trials, the error, and the end of one output. Returns how many
    trials failed."""
    failed = [trial for trial in state.trials.values() if trial.phase is Phase.ERROR]
    for group in failures.grouped(failed):
        names = ", ".join(trial.trial_id for trial in group[:8]) + (", ..." if len(group) > 8 else "")
        click.echo(click.style(f"{count(len(group), 'trial')}: {names}", bold=True))
        first = group[0]
        error = paths.trial(first.dirname).error
        text = error.read_text(errors="replace") if error.is_file() else failures.words(first)
        click.echo("\n".join(f"  {line}" for line in text.rstrip().splitlines()))
        for stream in streams_of(first):
            if (end := stream.last(FAILURE_LINES).rstrip()) and end not in text:
                click.echo(f"  The end of its {stream.title} ({stream.path}):")
                click.echo("\n".join(f"    {line}" for line in end.splitlines()))
        click.echo()
    if not failed:
        click.echo(f"No trial of {paths.root} has failed.")
    else:
        click.echo(f"Run them again: hpctune resume {quoted(paths.root)} --errored")
    return len(failed)
