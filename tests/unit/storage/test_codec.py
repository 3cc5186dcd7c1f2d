"""Values and events survive the way through the journal exactly."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pickle
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from hpctune.errors import JournalError
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.records import ErrorInfo
from hpctune.model.resources import Bundle, Resources
from hpctune.model.trial import CheckpointRef
from hpctune.storage import codec, values

TEXT = st.text(max_size=20)
FLOATS = st.floats(allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PYTHON = st.recursive(
    JSON | st.binary(max_size=4) | st.complex_numbers(allow_nan=False) | st.dates(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(st.integers()) | st.dictionaries(st.integers(), inner),
    max_leaves=5,
)
BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "config": st.dictionaries(TEXT, PYTHON, max_size=4),
    "evaluated": st.dictionaries(TEXT, JSON, max_size=4),
    "row": st.dictionaries(TEXT, JSON, max_size=4),
    "run": st.builds(RunKey, TEXT, st.integers(0, 99), st.integers(0, 99)),
    "error": st.none() | st.builds(ErrorInfo, TEXT, TEXT, TEXT),
    "checkpoint": st.none() | st.builds(CheckpointRef, TEXT, st.integers(0), st.none() | FLOATS),
    "resources": st.builds(
        Resources,
        st.lists(
            st.builds(Bundle, FLOATS, FLOATS, st.none() | st.integers(0), st.dictionaries(TEXT, FLOATS, max_size=2)),
            min_size=1, max_size=3,
        ).map(tuple),
        st.sampled_from(["PACK", "SPREAD"]),
    ),
}  # fmt: skip


def events(kind: type[Any]) -> st.SearchStrategy[e.Event]:
    """Any event of this kind, from what its fields say."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    by_type = {float: FLOATS, float | None: st.none() | FLOATS}
    chosen = {n: BY_NAME[n] if n in BY_NAME else by_type.get(hints[n], st.from_type(hints[n])) for n in names}
    return st.builds(kind, **chosen)


def through_the_journal(recorded: e.Recorded) -> e.Recorded:
    line = codec.encode(recorded)
    assert "\n" not in line
    assert "\r" not in line
    return codec.decode(json.loads(line.encode()))


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types all the way down, and NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, other) and (one == other or one != one != other)
    return bool(one == other)


@pytest.mark.parametrize("kind", get_args(e.Event), ids=lambda kind: kind.__name__)
def test_every_event_comes_back_as_it_was(kind: type[Any]) -> None:
    @settings(max_examples=40, deadline=None, database=None, derandomize=True)
    @given(recorded=st.builds(e.Recorded, st.floats(0, 2e9), events(kind)))
    def comes_back(recorded: e.Recorded) -> None:
        back = through_the_journal(recorded)
        assert back == recorded
        for field in dataclasses.fields(kind):
            before, after = getattr(recorded.event, field.name), getattr(back.event, field.name)
            assert type(before) is type(after), field.name

    comes_back()


def test_defaults_take_no_room() -> None:
    line = codec.encode(e.Recorded(1.5, e.TrialEnded("t", e.Phase.TERMINATED, "done")))
    expected = {"at": 1.5, "event": "TrialEnded", "trial_id": "t", "phase": "TERMINATED", "reason": "done"}
    assert json.loads(line) == expected


def test_times_are_exact() -> None:
    at = 1_700_000_000.123456789
    assert through_the_journal(e.Recorded(at, e.BudgetUsed(0.1 + 0.2))) == e.Recorded(at, e.BudgetUsed(0.1 + 0.2))


def test_an_event_of_a_newer_version_is_named() -> None:
    with pytest.raises(JournalError, match=r"'TrialCloned' that this version does not know.*newer hpctune"):
        codec.decode({"at": 1.0, "event": "TrialCloned", "trial_id": "t"})


def test_a_field_of_a_newer_version_is_ignored() -> None:
    assert codec.decode({"at": 1.0, "event": "TrialPaused", "trial_id": "t", "mood": 1}).event == e.TrialPaused("t")


