"""A shell script that calls ``sbatch`` in a loop: each call becomes a trial.

The script runs once, here, with a program named ``sbatch`` before all others that submits nothing: it writes down its
arguments, its input and the environment. What differs between the calls are the parameters.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.cluster.slurm.existing import ExistingScript, read_script
from hpctune.errors import ConfigFileError, UsageError
from hpctune.interop.batch_script import shell_of
from hpctune.interop.command_search import CommandSearch
from hpctune.space.functions import choice
from hpctune.space.text import value

RECORDER = """#!{python}
import json, os, sys
place = {place!r}
words, text = sys.argv[1:], None
piped = not sys.stdin.isatty() and not any(not w.startswith("-") and os.path.isfile(w) for w in words)
if piped and not any(w == "--wrap" or w.startswith("--wrap=") for w in words):
    text = sys.stdin.read()
number = len(os.listdir(place)) + 1
with open(os.path.join(place, f"{{number:06d}}.json"), "w") as file:
    json.dump({{"words": words, "stdin": text, "env": dict(os.environ), "cwd": os.getcwd()}}, file)
print(number if "--parsable" in words else f"Submitted batch job {{number}}")
"""
MAX_SECONDS = 300.0
_VALUED = frozenset("ACDFGJLMNSabcdeimnopqtwx")
"""Short options of sbatch that take a value."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One call of sbatch. ``options``: as directives. ``script``: the file, or None; ``text``: its content.
    ``arguments``: of the script. ``env``: what the job's environment has in addition to the driver's."""

    options: tuple[str, ...]
    script: str | None
    text: str
    arguments: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str


def submits(text: str) -> bool:
    """Whether a script calls sbatch, and is no batch script itself."""
    header = itertools.takewhile(lambda line: not line.strip() or line.startswith("#"), text.splitlines())
    is_one = any(line.startswith("#SBATCH") for line in header)
    return not is_one and re.search(r"^[^#\n]*\bsbatch\b", text, re.MULTILINE) is not None


def record(path: Path, arguments: Sequence[str] = ()) -> list[Submission]:
    """Run the script at ``path`` and return its submissions. Raises ConfigFileError if it fails or submits nothing."""
    with tempfile.TemporaryDirectory(prefix="hpctune-sbatch-") as folder:
        place, programs = Path(folder, "calls"), Path(folder, "bin")
        place.mkdir()
        programs.mkdir()
        recorder = programs / "sbatch"
        recorder.write_text(RECORDER.format(python=sys.executable, place=str(place)))
        recorder.chmod(0o755)
        env = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"}
        first = path.read_text(errors="replace").partition("\n")[0]
        runner = [str(path.absolute())] if os.access(path, os.X_OK) and first.startswith("#!") else ["bash", str(path)]
        try:
            done = subprocess.run(
                [*runner, *arguments], env=env, capture_output=True, text=True, timeout=MAX_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigFileError(f"{path} did not come to its end: {error}.") from error
        calls = [json.loads(file.read_text()) for file in sorted(place.iterdir())]
    if done.returncode:
        raise ConfigFileError(f"{path} failed with code {done.returncode}: {done.stderr.strip()[-500:]}")
    if not calls:
        raise ConfigFileError(f"{path} has not called sbatch, so there is nothing to run.")
    return [_submission(call, path) for call in calls]


def _submission(call: Mapping[str, Any], path: Path) -> Submission:
    words: list[str] = call["words"]
    options, at = list[str](), 0
    while at < len(words) and words[at].startswith("-"):
        word = words[at]
        takes = "=" not in word if word.startswith("--") else len(word) == 2 and word[1] in _VALUED
        follows = takes and at + 1 < len(words) and not words[at + 1].startswith("-")
        if word.startswith("--") and follows and Path(call["cwd"], words[at + 1]).is_file():
            follows = False  # an option without a value, before the script
        options.append(f"{word}={words[at + 1]}" if follows and word.startswith("--") else word)
        if follows and not word.startswith("--"):
            options[-1] = word + words[at + 1]
        at += 1 + follows
    wrapped = next((o.partition("=")[2] for o in options if o.startswith("--wrap=")), None)
    exported = next((o.partition("=")[2] for o in options if o.startswith("--export=")), "ALL")
    kept = tuple(o for o in options if not o.startswith(("--wrap=", "--export=")))
    script = words[at] if at < len(words) and wrapped is None else None
    if wrapped is not None:
        text = f"#!/bin/sh\n{wrapped}\n"
    elif script is not None:
        try:
            text = Path(call["cwd"], script).read_text()
        except OSError as error:
            raise ConfigFileError(f"{path} submits {script}, which cannot be read: {error.strerror}.") from error
    else:
        text = call["stdin"] or ""
    env = {name: each for name, each in call["env"].items() if os.environ.get(name) != each and name not in _OURS}
    for pair in exported.split(","):
        name, sign, given = pair.partition("=")
        if sign:
            env[name] = given
    return Submission(kept, script, text, tuple(words[at + 1 :]), env, call["cwd"])


_OURS = frozenset({"PATH", "_", "SHLVL", "PWD", "OLDPWD", "BASH_ENV"})


def search_of(path: Path, submissions: Sequence[Submission]) -> CommandSearch:
    """The search whose trials are these submissions. Raises UsageError if their options differ."""
    first = submissions[0]
    found = _script_options(first, path)
    for other in submissions[1:]:
        own = _script_options(other, path)
        if own.options != found.options or other.cwd != first.cwd:
            name = next(
                (n for n in {*own.options, *found.options} if own.options.get(n) != found.options.get(n)), "chdir"
            )
            raise UsageError(
                f"{path} submits jobs with different options ({name}: {found.options.get(name)!r} and "
                f"{own.options.get(name)!r}). The trials of a search have the same. Split the script into two."
            )
    rows, positions, names = _rows(submissions)
    text = _common(submissions, rows)
    slurm = dict(found.options)
    if re.search(r"^\s*(srun|mpirun|mpiexec)\b", first.text, re.MULTILINE):
        slurm.setdefault("use_srun", False)
    env = [f"{name}={{{name}}}" for name in names]
    words = enumerate(first.arguments)
    arguments = [f"{{{positions[n]}}}" if n in positions else _literal(word) for n, word in words]
    fixed = {k: v for k, v in first.env.items() if k not in names}
    shell = shell_of(first.text, Path(first.script or path))
    command = ["env", *env, shell, "-c", text, first.script or str(path.absolute()), *arguments]
    space = {
        name: values[0] if len(values) == 1 else choice(values)
        for name in rows[0]
        if (values := list({repr(row[name]): row[name] for row in rows}.values()))
    }
    return CommandSearch(
        command, space=space, rows=rows, cwd=str(Path(first.cwd, found.chdir or ".")), env=fixed, slurm=slurm,
        run={"name": path.stem},
    )  # fmt: skip


def _script_options(submission: Submission, path: Path) -> ExistingScript:
    directives = "".join(f"#SBATCH {option}\n" for option in submission.options)
    inside = "".join(line + "\n" for line in submission.text.splitlines() if line.startswith("#SBATCH"))
    found = read_script(f"#!/bin/bash\n{inside}{directives}")  # as with sbatch, the command line wins
    found.command = ""
    return found


def _rows(submissions: Sequence[Submission]) -> tuple[list[dict[str, Any]], dict[int, str], list[str]]:
    """The configurations; the parameter of each argument that is one; the parameters that are variables."""
    count = {len(one.arguments) for one in submissions}
    if len(count) > 1:
        raise UsageError(
            f"The script is submitted with {min(count)} and with {max(count)} arguments. Give all the same."
        )
    positions: dict[int, str] = {}
    arguments = [one.arguments for one in submissions]
    for number in range(count.pop()):
        if len({words[number] for words in arguments}) > 1:
            option = arguments[0][number - 1] if number else ""
            named = option.startswith("--") and all(words[number - 1] == option for words in arguments)
            positions[number] = option.lstrip("-").replace("-", "_") if named else f"arg{number + 1}"
    variables = list(dict.fromkeys(name for one in submissions for name in one.env))
    names = [n for n in variables if len({one.env.get(n) for one in submissions}) > 1]
    rows = [
        {name: value(one.env.get(name, "")) for name in names}
        | {name: value(one.arguments[number]) for number, name in positions.items()}
        for one in submissions
    ]
    if not rows[0]:  # the text itself differs
        rows = [{"job": number} for number in range(len(submissions))]
    return rows, positions, names


def _common(submissions: Sequence[Submission], rows: Sequence[Mapping[str, Any]]) -> str:
    """The script of all trials: their common text, or a choice of each one's own by the parameter ``job``."""
    texts = [_literal(one.text) for one in submissions]
    if len(set(texts)) == 1:
        return texts[0]
    if set(rows[0]) != {"job"}:
        for number, row in enumerate(rows):
            row["job"] = number  # type: ignore[index]
    cases = "\n".join(f"{number}) {_quoted(text)} ;;" for number, text in enumerate(texts))
    return f'case {{job}} in\n{cases}\nesac\neval "$script"\n'


def _quoted(text: str) -> str:
    return "script='" + text.replace("'", "'\\''") + "'"


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
