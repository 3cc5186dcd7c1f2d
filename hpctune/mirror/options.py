"""Where the mirror of an experiment is, and how it is written."""

from __future__ import annotations

import contextlib
import os
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.common import urls
from hpctune.errors import UsageError
from hpctune.mirror.secrets import without_secrets

PERIOD_S, TIMEOUT_S = 300.0, 1800.0
COPY_OF = ".copy_of"
"""The file that marks what was brought only to be looked at."""
INCOMPLETE = ".from_mirror"
"""The file of an experiment of which only a part was brought here: from which URL, or the command that brings all."""
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_ONE_SLASH = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")
_FIELDS = frozenset({"source", "target", "options"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorOptions:
    """The place and the means.

    - ``place``: the directory in which the experiment's own will be: a URL, or a path on ``filesystem``.
    - ``filesystem``: an fsspec filesystem; None: the one that the URL names.
    - ``means``: "auto" (the filesystem), a command with ``{source}`` and ``{target}``, a function of these two, or an
      object with ``sync_up(local_dir, remote_dir)``.
    - ``period_s``: seconds between the beginnings of two passes; ``timeout_s``: seconds that one may take.
    - ``artifacts``: also other files of the trials' directories than those of hpctune.
    """

    place: str
    filesystem: Any = None
    means: str | Callable[[str, str], Any] | Any = "auto"
    period_s: float = PERIOD_S
    timeout_s: float = TIMEOUT_S
    artifacts: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", urls.public(self.place))
        if isinstance(self.means, str) and self.means != "auto":
            check_template(self.means)
        if not (self.means == "auto" or isinstance(self.means, str) or callable(self.means) or has_sync_up(self.means)):
            raise UsageError(
                f"syncer must be None, 'auto', a command with {{source}} and {{target}}, a function of these two, or a "
                f"Syncer, not {self.means!r}."
            )
        for name, value in (("sync_period", self.period_s), ("sync_timeout", self.timeout_s)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise UsageError(f"{name} must be a number of seconds above 0, not {value!r}.")

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return _options, ({**fields, "filesystem": without_secrets(self.filesystem)},)

    def of(self, name: str) -> str:
        """The place of the experiment ``name``."""
        return urls.below(self.place, name)


def _options(fields: dict[str, Any]) -> MirrorOptions:
    return MirrorOptions(**fields)


def is_url(text: object) -> bool:
    """Whether a text names a place elsewhere: ``s3://bucket/dir``. A ``file://`` URL does as well."""
    return isinstance(text, str) and _URL.match(text) is not None


def as_text(place: str | os.PathLike[str]) -> str:
    """A place as text. A Path has only one of the two slashes of a URL; that of a file may be written so, too."""
    text = os.fspath(place)
    return _ONE_SLASH.sub(lambda found: f"{found[1]}://{'/' if found[1] == 'file' else ''}", text)


def local_path(place: str) -> Path | None:
    """The path on this machine that a place names; None if it is elsewhere."""
    return None if is_elsewhere(place) else Path(place.removeprefix("file://")).expanduser()


def is_inside(root: Path, url: str) -> bool:
    """Whether a place is the directory ``root`` of an experiment, or in it."""
    path = local_path(url)
    return path is not None and path.resolve().is_relative_to(root.resolve())


def is_elsewhere(text: object) -> bool:
    """Whether a text is a URL of another place than this machine's directories."""
    return is_url(text) and not str(text).startswith("file://")


def is_of_this_machine(filesystem: Any) -> bool:
    """Whether a filesystem object of fsspec or pyarrow means the directories of this machine."""
    protocol = getattr(filesystem, "type_name", None) or getattr(filesystem, "protocol", None)
    return any(each in ("local", "file") for each in ((protocol,) if isinstance(protocol, str) else protocol or ()))


def has_sync_up(means: object) -> bool:
    """Whether this is a Syncer."""
    return callable(getattr(means, "sync_up", None))


def check_template(template: str) -> None:
    """Raise UsageError unless a command has the fields that it needs, and no others."""
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise UsageError(f"The sync command {template!r} cannot be read: {error}.") from error
    missing = sorted({"source", "target"} - fields)
    if missing:
        raise UsageError(
            f"The sync command {template!r} lacks {{{missing[0]}}}. It needs both: 'aws s3 sync {{source}} {{target}}'."
        )
    if unknown := sorted(fields - _FIELDS):
        raise UsageError(f"The sync command {template!r} has an unknown field {{{unknown[0]}}}.")


def rest_of(root: Path) -> str | None:
    """The URL from where the rest of an experiment comes of which only a part was brought; None if there is none."""
    with contextlib.suppress(OSError):
        source = (root / INCOMPLETE).read_text().strip()
        return source if is_url(source) else None
    return None


def copy_of(root: Path) -> str | None:
    """The URL of which ``root`` is a copy that was brought only to be looked at; None if it is none."""
    try:
        return (root / COPY_OF).read_text()
    except OSError:
        return None
