"""What a project needs to run: requirements.txt, else what the project states itself, else environment.yml of conda."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hpctune.errors import UsageError
from hpctune.remote import declared

_EDITABLE = re.compile(r"(?:-e|--editable)[ =]?\s*(.+)")
_AT = re.compile(r"[\w.-]+\s*(?:\[[^\]]*\])?\s*@\s*(file:\S+|workspace\b)")
_LOCAL = re.compile(r"(?:file:(?://(?:localhost)?)?)?(?P<path>[^\[;\s]*[^\[;\s]|\.)(?:\[(?P<extras>[^\]]*)\])?")
_LINKS = re.compile(r"(?:-f|--find-links)[ =]?\s*(\S+)")
_OWN = re.compile(r"hpctune(?![\w.-])\s*(?:\[(?P<extras>[^\]]*)\])?", re.IGNORECASE)
_INCLUDED = re.compile(r"(?:-r|--requirement)[ =]?\s*(\S+)")
_CONSTRAINED = re.compile(r"(?:-c|--constraint)[ =]?\s*(\S+)")
_CONDA = ("environment.yml", "environment.yaml")


@dataclass(frozen=True, slots=True)
class Requirements:
    """``lines``: as pip takes them. ``constraints``: likewise. ``extras``: those of hpctune. ``left_out``: lines that
    name files of this machine. ``conda``: packages of conda, which pip does not install. ``packages``: directories in
    the project that are packages themselves. ``source``: the file that says so, "" if there is none."""

    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    conda: tuple[str, ...] = ()
    packages: tuple[Path, ...] = ()
    source: str = ""


def of_project(directory: Path, root: Path | None = None) -> Requirements:
    """The requirements of the project that ``directory`` is in: those that are stated nearest to it, up to ``root``.

    Raises UsageError for files that cannot be read.
    """
    root = root or directory
    for place in (directory, *directory.parents):
        reader = _Reader(root)
        if source := reader.read(place):
            return reader.found(source)
        if place == root:
            break
    return Requirements()


class _Reader:
    """Collects lines. What they name in the project is not installed, but what it needs in its turn is."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lines, self._bounds, self._left = list[str](), list[str](), list[str]()
        self._conda, self._extras = list[str](), set[str]()
        self._packages, self._seen = list[Path](), set[Path]()

    def found(self, source: Path) -> Requirements:
        """What has been collected."""
        return Requirements(
            tuple(self._lines), tuple(self._bounds), tuple(sorted(self._extras - {""})), tuple(self._left),
            tuple(self._conda), tuple(self._packages), str(source),
        )  # fmt: skip

    def read(self, directory: Path) -> Path | None:
        """Collect what is stated in ``directory``. Returns the file, or None."""
        if (text := directory / "requirements.txt").is_file():
            self._file(text)
            return text
        if (own := declared.stated(directory)) is not None:
            self._packages.append(directory)
            self._seen.add(directory.resolve())
            self._all(own[1], directory)
            self._bounds += declared.locked(directory, self._root)
            return own[0]
        for name in _CONDA:
            if (directory / name).is_file():
                self._conda_file(directory / name)
                return directory / name
        return None

    def _file(self, path: Path, bounds: bool = False) -> None:
        """A file as pip reads it, with those that it includes."""
        if path.resolve() in self._seen:
            return
        self._seen.add(path.resolve())
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}.") from error
        lines = [re.sub(r"(^|\s)#.*", "", raw).strip() for raw in text.replace("\\\n", " ").splitlines()]
        if bounds:
            self._bounds += filter(None, lines)
        else:
            self._all(lines, path.parent)

    def _all(self, lines: Iterable[str], base: Path) -> None:
        for line in filter(None, lines):
            self._line(line, base)

    def _line(self, line: str, base: Path) -> None:
        """One line of a file in the directory ``base``."""
        if included := _INCLUDED.match(line):
            self._file((base / included[1]).resolve())
        elif constrained := _CONSTRAINED.match(line):
            self._file((base / constrained[1]).resolve(), bounds=True)
        elif own := _OWN.match(line):
            self._extras.update(extra.strip() for extra in (own["extras"] or "").split(","))
        elif (links := _LINKS.match(line)) and "://" not in links[1]:
            self._left.append(line)
        elif at := _AT.match(line):
            self._local(line, at[1], base, declared.name_of(line))
        elif (editable := _EDITABLE.match(line)) or line.startswith((".", "/", "file:")):
            target = editable[1] if editable else line
            if "://" in target and not target.startswith("file:"):
                self._lines.append(target)
            else:
                self._local(line, target, base)
        else:
            self._lines.append(line)

    def _local(self, line: str, target: str, base: Path, name: str = "") -> None:
        """A line that names a directory here."""
        given = _LOCAL.match(target)
        extras = (re.search(r"\[([^\]]*)\]", line) or ("", ""))[1]
        place = self._member(name) if target == "workspace" else (base / given["path"]).resolve() if given else None
        inside = place is not None and place.is_relative_to(self._root.resolve())
        if place is None or not inside or not any((place / each).is_file() for each in declared.FILES):
            self._left.append(line)
            return
        if place not in self._seen:
            self._seen.add(place)
            self._packages.append(place)
            own = declared.stated(place, [extra.strip() for extra in extras.split(",")])
            self._all(own[1] if own else (), place)

    def _member(self, name: str) -> Path | None:
        """The member of uv's workspace with this name."""
        workspace = declared.table(self._root / "pyproject.toml").get("tool", {}).get("uv", {}).get("workspace", {})
        patterns = [*workspace.get("members", []), "."]
        for place in (each for pattern in patterns for each in self._root.glob(pattern)):
            if declared.normal(declared.table(place / "pyproject.toml").get("project", {}).get("name", "")) == name:
                return place.resolve()
        return None

    def _conda_file(self, path: Path) -> None:
        import yaml

        try:
            given = (yaml.safe_load(path.read_text()) or {}).get("dependencies") or []
        except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
            raise UsageError(f"{path} cannot be read: {error}.") from error
        for each in given:
            if isinstance(each, dict):
                self._all(map(str, each.get("pip") or ()), path.parent)
            elif re.split(r"[ =<>]", str(each).rpartition("::")[2])[0] not in ("python", "pip"):
                self._conda.append(str(each))
