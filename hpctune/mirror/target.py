"""The means by which files get to a mirror: a filesystem of fsspec, or what a user gave instead."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shlex
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hpctune.common import env, urls
from hpctune.errors import ConnectionLostError, MissingPackageError, StorageError, UsageError
from hpctune.mirror.files import blocks
from hpctune.mirror.options import MirrorOptions, has_sync_up, is_elsewhere, is_inside, is_url

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "hdfs": "hdfs", "abfs": "azure", "az": "azure"}
_ALIASES = {"s3a": "s3"}
_BY_SSH = ("sftp", "ssh")
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "oss", "r2", "memory"})
_KINDS = "Possible are s3://, gs://, sftp://, hdfs://, file:// and others."
DRAFTS = 8
"""Names of drafts, at least as many as files are written side by side."""


class Remote:
    """A directory on a filesystem of fsspec. Every method raises StorageError if it fails.

    A file is replaced in one step: a reader finds the former content or the new one, whenever the writer dies. Object
    stores do that by themselves; elsewhere a draft gets the name when it is whole.
    """

    def __init__(self, url: str, filesystem: Any = None) -> None:
        self.url = urls.public(url)
        self.fs, self.root = opened(url, filesystem)
        self._made: set[str] = set()
        self._may_make_bucket = filesystem is None and urls.may_make_bucket(url)
        self._drafts: queue.SimpleQueue[str] | None = None
        if not replaces_at_once(self.fs):
            self._drafts = queue.SimpleQueue()
            for number in range(DRAFTS):
                self._drafts.put(f"{self.root}/.part-{number}")

    def forget(self) -> None:
        """Assume nothing about the place any more: it may be another one by now."""
        self._made.clear()
        self.fs.invalidate_cache()

    def put(self, path: str, name: str, size: int) -> None:
        """Copy the first ``size`` bytes of a local file, and see that they are there.

        Raises StorageError; FileNotFoundError if the local file has been removed.
        """
        try:
            self._put(path, name, size)
        except StorageError:
            Path(path).stat()
            raise

    def _put(self, path: str, name: str, size: int) -> None:
        with self._replacing(name) as target:
            if Path(path).stat().st_size == size:
                self.fs.put_file(path, target)
            else:
                with Path(path).open("rb") as source, self.fs.open(target, "wb") as sink:
                    for block in blocks(source, size):
                        sink.write(block)
            self.fs.invalidate_cache(self.fs._parent(target))
            there = self.fs.info(target)["size"]
            if there != size:
                raise StorageError(f"{target} has {there} bytes after {size} were written.")

    def write(self, name: str, text: str) -> None:
        """Write a small file."""
        with self._replacing(name) as target:
            self.fs.pipe_file(target, text.encode())

    @contextlib.contextmanager
    def _replacing(self, name: str) -> Iterator[str]:
        """Where the new content of a file is to be written."""
        target = f"{self.root}/{name}"
        with _told(target):
            self._make_parent(target)
            if self._drafts is None:
                yield target
                return
            draft = self._drafts.get()
            try:
                yield draft
                self.fs.mv(draft, target)
            finally:
                self._drafts.put(draft)

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None if it is not there."""
        target = f"{self.root}/{name}"
        with _told(target):
            self.fs.invalidate_cache()
            try:
                content: bytes = self.fs.cat_file(target)
            except FileNotFoundError:
                return None
            return content

    def get(self, name: str, path: Path, size: int | None) -> None:
        """Copy the first ``size`` bytes of a file to a local one; None: all of them."""
        source = f"{self.root}/{name}"
        with _told(source), self.fs.open(source, "rb") as file, path.open("wb") as sink:
            sink.writelines(blocks(file, sys.maxsize if size is None else size))

    def files(self) -> dict[str, int]:
        """All files here with their sizes in bytes."""
        with _told(self.root):
            found = self.fs.find(self.root, detail=True)
            start = len(self.fs._strip_protocol(self.root).rstrip("/")) + 1
            return {path[start:]: about["size"] for path, about in found.items() if path[start:]}

    def directories(self) -> list[str]:
        """The names of the directories here."""
        with _told(self.root):
            try:
                found = self.fs.ls(self.root, detail=True)
            except FileNotFoundError:
                return []
            return [about["name"].rstrip("/").rpartition("/")[2] for about in found if about["type"] == "directory"]

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        target = f"{self.root}/{name}"
        with _told(target), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(target)

    def move(self, name: str, there: Remote) -> None:
        """Give a file the same name in another directory of this filesystem. One that is not here is left out."""
        source, target = f"{self.root}/{name}", f"{there.root}/{name}"
        with _told(source), contextlib.suppress(FileNotFoundError):
            there._make_parent(target)
            if self._drafts is None:
                self.fs.cp_file(source, target)
                self.fs.rm_file(source)
            else:
                self.fs.mv(source, target)

    def _make_parent(self, target: str) -> None:
        """Make the directory of a file. An object store has none, and must not make a bucket of a mistyped name, unless
        the URL says so."""
        parent = self.fs._parent(target)
        if self._drafts is None:
            parent = self.root.partition("/")[0] if self._may_make_bucket else ""
        if parent and parent not in self._made:
            self.fs.makedirs(parent, exist_ok=True)
            self._made.add(parent)


