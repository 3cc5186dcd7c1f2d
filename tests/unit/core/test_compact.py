"""Settled trials: what they take in memory, and that nobody can tell."""

from __future__ import annotations

import copy
import gc
import json
import math
import pickle
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hpctune.core.compact import Packed, Packer
from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Resources
from hpctune.model.rows import flatten, lookup
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase, Trial
from hpctune.storage import codec, values

SPEC = ExperimentSpec("abcde123", "exp", 0.0, "f", metric="loss", mode="min")
CONFIG: dict[str, Any] = {"lr": 0.1, "model": {"layers": 3, "name": "mlp"}, "zero": 0.0}
_SHARED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)


def held(roots: Iterable[object]) -> int:
    """Bytes of everything that is reachable from ``roots``."""
    seen, left, total = set[int](), list(roots), 0
    while left:
        one = left.pop()
        if id(one) not in seen and not isinstance(one, _SHARED):
            seen.add(id(one))
            total += sys.getsizeof(one)
            left += gc.get_referents(one)
    return total


def life(index: int, *, failed: bool = False) -> Iterator[e.Event]:
    """A trial's events, with a result as a real worker writes it."""
    trial_id, x = f"abcde_{index:05d}", math.sin(index + 1)
    run, tag = RunKey(trial_id, 1, 0), f"{index}_lr={x:.4f},momentum=0.9"
    config = {"lr": x, "momentum": 0.9, "model": {"depth": index % 5, "name": "mlp"}, "path": "/scratch/data/imagenet"}
    evaluated = {"lr": x, "model/depth": index % 5}
    row = {
        "loss": x / 7, "accuracy": x / 3, "training_iteration": 2, "iterations_since_restore": 2,
        "time_this_iter_s": x / 11, "time_total_s": x / 13, "time_since_restore": x / 17, "timesteps_total": None,
        "timesteps_since_restore": 0, "episodes_total": None, "timestamp": 1_700_000_000 + index,
        "date": f"2026-01-01_{index:08d}", "done": False, "trial_id": trial_id, "experiment_id": "abcde123",
        "experiment_tag": tag, "hostname": "node-0017", "node_ip": "10.0.0.17", "pid": 1000 + index,
        "job_id": str(10**6 + index), "attempt": 1, "node_list": "node-0017", "config": config,
    }  # fmt: skip
    name = f"train_{trial_id}"
    yield e.TrialAdded(trial_id, index, name, f"{name}_{tag}", tag, config, evaluated, Resources.parse({"cpu": 2}))
    yield e.SubmitRequested(trial_id, 1)
    yield e.RunStarted(run, "7", "node-0017", 1)
    yield e.ResultReported(run, 1, row)
    error = ErrorInfo("ValueError", "bad", "Traceback (most recent call last): ...") if failed else None
    yield e.RunEnded(run, Outcome.FAILED if failed else Outcome.COMPLETED, "returned", error)
    yield e.TrialEnded(trial_id, Phase.ERROR if failed else Phase.TERMINATED, "returned", error)
    yield e.TrialFinalized(trial_id)


def from_journal(events: Iterable[e.Event]) -> Iterator[e.Recorded]:
    """As they come back from the journal: nothing is shared by two events."""
    for at, event in enumerate(events):
        yield codec.decode(json.loads(codec.encode(e.Recorded(1_700_000_000.5 + at, event))))


def state_of(trials: int, *, settled: bool = True, failed: bool = False) -> ExperimentState:
    events = from_journal(event for i in range(trials) for event in life(i, failed=failed))
    return ExperimentState.fold(SPEC, (r for r in events if settled or not isinstance(r.event, e.TrialFinalized)))


def packed(**changes: Any) -> Trial:
    """A trial like any other, packed."""
    trial = Trial("t0", 0, "n", "d", "0", CONFIG, {"lr": 0.1}, Resources(), 0.0, last={"loss": 1.0})
    return Packer().pack(replace(trial, **changes))


# -- how much ---------------------------------------------------------------------------------------------------------


def test_a_settled_trial_takes_less_than_two_kilobytes() -> None:
    few, many = state_of(500), state_of(2500)
    assert (held([many]) - held([few])) / 2000 < 2000


def test_rows_share_their_keys_and_the_trial_s_own_texts() -> None:
    first, second = state_of(2).trials.values()
    for one, other in [(first.last, second.last), (first.config, second.config)]:
        assert isinstance(one, Packed)
        assert all(a is b for a, b in zip(one, other, strict=True))
    assert first.last["hostname"] is second.last["hostname"]
    assert first.last["experiment_tag"] is first.tag
    assert first.last["trial_id"] is first.trial_id
    assert first.resources is second.resources
    assert first.config["lr"] is first.evaluated["lr"]
    assert first.config["momentum"] is second.config["momentum"]


def test_an_equal_mapping_is_there_once() -> None:
    row = {"loss": 1.0, "config": {"lr": 0.1, "momentum": 0.9}}
    trial = packed(config={"lr": 0.1, "momentum": 0.9}, evaluated={"lr": 0.1, "momentum": 0.9}, last=row)
    assert trial.evaluated is trial.config
    apart = packed(config={"lr": 0.1}, evaluated={"lr": 0.1}, last=row)
    assert held([trial.last, trial.config]) - held([trial.last]) < held([apart.last, apart.config]) - held([apart.last])


