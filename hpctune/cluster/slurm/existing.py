"""Reads a batch script that somebody has: its options, what it does before the program, and the program. Pure."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from hpctune.cluster.options import SlurmOptions
from hpctune.errors import UsageError

_SHORT = {
    "A": "account",
    "C": "constraint",
    "c": "cpus-per-task",
    "d": "dependency",
    "N": "nodes",
    "n": "ntasks",
    "p": "partition",
    "q": "qos",
    "t": "time",
    "w": "nodelist",
    "x": "exclude",
    "G": "gpus",
    "L": "licenses",
    "J": "job-name",
    "o": "output",
    "e": "error",
    "a": "array",
    "D": "chdir",
    "M": "clusters",
    "m": "distribution",
}
_DROPPED = frozenset(
    {"job-name", "output", "error", "array", "open-mode", "parsable", "test-only", "wrap", "signal", "input", "wait"}
)
_WHOLE = frozenset(
    {"nodes", "ntasks", "ntasks_per_node", "cpus_per_task", "cpus_per_gpu", "gpus_per_task", "nice", "priority"}
)
_SETUP = re.compile(
    r"(module|ml|source|\.|export|unset|conda|mamba|micromamba|ulimit|set|shopt|umask|alias|eval|echo|date|hostname|"
    r"nvidia-smi|mkdir|[A-Za-z_]\w*=\S*$)(\s|$)"
)
_KEYWORD = re.compile(r"(if|then|else|elif|fi|for|while|until|do|done|case|esac|function|wait|exit|\{|\}|:)(\s|;|$)")
_SUBMITTED = re.compile(r"^\$(SLURM_SUBMIT_DIR\b|\{SLURM_SUBMIT_DIR\})\"?/*")
_LAUNCHER = re.compile(r"^(exec\s+)?(srun|mpirun|mpiexec)(\s+-{1,2}[\w-]+([= ]\S+)?)*\s+(?=\S)")


@dataclass(slots=True)
class ExistingScript:
    """``options``: fields of SlurmOptions. ``setup``: lines before the program. ``command``: the program, "" if there
    is none. ``chdir``: the job's directory, ``cd``: the one that the script goes to, if it says so. ``dropped``:
    options that have no meaning here."""

    options: dict[str, Any] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    command: str = ""
    chdir: str | None = None
    cd: str | None = None
    dropped: list[str] = field(default_factory=list)

    @property
    def directory(self) -> str | None:
        """Where the program runs, if the script says so."""
        return posixpath.join(self.chdir or "", self.cd or "") or None


def read_script(text: str) -> ExistingScript:
    """Read the script. Raises UsageError for a directive that cannot be parsed."""
    pairs: list[tuple[str, str | bool]] = []
    program: list[str] = []
    for line in re.sub(r"[ \t]*\\\n\s*", " ", text).splitlines():
        stripped = line.strip()
        if stripped.startswith("#SBATCH") and not program:
            pairs += _directives(stripped.removeprefix("#SBATCH"))
        elif stripped and not stripped.startswith("#"):
            program.append(stripped)
    found = options_of(pairs)
    for line in program:
        _line(line, found)
    return found


def options_of(pairs: Iterable[tuple[str, str | bool]]) -> ExistingScript:
    """The same for options that are stated elsewhere: pairs of long names, without dashes, and values."""
    found, additional = ExistingScript(), dict[str, Any]()
    for name, setting in pairs:
        _take(name, setting, found, additional)
    if additional:
        found.options["additional_parameters"] = additional
    return found


def long_name(name: str) -> str:
    """The long name of an option of sbatch, without dashes: "cpus-per-task" for "-c"."""
    bare = name.lstrip("-").replace("_", "-")
    return _SHORT.get(bare, bare)


def _line(line: str, found: ExistingScript) -> None:
    if line.startswith("cd "):
        found.cd = _SUBMITTED.sub("", re.split(r"\s*(?:[;&|#]|$)", line.removeprefix("cd "))[0].strip(" \"'"))
    elif _SETUP.match(line) or _KEYWORD.match(line):
        found.setup.append(line)
    else:
        if found.command:
            found.setup.append(found.command)  # the last program is the one to tune
        found.command = _LAUNCHER.sub("", line)


def _directives(text: str) -> Sequence[tuple[str, str | bool]]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise UsageError(f"#SBATCH{text}: {error}.") from error
    found: list[tuple[str, str | bool]] = []
    index = 0
    while index < len(words):
        word = words[index]
        name, sign, setting = word.partition("=")
        if word.startswith("--"):
            name = name[2:]
        elif word.startswith("-"):
            name, setting, sign = _SHORT.get(word[1:2], word[1:2]), word[2:].lstrip("="), word[2:]
        else:
            raise UsageError(f"#SBATCH{text}: {word!r} is no option.")
        if not sign and index + 1 < len(words) and not words[index + 1].startswith("-"):
            index += 1
            setting = words[index]
        found.append((name, setting or True))
        index += 1
    return found


def _take(name: str, setting: str | bool, found: ExistingScript, additional: dict[str, Any]) -> None:
    own = name.replace("-", "_")
    if name in _DROPPED:
        found.dropped.append(name)
    elif name in ("requeue", "no-requeue"):
        found.options["requeue"] = name == "requeue"
    elif name == "chdir":
        found.chdir = str(setting)
    elif name == "gpus-per-node":
        kind, _, number = str(setting).rpartition(":")
        found.options |= {"gpus_per_node": int(number)} | ({"gpu_type": kind} if kind else {})
    elif name == "gpus":
        found.options["gres"] = f"gpu:{setting}"
    elif own in {f.name for f in fields(SlurmOptions)}:
        found.options[own] = int(setting) if own in _WHOLE and str(setting).isdigit() else setting
    else:
        additional[name] = setting
