"""The events by which a driver executes the commands of the inbox."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hpctune.core.policies import Policies
from hpctune.core.react import NewTrial
from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.ids import trial_id
from hpctune.search.base import Suggestion
from hpctune.storage.inbox import ADD, STOP, Command

STOPPED = "stopped by hpctune stop"


def events(command: Command, state: ExperimentState, policies: Policies, new_trial: NewTrial) -> Iterator[e.Event]:
    """The events of one command, none if it was executed before. Each must be recorded before the next is asked for.

    CommandReceived comes last: after a crash in between, the next driver adds only the trials that are missing. No
    trials are added to an experiment that is stopping. Their command waits in the inbox for a resume.
    """
    if command.command_id in state.commands or (command.action == ADD and state.stopping is not None):
        return
    if command.action == STOP:
        yield from _stop(command, state)
    elif command.action == ADD:
        yield from _add(command, state, policies, new_trial)
    yield e.CommandReceived(command.command_id, command.action, command.targets)


def _stop(command: Command, state: ExperimentState) -> Iterator[e.Event]:
    if not command.targets:
        yield e.ExperimentStopRequested(STOPPED)
    for name in command.targets:
        if name in state.trials:
            yield e.StopRequested(name, STOPPED)


def _add(command: Command, state: ExperimentState, policies: Policies, new_trial: NewTrial) -> Iterator[e.Event]:
    there = list(state.added.values()).count(command.command_id)
    for config, evaluated in command.trials[there:]:
        index = len(state.trials)
        suggestion = policies.completed(index, Suggestion(dict(config), dict(evaluated)))
        added = new_trial(index, trial_id(state.spec.experiment_id, index), suggestion)
        yield replace(added, command=command.command_id, until=command.until)
