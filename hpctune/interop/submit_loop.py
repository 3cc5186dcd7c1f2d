"""A script that calls ``sbatch`` in a loop: each call becomes a trial. What differs are the parameters."""

from __future__ import annotations

import functools
import itertools
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.cluster.slurm.existing import ExistingScript, read_script
from hpctune.common.text import shorten
from hpctune.errors import UsageError
from hpctune.interop.batch_script import ARRAY, ARRAY_JOB, exported, shell_of, srun_here
from hpctune.interop.command_search import CommandSearch
from hpctune.interop.submissions import Submission
from hpctune.space.functions import choice
from hpctune.space.text import value
from hpctune.worker.command import text_of

_MAX_ARGUMENT = 120_000
"""Characters of one argument of a program; Linux takes 128 KiB."""
_SHOWN = 60
"""Characters of the value of a parameter that only tells trials apart."""
_OPTION = re.compile(r"--?[A-Za-z]")


@dataclass(frozen=True, slots=True)
class _Argument:
    """A parameter that is an argument of the script. ``prefix``: what stands before its value: ``--lr=``."""

    name: str
    prefix: str

    @property
    def field(self) -> str:
        return f"{_literal(self.prefix)}{{{self.name}}}"


def search_of(path: Path, submissions: Sequence[Submission]) -> CommandSearch:
    """The search whose trials are these submissions. Raises UsageError if their options differ."""
    first = submissions[0]
    found = _same_options(path, submissions)
    rows, positions, names = _rows(submissions)
    moves = list[str]()
    if len({one.cwd for one in submissions}) > 1:
        moves.append(f"--chdir={{{_add(rows, 'directory', [os.path.relpath(one.cwd) for one in submissions])}}}")
    text = "".join({srun_here(one.text): None for one in submissions}) + _common(submissions, rows, positions, names)
    env = [f"{name}={{{name}}}" for name in names]
    words = enumerate(first.arguments if _same_length(submissions) else ())
    arguments = [positions[n].field if n in positions else _literal(word) for n, word in words]
    fixed = exported(found) | {k: v for k, v in first.env.items() if k not in names}
    limit = _limit(submissions)
    shell = shell_of(first.text, Path(first.script or path))
    start = Path.cwd() if moves else Path(first.cwd, found.chdir or ".")
    name = first.script if first.script and (start / first.script).is_file() else str(path.absolute())
    command = ["env", *moves, *env, shell, "-c", text, name, *arguments]
    space = {
        name: values[0] if len(values) == 1 else choice(values)
        for name in rows[0]
        if (values := list({repr(row[name]): row[name] for row in rows}.values()))
    }
    return CommandSearch(
        command, space=space, rows=rows, cwd=str(start), env=fixed, slurm=dict(found.options), run={"name": path.stem},
        tune={} if limit is None else {"max_concurrent_trials": limit},
    )  # fmt: skip


def _limit(submissions: Sequence[Submission]) -> int | None:
    """How many trials run at a time, if all of them are in arrays that say it: the sum of what these say."""
    limits = [one.limit for one in submissions]
    firsts = [one.limit for one in submissions if one.env.get(ARRAY) == one.env.get("SLURM_ARRAY_TASK_MIN")]
    return sum(limit or 0 for limit in firsts) if all(limits) else None


def _same_options(path: Path, submissions: Sequence[Submission]) -> ExistingScript:
    found = _script_options(submissions[0])
    for other in submissions[1:]:
        own = _script_options(other)
        if own.options == found.options:
            continue
        name = next(n for n in {**own.options, **found.options} if own.options.get(n) != found.options.get(n))
        if name == "dependency":
            raise UsageError(
                f"{path} submits a job that waits for another one ({own.options.get(name) or found.options[name]}). "
                f"Trials do not wait for each other. Let one script do both steps, or submit the second step when the "
                f"search is over."
            )
        raise UsageError(
            f"{path} submits jobs with different options ({name}: {found.options.get(name)!r} and "
            f"{own.options.get(name)!r}). The trials of a search have the same. Split the script into two."
        )
    return found


def _script_options(submission: Submission) -> ExistingScript:
    directives = "".join(f"#SBATCH {_directive(option)}\n" for option in submission.options)
    inside = "".join(line + "\n" for line in submission.text.splitlines() if line.startswith("#SBATCH"))
    found = read_script(f"#!/bin/bash\n{inside}{directives}")  # as with sbatch, the command line wins
    found.command = ""
    return found


