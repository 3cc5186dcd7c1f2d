"""Where everything of one cluster lies, and the record that outlives the command that started it."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .options import ClusterError, Options

# Unix socket paths are limited to 107 bytes; the longest name below the folder is about 20.
_MAX_PATH = 80
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@")


def default_dir() -> Path:
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"slurm-cluster-{user_name()}"


def user_name() -> str:
    """The user's name in the password database: Slurm refuses to run jobs of a user who has none."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        hint = f"as root: useradd --uid {os.getuid()} {os.environ.get('USER') or 'me'}"
        raise ClusterError(
            f"uid {os.getuid()} has no entry in the password database; Slurm needs one ({hint})."
        ) from None


@dataclass(frozen=True)
class Layout:
    """The paths of one cluster.

    `dir` is where the files are. `root` is the same folder under a name that Slurm can live with: slurm.conf knows no
    spaces, and a socket's path must be short. Where `dir` is neither, `root` is a symbolic link in a private folder.
    """

    dir: Path
    root: Path

    @property
    def conf(self) -> Path:
        return self.root / "slurm.conf"

    @property
    def record(self) -> Path:
        return self.dir / "cluster.json"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def munge_socket(self) -> Path:
        return self.root / "munge" / "s"

    @property
    def db_socket(self) -> Path:
        return self.root / "db" / "s"

    def pid_file(self, daemon: str) -> Path:
        """Our own: each daemon writes one too, but removes it too early or leaves it behind."""
        return self.root / "run" / f"{daemon}.pid"

    def make_folders(self) -> None:
        for name in ("state", "spool", "log", "gpu", "run"):
            (self.dir / name).mkdir(exist_ok=True)
        for name in ("munge", "db"):  # the key; and a database that lets in whoever reaches its socket
            (self.dir / name).mkdir(exist_ok=True, mode=0o700)


@dataclass(frozen=True)
class Record:
    """What a later command has to know about a cluster that is up."""

    root: str
    base_port: int
    options: Options

    def write(self, layout: Layout) -> None:
        partial = layout.record.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=1))
        partial.replace(layout.record)

    @classmethod
    def read(cls, directory: Path) -> Record | None:
        try:
            data = json.loads((directory / "cluster.json").read_text())
        except FileNotFoundError:
            return None
        known = {f.name for f in fields(Options)}
        options = Options(**{k: v for k, v in data["options"].items() if k in known})
        return cls(root=data["root"], base_port=data["base_port"], options=options)


def existing(directory: Path) -> tuple[Layout, Record] | None:
    """The cluster whose files are in this folder, running or not."""
    record = Record.read(directory)
    return None if record is None else (Layout(dir=directory, root=Path(record.root)), record)


def create(directory: Path) -> Layout:
    """A layout for a new cluster in this folder (which exists)."""
    if len(os.fsencode(directory)) <= _MAX_PATH and set(str(directory)) <= _SAFE:
        return Layout(dir=directory, root=directory)
    alias = Path(tempfile.mkdtemp(prefix="slurm-cluster-", dir="/tmp")) / "c"  # private, so nobody can replace the link
    alias.symlink_to(directory)
    return Layout(dir=directory, root=alias)


def remove(layout: Layout, keep: Set[str]) -> None:
    for entry in layout.dir.iterdir():
        if entry.name in keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if layout.root != layout.dir:
        shutil.rmtree(layout.root.parent, ignore_errors=True)
    with contextlib.suppress(OSError):  # not empty: something is kept
        layout.dir.rmdir()


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One `up` or `down` at a time per folder. The lock lies in the folder, so it goes away with the cluster."""
    while True:
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        _refuse_foreign(directory)
        with contextlib.suppress(FileNotFoundError), (directory / "lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            # Whoever held it before us may have removed the folder: then this is the lock of a file that is gone.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(held.fileno()), (directory / "lock").stat()):
                    yield
                    return


def _refuse_foreign(directory: Path) -> None:
    if directory.stat().st_uid != os.getuid():
        raise ClusterError(f"{directory} belongs to another user than {getpass.getuser()}. Choose another with --dir.")
    inside = {entry.name for entry in directory.iterdir()}
    if inside - {"log"} and not inside & {"lock", "cluster.json"}:
        raise ClusterError(f"{directory} holds files that are not a cluster's. Choose an empty folder with --dir.")
