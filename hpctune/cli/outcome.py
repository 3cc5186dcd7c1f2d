"""The outcome of driven experiments, as an exit code and as text."""

from __future__ import annotations

from collections.abc import Sequence

from hpctune.cli import exitcodes
from hpctune.common.text import count, quoted
from hpctune.launch.driven import DrivenExperiment
from hpctune.model.trial import Phase


def exit_code(driven: Sequence[DrivenExperiment]) -> int:
    """LEFT if a signal ended one early, else FAILED if one failed, else DONE."""
    codes = {_code(one) for one in _newest(driven)}
    return next((code for code in (exitcodes.LEFT, exitcodes.FAILED) if code in codes), exitcodes.DONE)


def _newest(driven: Sequence[DrivenExperiment]) -> list[DrivenExperiment]:
    """Of an experiment that was driven several times, as a script does that restores it, only how it stands now."""
    return list({one.driver.paths.root: one for one in driven}.values())


def _code(one: DrivenExperiment) -> int:
    state = one.driver.state
    if one.leave and not one.driver.finished:
        return exitcodes.LEFT
    fatal = state.stopping is not None and state.stopping.fatal
    return exitcodes.FAILED if fatal or state.phases[Phase.ERROR] else exitcodes.DONE


def failure_words(driven: Sequence[DrivenExperiment]) -> str:
    """How many trials failed, and the commands that help; "" if none failed."""
    lines = []
    for one in _newest(driven):
        root, state = one.driver.paths.root, one.driver.state
        failed = state.phases[Phase.ERROR]
        if failed:
            lines.append(
                f"{failed} of {count(len(state.trials), 'trial')} failed. See: hpctune status {quoted(root)}. "
                f"Try them again: hpctune resume {quoted(root)} --errored"
            )
    return "\n".join(lines)
