"""Which files of a project go where its code runs: those that git tracks or would, or what a file or command names."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpctune.common.text import count, quoted, size, table
from hpctune.errors import UsageError

MAX_BYTES = 100_000_000
"""Maximum size of all files, in bytes, unless the user allows more."""
MAX_FILES = 20_000
MAX_LISTED = 50
_WORD = re.compile(r"[\w./+-]*\w")
_REST = re.compile(r"(?:\$\w+|[})\"'`])/+([\w./+-]*\w)")
_SECRET = re.compile(r"(^|/)(\.env(\..+)?|\.netrc|credentials(\.json)?|id_(rsa|ecdsa|ed25519)|[^/]+\.(pem|key|p12))$")
_NEVER = frozenset({".git", "__pycache__"})
_SHOWN = 5
MARKS = ("pyproject.toml", "setup.cfg", "setup.py", "requirements.txt", "environment.yml", "environment.yaml")
"""Files that the directory of a project has."""
_MAX_SEARCHED = 1_000_000
"""Bytes of the largest file in which names of other files are looked for."""
_MODULE = re.compile(r"(?:^|\s)-m\s+([A-Za-z_][\w.]*)")


@dataclass(frozen=True, slots=True)
class CodeFile:
    """One file. ``path``: in the project. ``hash``: SHA-256 of its content; "" for a link, which has a ``target``."""

    path: str
    size: int
    hash: str
    executable: bool = False
    target: str = ""

    def to_json(self) -> list[object]:
        """As :func:`hpctune.remote.cluster_side.assemble` wants it."""
        return [self.path, self.target] if self.target else [self.path, self.hash, self.executable]


@dataclass(frozen=True, slots=True)
class Project:
    """The files that a run needs. ``root``: the directory that they are in. ``tracked``: whether git chose them.
    ``base``: the directory of the program or the config file."""

    root: Path
    files: tuple[CodeFile, ...]
    tracked: bool
    base: Path

    @property
    def name(self) -> str:
        """The directory's name, as a name there."""
        return re.sub(r"[^\w-]", "_", self.root.name)[:40] or "project"

    @property
    def hash(self) -> str:
        """Of all names and contents."""
        return hash_of(self.files)

    @property
    def directory(self) -> str:
        """Where it is put there, below the cluster's directory."""
        return f"code/{self.name}-{self.hash[:12]}"

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    def without_secrets(self, named: Iterable[Path] = ()) -> tuple[Project, list[str]]:
        """The project without what may be a secret, and the names of these files. Those of ``named`` stay."""
        wanted = {name for path in named for name in _below(path.expanduser().absolute(), self.root)}
        left_out = [file.path for file in self.files if _SECRET.search(file.path) and file.path not in wanted]
        kept = tuple(file for file in self.files if file.path not in left_out)
        return replace(self, files=kept), left_out

    def describe(self, new: Sequence[CodeFile]) -> str:
        """What goes there, as a list for people. ``new``: the files whose names are new there."""
        by = "as git has them, with what is new and not ignored" if self.tracked else "named by the config file"
        head = f"{self.root}: {count(len(self.files), 'file')}, {size(self.bytes)} ({by}). New there:"
        doubtful = [file for file in new if _SECRET.search(file.path)]
        first = [*doubtful, *(file for file in new if file not in doubtful)]
        rows = [(f.path, size(f.size), "may be a secret" if f in doubtful else "") for f in first[:MAX_LISTED]]
        lines = table(("file", "size", ""), rows, "  ")
        others = first[MAX_LISTED:]
        if others:
            lines.append(f"  and {count(len(others), 'more file')} of {size(sum(f.size for f in others))}")
        return "\n".join([head, *lines])


def archive(project: Project) -> bytes:
    """All files of a project, as a compressed tar archive. The same files give the same."""
    body = io.BytesIO()
    packed = gzip.GzipFile(fileobj=body, mode="wb", compresslevel=6, mtime=0)
    with packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for file in project.files:
            entry = tarfile.TarInfo(file.path)
            if file.target:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.target
                tar.addfile(entry)
                continue
            content = (project.root / file.path).read_bytes()
            entry.size, entry.mode = len(content), 0o755 if file.executable else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return body.getvalue()


def hash_of(files: Iterable[CodeFile]) -> str:
    """One hash for names and contents."""
    return hashlib.sha256(repr([file.to_json() for file in files]).encode()).hexdigest()


def collect(config: Path, more: Sequence[Path] = (), max_bytes: int | None = None) -> Project:
    """The project of ``config``. ``more``: further files and directories. ``max_bytes``: of all; None: MAX_BYTES.

    Raises UsageError for what is too large, is outside of the project, or is not there.
    """
    config = config.expanduser().absolute()
    if not config.is_file():
        raise UsageError(f"There is no file {config}.")
    top = _git_root(config.parent)
    root = top or _root_without_git(config)
    return _collected(
        root, config.parent, [Path.cwd()], [config], more, max_bytes, tracked=top is not None, links_out=False
    )


