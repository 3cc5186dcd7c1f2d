"""The user's quota on a filesystem, from the commands of Linux and Lustre; and on which filesystem a path is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_ASK_S = 10.0
_UNIT = 1024


def mount_of(path: Path, mountinfo: str) -> tuple[str, str, str]:
    """Type, source and options of the filesystem that ``path`` is on."""
    best, found = "", ("?", "", "")
    wanted = str(path.resolve())
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(fields) < 6 or len(rest) < 2:
            continue
        point = fields[4].replace("\\040", " ")
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, found = point, (rest[0], rest[1], rest[2] if len(rest) > 2 else fields[5])
    return found


def quota_text(path: Path, kind: str, *, raw: bool = False) -> str:
    """What the site's quota command prints; "" if there is none. ``raw``: amounts in units of 1024 bytes.

    It may take ten seconds: the command asks the file server.
    """
    user = str(os.geteuid())
    if kind == "lustre":
        command = ["lfs", "quota", "-q", *([] if raw else ["-h"]), "-u", user, str(path)]
    else:
        command = ["quota", "-w" if raw else "-sw"]
    if shutil.which(command[0]) is None:
        return ""
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout


def has_quota_command() -> bool:
    """Whether there may be a quota that can be asked for."""
    return any(shutil.which(command) is not None for command in ("quota", "lfs"))


def quota_left(path: Path) -> int | None:
    """How many bytes the user's quota leaves on the filesystem of ``path``; None if there is none, or it is unknown."""
    try:
        kind, source, _ = mount_of(path, Path("/proc/self/mountinfo").read_text(errors="replace"))
    except OSError:
        return None
    text = quota_text(path, kind, raw=True)
    return bytes_left(text.split()[1:] if kind == "lustre" else amounts_of(text, source))


def amounts_of(text: str, source: str) -> list[str]:
    """The amounts that ``quota`` prints for the filesystem ``source``; [] if it prints none."""
    rows = (line.split() for line in text.splitlines())
    return next((row[1:] for row in rows if row and row[0] == source), [])


def bytes_left(amounts: list[str]) -> int | None:
    """What is left, from the amounts used, quota and limit; ``*`` marks an amount over the quota, 0 is no limit."""
    try:
        used, soft, hard = (int(amount.strip("*[]")) for amount in amounts[:3])
    except ValueError:
        return None
    limit = hard or soft
    return max(limit - used, 0) * _UNIT if limit else None
