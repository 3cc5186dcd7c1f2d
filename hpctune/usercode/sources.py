"""The user's sources as they were when the experiment was created: the script, and the modules beside it.

They are kept in one archive, called by what is in it. A job imports such a module from there if its file has changed
since; if it has not, it is imported as ever, with Python's cache of compiled code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from hpctune.usercode.main_module import known_lines, remember_lines

_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]+))", re.MULTILINE
)
_NAME = re.compile(r"(?:^|,)\s*([\w.]+)")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class ModuleSource:
    """A module beside the script. ``status``: by which a changed file is known."""

    name: str
    file: str
    status: tuple[int, int]

    @property
    def package(self) -> str:
        """The package that its relative imports start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @property
    def is_package(self) -> bool:
        return self.file.endswith(f"{os.sep}__init__.py")


@dataclass(slots=True)
class Sources:
    """``texts``: of code that travels by value, by file. ``modules``: those beside the script, by name."""

    texts: dict[str, str] = field(default_factory=dict)
    modules: dict[str, tuple[ModuleSource, bytes]] = field(default_factory=dict)

    def archive(self) -> tuple[str, bytes]:
        """What is kept, and its name. The same sources give the same."""
        files = {f"script/{file.lstrip(os.sep)}": text.encode() for file, text in self.texts.items()}
        files |= {f"modules/{name}.py": text for name, (_, text) in self.modules.items()}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(files.items()):
                archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), content, zipfile.ZIP_DEFLATED)
        body = buffer.getvalue()
        return f"{hashlib.sha256(body).hexdigest()[:16]}.zip", body

    def to_json(self) -> dict[str, Any]:
        """Where everything is from, for :class:`StoredSources`."""
        modules = {name: [module.file, *module.status] for name, (module, _) in self.modules.items()}
        return {"texts": sorted(self.texts), "modules": modules}


def collect(files: Iterable[str], roots: Sequence[str], foreign: Sequence[str]) -> Sources:
    """The sources of ``files``, and of the modules below ``roots`` that are imported by now, or are named in an import
    of one of these sources. ``foreign``: directories whose modules are not the user's, also below ``roots``."""
    texts = known_lines([file for file in files if not _below(file, foreign)])
    found = Sources(texts=dict(sorted(texts.items())))
    search = _Search(found.modules, roots, foreign)
    for module in list(sys.modules.values()):
        search.imported(module)
    for text in texts.values():
        search.named_in(text.encode(), "")
    search.finish()
    return found


class _Search:
    """Finds modules beside the script, and those that they name."""

    def __init__(
        self, found: dict[str, tuple[ModuleSource, bytes]], roots: Sequence[str], foreign: Sequence[str]
    ) -> None:
        self._found, self._roots, self._foreign = found, roots, foreign
        self._seen: set[str] = set()
        self._unread: list[tuple[bytes, str]] = []
        """Texts of modules, each with its package: chains of imports may be long."""
        self._namespaces: dict[str, list[str]] = {}
        """Packages without a file, each with its directories."""

    def imported(self, module: ModuleType) -> None:
        """Take a module that is imported by now."""
        spec = getattr(module, "__spec__", None)
        if isinstance(spec, ModuleSpec) and isinstance(spec.loader, SourceFileLoader) and spec.origin is not None:
            self._take(spec.name, spec.origin)

    def _take(self, name: str, file: str) -> None:
        if name in self._found or name.partition(".")[0] == "hpctune" or name == "__main__":
            return
        if not file.endswith(".py") or not _below(file, self._roots) or _below(file, self._foreign):
            return
        try:
            status, text = _status(file), Path(file).read_bytes()
        except OSError:
            return
        module = ModuleSource(name, file, status)
        self._found[name] = module, text
        self._unread.append((text, module.package))

    def finish(self) -> None:
        """Take what the modules that were taken name."""
        while self._unread:
            self.named_in(*self._unread.pop())

    def named_in(self, text: bytes, package: str) -> None:
        """Take the modules that an import in ``text`` names."""
        for name in named_modules(text, package):
            if name not in self._seen:
                self._seen.add(name)
                file = self._file(name)
                if file is not None:
                    self._take(name, file)

    def _file(self, name: str) -> str | None:
        """Where ``name`` would be imported from; nothing is imported."""
        if name in self._found or name in sys.modules:
            return None
        parent, _, last = name.rpartition(".")
        places = self._namespaces.get(parent)
        if parent in self._found:
            places = [str(Path(self._found[parent][0].file).parent)]
        if parent and places is None:
            return None
        try:
            spec = PathFinder.find_spec(last, places)  # the whole name wants its packages to be imported
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        if spec.origin is None and spec.submodule_search_locations is not None:
            self._namespaces[name] = list(spec.submodule_search_locations)
        return spec.origin


