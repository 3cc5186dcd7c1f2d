"""How large a pool is to be, what its workers ask for, and what each trial in them gets."""

from __future__ import annotations

import pytest

from hpctune.cluster.pool.sizing import MAX_AT_ONCE, ScalePlan, WorkerLoad, WorkerShape, fits, kind_for, resize
from hpctune.model.pool import WorkerSpec
from hpctune.model.resources import Bundle, Resources
from hpctune.worker.pool import resources as pool_slots

ONE = Resources()
GPU = Resources((Bundle(cpus=4.0, gpus=1.0),))
QUARTER = Resources((Bundle(cpus=2.0, gpus=0.25, memory_bytes=2**30),))
TWO_TASKS = Resources((Bundle(), Bundle()))


def one(name: str, held: int = 0, started: bool = True, kind: WorkerShape | None = None) -> WorkerLoad:
    return WorkerLoad(name, kind or WorkerShape(ONE), held, started)


# -- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "given", "slots", "cpus", "gpus", "memory"),
    [
        (ONE, None, 1, 1.0, 0.0, None),
        (GPU, None, 1, 4.0, 1.0, None),
        (GPU, 2, 2, 8.0, 2.0, None),
        (QUARTER, None, 4, 8.0, 1.0, 4 * 2**30),
        (QUARTER, 8, 8, 16.0, 2.0, 8 * 2**30),
        (QUARTER, 1, 1, 2.0, 1.0, 2**30),
        (Resources((Bundle(gpus=0.4),)), None, 2, 2.0, 1.0, None),
        (Resources((Bundle(cpus=0.25),)), None, 4, 1.0, 0.0, None),
        (TWO_TASKS, 4, 1, 2.0, 0.0, None),
    ],
)
def test_what_a_worker_asks_for(
    resources: Resources, given: int | None, slots: int, cpus: float, gpus: float, memory: int | None
) -> None:
    kind = kind_for(resources, given)
    assert (kind.slots, kind.job.cpus, kind.job.gpus, kind.job.memory_bytes) == (slots, cpus, gpus, memory)


@pytest.mark.parametrize(
    ("have", "need", "expected"),
    [
        (ONE, ONE, True),
        (GPU, ONE, True),
        (ONE, GPU, False),
        (QUARTER, ONE, True),
        (ONE, Resources((Bundle(memory_bytes=1),)), False),
        (TWO_TASKS, TWO_TASKS, True),
        (TWO_TASKS, ONE, False),
        (GPU, Resources((Bundle(custom={"fpga": 1.0}),)), False),
    ],
)
def test_which_trials_fit(have: Resources, need: Resources, expected: bool) -> None:
    assert fits(WorkerShape(have), need) is expected


# -- growing and shrinking ---------------------------------------------------------------------------------------------


def test_grows_to_what_is_wanted_and_no_further_than_allowed() -> None:
    assert resize([], [(ONE, 3)]) == ScalePlan((WorkerShape(ONE),) * 3)
    assert resize([], [(ONE, 100)], max_workers=4) == ScalePlan((WorkerShape(ONE),) * 4)
    assert resize([one("a", 1), one("b", started=False)], [(ONE, 2)]) == ScalePlan((WorkerShape(ONE),))
    assert resize([one("a", 1)], []) == ScalePlan()


def test_places_in_one_worker_count() -> None:
    quarter = kind_for(QUARTER, None)
    assert resize([], [(QUARTER, 9)]).grow == (quarter,) * 3
    assert resize([one("a", 2, kind=quarter)], [(QUARTER, 3)]).grow == (quarter,)
    assert resize([one("a", 2, kind=quarter)], [(QUARTER, 2)]) == ScalePlan()


def test_what_was_handed_out_ahead_wants_a_place_too() -> None:
    assert (
        resize([WorkerLoad("a", WorkerShape(ONE), held=3, started=True, behind=2)], []).grow == (WorkerShape(ONE),) * 2
    )
    assert resize([one("a", 3)], []).grow == (), "it was given just now, and will begin in a moment"


def test_the_surplus_is_first_what_has_not_started_and_the_newest() -> None:
    pool = [one("a"), one("b", 1), one("c", started=False), one("d", started=False), one("e")]
    assert resize(pool, []).surplus == ("d", "c", "e", "a")
    assert resize(pool, [(ONE, 1)]).surplus == ("d", "c", "e")


def test_a_full_pool_of_the_wrong_kind_says_so() -> None:
    pool = [one("a"), one("b", 1)]
    assert resize(pool, [(GPU, 1)], max_workers=2) == ScalePlan((), ("a",), short=True)
    assert not resize([one("a", 1)], [(GPU, 1)], max_workers=1).short


# -- what each trial gets ----------------------------------------------------------------------------------------------


def spec(slots: int, cpus: float = 1.0, gpus: float = 0.0) -> WorkerSpec:
    return WorkerSpec("e", "w0001", slots=slots, cpus=cpus, gpus=gpus)


def test_devices_of_each_place() -> None:
    env = {"CUDA_VISIBLE_DEVICES": "3,5"}
    assert [pool_slots.devices(spec(4, gpus=0.5), s, env) for s in range(4)] == ["3", "3", "5", "5"]
    assert [pool_slots.devices(spec(2, gpus=1.0), s, env) for s in range(2)] == ["3", "5"]
    assert pool_slots.devices(spec(1, gpus=2.0), 0, env) is None
    assert pool_slots.devices(spec(2, gpus=1.0), 0, {}) is None


def test_cpus_are_bound_only_where_they_are_the_jobs_own() -> None:
    assert pool_slots.cpus(spec(2, cpus=2.0), 1, [4, 5, 6, 7]) == frozenset({6, 7})
    assert pool_slots.cpus(spec(2, cpus=2.0), 1, range(64)) is None
    assert pool_slots.cpus(spec(4, cpus=0.5), 1, [0, 1]) is None
    assert pool_slots.cpus(spec(1, cpus=2.0), 0, [0, 1]) is None


def test_threads_are_those_of_one_place_unless_the_user_chose() -> None:
    env = {"OMP_NUM_THREADS": "8"}
    pool_slots.limit_threads(spec(4, cpus=2.0), env)
    assert env["OMP_NUM_THREADS"] == "2"
    env = {"OMP_NUM_THREADS": "5"}
    pool_slots.limit_threads(spec(4, cpus=2.0), env)
    assert env["OMP_NUM_THREADS"] == "5"


def test_an_endless_search_asks_for_no_endless_pool() -> None:
    assert len(resize([], [(ONE, 10**9)]).grow) == MAX_AT_ONCE
