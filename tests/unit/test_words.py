"""The glossary holds: names in the code use its words, and none of those that it has replaced."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPLACED = {
    "care": "failure_policy", "crew": "process slots",
    "culprit": "find_unpicklable", "farewell": "shutdown", "glance": "status", "habit": "stats tracking",
    "homeless": "displaced", "keeper": "wrapper", "lastwords": "job_stderr", "linger": "idle grace",
    "mechanic": "repairer", "mender": "repairer", "nursery": "process spawner", "onlooker": "status publisher",
    "onlookers": "status publisher", "outlook": "forecast", "patience": "storage_retry", "rehearsal": "warmup",
    "rehearse": "warm_up", "ride": "session", "ringer": "doorbell client", "settle": "finalize", "staff": "worker set",
    "strangers": "unmanaged jobs", "succession": "driver job chain", "surroundings": "environment",
    "wishes": "options", "verdicts": "resolve_attempts",
}  # fmt: skip
"""A word that was a private metaphor, and what is said instead (docs/concepts.md)."""
KEPT = {"PatienceScheduler"}


def words(name: str) -> list[str]:
    """``FailureCare`` and ``failure_care`` as ``failure``, ``care``."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def names() -> list[tuple[str, str]]:
    """Every module, and every class and function at a module's top level: (where, name)."""
    found = []
    for path in sorted((ROOT / "hpctune").rglob("*.py")):
        where = str(path.relative_to(ROOT))
        found += [(where, part) for part in path.relative_to(ROOT).with_suffix("").parts]
        body = ast.parse(path.read_text()).body
        found += [(where, n.name) for n in body if isinstance(n, (ast.ClassDef, ast.FunctionDef))]
    return found


def test_no_name_uses_a_word_that_was_replaced() -> None:
    wrong = [
        f"{where}: {name}: not {word!r} but {REPLACED[word]!r}"
        for where, name in dict.fromkeys(names())
        for word in words(name)
        if word in REPLACED and name not in KEPT
    ]
    assert wrong == []


def test_the_check_finds_them() -> None:
    assert words("_FailureCare2") == ["failure", "care"]
    assert words("HTTPCrew_of") == ["http", "crew", "of"]


@pytest.mark.parametrize("prefix", ["MOST_", "LEAST_", "LONGEST_", "SHORTEST_"])
def test_limits_are_called_max_and_min(prefix: str) -> None:
    pattern = re.compile(rf"(?m)^_?{prefix}\w+ *(:|=)")
    assert [str(p) for p in (ROOT / "hpctune").rglob("*.py") if pattern.search(p.read_text())] == []


def test_every_word_of_the_glossary_is_used() -> None:
    """A term in bold at the start of a paragraph of docs/concepts.md occurs in the code or the other pages."""
    text = (ROOT / "docs" / "concepts.md").read_text()
    terms = re.findall(r"(?m)^\*\*([A-Z][\w ]+)\*\*[:,]", text)
    assert len(terms) > 25
    pages = [p.read_text() for p in (ROOT / "docs").rglob("*.md") if p.name != "concepts.md"]
    sources = [p.read_text() for p in (ROOT / "hpctune").rglob("*.py")]
    everything = " ".join([*pages, *sources]).lower()
    everything += re.sub(r"(?<=[a-z])(?=[A-Z])", " ", " ".join(sources)).lower().replace("_", " ")
    assert [term for term in terms if term.lower() not in everything] == []