def _directive(option: str) -> str:
    """An option with its value in quotes."""
    name, sign, given = option.partition("=")
    return f"{name}={shlex.quote(given)}" if sign and name.startswith("--") else shlex.quote(option)


def _same_length(submissions: Sequence[Submission]) -> bool:
    return len({len(one.arguments) for one in submissions}) == 1


def _rows(submissions: Sequence[Submission]) -> tuple[list[dict[str, Any]], dict[int, _Argument], list[str]]:
    """The configurations; the parameter of each argument that is one; the parameters that are variables."""
    positions: dict[int, _Argument] = {}
    variables = list(dict.fromkeys(name for one in submissions for name in one.env))
    names = [n for n in variables if len({one.env.get(n) for one in submissions}) > 1]
    arguments = [one.arguments for one in submissions]
    for number in range(len(arguments[0]) if _same_length(submissions) else 0):
        if len({words[number] for words in arguments}) > 1:
            option = arguments[0][number - 1] if number else ""
            given = _assigned([words[number] for words in arguments])
            named = option.startswith("-") and all(words[number - 1] == option for words in arguments)
            prefix = arguments[0][number].partition("=")[0] + "=" if given else ""
            name = given or (_name(option) if named else "") or _name_in_script(submissions, number + 1)
            if name in names or name in {each.name for each in positions.values()}:
                name = ""
            positions[number] = _Argument(name or f"arg{number + 1}", prefix)
    rows = [
        {name: value(one.env.get(name, "")) for name in names}
        | {each.name: value(one.arguments[n].removeprefix(each.prefix)) for n, each in positions.items()}
        for one in submissions
    ]
    return rows, positions, names


def _add(rows: list[dict[str, Any]], name: str, column: Iterable[Any]) -> str:
    """Add a parameter to the configurations. Returns its name, which is another one if there is a parameter of this
    name already."""
    name = name if name not in rows[0] else f"submitted_{name}"
    for row, each in zip(rows, column, strict=True):
        row[name] = each
    return name


def _name_in_script(submissions: Sequence[Submission], number: int) -> str:
    """How the scripts name an argument, if all of them do so alike: ``lr=$1``, ``--lr $1``. Else ""."""
    argument = rf"[\"']?\$(?:{number}\b|\{{{number}[:}}-])"
    named = re.compile(rf"(?<![\w$])([A-Za-z_]\w*)={argument}|--([A-Za-z][\w-]*)[= ]{argument}")
    found = {m[1] or m[2] if (m := named.search(one.text)) else "" for one in submissions}
    return _name(found.pop()) if len(found) == 1 else ""


def _common(
    submissions: Sequence[Submission], rows: list[dict[str, Any]], positions: dict[int, _Argument], names: list[str]
) -> str:
    """The script of all trials: their common text, with the lines that differ chosen by the parameter ``job``.

    Words that differ between the texts become parameters, for people and searchers to see. Raises UsageError if all of
    it is longer than a command may be.
    """
    texts = [re.sub(r"^#SBATCH.*$", "#", one.text, flags=re.MULTILINE) for one in submissions]
    seen = _differences(texts)
    first = [_exact(one, row, positions, names) for one, row in zip(submissions, rows, strict=True)]
    if not _same_length(submissions):
        first = [f"{line}set -- {shlex.join(one.arguments)}; " for line, one in zip(first, submissions, strict=True)]
    texts = [line + text for line, text in zip(first, texts, strict=True)]
    if len(set(texts)) == 1 and rows[0]:
        return ARRAY_JOB + _literal(texts[0])
    for row, each in zip(rows, seen, strict=True):
        row |= {name: word for name, word in each.items() if name not in row}
    _tell_apart(submissions, rows)
    script = ARRAY_JOB + _by_job(texts, _add(rows, "job", range(len(rows))))
    if len(script) > _MAX_ARGUMENT:
        raise UsageError(
            f"The {len(rows)} scripts that are submitted differ in too much text ({len(script)} characters together, "
            f"at most {_MAX_ARGUMENT}). Let one script have the values as arguments: sbatch job.sh $lr $seed"
        )
    return script


def _exact(one: Submission, row: dict[str, Any], positions: dict[int, _Argument], names: list[str]) -> str:
    """Commands for those values of a trial that would otherwise not be passed as they are written: 1e-3, true, 007."""
    changed = [n for n in names if n in one.env and text_of(row[n]) != one.env[n]]
    line = "".join(f"export {n}={shlex.quote(one.env[n])}; " for n in changed)
    if any(each.prefix + text_of(row[each.name]) != one.arguments[n] for n, each in positions.items()):
        line += f"set -- {shlex.join(one.arguments)}; "
    return line


