"""Files that a command names relative to the directory where it was defined.

Programs run in their trial's directory, so that they write there. ``python train.py`` means the train.py beside the
user. So a relative word becomes an absolute path if it names an existing file that programs only read: a program, a
script, a configuration file. Data files and directories stay as they are, since they may be output of the program.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

_SOURCES = frozenset(
    {
        *(".py", ".pyz", ".sh", ".bash", ".zsh", ".r", ".jl", ".pl", ".rb", ".lua", ".js", ".mjs", ".ts", ".m", ".jar"),
        *(".sbatch", ".slurm", ".ipynb", ".exe", ".bin", ".out"),
    }
)
_SETTINGS = frozenset({".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf"})
_RUNNERS = re.compile(
    r"(python[\d.]*|bash|sh|zsh|dash|Rscript|julia|perl|ruby|lua|node|java|srun|mpirun|mpiexec|torchrun|env|time|nice|"
    r"nohup|exec|poetry|pipenv|uv|run|apptainer|singularity|conda|accelerate|launch|deepspeed|stdbuf|timeout)"
)
_SHELL = re.compile(r"(ba|z|da|k)?sh")
_WORD = re.compile(r"(?<![^\s=;&|()])([\w@%+~.,/-]+)(?![^\s;&|()<>])")
_MOVES = re.compile(r"(^|[\s;&|(])(cd|pushd)\s")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")


def with_paths(command: str | Sequence[str], start: str) -> str | list[str]:
    """``command`` with absolute paths for the files that lie in ``start`` and are only read.

    A shell command that changes its directory stays as it is.
    """
    if not isinstance(command, str):
        return [_absolute(str(word), start, first=index == 0) for index, word in enumerate(command)]
    if _MOVES.search(command):
        return command

    def replaced(found: re.Match[str]) -> str:
        before = command[: found.start()].rstrip()
        if before.endswith(">"):
            return found[1]
        path = _absolute(found[1], start, first=not before or before[-1] in ";&|(")
        return found[1] if path == found[1] else shlex.quote(path)

    return _WORD.sub(replaced, command)


def script(command: str | Sequence[str]) -> str | None:
    """The word that says what runs: ``train.py`` of ``python -u train.py --lr {lr}``, ``pkg.train`` of ``python -m
    pkg.train``. None if there is none."""
    words = _words(command)
    for index, word in enumerate(words):
        if Path(word).suffix.lower() in _SOURCES:
            return word
        if word == "-m" and index + 1 < len(words):
            return words[index + 1]
    plain = [w for w in words if not w.startswith("-") and "{" not in w and not _ASSIGNMENT.fullmatch(w)]
    return next((w for w in plain if not _is_runner(w)), plain[0] if plain else None)


def runs_module(command: str | Sequence[str]) -> bool:
    """Whether the command runs a Python module (``python -m pkg.train``)."""
    words = _words(command)
    return any(word == "-m" and _is_runner(words[index - 1]) for index, word in enumerate(words) if index)


def _is_runner(word: str) -> bool:
    """Whether ``word`` is a program that runs another one."""
    return ("/" not in word or word.startswith("/")) and _RUNNERS.fullmatch(Path(word).name) is not None


def name_of(command: str | Sequence[str]) -> str:
    """A name for the command: that of its script."""
    found = script(command) or "command"
    last = found.rsplit("/", 1)[-1]
    stem = Path(last).stem if Path(last).suffix.lower() in _SOURCES else last.rsplit(".", 1)[-1]
    return re.sub(r"\W+", "_", stem).strip("_") or "command"


def missing_script(command: str | Sequence[str], start: str) -> str | None:
    """The script that a plain command names and that does not exist in ``start``. None if nothing can be said."""
    found = script(command)
    if found is None or Path(found).suffix.lower() not in _SOURCES or Path(found).is_absolute() or found[0] in "~${":
        return None
    if isinstance(command, str) and (_MOVES.search(command) or re.search(r"[;&|`$<>]", command)):
        return None  # an earlier part of the command may make it
    return None if (Path(start) / found).exists() else found


def _words(command: str | Sequence[str]) -> list[str]:
    if not isinstance(command, str):
        words = [str(word) for word in command]
    else:
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:
            words = command.split()
    code = next((i for i, word in enumerate(words) if word == "-c" and i and _is_runner(words[i - 1])), len(words))
    # after the code of a shell comes the name that it has for the code
    named = words[code + 2 : code + 3] if code < len(words) and _SHELL.fullmatch(Path(words[code - 1]).name) else []
    return [*words[:code], *named]


def _absolute(word: str, start: str, *, first: bool) -> str:
    name, sign, value = word.partition("=")
    if sign and name.startswith("-") and value:
        return f"{name}={_absolute(value, start, first=False)}"
    if not word or "{" in word or word[0] in "-~$" or "\0" in word or Path(word).is_absolute():
        return word
    path = Path(start, word)
    suffix = Path(word).suffix.lower()
    try:
        if not path.is_file():
            return word
        runs = first and "/" in word
        readable = suffix in _SOURCES or suffix in _SETTINGS
        return str(path).replace("{", "{{").replace("}", "}}") if runs or readable else word
    except OSError:
        return word