def replaces_at_once(fs: Any) -> bool:
    """Whether a file of this filesystem, or of the one that it is a view of, is written in one step."""
    names = set[str]()
    while fs is not None:
        kind: Any = getattr(fs, "type_name", None) or getattr(fs, "protocol", None)  # of pyarrow and of fsspec
        names.update((kind,) if isinstance(kind, str) else kind or ())
        fs = getattr(fs, "fs", None) or getattr(fs, "base_fs", None)
    return not names.isdisjoint(_OBJECT_STORES)


@contextlib.contextmanager
def _told(target: str) -> Any:
    """Every error as a StorageError that names the target. What a filesystem raises differs from one to the next."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise StorageError(f"{target}: {text}") from error


def opened(url: str, filesystem: Any = None) -> tuple[Any, str]:
    """The filesystem and the path on it. Raises UsageError for an unknown kind, MissingPackageError."""
    import fsspec

    if filesystem is not None:
        return as_fsspec(filesystem), _split(url)[0].partition("://")[2] if is_url(url) else url
    scheme = urlsplit(url).scheme
    if scheme in _BY_SSH:
        from hpctune.ssh.filesystem import SshFileSystem, parse_url

        host, user, port, path = parse_url(url)
        return SshFileSystem(host, user, port), path.rstrip("/")
    bare, options = _split(url)
    shown = urls.public(url)
    try:
        kind = fsspec.get_filesystem_class(_ALIASES.get(scheme, scheme) or "file")
        fs, path = kind(**{**kind._get_kwargs_from_urls(bare), **options}), kind._strip_protocol(bare)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        hint = f"pip install 'hpctune[{extra}]'" if extra else str(error)
        raise MissingPackageError(f"{shown} needs a package that is not installed: {hint}") from error
    except ValueError as error:
        raise UsageError(f"{shown}: {error}. {_KINDS}") from error
    except Exception as error:  # of a connection
        raise StorageError(f"{shown}: {' '.join(str(error).split()) or type(error).__name__}") from error
    return fs, str(path).rstrip("/")


def _split(url: str) -> tuple[str, dict[str, Any]]:
    """The URL as fsspec knows it, and the arguments that its options and secrets mean."""
    if not is_elsewhere(url):
        return url, {}
    whole = urls.with_secrets(url)
    options = urls.arguments(whole)
    user = whole.user if whole.scheme not in _OBJECT_STORES or whole.scheme.startswith(("abfs", "az")) else ""
    return str(replace(whole, user=user, options={})), options


def check_place(options: MirrorOptions, root: Path) -> None:
    """Raise UsageError or RemoteClusterError if no copy of the experiment in ``root`` can ever be made: an unknown kind
    of URL, a server that refuses, the experiment's own directory. A server that does not answer now is no reason."""
    if options.filesystem is None and is_inside(root, options.of(root.name)):
        raise UsageError(f"{options.place} is where the experiment itself will be. Choose another place for its copy.")
    if options.means != "auto":
        return
    if options.filesystem is None and options.place.startswith(("http://", "https://")):
        raise UsageError(f"{options.place}: nothing can be written to a web server. {_KINDS}")
    fs, path = opened(options.place, options.filesystem)
    if replaces_at_once(fs) and not path.strip("/"):
        raise UsageError(f"{options.place!r} names no bucket. It must be like s3://bucket/dir.")
    if callable(connect := getattr(fs, "connect", None)) and type(fs).__module__.startswith("hpctune."):
        with contextlib.suppress(ConnectionLostError):
            connect()
        fs.close()


