"""GPUs in Slurm's lists of generic resources. Pure."""

from __future__ import annotations

import re


def gpus(gres: str) -> dict[str, int]:
    """The numbers of GPUs by type in text such as ``gpu:a100:4(S:0-1),shard:8``; their sum is under ``""``."""
    found: dict[str, int] = {"": 0}
    for part in re.split(r",(?![^()]*\))", gres):
        words = re.sub(r"\(.*", "", part.strip()).split(":")
        if words[0] != "gpu":
            continue
        count = int(words[-1]) if words[-1].isdigit() else 1
        kind = words[1] if len(words) > 2 or (len(words) == 2 and not words[1].isdigit()) else None
        found[""] += count
        if kind is not None:
            found[kind] = found.get(kind, 0) + count
    return found