def test_errors_share_their_texts() -> None:
    one, other = (t.error for t in state_of(2, failed=True).trials.values())
    assert one is not None
    assert other is not None
    assert one == other == ErrorInfo("ValueError", "bad", "Traceback (most recent call last): ...")
    assert one.traceback is other.traceback


# -- and that nobody can tell -----------------------------------------------------------------------------------------


def test_a_settled_trial_says_what_it_said_before() -> None:
    for failed in (False, True):
        before, after = state_of(3, settled=False, failed=failed), state_of(3, failed=failed)
        for one, other in zip(before.trials.values(), after.trials.values(), strict=True):
            assert isinstance(one.last, dict)
            assert isinstance(other.last, Packed)
            assert replace(one, finalized=True) == other
            assert repr(replace(one, finalized=True)) == repr(other), "types included"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, -0.0, 1.0, math.inf, math.nan, 0.1, "a", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc/"), inner, max_size=3),
    max_leaves=12,
)
ROWS = st.dictionaries(st.sampled_from(["a", "b", "a/b", "config"]), JSON, max_size=4)


@given(st.lists(st.tuples(ROWS, ROWS, ROWS), max_size=4))
def test_any_mapping_stays_what_it_was(mappings: list[tuple[dict[str, Any], ...]]) -> None:
    packer = Packer()
    for given_ in mappings:
        trial = Trial("t0", 0, "n", "d", "0", given_[0], given_[1], Resources(), 0.0, last=given_[2])
        after = packer.pack(trial)
        assert repr(after) == repr(trial)
        for before, now in zip(given_, (after.config, after.evaluated, after.last), strict=True):
            assert list(now) == list(before)
            assert len(now) == len(before)
            assert repr(dict(now)) == repr(before)
            assert values.dumps(now) == values.dumps(before)
            assert repr(flatten(now)) == repr(flatten(before))
            assert repr(lookup(now, "a/b", "none")) == repr(lookup(before, "a/b", "none"))
            assert ("a" in now) == ("a" in before)
            assert now.get("x", 5) == 5


def test_equal_to_its_dict_and_to_others() -> None:
    config = packed().config
    assert config == CONFIG
    plain = copy.deepcopy(CONFIG)
    assert plain == config, "asked the other way round"
    assert config == packed().config
    assert config != {**CONFIG, "lr": 0.2}
    assert config != packed(config={**CONFIG, "model": {}}).config
    assert config != [1]


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), (0.0, -0.0), (0, False), ("1", 1)])
def test_equal_values_of_different_kinds_stay_apart(one: Any, other: Any) -> None:
    packer = Packer()
    for pair in ((one, other), (other, one)):
        trial = Trial("t0", 0, "n", "d", "0", {"a": pair[0]}, {"a": pair[1]}, Resources(), 0.0)
        after = packer.pack(trial)
        assert repr((after.config["a"], after.evaluated["a"])) == repr(pair)


def test_what_is_looked_at_is_a_dict_of_one_s_own() -> None:
    config = packed().config
    seen = config["model"]
    assert type(seen) is dict
    seen["layers"] = 99
    assert config["model"]["layers"] == 3
    assert type(dict(config)["model"]) is dict


def test_copied_and_pickled_as_a_dict() -> None:
    for copied in (copy.deepcopy(packed().config), pickle.loads(pickle.dumps(packed().config))):
        assert type(copied) is dict
        assert type(copied["model"]) is dict
        assert copied == CONFIG


@pytest.mark.parametrize("config", [{1: 2}, values.Sealed("x", "y"), types.MappingProxyType({"a": 1})])
def test_what_is_no_plain_dict_stays_as_it_is(config: Mapping[str, Any]) -> None:
    assert packed(config=config).config is config


def test_a_reopened_trial_has_dicts_again() -> None:
    state = state_of(1)
    state.apply(e.Recorded(9.0, e.TrialReopened("abcde_00000", restart=False)))
    trial = state.trials["abcde_00000"]
    for mapping in (trial.config, trial.evaluated, trial.last):
        assert type(mapping) is dict
    assert values.encode(trial.config) is trial.config, "its control file holds no pickle"
    state.apply(e.Recorded(10.0, e.TrialEnded(trial.trial_id, Phase.TERMINATED, "stopped")))
    state.apply(e.Recorded(11.0, e.TrialFinalized(trial.trial_id)))
    assert isinstance(state.trials["abcde_00000"].last, Packed)


def test_texts_that_never_come_again_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpctune.core.compact.REMEMBERED", 50)
    packer = Packer()
    trial = Trial("t0", 0, "n", "d", "0", {}, {}, Resources(), 0.0)
    for number in range(500):
        after = packer.pack(replace(trial, last={"date": f"at {number}", "loss": number / 7}))
        assert after.last == {"date": f"at {number}", "loss": number / 7}
    assert held([packer]) < 30_000