def _by_job(texts: Sequence[str], parameter: str) -> str:
    """A script that runs the text whose number is the value of a parameter. What is the same in all is there once."""
    lines = [text.splitlines(keepends=True) for text in texts]
    if len({len(each) for each in lines}) > 1:
        lines = [[text] for text in texts]
    columns = list(zip(*lines, strict=True))
    differ = [number for number, column in enumerate(columns) if len(set(column)) > 1]
    cases = "".join(
        f"{job}) {' '.join(f'line{n}={_quoted(each[n])}' for n in differ) or ':'} ;;\n"
        for job, each in enumerate(lines)
    )
    whole = "".join(f'"$line{n}"' if n in differ else _quoted(column[0]) for n, column in enumerate(columns))
    return f"case {{{parameter}}} in\n{cases}esac\neval {whole}\n"


def _differences(texts: Sequence[str]) -> list[dict[str, Any]]:
    """The named words that differ between texts, for each text: ``--lr 0.1``, ``LR=0.1``."""
    split = [text.split() for text in texts]
    found: list[dict[str, Any]] = [{} for _ in texts]
    if len({len(words) for words in split}) > 1:
        options = [_options(words) for words in split]
        shared = [n for n in options[0] if all(n in each for each in options) and len({e[n] for e in options}) > 1]
        return [{name: value(each[name]) for name in shared} for each in options]
    for number, words in enumerate(zip(*split, strict=True)):
        if len(set(words)) == 1:
            continue
        before = {text[number - 1] for text in split} if number else set()
        option = before.pop() if len(before) == 1 else ""
        given = _assigned(words)
        name = given or (_name(option) if _OPTION.match(option) else "")
        for row, word in zip(found, words, strict=True):
            if name:
                row.setdefault(name, value(_bare(word.partition("=")[2] if given else word)))
    return found


def _options(words: Sequence[str]) -> dict[str, str]:
    """The options with a value among the words."""
    pairs = [(b, w) for b, w in itertools.pairwise(words) if _OPTION.match(b) and "=" not in b and w[0] != "-"]
    pairs += [(name, given) for name, sign, given in (word.partition("=") for word in words) if sign]
    return {_name(name): _bare(given) for name, given in pairs if re.match(r"(--?)?[A-Za-z][\w.-]*$", name)}


def _tell_apart(submissions: Sequence[Submission], rows: list[dict[str, Any]]) -> None:
    """Add to the configurations what else differs, as long as some of them are equal: words that have no name, the name
    of the script, its arguments."""
    texts = [one.text for one in submissions]
    for columns in (_words(texts), {"script": [one.script or "" for one in submissions]}, _texts(submissions)):
        if len({repr(row) for row in rows}) == len(rows):
            return
        for name, column in columns.items():
            if len(set(column)) > 1:
                _add(rows, name, column)


def _words(texts: Sequence[str]) -> dict[str, list[Any]]:
    """The words without a name that differ between texts of equal length, each once: ``word1``, ``word2``, ..."""
    split = [re.sub(r"^#SBATCH.*$|\d?>>?\s*\S+", "", text, flags=re.MULTILINE).split() for text in texts]
    if len({len(words) for words in split}) > 1:
        return {}
    columns = dict.fromkeys(tuple(map(_bare, words)) for words in zip(*split, strict=True) if len(set(words)) > 1)
    return {f"word{number}": [value(word) for word in words] for number, words in enumerate(columns, 1)}


def _texts(submissions: Sequence[Submission]) -> dict[str, list[Any]]:
    """The arguments of each script, and the words that not all scripts have."""
    counts = [Counter(one.text.split()) for one in submissions]
    common = functools.reduce(Counter.__and__, counts)
    own = [shorten(" ".join((each - common).elements()), _SHOWN) for each in counts]
    return {"arguments": [shorten(shlex.join(one.arguments), _SHOWN) for one in submissions], "words": own}


def _bare(word: str) -> str:
    return word.strip("\"';")


def _assigned(words: Sequence[str]) -> str:
    """The name in words such as ``--lr=0.1`` and ``LR=0.1``, if it is the same in all of them."""
    names = {word.partition("=")[0] for word in words if "=" in word}
    same = len(names) == 1 and all("=" in word for word in words)
    return _name(names.pop()) if same else ""


def _name(option: str) -> str:
    return re.sub(r"\W", "_", option.lstrip("-"))


def _quoted(text: str) -> str:
    return _literal("'" + text.replace("'", "'\\''") + "'")


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
