"""A batch script that somebody has, as the program of a search: its ``#SBATCH`` lines become options of the jobs, its
text runs in each trial with the trial's values."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpctune.cluster.slurm.existing import ExistingScript, read_script
from hpctune.common.text import shorten
from hpctune.errors import ConfigFileError, UsageError
from hpctune.interop import program as programs
from hpctune.interop.command_search import CommandSearch
from hpctune.space.functions import grid_search
from hpctune.worker import srun

SUFFIXES = (".sbatch", ".slurm", ".sh", ".bash", ".job", ".sub", ".batch")
ARRAY = "SLURM_ARRAY_TASK_ID"
ARRAY_JOB = 'export SLURM_ARRAY_JOB_ID="${{SLURM_ARRAY_JOB_ID:-${{SLURM_JOB_ID:-0}}}}"; '
"""What a script of an array has in addition, before its first line."""
_ARRAY = re.compile(r"^#SBATCH\s+.*?(?:--array[= ]|-a\s*)[\"']?([^\s\"'%]+)(?:%(\d+))?", re.MULTILINE)
_SHELLS = ("bash", "sh", "zsh", "ksh", "dash")


_WORD = r"(?:'[^']*'|\"(?:\\.|[^\"\\])*\"|\$?\((?:[^()]|\([^()]*\))*\)|`[^`]*`|\$\{\{[^}]*\}\}|\\.|[^\s;&|<>()'\"`\\])+"
"""A word of the shell, in a script with doubled braces."""


@dataclass(slots=True)
class BatchScript:
    """A script. ``ways``: how it gets each parameter, in words, by parameter."""

    path: Path
    text: str
    found: ExistingScript
    space: dict[str, Any]
    ways: dict[str, str] = field(default_factory=dict)

    def search(self, rows: list[Mapping[str, Any]] | None = None, style: str | None = None) -> CommandSearch:
        """The search. Raises UsageError for a parameter that cannot be given to the script."""
        text = self.text.replace("{", "{{").replace("}", "}}")
        variables, arguments, left = list[str](), list[str](), dict[str, Any]()
        for name, domain in self.space.items():
            text, way = _filled(text, name)
            if name == ARRAY and way is None:
                way = f"${name}"  # what the script calls may read it
            self.ways[name] = way or ""
            if way is None:
                left[name] = domain
            elif name.isidentifier():
                variables.append(f"{name}={{{name}}}")
        if left:
            text, arguments = self._passed(text, left, style)
        tune = {}
        if ARRAY in self.space:
            text = ARRAY_JOB + text
            indices = list[int]()
            with contextlib.suppress(UsageError):  # then they are parameters
                indices = array_of(self.text)
            variables += [f"{name}={number}" for name, number in array_variables(indices or [0]).items()]
            if (limit := array_limit(self.text)) is not None:
                tune["max_concurrent_trials"] = limit
        directory = Path(self.found.chdir or ".").expanduser().absolute()
        text = srun_here(self.text) + text
        command = ["env", *variables, shell_of(self.text, self.path), "-c", text, str(self.path.absolute()), *arguments]
        return CommandSearch(
            command, space=self.space, rows=rows, cwd=str(directory), env=exported(self.found),
            slurm=dict(self.found.options), tune=tune, run={"name": self.path.stem},
        )  # fmt: skip

    def _passed(self, text: str, left: Mapping[str, Any], style: str | None) -> tuple[str, list[str]]:
        """The text and the script's arguments, with the parameters that the text does not name."""
        if re.search(r"\$(\{?[@*]\}?)", self.text):
            first = self._shifted(left)
            options = {name: domain for name, domain in left.items() if name not in first}
            line = programs.with_arguments("", options, programs.Program(style=style or "space"), style)
            self.ways.update({name: f"${number}" for number, name in enumerate(first, 1)})
            self.ways.update(dict.fromkeys(options, "an option in the arguments of the script"))
            return text, [*(f"{{{name}}}" for name in first), *line.split()]
        places = re.findall(r"\$\{?(\d)\b", self.text)
        if places:
            if len({*places} - {"0"}) != len(left):
                raise UsageError(
                    f"{self.path} uses {len({*places} - {'0'})} arguments ($1, ...), and {len(left)} parameters are "
                    f"not named in it: {', '.join(left)}. Give one for each."
                )
            self.ways.update({name: f"${number}" for number, name in enumerate(left, 1)})
            return text, [f"{{{name}}}" for name in left]
        return self._appended(text, left, style)

    def _shifted(self, left: Mapping[str, Any]) -> list[str]:
        """The parameters that are the script's first arguments, which it takes away by ``shift``: of ``config=$1`` the
        parameter ``config``, else the next of ``left``. Raises UsageError if there are too few."""
        if not re.search(r"(?:^|[;&])\s*shift\b", self.text, re.MULTILINE):
            return []
        named = {int(n): name for name, n in re.findall(r"\b(\w+)=[\"']?\$\{?(\d)\b", self.text)}
        places = range(1, max(map(int, re.findall(r"\$\{?(\d)\b", self.text)), default=0) + 1)
        others = [name for name in left if name not in named.values()]
        needed = [n for n in places if named.get(n) not in self.space]
        if len(needed) > len(others):
            missing = needed[len(others)]
            raise UsageError(
                f'{self.path} takes {len(places)} arguments away before it uses "$@", and no parameter is for '
                f"${missing}. Give one: --param {named.get(missing, 'NAME')}=VALUE."
            )
        given = dict(zip(needed, others, strict=False))
        return [given[n] if n in given else named[n] for n in places]

    def _appended(self, text: str, left: Mapping[str, Any], style: str | None) -> tuple[str, list[str]]:
        """The text with options added to its last program."""
        lines = re.sub(r"[ \t]*\\\n\s*", " ", text).splitlines()
        command = self.found.command.replace("{", "{{").replace("}", "}}")
        numbers = [n for n, line in enumerate(lines) if command and line.strip().endswith(command)]
        if not numbers:
            name = next(iter(left))
            raise UsageError(
                f"{self.path} does not use {name!r}, and has no program that could get it as an option. "
                f"Write ${name} in it where the value belongs."
            )
        known = programs.inspect_program(self.found.command, Path(self.found.directory or ".").expanduser())
        before, after = programs.with_arguments("\n", left, known, style).split("\n")
        line = lines[numbers[-1]]
        begin = line.rindex(command)
        end = begin + programs.end_of_program(command)
        words = " ".join(part for part in (before.strip(), line[begin:end].strip(), after.strip()) if part)
        lines[numbers[-1]] = f"{line[:begin]}{words} {line[end:]}".rstrip()
        self.ways.update(dict.fromkeys(left, f"an option of: {shorten(self.found.command, 60)}"))
        return "\n".join(lines) + "\n", []


