"""Pickles of earlier versions name modules and classes as they were called then."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest

from hpctune.common import unpickling
from hpctune.errors import TrainableError
from hpctune.storage import bundle, objects, values
from hpctune.storage.layout import ExperimentPaths

THEN = """
class Policy:
    class Inner: pass
    def __init__(self): self.said = "then"
    @classmethod
    def make(cls): return cls
class Other: pass
def helper(): return "helper"
"""
NOW = THEN.replace("class Policy", "class Rule")
MOVES: dict[tuple[str, str | None], tuple[str, str | None]] = {
    ("earlier.home", "Policy"): ("later.rules", "Rule"),
    ("earlier.home", "Other"): ("later.others", None),
    ("earlier.home", None): ("later.rules", None),
}


def make_module(name: str, text: str) -> None:
    sys.modules[name] = ModuleType(name)
    exec(text, vars(sys.modules[name]))


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """``earlier.home`` exists until this is called; then there are ``later.rules`` and ``later.others``, and a table
    says so."""
    for name in ("earlier", "earlier.home", "later", "later.rules", "later.others"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    make_module("earlier.home", THEN)

    def move() -> None:
        sys.modules["earlier.home"] = None  # type: ignore[assignment]  # importing it fails
        make_module("later.rules", NOW)
        make_module("later.others", "class Other: pass")
        monkeypatch.setattr(unpickling, "RENAMED", MOVES)

    return move


def now(name: str) -> Any:
    return importlib.import_module(name)


def test_what_has_moved_is_found_where_it_is_now(moved: Callable[[], None]) -> None:
    then = now("earlier.home")
    policy = then.Policy()
    policy.when = "before"
    said = {"policy": policy, "class": then.Policy, "inner": then.Policy.Inner, "method": then.Policy.make,
            "other": then.Other(), "function": then.helper}  # fmt: skip
    bodies = [pickle.dumps(said, protocol=4), cloudpickle.dumps(said)]
    moved()
    rules, others = now("later.rules"), now("later.others")
    for body in bodies:
        found = unpickling.loads(body)
        assert type(found["policy"]) is rules.Rule
        assert vars(found["policy"]) == {"said": "then", "when": "before"}
        assert (found["class"], found["inner"], found["function"]) == (rules.Rule, rules.Rule.Inner, rules.helper)
        assert found["method"]() is rules.Rule
        assert type(found["other"]) is others.Other


def test_without_the_table_it_is_not_found(moved: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    body = cloudpickle.dumps(now("earlier.home").Policy())
    moved()
    monkeypatch.setattr(unpickling, "RENAMED", {})
    with pytest.raises(ImportError):
        unpickling.loads(body)


def test_a_module_that_the_users_code_refers_to(moved: Callable[[], None]) -> None:
    home = now("earlier.home")
    body = cloudpickle.dumps(lambda: home.helper())
    moved()
    assert unpickling.loads(body)() == "helper"


def test_a_module_that_has_not_moved() -> None:
    assert unpickling.loads(cloudpickle.dumps(lambda: importlib.import_module("json")))() is now("json")


def test_drivers_workers_and_stored_objects_use_it(moved: Callable[[], None], tmp_path: Path) -> None:
    paths, then = ExperimentPaths(tmp_path), now("earlier.home")
    bundle.save(paths, {"trainable": then.Policy()}, [objects.Parameter(then.Other())])
    assert (paths.objects / "000.pkl").is_file()
    moved()
    assert type(bundle.load_trainable(paths)["trainable"]) is now("later.rules").Rule
    assert type(bundle.load_driver_objects(paths)[0].get()) is now("later.others").Other


def test_configurations_use_it(moved: Callable[[], None]) -> None:
    data = values.encode({"policy": now("earlier.home").Policy()})
    moved()
    assert type(values.decode(data)["policy"]) is now("later.rules").Rule


def test_what_is_gone_without_a_line_is_told(moved: Callable[[], None], tmp_path: Path) -> None:
    bundle.save(ExperimentPaths(tmp_path), now("earlier.home").Policy(), None)
    sys.modules["earlier.home"] = None  # type: ignore[assignment]
    with pytest.raises(TrainableError, match="earlier"):
        bundle.load_trainable(ExperimentPaths(tmp_path))


def test_every_line_of_the_table_leads_somewhere() -> None:
    for (module_then, name_then), (module_now, name_now) in unpickling.RENAMED.items():
        name = name_now or name_then
        assert module_now == module_then or (module_now, name) not in unpickling.RENAMED, "no chains"
        home = importlib.import_module(module_now)
        assert name is None or hasattr(home, name), f"{module_now} has no {name}"
