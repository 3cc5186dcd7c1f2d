"""Which cluster ``--on`` means: a name in ``clusters.toml``, a Host of ``~/.ssh/config``, or ``user@host:dir``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hpctune.common.text import nearest
from hpctune.errors import UsageError
from hpctune.ssh import ssh_config

DEFAULT_DIRECTORY = "hpctune"
"""The directory of everything there, below the home directory."""
_ADDRESS = re.compile(r"(?:(?P<user>[^@:/\s]+)@)?(?P<host>\[[^\]\s]+\]|[^@:/\s]+)(?::(?P<directory>.+))?")
_DRIVERS = ("auto", "sbatch", "login")


@dataclass(frozen=True, slots=True)
class RemoteCluster:
    """One entry of ``clusters.toml``.

    ``host``: a name, an address, or a Host of ``~/.ssh/config``. ``directory``: where code and environments are kept
    there; below the home directory unless it is absolute or begins with a variable. ``python``: an interpreter there
    that has hpctune; "": an environment is made. ``modules``, ``setup``: environment modules and shell lines before
    everything that runs there. ``driver``: "sbatch" (a driver job), "login" (a process of the login node), or "auto"
    (a driver job if there is Slurm). ``options``: options of each ``hpctune run``. ``wheels``: a directory here with
    the packages of the environment, for a cluster without internet. ``system_packages``: the environment sees the
    packages of the interpreter that it is made with.
    """

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    directory: str = DEFAULT_DIRECTORY
    python: str = ""
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    driver: str = "auto"
    options: tuple[str, ...] = ()
    wheels: str = ""
    system_packages: bool = False


def config_file() -> Path:
    """``~/.config/hpctune/clusters.toml``, or where ``XDG_CONFIG_HOME`` says."""
    import os

    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "hpctune" / "clusters.toml"


def find(text: str) -> RemoteCluster:
    """The cluster that ``text`` names. Raises UsageError if there is none, or if its entry is wrong."""
    path = config_file()
    entries = _entries(path)
    if text in entries:
        return _entry(path, text, entries[text])
    found = _ADDRESS.fullmatch(text)
    known = ssh_config.hosts()
    if found is None or not (found["user"] or found["directory"] or text in known):
        raise UsageError(
            f"There is no cluster {text!r}: neither in {path} nor as a Host in ~/.ssh/config. "
            f"{nearest(text, [*entries, *known])}Add it there, or name it as user@host or user@host:directory."
        )
    return RemoteCluster(text, found["host"].strip("[]"), found["user"], None, found["directory"] or DEFAULT_DIRECTORY)


def _entries(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error


def _entry(path: Path, name: str, given: Any) -> RemoteCluster:
    where = f"[{name}] in {path}"
    if not isinstance(given, Mapping):
        raise UsageError(f'{name!r} in {path} must be a table: [{name}], and below it host = "...".')
    known = [f.name for f in fields(RemoteCluster) if f.name != "name"]
    for key in given:
        if key not in known:
            hint = " It is a secret, and belongs into the ssh agent." if key in ("password", "passphrase") else ""
            raise UsageError(
                f"{where} has an unknown key {key!r}. {nearest(key, known)}Known: {', '.join(known)}.{hint}"
            )
    values = {key: _checked(where, key, value) for key, value in given.items()}
    values.setdefault("host", name)
    cluster = RemoteCluster(name, **values)
    if cluster.driver not in _DRIVERS:
        raise UsageError(f"{where}: driver must be one of {', '.join(_DRIVERS)}, not {cluster.driver!r}.")
    return cluster


def _checked(where: str, key: str, value: Any) -> Any:
    if key in ("modules", "setup", "options"):
        if isinstance(value, list) and all(isinstance(v, str) and "\n" not in v for v in value):
            return tuple(value)
        raise UsageError(f'{where}: {key} must be a list of texts without line breaks: {key} = ["...", "..."].')
    if key == "port":
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
            return value
        raise UsageError(f"{where}: port must be a number from 1 to 65535, not {value!r}.")
    if key == "system_packages":
        if isinstance(value, bool):
            return value
        raise UsageError(f"{where}: system_packages must be true or false, not {value!r}.")
    if not isinstance(value, str) or "\n" in value or "\0" in value or (key in ("host", "directory") and not value):
        raise UsageError(f"{where}: {key} must be a text of one line, not {value!r}.")
    return value
