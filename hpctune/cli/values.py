"""Conversion of typed values: durations, KEY=VALUE pairs, Python literals."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import click

from hpctune.common.checks import as_bytes
from hpctune.common.durations import with_units
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.model.budget import Budget
from hpctune.space.text import replacement

_CLOCK = re.compile(r"(?:(?P<d>\d+)-)?(?P<a>\d+)(?::(?P<b>\d+))?(?::(?P<c>\d+))?")


def seconds(text: str) -> float:
    """``90``, ``2h30m``, ``1:30:00``, ``2-12:00:00`` in seconds. Raises ValueError for anything else, and for 0."""
    text = text.strip().lower()
    try:
        value = float(text)
    except ValueError:
        worded = with_units(text)
        value = _clock(text) if worded is None else worded
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def _clock(text: str) -> float:
    """Slurm's notation: M:S, H:M:S, D-H, D-H:M, D-H:M:S."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(text)
    parts = [int(p) for p in found.group("a", "b", "c") if p is not None]
    scale = [3600, 60, 1] if found["d"] or len(parts) == 3 else [60, 1]
    return int(found["d"] or 0) * 86400.0 + sum(p * s for p, s in zip(parts, scale, strict=False))


def names_option(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Names that are separated by commas."""
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


def duration_option(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Callback of an option that is a time span: seconds."""
    if value is None:
        return None
    try:
        return seconds(value)
    except ValueError:
        advice = "Give seconds (90), 2h30m, or D-HH:MM:SS (1-12:00:00)."
        raise click.BadParameter(f"{value!r} is not a time. {advice}", ctx, param) from None


def budget_option(ctx: click.Context, param: click.Parameter, value: str | None) -> Budget | None:
    """Callback of an option that is a budget of hours."""
    try:
        return Budget.parse(value)
    except UsageError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def size_option(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Callback of an option that is a size: bytes."""
    if value is None:
        return None
    try:
        return as_bytes("It", value)
    except UsageError:
        raise click.BadParameter(f"{value!r} is not a size. Give bytes, 500GB or 1.5TiB.", ctx, param) from None


def space_pairs(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> dict[str, Any]:
    """Callback of a repeatable KEY=VALUE option that replaces parts of the search space."""
    pairs = [_pair(ctx, param, each) for each in value]
    try:
        return {key: replacement(text) for key, text in pairs}
    except SearchSpaceError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def text_pairs(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> dict[str, str | bool]:
    """Callback of a repeatable KEY[=VALUE] option: a KEY alone means True."""
    return dict(_pair(ctx, param, v) if "=" in v else (v, True) for v in value)


def _pair(ctx: click.Context, param: click.Parameter, text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not key.strip() or not sign:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE. Example: lr=0.01.", ctx, param)
    return key.strip(), value