def named_modules(text: bytes, package: str) -> Iterator[str]:
    """The modules that the imports in ``text`` may mean, each after its package."""
    for base, names, modules in _IMPORT.findall(text):
        if modules:
            for name in _NAME.findall(modules.decode(errors="replace")):
                yield from _with_parents(name)
            continue
        try:
            start = importlib.util.resolve_name(base.decode(errors="replace"), package)
        except (ImportError, ValueError):
            continue
        yield from _with_parents(start)
        for name in _NAME.findall(names.decode(errors="replace").strip("() \t\r")):
            yield f"{start}.{name}"


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def _below(file: str, directories: Sequence[str]) -> bool:
    return any(file.startswith(f"{directory.rstrip(os.sep)}{os.sep}") for directory in directories)


def _status(file: str) -> tuple[int, int]:
    status = Path(file).stat()
    return status.st_mtime_ns, status.st_size


# -- in a job ------------------------------------------------------------------------------------------------------


class StoredSources:
    """The archive, and the origin of each file in it (see :meth:`Sources.to_json`)."""

    def __init__(self, path: str, places: Mapping[str, Any]) -> None:
        self._path = path
        self._texts: list[str] = places["texts"]
        self._modules = {n: ModuleSource(n, file, (at, size)) for n, (file, at, size) in places["modules"].items()}
        self._namespaces: dict[str, list[str]] = {}
        for module in self._modules.values():
            self._note_namespaces(module)

    def _note_namespaces(self, module: ModuleSource) -> None:
        """Note the packages without a file that a module is in, each with its directory."""
        name, directory = module.name, Path(module.file).parent
        directory = directory.parent if module.is_package else directory
        while name := name.rpartition(".")[0]:
            if name not in self._modules and str(directory) not in (known := self._namespaces.setdefault(name, [])):
                known.append(str(directory))
            directory = directory.parent

    def namespace(self, name: str) -> list[str]:
        """The directories of a package without a file; empty if it is none."""
        return self._namespaces.get(name, [])

    def remember_lines(self) -> None:
        """Let tracebacks and debuggers show the code that travels by value as it was."""
        remember_lines({file: self._read(f"script/{file.lstrip(os.sep)}").decode() for file in self._texts})

    def text(self, name: str) -> bytes:
        """The source of a module. Raises OSError."""
        return self._read(f"modules/{name}.py")

    def _read(self, member: str) -> bytes:
        from zipimport import zipimporter  # unlike zipfile, it is part of the interpreter

        return zipimporter(self._path).get_data(member)

    def import_from_here(self) -> None:
        """Let changed modules be imported as they were."""
        if not any(isinstance(finder, _Finder) and finder.sources is self for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder(self))

    def changed(self, name: str) -> ModuleSource | None:
        """The module, if its file has changed."""
        module = self._modules.get(name)
        if module is None:
            return None
        try:
            return None if _status(module.file) == module.status else module
        except OSError:
            return module


class _Finder:
    """In ``sys.meta_path``."""

    def __init__(self, sources: StoredSources) -> None:
        self.sources = sources

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        module = self.sources.changed(name)
        if module is None:
            return self._namespace(name, path)
        loader = _Loader(self.sources, name, module.file)
        places = [str(Path(module.file).parent)] if module.is_package else None
        return importlib.util.spec_from_file_location(
            name, module.file, loader=loader, submodule_search_locations=places
        )

    def _namespace(self, name: str, path: Any) -> ModuleSpec | None:
        """A package without a file, if its directory is gone."""
        places = self.sources.namespace(name)
        if not places or PathFinder.find_spec(name, path) is not None:
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = places
        return spec


class _Loader(SourceFileLoader):
    """Loads the stored text as if it were still in its file."""

    def __init__(self, sources: StoredSources, name: str, file: str) -> None:
        super().__init__(name, file)
        self._sources = sources

    def get_data(self, path: Any) -> bytes:
        return self._sources.text(self.name)

    def path_stats(self, path: Any) -> Any:
        raise OSError("compiled code is neither looked for nor kept")

    def exec_module(self, module: ModuleType) -> None:
        remember_lines({self.path: importlib.util.decode_source(self.get_data(self.path))})
        super().exec_module(module)
