"""Parses ``resume=`` and decides whether an experiment is resumed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from hpctune.core.resume import ResumeChoice
from hpctune.errors import ResumeError, UsageError
from hpctune.launch import store
from hpctune.storage.layout import ExperimentPaths
from hpctune.tune_config import ResumeConfig

SUFFIXES = {
    "+ERRORED": {"errored": "resume"},
    "+RESTART_ERRORED": {"errored": "restart"},
    "+ERRORED_ONLY": {"errored": "resume", "unfinished": "skip"},
    "+RESTART_ERRORED_ONLY": {"errored": "restart", "unfinished": "skip"},
}


class When(Enum):
    """When to resume."""

    NEVER = "never"
    ALWAYS = "always"
    """There must be something to resume."""
    IF_POSSIBLE = "if possible"
    ASK = "ask"
    REMOTE = "remote"
    """From the mirror, if the experiment is not here."""


@dataclass(frozen=True, slots=True)
class Resume:
    """When to resume, and what happens to the existing trials."""

    when: When = When.NEVER
    choice: ResumeChoice = field(default_factory=ResumeChoice)


def parse_resume(resume: object, config: ResumeConfig | None = None) -> Resume:
    """Parse a user's ``resume`` and ``resume_config``.

    ``resume``: None or False; True or "LOCAL" (there must be an experiment to resume); "AUTO" (resume if there is one);
    "PROMPT" (ask); "REMOTE" (bring it from its mirror first); "ERRORED_ONLY" (only the errored trials, from scratch).
    LOCAL, AUTO, PROMPT and REMOTE may have suffixes of
    SUFFIXES. Raises UsageError for anything else.
    """
    if config is not None and not isinstance(config, ResumeConfig):
        raise UsageError(f"resume_config must be a ResumeConfig, not {config!r}.")
    choice = ResumeChoice()
    if config is not None:
        choice = ResumeChoice(config.finished.value, config.unfinished.value, config.errored.value)
    if resume is None or resume is False:
        if config is not None:
            raise UsageError("resume_config has no effect without resume=. Set resume=True or resume='AUTO'.")
        return Resume()
    text = "LOCAL" if resume is True else resume
    if not isinstance(text, str):
        raise UsageError(_explain(resume))
    word, plus, suffix = text.partition("+")
    if word == "ERRORED_ONLY" and not plus:
        word, plus, suffix = "LOCAL", "+", "RESTART_ERRORED_ONLY"
    if plus and config is not None:
        raise UsageError(f"resume={resume!r} and resume_config both set what to resume. Remove one of them.")
    return Resume(_when(word, resume), replace(choice, **_choices(suffix.split("+") if plus else [], resume)))


def is_resumed(resume: Resume, paths: ExperimentPaths | None) -> bool:
    """Whether to resume the experiment in ``paths`` (None: it has an automatic name) instead of creating a new one.

    Raises ResumeError if a resume is required and not possible.
    """
    if resume.when is When.NEVER:
        return False
    if paths is None:
        if resume.when in (When.ALWAYS, When.REMOTE):
            raise ResumeError("resume=True needs name=..., because an automatic name is new each time.")
        return False
    there = store.exists(paths)
    if resume.when in (When.ALWAYS, When.REMOTE) and not there:
        raise ResumeError(f"There is nothing to resume in {paths.root}. Remove resume=, or use resume='AUTO'.")
    return there and (resume.when is not When.ASK or _confirmed(paths))


def _confirmed(paths: ExperimentPaths) -> bool:
    if not sys.stdin.isatty():
        raise ResumeError("resume='PROMPT' needs a terminal, and there is none. Use resume=True or 'AUTO'.")
    return input(f"Resume the experiment in {paths.root}? [y/N] ").strip().lower() in ("y", "yes")


def _when(word: str, resume: object) -> When:
    words = {"LOCAL": When.ALWAYS, "AUTO": When.IF_POSSIBLE, "PROMPT": When.ASK, "REMOTE": When.REMOTE}
    if word not in words:
        raise UsageError(_explain(resume))
    return words[word]


def _choices(suffixes: Sequence[str], resume: object) -> dict[str, str]:
    """The choices of the suffixes. There may be several."""
    chosen: dict[str, str] = {}
    for suffix in suffixes:
        if f"+{suffix}" not in SUFFIXES:
            raise UsageError(_explain(resume))
        chosen |= SUFFIXES[f"+{suffix}"]
    return chosen


def _explain(resume: object) -> str:
    return (
        f"resume={resume!r} is not a valid value. Valid are True, False, 'LOCAL', 'AUTO', 'PROMPT', 'REMOTE' and "
        f"'ERRORED_ONLY'; all but the last with a suffix of {', '.join(SUFFIXES)}."
    )