def shell_of(text: str, path: Path) -> str:
    """The shell that runs a script: of its first line, else bash. Raises ConfigFileError for another interpreter."""
    first = text.partition("\n")[0]
    named = first.removeprefix("#!").split() if first.startswith("#!") else []
    shell = Path(named[-1] if named and named[0].endswith("env") else named[0]).name if named else "bash"
    if shell not in _SHELLS:
        raise ConfigFileError(f"{path} is not a shell script: its first line is {first!r}.")
    return shell


def is_batch_script(path: Path) -> bool:
    """Whether a file is a shell script, as far as its name or its first lines say."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return (bool(re.match(rb"#!\s*\S*(/env\s+)?\S*(bash|sh)\b", head)) and not path.suffix) or b"\n#SBATCH" in head


def read(path: Path, space: Mapping[str, Any]) -> BatchScript:
    """Read a script. ``space``: the parameters. Without any, an array job is a grid over its indices.

    Raises ConfigFileError if the file cannot be read, UsageError if there is nothing to vary.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFileError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    found = read_script(text)
    made = dict(space)
    indices = array_of(text) if ARRAY not in made and (ARRAY in text or not made) else []
    if indices:
        made[ARRAY] = grid_search(indices)
    if not made:
        raise UsageError(
            f"{path} has nothing to vary: name its parameters, such as --param lr=log:1e-5..1e-1, or --params FILE. "
            f"In the script $lr or {{lr}} is the value; otherwise its program gets the option --lr."
        )
    return BatchScript(path, text, found, made)