# -- values ---------------------------------------------------------------------------------------------------------


def squared(x: float) -> float:
    return x * x


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(value=PYTHON)
def test_any_value_comes_back_with_its_types(value: Any) -> None:
    assert same(values.decode(json.loads(values.dumps(values.encode(value)))), value)


@pytest.mark.parametrize(
    "value",
    [
        {"a": (1, 2)}, {"a": {1: 2}}, {"a": float("nan")}, {"a": float("-inf")}, {"a": -0.0}, {"a": 10**300},
        {"a": {"__pickle__": "no pickle"}}, {"a": "\ud800 lone"}, {"a": 0.1}, {"a": {1, 2}}, {"a": b"x"}, {},
    ],
    ids=repr,
)  # fmt: skip
def test_delicate_values(value: Any) -> None:
    assert same(values.decode(json.loads(values.dumps(values.encode(value)).encode())), value)


def test_numpy_and_functions_in_a_config() -> None:
    config = {"n": np.float32(0.1), "i": np.int64(3), "a": np.arange(3), "f": lambda x: x + 1, "g": squared}
    event = e.TrialAdded("t", 0, "n", "d", "", config, {"n": np.float32(0.1), "a": np.arange(2)}, Resources())
    back = through_the_journal(e.Recorded(1.0, event)).event
    assert isinstance(back, e.TrialAdded)
    assert (type(back.config["n"]), back.config["n"]) == (np.float32, np.float32(0.1))
    assert type(back.config["i"]) is np.int64
    assert back.config["a"].tolist() == [0, 1, 2]
    assert (back.config["f"](1), back.config["g"](3)) == (2, 9)
    assert back.evaluated == {"n": pytest.approx(0.1), "a": [0, 1]}


def test_what_is_plain_stays_readable_to_others() -> None:
    odd = {"t": (1, 2), 3: np.float64(0.5), "s": {4}, "p": Path("/x"), "n": np.float32(2), "a": np.array(7), "b": True}
    expected = {"t": [1, 2], "3": 0.5, "s": [4], "p": "/x", "n": 2.0, "a": 7, "b": True}
    assert values.plain(odd) == expected
    assert json.loads(values.dumps(odd)) == expected


class Bomb:
    """Unpickling it leaves a trace."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (Path(self.path),))


def test_values_of_somebody_else_are_not_unpickled(tmp_path: Path) -> None:
    encoded = values.encode({"x": Bomb(str(tmp_path / "exploded"))})
    sealed = values.decode(encoded, trusted=False)
    assert isinstance(sealed, values.Sealed)
    assert not (tmp_path / "exploded").exists()
    assert dict(sealed) == {}
    assert "another user may have written it" in repr(sealed)
    with pytest.raises(KeyError, match="another user may have written it"):
        sealed["x"]
    assert values.encode(sealed) == encoded, "it is passed on as it was"


def test_who_is_trusted(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for mode, fine in ((0o600, True), (0o644, True), (0o664, False), (0o606, False)):
        file.chmod(mode)
        assert values.trusted(file.stat()) is fine
    if os.geteuid() == 0:
        other = os.stat_result((0o100600, 1, 1, 1, 4242, 0, 0, 0, 0, 0))
        assert not values.trusted(other)


def test_values_whose_module_is_missing_here(tmp_path: Path) -> None:
    (tmp_path / "only_there.py").write_text("class Model:\n    pass\n")
    code = (
        "import only_there; from hpctune.storage import values\n"
        "print(values.dumps(values.encode({'m': only_there.Model})))"
    )
    text = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    sealed = values.decode(json.loads(text))
    assert isinstance(sealed, values.Sealed)
    assert "No module named 'only_there'" in sealed.why
    assert values.encode(sealed) == json.loads(text)
    assert pickle.loads(pickle.dumps(sealed)) == sealed