def collect_named(text: str, directory: Path, more: Sequence[Path] = (), max_bytes: int | None = None) -> Project:
    """The project of a program that runs in ``directory`` by the command ``text``, with the links that lead out of it.

    Otherwise as :func:`collect`.
    """
    directory = directory.expanduser().absolute()
    top = _git_root(directory)
    root = top or directory
    if top is None and root != Path.home() and Path.home().is_relative_to(root):
        raise UsageError(
            f"The program runs in {root}, which is no project: all homes are in it. Start in the program's directory, "
            "or bring nothing of it and use what the machines have: --code-limit 0"
        )
    modules = [name for module in _MODULE.findall(text) for name in _files_of(module, "/__main__.py")]
    words = {*_WORD.findall(text), *_rests(text)}
    works = [directory, *_named_in(directory, words, root, Path.is_dir)]  # "cd sub && python x.py"
    files = {path for work in works for path in _named_in(work, {*words, *modules}, root, Path.is_file)}
    return _collected(root, directory, works, sorted(files), more, max_bytes, tracked=top is not None, links_out=True)


def _files_of(module: str, *more: str) -> list[str]:
    """The names that the file of a module, and those of its packages, may have."""
    names = [module, *(module[: found.start()] for found in re.finditer(r"\.", module))]
    ends = ("/__init__.py", ".py", *more)
    return [f"{name.replace('.', '/')}{end}" for name in names for end in ends]


def _named_in(base: Path, words: Iterable[str], root: Path, kind: Callable[[Path], bool]) -> list[Path]:
    """What ``words`` name from ``base``, below ``root``."""
    paths = {Path(os.path.normpath(base / word)) for word in words}
    return sorted({root / _inside(path, root) for path in paths if kind(path) and _is_below(path, root)})


def _collected(
    root: Path, directory: Path, works: Sequence[Path], files: Sequence[Path], more: Sequence[Path],
    max_bytes: int | None, *, tracked: bool, links_out: bool,
) -> Project:  # fmt: skip
    """The project in ``root``, with ``files``. ``directory``: that of the program, in it; ``works``: where it runs.
    ``tracked``: whether git chooses."""
    max_bytes = MAX_BYTES if max_bytes is None else max_bytes
    names = set(_tracked(root)) if tracked else set(_named(files, root, works))
    names.update(_inside(file, root) for file in files)
    for path in more:
        names.update(_below(path.expanduser().absolute(), root))
    existing = sorted(name for name in _without_experiments(names) if os.path.lexists(root / name))
    _check(root, existing, max_bytes, tracked=tracked)
    base = root / Path(_inside(directory, root))
    return Project(root, tuple(_file(root, name, links_out) for name in existing), tracked, base)


def root_of(directory: Path) -> Path:
    """The root of the project in ``directory``: that of its git repository, if it is in one."""
    return _git_root(directory) or directory


def _root_without_git(config: Path) -> Path:
    """The nearest directory that says that it is a project; else that of the config file, or the working directory if
    that is above and the file names others from there. Never the home directory, nor one that it is in."""
    inside = [config.parent]
    for each in config.parent.parents:
        if Path.home().is_relative_to(each):
            break
        inside.append(each)
    marked = [each for each in inside if any((each / name).is_file() for name in MARKS)]
    if marked:
        return marked[0]
    for each in inside:
        if each.resolve() == Path.cwd().resolve() and any((each / word).is_file() for word in _words(config)):
            return each
    return config.parent


def package_paths(directory: Path) -> list[Path]:
    """Where Python looks for the modules of a package that is installed from ``directory`` as editable."""
    return [place for place in (directory / "src", directory) if place.is_dir()]


def _git_root(directory: Path) -> Path | None:
    done = _git(directory, "rev-parse", "--show-toplevel")
    return None if done is None else Path(os.fsdecode(done).rstrip("\n"))


