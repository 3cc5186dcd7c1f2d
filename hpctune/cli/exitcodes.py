"""The exit codes of every command: one table, shown by ``hpctune --help`` and in docs/cli.md."""

from __future__ import annotations

DONE = 0
FAILED = 1
USAGE = 2
LEFT = 3
INTERRUPTED = 130
BROKEN_PIPE = 141

MEANINGS: dict[int, str] = {
    DONE: "done; for run and resume: the experiment is over and no trial failed",
    FAILED: "trials failed, or the experiment or the command itself did",
    USAGE: "bad usage or input: nothing was changed",
    LEFT: "left early on a signal: jobs go on, 'hpctune resume DIR' takes over",
    INTERRUPTED: "interrupted with Ctrl-C (run, resume: a second time; 143 for a second SIGTERM)",
    BROKEN_PIPE: "the reader of the output left early, as in 'hpctune list | head -1'",
}


def table() -> str:
    """The meanings as lines of text."""
    return "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
