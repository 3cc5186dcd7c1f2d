"""What the operations share: requests, answers, small files."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

Json = dict[str, Any]
FILES, TASKS = "files", "tasks"
"""Directories of stored files and of tasks, in the directory of the cluster's entry."""
BLOCK = 1 << 16


def answer(**values: Any) -> None:
    """Print one line of the answer."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
