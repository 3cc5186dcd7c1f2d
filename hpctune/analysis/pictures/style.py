"""Colours and words that all pictures share. The colours of states are told apart without red and green (Okabe and Ito,
2008: Color universal design)."""

from __future__ import annotations

from hpctune.analysis.pictures.parameters import Parallel, Slices
from hpctune.analysis.pictures.trials import State

COLOURS = {
    State.COMPLETED: "#0072b2",
    State.STOPPED: "#a8500a",
    State.FAILED: "#a3195b",
    State.RUNNING: "#00795a",
    State.WAITING: "#6b6b6b",
}
ON_DARK = {
    State.COMPLETED: "#6cb8e6",
    State.STOPPED: "#f0a35c",
    State.FAILED: "#f08ab5",
    State.RUNNING: "#4cc9a0",
    State.WAITING: "#a8a8a8",
}
"""The same on a dark background."""
BEST = "#0b0b0b"
MAP = "viridis"
NOTHING = "no trial has a value yet"
"""What a picture says without anything to show."""


def map_name(mode: str | None) -> str:
    """The colour map in which better values are darker."""
    return MAP if mode != "max" else f"{MAP}_r"


def of_params(picture: Parallel | Slices) -> str:
    """The parameters of a picture in words."""
    shown = len(picture.axes) - isinstance(picture, Parallel)
    return f"the {shown} most important of {shown + picture.left_out} parameters" if picture.left_out else "parameters"


def short(name: str, most: int = 24) -> str:
    """A parameter's name for an axis: its end says most."""
    return name if len(name) <= most else f"...{name[-(most - 3) :]}"