def srun_here(text: str) -> str:
    """What a script that calls ``srun`` has in addition, with doubled braces: its program runs without Slurm, too."""
    if not re.search(r"\bsrun\b", text):
        return ""
    return f'if [ -z "$SLURM_JOB_ID" ]; then {srun.FUNCTION}\nfi; '.replace("{", "{{").replace("}", "}}")


def exported(found: ExistingScript) -> dict[str, str]:
    """The variables that a script sets by ``--export=ALL,NAME=VALUE``."""
    return export_pairs(str(found.options.get("additional_parameters", {}).get("export", "")))


def export_pairs(option: str) -> dict[str, str]:
    """The variables in the value of an option ``--export``."""
    pairs = (pair.partition("=") for pair in option.split(","))
    return {name: given for name, sign, given in pairs if sign}


def array_limit(text: str) -> int | None:
    """How many jobs of the script's array run at a time: the 5 of ``0-99%5``."""
    directive = _ARRAY.search(text)
    return int(directive[2]) if directive and directive[2] else None


def array_of(text: str) -> list[int]:
    """The indices of the script's array; empty if it is none. Raises UsageError if they are no numbers."""
    directive = _ARRAY.search(text)
    if directive is None:
        return []
    if re.fullmatch(r"\d+(-\d+(:\d+)?)?(,\d+(-\d+(:\d+)?)?)*", directive[1]) is None:
        raise UsageError(
            f"--array={directive[1]} is no list of indices, such as 0-9 or 1,5-9:2. In a line that begins with "
            f"#SBATCH, variables have no value. Name the indices: --param {ARRAY}=0..9/10"
        )
    indices: list[int] = []
    for part in directive[1].split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        indices += range(int(first), int(last or first) + 1, int(step or 1))
    return indices


def array_variables(indices: list[int]) -> dict[str, str]:
    """What Slurm says of the whole array to each of its jobs."""
    known = {"COUNT": len(indices), "MIN": min(indices), "MAX": max(indices)}
    return {f"SLURM_ARRAY_TASK_{name}": str(number) for name, number in known.items()}


def _filled(text: str, name: str) -> tuple[str, str | None]:
    """The text of a script, with doubled braces, with ``{name}`` where the value belongs; and how it is named there, in
    words, or None if it is not."""
    word = re.escape(name)
    new, count = re.subn(rf"(?<![$\w])\{{\{{{word}\}}\}}", f"{{{name}}}", text)
    if count:
        return new, f"{{{name}}}"
    if not name.isidentifier():
        return text, None
    loop = re.compile(rf"^(\s*for\s+{word}\s+in\s+)[^;\n]+", re.MULTILINE)
    text, loops = loop.subn(rf'\g<1>"${name}"', text)
    value = rf"(?!\S*\$\{{\{{{word}[:}}-]){_WORD}"  # no default, as in lr=${{lr:-0.1}}
    assigned = re.compile(rf"^(\s*(?:export\s+|declare\s+|readonly\s+)?{word}=){value}", re.MULTILINE)
    text, assignments = assigned.subn(rf'\g<1>"${name}"', text)
    arithmetic = rf"(\(\((?:(?!\)\)).)*?|\blet\s[^;\n]*?)(?<![\w$.]){word}\b"  # where a variable needs no $
    if loops or assignments or re.search(rf"\$({word}\b|\{{\{{{word}\b)|{arithmetic}", text):
        return text, f"${name}"
    return text, None
