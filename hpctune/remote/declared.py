"""The dependencies that a project's own files state: pyproject.toml, setup.cfg or setup.py; and the versions of a lock.

They are lines as pip takes them. ``NAME @ file:PATH`` is a directory beside, as uv and Poetry have it.
"""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.errors import UsageError

FILES = ("pyproject.toml", "setup.cfg", "setup.py")
LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml")
_NAME = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(\[[^\]]*\])?")
_VERSION = re.compile(r"(\^|~(?!=))\s*(\d+(?:\.\d+)*)\S*")


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(line: str) -> str:
    """The name, normalized, of the package that a line asks for; "" if it names none."""
    found = _NAME.match(line)
    return normal(found[1]) if found else ""


def stated(directory: Path, extras: Sequence[str] = ()) -> tuple[Path, list[str]] | None:
    """The file that states the dependencies of the project in ``directory``, and its lines; None if none does.

    ``extras``: those of the project that are wanted as well. Raises UsageError for a file that cannot be read.
    """
    readers = (_of_pyproject, _of_setup_cfg, _of_setup_py)
    for name, read in zip(FILES, readers, strict=True):
        if (directory / name).is_file():
            try:
                found = read(directory / name, extras)
            except (OSError, ValueError, SyntaxError, configparser.Error, AttributeError, TypeError) as error:
                raise UsageError(f"{directory / name} cannot be read: {error}.") from error
            if found is not None:
                return directory / name, found
    return None


def table(path: Path) -> dict[str, Any]:
    """A TOML file; {} if there is none. Raises UsageError."""
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error


def _of_pyproject(path: Path, extras: Sequence[str]) -> list[str] | None:
    whole = tomllib.loads(path.read_text())
    tools = whole.get("tool", {})
    if (project := whole.get("project")) is not None and "dependencies" not in project.get("dynamic", []):
        lines = list(map(str, project.get("dependencies", [])))
        more = project.get("optional-dependencies", {})
        lines += [str(line) for extra in extras for line in more.get(extra, [])]
        sources = {normal(name): source for name, source in tools.get("uv", {}).get("sources", {}).items()}
        return [_from(line, sources.get(name_of(line))) for line in lines]
    if project is not None:
        dynamic = tools.get("setuptools", {}).get("dynamic", {}).get("dependencies", {})
        names = dynamic.get("file", [])
        return [f"-r {path.parent / name}" for name in ([names] if isinstance(names, str) else names)] or None
    if (poetry := tools.get("poetry", {}).get("dependencies")) is not None:
        return [line for name, spec in poetry.items() for line in _of_poetry(name, spec) if name != "python"]
    return None


def _from(line: str, source: Any) -> str:
    """A dependency from where uv takes it. Indexes, and sources by markers, are left to pip."""
    if not isinstance(source, Mapping):
        return line
    found = _NAME.match(line)
    named = f"{found[1]}{found[2] or ''}" if found else line
    if "git" in source:
        version = next((f"@{source[each]}" for each in ("rev", "tag", "branch") if each in source), "")
        inside = f"#subdirectory={source['subdirectory']}" if "subdirectory" in source else ""
        return f"{named} @ git+{source['git']}{version}{inside}"
    if "url" in source:
        return f"{named} @ {source['url']}"
    if "path" in source:
        return f"{named} @ file:{source['path']}"
    return f"{named} @ workspace" if source.get("workspace") else line


def _of_poetry(name: str, spec: Any) -> Iterator[str]:
    for each in spec if isinstance(spec, list) else [spec]:
        given = {"version": each} if isinstance(each, str) else dict(each)
        if given.get("optional"):
            continue
        extras = f"[{','.join(given['extras'])}]" if given.get("extras") else ""
        markers = f" ; {given['markers']}" if given.get("markers") else ""
        if {"git", "url", "path"} & given.keys():
            yield _from(f"{name}{extras}", given) + markers
        else:
            yield f"{name}{extras}{_versions(str(given.get('version', '*')))}{markers}"


def _versions(text: str) -> str:
    """A constraint of Poetry as one of pip."""
    if "|" in text or text.strip() == "*":
        return ""
    return ",".join(bound for part in text.split(",") if (bound := _bound(part.strip())))


def _bound(part: str) -> str:
    found = _VERSION.fullmatch(part)
    if found is None:
        return part if part[:1] in "<>=!~" else f"=={part}"
    numbers = [int(number) for number in found[2].split(".")]
    if found[1] == "^":
        first = next((i for i, number in enumerate(numbers) if number), len(numbers) - 1)
    else:
        first = min(1, len(numbers) - 1)
    above = [*numbers[:first], numbers[first] + 1]
    return f">={found[2]},<{'.'.join(map(str, above))}"


def _of_setup_cfg(path: Path, extras: Sequence[str]) -> list[str] | None:
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(path.read_text())
    if not config.has_section("options"):
        return None
    given = [config.get("options", "install_requires", fallback="")]
    given += [config.get("options.extras_require", extra, fallback="") for extra in extras]
    return [line.strip() for text in given for line in re.split(r"[\n;](?![^\n]*python_)", text) if line.strip()]


def _of_setup_py(path: Path, extras: Sequence[str]) -> list[str] | None:
    """Only what is written there as a list: the file is not executed."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "install_requires":
            try:
                return list(map(str, ast.literal_eval(node.value)))
            except ValueError:
                return None
    return None


def locked(directory: Path, root: Path) -> list[str]:
    """``NAME==VERSION`` of what the lock file nearest to ``directory`` takes from an index, if it knows one version."""
    for place in (directory, *directory.parents):
        for name in LOCKS:
            if (place / name).is_file():
                return _locked(table(place / name))
        if place == root:
            break
    return []


def _locked(whole: Mapping[str, Any]) -> list[str]:
    versions: dict[str, set[str]] = {}
    for package in whole.get("package") or whole.get("packages") or []:
        source = package.get("source", {})
        elsewhere = {"editable", "virtual", "directory", "path", "git", "url"} & source.keys()
        if "version" in package and not elsewhere and source.get("type") not in ("git", "directory", "file", "url"):
            versions.setdefault(str(package["name"]), set()).add(str(package["version"]))
    return [f"{name}=={next(iter(found))}" for name, found in sorted(versions.items()) if len(found) == 1]
