"""What a script submits. It runs once, here, with a program named ``sbatch`` before all others that submits nothing:
that program writes down its arguments, the texts of the files among them, its input and the environment."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpctune.errors import ConfigFileError
from hpctune.interop.batch_script import ARRAY, array_limit, array_of, array_variables, export_pairs

RECORDER = """#!{python}
import itertools, json, os, sys
place = {place!r}
words, text = sys.argv[1:], None
files = {{}}
for word in words:
    try:
        files[word] = open(word).read({limit})
    except (OSError, ValueError):
        pass
piped = not sys.stdin.isatty() and not any(word in files and not word.startswith("-") for word in words)
if piped and not any(w == "--wrap" or w.startswith("--wrap=") for w in words):
    text = sys.stdin.read()
call = {{"words": words, "files": files, "stdin": text, "env": dict(os.environ), "cwd": os.getcwd()}}
for number in itertools.count(len(os.listdir(place)) + 1):
    try:
        file = open(os.path.join(place, f"{{number:06d}}.json"), "x")
    except FileExistsError:  # another one runs beside this one
        continue
    break
with file:
    json.dump(call, file)
print(number if "--parsable" in words else f"Submitted batch job {{number}}")
"""
_NOT_NOW = ("squeue", "scancel", "sleep")
"""What does nothing meanwhile: scripts wait for room in the queue, cancel jobs by the numbers that they were told, and
look at the queue in the end."""
MAX_SECONDS = 300.0
_MAX_SCRIPT = 4_000_000
"""Characters of a batch script; Slurm takes 4 MB by default."""
_VALUED = frozenset("ACDFGJLMNSabcdeimnopqtwx")
"""Short options of sbatch that take a value."""
_OURS = frozenset({"PATH", "_", "SHLVL", "PWD", "OLDPWD", "BASH_ENV"})
_NO_COMMENT = r"(?:[^#\n]|(?<=\S)#)*?"
_NO_WORK = re.compile(
    r"(sbatch|for|while|until|if|elif|fi|done|case|esac|in|echo|printf|sleep|shift|mkdir|cd|export|declare|local|read|set|"
    r"source|module|seq|ls|cat|wc|basename|dirname|pwd|date|exit|break|continue|true|:|!|\[|\[\[|\.)$"
    r"|\w+(\[\S*\])?\+?=|\(\(|[\"'\])}{]|\S+\)$|\w+\(\)"
)
"""The first word of a command of a script that does no work itself."""
_OF_A_JOB = re.compile(r"SLURM_(JOB_?ID|ARRAY_.*)$")
_STARTERS = frozenset({"run", "call", "check_call", "check_output", "Popen", "system", "popen", "getoutput"})


@dataclass(frozen=True, slots=True)
class Submission:
    """One call of sbatch, or one index of an array that it submits.

    ``options``: as directives, quoted. ``script``: the file, or None; ``text``: its content when it was submitted.
    ``arguments``: of the script. ``env``: what the job's environment has in addition to the driver's. ``limit``: how
    many jobs of its array run at a time, if that is said.
    """

    options: tuple[str, ...]
    script: str | None
    text: str
    arguments: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    limit: int | None = None


def submits(text: str) -> bool:
    """Whether a shell script calls sbatch and is no batch script, or one that submits itself if it is no job yet, or
    one that does nothing else than submit others."""
    if re.search(rf"^{_NO_COMMENT}\bsbatch\b", text, re.MULTILINE) is None:
        return False
    if not _has_directives(text) or re.search(r"-z\s+\S?\$\{?SLURM_(ARRAY_TASK|JOB)_?ID", text):
        return True
    return re.search(r"\bsbatch\b[^\n]*(\$\{?0\b|BASH_SOURCE)", text) is None and _only_submits(text)


def _only_submits(text: str) -> bool:
    """Whether a script has a loop that calls sbatch, and otherwise only commands that do no work."""
    plain = re.sub(r"\\\n|(?<!\S)#[^\n]*|\[\[?\s[^\n]*?\s\]", " ", text)
    commands = re.split(r"[;\n|]|&&|\b(?:do|then|else)\b|\$\(|`", plain)
    words = (words[0] for command in commands if (words := command.split()))
    return re.search(r"\bdo\b", plain) is not None and all(_NO_WORK.match(word) for word in words)


def resubmits(text: str) -> bool:
    """Whether a batch script calls sbatch in its job."""
    called = re.search(rf"^(?!\s*(echo|printf)\b){_NO_COMMENT}\bsbatch\s+\S", text, re.MULTILINE)
    return called is not None and not submits(text)


def submits_in_python(tree: ast.AST) -> bool:
    """Whether a Python script calls sbatch: ``subprocess.run(["sbatch", ...])``, ``os.system(f"sbatch ...")``."""
    names = any(
        isinstance(node, ast.Constant) and isinstance(node.value, str) and re.match(r"\s*sbatch(\s|$)", node.value)
        for node in ast.walk(tree)
    )
    called = {
        getattr(node.func, "attr", getattr(node.func, "id", ""))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    return names and bool(called & _STARTERS)


def _has_directives(text: str) -> bool:
    header = itertools.takewhile(lambda line: not line.strip() or line.startswith("#"), text.splitlines())
    return any(line.startswith("#SBATCH") for line in header)


def record(path: Path, arguments: Sequence[str] = ()) -> list[Submission]:
    """Run the script at ``path`` and return its submissions. Raises ConfigFileError if it fails or submits nothing."""
    with tempfile.TemporaryDirectory(prefix="hpctune-sbatch-") as folder:
        place, programs = Path(folder, "calls"), Path(folder, "bin")
        place.mkdir()
        programs.mkdir()
        recorder = programs / "sbatch"
        recorder.write_text(RECORDER.format(python=sys.executable, place=str(place), limit=_MAX_SCRIPT))
        recorder.chmod(0o755)
        for name in _NOT_NOW:
            (programs / name).write_text("#!/bin/sh\nexit 0\n")
            (programs / name).chmod(0o755)
        env = {name: text for name, text in os.environ.items() if not _OF_A_JOB.match(name)}
        env["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
        try:
            done = subprocess.run(
                [*_runner(path), *arguments], env=env, capture_output=True, text=True, timeout=MAX_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigFileError(f"{path} did not come to its end: {error}.") from error
        calls = [json.loads(file.read_text()) for file in sorted(place.iterdir())]
    if done.returncode:
        raise ConfigFileError(f"{path} failed with code {done.returncode}: {done.stderr.strip()[-500:]}")
    if not calls:
        raise ConfigFileError(f"{path} has not called sbatch, so there is nothing to run.")
    return [one for call in calls for one in _indices(_submission(call, path))]


def _runner(path: Path) -> list[str]:
    """The words that run the script."""
    if path.suffix == ".py":
        return [sys.executable, str(path)]
    first = path.read_text(errors="replace").partition("\n")[0]
    return [str(path.absolute())] if os.access(path, os.X_OK) and first.startswith("#!") else ["bash", str(path)]


def _indices(submission: Submission) -> Iterator[Submission]:
    """The submission, or one for each index of its array."""
    stated = [option for option in submission.options if re.match(r"--array\b|-a", option)]
    directives = [line for line in submission.text.splitlines() if line.startswith("#SBATCH")]
    said = "\n".join(f"#SBATCH {option}" for option in stated) or "\n".join(directives)
    indices = array_of(said)
    if not indices:
        yield submission
    for index in indices:
        env = {**submission.env, ARRAY: str(index), **array_variables(indices)}
        yield replace(submission, env=env, limit=array_limit(said))


def _submission(call: Mapping[str, Any], path: Path) -> Submission:
    words: list[str] = call["words"]
    options, at = list[str](), 0
    while at < len(words) and words[at].startswith("-"):
        word = words[at]
        takes = "=" not in word if word.startswith("--") else len(word) == 2 and word[1] in _VALUED
        follows = takes and at + 1 < len(words) and not words[at + 1].startswith("-")
        if word.startswith("--") and follows and words[at + 1] in call["files"]:
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
        if script not in call["files"]:
            raise ConfigFileError(f"{path} submits {script}, which cannot be read in {call['cwd']}.")
        text = call["files"][script]
    else:
        text = call["stdin"] or ""
    env = {
        name: each for name, each in call["env"].items()
        if os.environ.get(name) != each and name not in _OURS and not _OF_A_JOB.match(name)
    }  # fmt: skip
    env |= export_pairs(exported)
    return Submission(kept, script, text, tuple(words[at + 1 :]), env, call["cwd"])
