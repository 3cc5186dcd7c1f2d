"""What an experiment was made of, so that a year later it can be told: command line, versions, git, search space."""

from __future__ import annotations

import contextlib
import getpass
import platform
import shlex
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from hpctune.common import urls
from hpctune.driver.setup import DriverSetup, SearchBinding
from hpctune.space.describe import described
from hpctune.storage.values import plain
from hpctune.version import VERSION

GIT_S = 10.0
"""Seconds to wait for git."""
MAX_DIFF = 2**20
"""Characters of the uncommitted changes that are kept."""
_PACKAGES = (
    "accelerate", "datasets", "flax", "jax", "keras", "lightgbm", "lightning", "mlflow", "numpy", "optuna", "pandas",
    "pytorch-lightning", "scikit-learn", "scipy", "submitit", "tensorflow", "torch", "torchvision", "transformers",
    "wandb", "xgboost",
)  # fmt: skip


def origin_of(setup: DriverSetup, directory: Path) -> tuple[dict[str, Any], str]:
    """The origin of an experiment that is made now, as JSON; and the changes that git has not committed.

    ``directory``: where the user's code is. What cannot be found out is left out.
    """
    git, changes = _git(directory)
    binding = setup.bind_search
    space = plain(described(dict(binding.space))) if isinstance(binding, SearchBinding) else None
    found = {
        "command": _command_line(),
        "directory": _here(),
        "host": socket.gethostname(),
        "user": _user(),
        "python": platform.python_version(),
        "packages": {"hpctune": VERSION, **_versions()},
        "git": git,
        "search_space": space,
        "searcher": _name(binding.algorithm) if isinstance(binding, SearchBinding) else None,
        "scheduler": _with_options(setup.scheduler),
    }
    return {name: value for name, value in found.items() if value is not None}, changes


def _command_line() -> str:
    words = list(sys.orig_argv)
    programs = [number for number, word in enumerate(words) if Path(word).name == "hpctune"]
    if programs:
        words = ["hpctune", *words[programs[0] + 1 :]]
    return shlex.join(map(urls.public_text, words))


def _here() -> str | None:
    """The working directory; None if it is gone."""
    with contextlib.suppress(OSError):
        return str(Path.cwd())
    return None


def _user() -> str | None:
    with contextlib.suppress(KeyError, OSError):
        return getpass.getuser()
    return None


def _versions() -> dict[str, str]:
    """The versions of packages that are usual in training, and of those that are imported now."""
    imported = {name.partition(".")[0] for name in sys.modules}
    names = {
        *_PACKAGES,
        *(name for name in imported if not name.startswith("_") and name not in sys.stdlib_module_names),
    }
    found = {}
    for name in sorted(names):
        with contextlib.suppress(metadata.PackageNotFoundError, ValueError):
            found[name] = metadata.version(name)
    return found


def _git(directory: Path) -> tuple[dict[str, Any] | None, str]:
    commit = _ask_git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None, ""
    changes = _ask_git(directory, "diff", "HEAD") or ""
    branch = _ask_git(directory, "rev-parse", "--abbrev-ref", "HEAD")
    return {"commit": commit.strip(), "branch": (branch or "").strip(), "changed": bool(changes)}, changes[:MAX_DIFF]


def _ask_git(directory: Path, *words: str) -> str | None:
    """What git says; None if it is not there, says an error, or takes too long."""
    command = ["git", "-C", str(directory), *words]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _name(made: object) -> str:
    inner = getattr(made, "searcher", None)
    return type(made if inner is None else inner).__name__


def _with_options(scheduler: object) -> dict[str, Any]:
    """A scheduler's class, and its options that are plain values."""
    options = {
        name: value
        for name, value in vars(scheduler).items()
        if not name.startswith("_") and isinstance(value, (str, int, float, bool, type(None)))
    } if hasattr(scheduler, "__dict__") else {}  # fmt: skip
    return {"name": type(scheduler).__name__, **options}


def code_directory() -> Path:
    """Where the user's script is; else the present directory."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if isinstance(main, str) and not Path(main).name.startswith("hpctune") and Path(main).is_file():
        return Path(main).absolute().parent
    return Path(_here() or "/")
