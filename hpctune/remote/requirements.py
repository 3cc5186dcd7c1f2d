"""What a project needs to run: requirements.txt, else the dependencies in pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpctune.errors import UsageError

_LOCAL = re.compile(r"(-e\b|--editable\b|\.|/|file:)")
_OWN = re.compile(r"hpctune(?![\w.-])\s*(?:\[(?P<extras>[^\]]*)\])?", re.IGNORECASE)
_INCLUDED = re.compile(r"(?:-r|--requirement)[ =]?\s*(\S+)")
_CONSTRAINED = re.compile(r"(?:-c|--constraint)[ =]?\s*(\S+)")


@dataclass(frozen=True, slots=True)
class Requirements:
    """``lines``: as pip takes them. ``constraints``: likewise. ``extras``: those of hpctune. ``left_out``: lines that
    name files of this machine. ``source``: the file that says so, "" if there is none."""

    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    source: str = ""


def of_project(root: Path) -> Requirements:
    """The requirements of the project in ``root``. Raises UsageError for files that cannot be read."""
    text = root / "requirements.txt"
    if text.is_file():
        found = list(_expanded(text, set()))
        return _sorted(
            [line for kind, line in found if kind == "line"], [line for k, line in found if k == "bound"], text
        )
    project = root / "pyproject.toml"
    if not project.is_file():
        return Requirements()
    try:
        table = tomllib.loads(project.read_text()).get("project", {})
        lines = [str(line) for line in table.get("dependencies", [])]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AttributeError, TypeError) as error:
        raise UsageError(f"{project} cannot be read: {error}.") from error
    return _sorted(lines, [], project)


def _sorted(lines: list[str], bounds: list[str], source: Path) -> Requirements:
    extras = [
        extra.strip() for line in lines if (own := _OWN.match(line)) for extra in (own["extras"] or "").split(",")
    ]
    others = [line for line in lines if not _OWN.match(line)]
    local = [line for line in others if _LOCAL.match(line)]
    kept = [line for line in others if line not in local]
    return Requirements(tuple(kept), tuple(bounds), tuple(sorted({*extras} - {""})), tuple(local), str(source))


def _expanded(path: Path, seen: set[Path]) -> Iterator[tuple[str, str]]:
    """The lines of a file and of those that it includes; of constraints as ``bound``."""
    if path in seen:
        return
    seen.add(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    for raw in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        if included := _INCLUDED.match(line):
            yield from _expanded((path.parent / included[1]).resolve(), seen)
        elif constrained := _CONSTRAINED.match(line):
            yield from (("bound", bound) for _, bound in _expanded((path.parent / constrained[1]).resolve(), seen))
        elif line:
            yield "line", line
