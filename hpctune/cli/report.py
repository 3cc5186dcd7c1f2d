"""``hpctune report``: one result from any program inside a trial, such as a shell script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hpctune.errors import UsageError
from hpctune.worker.client import send_report


@click.command(
    "report",
    epilog="Example: hpctune report loss=0.25 eval/acc=0.9 --checkpoint out/",
    help="Report a result from a program that a trial has started (hpctune.Command). KEY=VALUE: a slash in the key "
    "nests; the value is a number, JSON, or else text.\n\nPrints 'stop' if the program should exit, because the "
    "trial is over with this report or its job is about to end; otherwise nothing. For a loop in a shell script: "
    '[ -z "$(hpctune report loss=$loss)" ] || exit 0',
)
@click.argument("pairs", metavar="KEY=VALUE...", nargs=-1, required=True)
@click.option("--checkpoint", metavar="DIR", help="A directory to save as this result's checkpoint; it is copied.")
def command(pairs: tuple[str, ...], checkpoint: str | None) -> None:
    """The command."""
    metrics = nested(pairs)
    directory = None if checkpoint is None else Path(checkpoint).expanduser().absolute()
    missing = directory is not None and not directory.is_dir()
    if send_report(metrics, None if missing else directory).stop:
        click.echo("stop")
    if missing:
        raise UsageError(f"--checkpoint {checkpoint}: the directory does not exist. The result counts without it.")


def nested(pairs: Sequence[str]) -> dict[str, Any]:
    """``["loss=1", "eval/acc=0.5"]`` as ``{"loss": 1, "eval": {"acc": 0.5}}``. Raises UsageError for other forms."""
    metrics: dict[str, Any] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        path = key.strip().split("/")
        if not sign or not all(path):
            raise UsageError(f"{pair!r} is not KEY=VALUE. Example: hpctune report loss=0.25 eval/acc=0.9")
        inner = metrics
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UsageError(f"{key} cannot be nested below {part}, which already has a value. Rename one of them.")
        if path[-1] in inner:
            raise UsageError(f"{key} is given twice. Keep one of them.")
        inner[path[-1]] = value_of(text)
    return metrics


def value_of(text: str) -> Any:
    """A number (``nan`` and ``inf`` as well), JSON, a Python ``True``, ``False`` or ``None``, or the text itself."""
    stripped = text.strip()
    if stripped in _WORDS:
        return _WORDS[stripped]
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        pass
    try:
        return float(stripped) if "_" not in stripped else text
    except ValueError:
        return text


_WORDS = {"True": True, "False": False, "None": None}
