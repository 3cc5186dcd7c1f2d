"""Whose copy a place holds, as far as the means let it be known."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hpctune.errors import TuneError
from hpctune.mirror.manifest import NAME, Manifest
from hpctune.mirror.options import MirrorOptions, is_url
from hpctune.mirror.target import Remote, bring
from hpctune.storage.layout import CHECKPOINT_PREFIX

ASK_S = 10.0
"""Seconds that a start waits for the answer of a place."""


def occupant(options: MirrorOptions, url: str) -> str | None:
    """The id of the experiment whose copy is at ``url``; None if there is none, or if it cannot be known.

    What a filesystem can read is read. Otherwise the user's own means bring what is there, if they can work in this
    direction: a Syncer with ``sync_down``, or a command whose target says on which machine it is.
    """
    readable = options.means == "auto" or is_url(url) or ":" not in url  # not HOST:DIR, as rsync has it
    try:
        if readable:
            return _id_in(Remote(url, options.filesystem).read(NAME))
    except Exception:  # of any filesystem
        readable = False
    if options.means == "auto" or not _can_bring(options.means, url):
        return None
    with tempfile.TemporaryDirectory(prefix="hpctune-look-", ignore_cleanup_errors=True) as directory:
        with contextlib.suppress(Exception):  # of the user's own code: mostly, that nothing is there
            bring(replace(options, means=_without_checkpoints(options.means)), url, Path(directory))
        with contextlib.suppress(OSError):
            return _id_in(Path(directory, NAME).read_bytes())
    return None


def occupant_soon(options: MirrorOptions, url: str, limit_s: float = ASK_S) -> str | None:
    """The same; None if there is no answer within ``limit_s`` seconds."""
    found: list[str | None] = [None]

    def ask() -> None:
        found[0] = occupant(options, url)

    asking = threading.Thread(target=ask, name="hpctune-mirror-look", daemon=True)
    asking.start()
    asking.join(limit_s)
    return found[0]


def _id_in(text: bytes | None) -> str | None:
    with contextlib.suppress(TuneError):
        return None if text is None else Manifest.from_json(text).experiment_id
    return None


def _can_bring(means: Any, url: str) -> bool:
    """Whether it is safe to call the means the other way round: a command or a function may name the machine itself."""
    return callable(getattr(means, "sync_down", None)) or (isinstance(means, str) and ":" in url.partition("/")[0])


def _without_checkpoints(means: Any) -> Any:
    """A Syncer that leaves out the big files, if it can."""
    down: Callable[..., Any] | None = getattr(means, "sync_down", None)
    if down is None or "exclude" not in inspect.signature(down).parameters:
        return means

    return _Small(means, partial(down, exclude=[f"*/{CHECKPOINT_PREFIX}*"]))


class _Small:
    def __init__(self, syncer: Any, down: Callable[[str, str], Any]) -> None:
        self.sync_up, self.sync_down, self.wait = syncer.sync_up, down, getattr(syncer, "wait", None)
