"""The result of a check: a mark, what was found, what it means, and the settings that follow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Mark = Literal["ok", "info", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """``area``: the heading under which it is shown. ``found``: a fact. ``meaning``: what follows from it, and what can
    be done about it."""

    area: str
    mark: Mark
    found: str
    meaning: str = ""

    def to_json(self) -> dict[str, str]:
        return {"area": self.area, "mark": self.mark, "found": self.found, "meaning": self.meaning}


@dataclass(frozen=True, slots=True)
class Setting:
    """A recommended option of SlurmOptions (``name=value``), and why."""

    name: str
    value: object
    why: str

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "why": self.why}


@dataclass(frozen=True, slots=True)
class Advice:
    """Everything that was found out."""

    checks: tuple[Check, ...]
    settings: tuple[Setting, ...] = ()

    @property
    def failed(self) -> bool:
        return any(check.mark == "fail" for check in self.checks)


def together(parts: Iterable[Advice]) -> Advice:
    """All of them as one; of two settings of one name the first."""
    checks: list[Check] = []
    settings: dict[str, Setting] = {}
    for part in parts:
        checks += part.checks
        for setting in part.settings:
            settings.setdefault(setting.name, setting)
    return Advice(tuple(checks), tuple(settings.values()))


def seconds(value: float) -> str:
    """A short time in words: ``0.02 s``, ``3.1 s``, ``45 s``."""
    if value < 0.095:
        return f"{max(value, 0.001):.3f} s" if value < 0.01 else f"{value:.2f} s"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