def _git(directory: Path, *words: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=directory, capture_output=True, stdin=subprocess.DEVNULL, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _tracked(root: Path) -> Iterator[str]:
    """The files as git has them: tracked ones, and new ones that are not ignored; so also those of submodules and of
    other repositories inside, but not those of further worktrees of a repository."""
    for words in (("ls-files", "-z"), ("ls-files", "-z", "--others", "--exclude-standard")):
        listed = _git(root, *words)
        if listed is None:
            raise UsageError(
                f"git ls-files failed in {root}. Is the repository sound? Try: git -C {quoted(root)} status"
            )
        for name in filter(None, listed.split(b"\0")):
            text = os.fsdecode(name).removesuffix("/")
            path = root / text
            if path.is_symlink() or not path.is_dir():
                yield text
            elif (path / ".git").exists() and not _is_worktree(path):
                yield from (f"{text}/{inner}" for inner in _tracked(path))


def _is_worktree(repository: Path) -> bool:
    """Whether it is a further worktree of a repository."""
    place = repository / ".git"
    return place.is_file() and Path(place.read_text().strip()).parent.name == "worktrees"


def _named(files: Sequence[Path], root: Path, works: Sequence[Path]) -> Iterator[str]:
    """``files``, the modules that they import from their own directory, and the files that their text names, with
    theirs: from the root, from where they are, and from the working directories ``works``."""
    left, seen = list(files), set[Path]()
    while left:
        path = left.pop()
        if path in seen:
            continue
        seen.add(path)
        yield str(path.relative_to(root))
        if path.suffix == ".py":
            left += _imported(path, root, [*works, *(file.parent for file in files), path.parent])
        words = _words(path)
        for base in {root, path.parent, *works}:
            left += _named_in(base, words, root, Path.is_file)


def _is_below(path: Path, root: Path) -> bool:
    real, top = path.parent.resolve() / path.name, root.resolve()
    return (path.is_relative_to(root) or real.is_relative_to(top)) and path.resolve().is_relative_to(top)


def _words(path: Path) -> set[str]:
    """What may be names of files in a text."""
    try:
        text = _content(path).decode()
    except UnicodeDecodeError:
        return set()
    return {word for word in (*_WORD.findall(text), *_rests(text)) if "." in word}


def _content(path: Path) -> bytes:
    """What a file holds; nothing if it is large, or cannot be read."""
    try:
        return path.read_bytes() if path.stat().st_size <= _MAX_SEARCHED else b""
    except OSError:
        return b""


def _rests(text: str) -> list[str]:
    """What follows a variable, or the like, in a path: "bin/run.py" of "$HERE/bin/run.py"."""
    return _REST.findall(text)


def _imported(path: Path, root: Path, beside: Sequence[Path]) -> list[Path]:
    from hpctune.usercode.sources import collect as sources, named_modules

    before = list(sys.path)
    sys.path[:0] = map(str, [*beside, *package_paths(root)])
    try:
        found = sources([str(path)], [str(root)], [sys.prefix])
    finally:
        sys.path[:] = before
    package = ".".join(path.parent.relative_to(root).parts)  # relative imports are from where a file is
    names = [name for module in named_modules(_content(path), package) for name in _files_of(module)]
    return [*(Path(module.file) for module, _ in found.modules.values()), *_named_in(root, names, root, Path.is_file)]


def _without_experiments(names: set[str]) -> Iterator[str]:
    """The names that do not lie in an experiment: results that are kept in the project are no code."""
    experiments = {Path(name).parent for name in names if Path(name).name == "trainable.pkl"}
    experiments = {place for place in experiments if str(place / "experiment.json") in names}
    for name in names:
        if experiments.isdisjoint(Path(name).parents):
            yield name


def _below(path: Path, root: Path) -> Iterator[str]:
    if not path.exists():
        raise UsageError(f"--code: there is no {path}.")
    name = _inside(path, root)
    if not path.is_dir():
        yield name
        return
    for directory, folders, files in os.walk(path):
        folders[:] = [folder for folder in folders if folder not in _NEVER]
        yield from (str(Path(directory, file).relative_to(root)) for file in files)


def _inside(path: Path, root: Path) -> str:
    for real in (path, path.parent.resolve() / path.name):
        for top in (root, root.resolve()):
            if real.is_relative_to(top):
                return str(real.relative_to(top))
    raise UsageError(
        f"{path} is outside of the project {root}, so it cannot go there with it. Move or copy it into it."
    )


def _check(root: Path, names: list[str], max_bytes: int, *, tracked: bool) -> None:
    sizes = {name: (root / name).lstat().st_size for name in names}
    total = sum(sizes.values())
    if total <= max_bytes and len(names) <= MAX_FILES:
        return
    largest = sorted(names, key=lambda name: -sizes[name])[:_SHOWN]
    advice = "Leave out what is not needed by .gitignore" if tracked else "Move what is not needed elsewhere"
    more = f", or allow more: --code-limit {total // 1_000_000 + 1}MB" if len(names) <= MAX_FILES else "."
    raise UsageError(
        f"{root} has {count(len(names), 'file')} of {size(total)}, more than {size(max_bytes)} or {MAX_FILES} files. "
        f"The largest: {', '.join(f'{name} ({size(sizes[name])})' for name in largest)}. {advice}{more}"
    )


def _file(root: Path, name: str, links_out: bool) -> CodeFile:
    path = root / name
    if "\n" in name or not name.isprintable():
        raise UsageError(f"{root} has a file with an unprintable name: {name!r}. Rename it.")
    if path.is_symlink():
        target = path.readlink()
        inside = not target.is_absolute() and not os.path.normpath(Path(name).parent / target).startswith("..")
        if inside or links_out:
            return CodeFile(name, 0, "", target=str(target))
        if not path.is_file():
            raise UsageError(f"{path} is a link to {target}, outside of the project. Remove it, or ignore it in git.")
    if not path.is_file():
        raise UsageError(f"{path} is neither a file nor a link. Remove it, or ignore it in git.")
    try:
        body = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    return CodeFile(name, len(body), hashlib.sha256(body).hexdigest(), bool(path.stat().st_mode & 0o100))