def as_fsspec(filesystem: Any) -> Any:
    """A filesystem of fsspec or pyarrow as one of fsspec. Raises UsageError for anything else."""
    import fsspec

    if isinstance(filesystem, fsspec.AbstractFileSystem):
        return filesystem
    if isinstance(inner := getattr(getattr(filesystem, "handler", None), "fs", None), fsspec.AbstractFileSystem):
        return inner  # which pyarrow's is around
    if type(filesystem).__module__.startswith("pyarrow"):
        import pyarrow.fs  # noqa: F401 - it ends the threads of a filesystem when the program ends; an unpickled one not
        from fsspec.implementations.arrow import ArrowFSWrapper

        return ArrowFSWrapper(filesystem)
    raise UsageError(f"storage_filesystem must be a filesystem of fsspec or pyarrow, not {filesystem!r}.")


def copier(options: MirrorOptions) -> Callable[[str, str], None] | None:
    """The user's own means as a function of source and target, which raises StorageError; None for the filesystem."""
    means = options.means
    if means == "auto":
        return None
    if isinstance(means, str):
        return lambda source, target: _run(means, source, target, options.timeout_s)
    if has_sync_up(means):
        return lambda source, target: _sync_up(means, source, target)
    return lambda source, target: _call(means, source, target)


def bring(options: MirrorOptions, source: str, directory: Path) -> None:
    """Bring a copy to a directory by the user's own means. Raises StorageError, or whatever the user's code raises."""
    means = options.means
    if isinstance(means, str):
        _run(means, source, str(directory), options.timeout_s)
    elif callable(down := getattr(means, "sync_down", None)):
        if down(source, str(directory)) is False:
            raise StorageError(f"{type(means).__name__}.sync_down returned False.")
        if callable(wait := getattr(means, "wait", None)):
            wait()
    elif callable(means):
        _call(means, source, str(directory))


def _run(template: str, source: str, target: str, timeout_s: float) -> None:
    command = filled_in(template, source=source, target=target, options="")
    try:
        done = subprocess.run(
            command, shell=True, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False,
            stdin=subprocess.DEVNULL, env=_environment(),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StorageError(f"{command}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise StorageError(f"{command} ended with code {done.returncode}: {' '.join(last)}")


def filled_in(template: str, **values: str) -> str:
    """A shell command with its fields replaced. Each value stays as it is, also where a field is in quotes."""
    command, quote = "", ""
    for text, name, _, _ in string.Formatter().parse(template):
        for char in re.findall(r"\\.|['\"]", text, re.DOTALL):
            if quote == "'":  # in which a backslash is itself
                quote = "" if char.endswith("'") else quote
            elif len(char) == 1:
                quote = "" if char == quote else quote or char
        command += text
        if name is not None and values[name]:
            command += f"{quote}{shlex.quote(values[name])}{quote}"
    return command


def _environment() -> dict[str, str]:
    """That of this process; rsync gets the private key that the environment names."""
    given, key = dict(os.environ), env.cluster_ssh_key()
    if key is not None:
        given.setdefault("RSYNC_RSH", f"ssh -i {shlex.quote(str(key))}")
    return given


def _sync_up(syncer: Any, source: str, target: str) -> None:
    try:
        begun = syncer.sync_up(source, target)
        if callable(wait := getattr(syncer, "wait", None)):
            wait()
    except Exception as error:
        raise StorageError(f"{type(syncer).__name__}.sync_up failed: {error!r}") from error
    if begun is False:
        raise StorageError(f"{type(syncer).__name__}.sync_up returned False.")


def _call(function: Callable[[str, str], Any], source: str, target: str) -> None:
    try:
        function(source, target)
    except Exception as error:
        raise StorageError(f"{getattr(function, '__name__', function)!s} failed: {error!r}") from error
