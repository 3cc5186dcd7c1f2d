"""``ray.init``, ``put`` and ``get``; tasks and actors."""

from __future__ import annotations

import inspect
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpctune.errors import UsageError
from hpctune.launch import overrides
from hpctune.ray import core, exceptions, machine, remote, util
from hpctune.ray.queue import Empty, Full, Queue
from hpctune.ray.train import ScalingConfig, UserCallback
from hpctune.storage import objects


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    core._told.clear()
    yield
    core.shutdown()


def test_init_and_shutdown() -> None:
    with core.init() as context:
        assert core.is_initialized()
        assert context["webui_url"] is None
        assert context.address_info["node_ip_address"]
        with pytest.raises(RuntimeError, match=r"ray\.shutdown"):
            core.init()
        core.init(ignore_reinit_error=True)
    assert not core.is_initialized()


def test_options_without_a_meaning_are_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpctune.cluster.choice.slurm_is_here", lambda environ: True)
    with caplog.at_level(logging.WARNING, logger="hpctune"):
        core.init("auto", num_cpus=4, log_to_driver=False)
        core.shutdown()
        core.init(num_cpus=4)
    assert [record.message.count("num_cpus") for record in caplog.records] == [1]
    assert "max_concurrent_trials" in caplog.text


def test_options_of_0_x_are_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hpctune"):
        core.init(redis_max_memory=10**8, num_redis_shards=2, object_id_seed=3)
    assert "redis_max_memory (there is no Ray cluster)." in caplog.text


def test_without_slurm_the_resources_are_those_of_this_machine(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpctune.launch import overrides

    monkeypatch.setattr("hpctune.cluster.choice.slurm_is_here", lambda environ: False)
    with core.init(num_cpus=4, num_gpus=0, resources={"license": 2}):
        assert overrides.current().machine == {"cpus": 4, "gpus": 0, "resources": {"license": 2}}
        found = machine.cluster_resources()
        assert (found["CPU"], found.get("GPU"), found["license"]) == (4, None, 2)
    assert overrides.current().machine == {}
    assert caplog.text == ""


def test_an_unknown_option() -> None:
    with pytest.raises(TypeError, match="num_cpu"):
        core.init(num_cpu=4)
    assert not core.is_initialized()


def test_variables_of_the_environment(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import os

    monkeypatch.setenv("OF_A_TEST", "before")
    core.init(runtime_env={"env_vars": {"OF_A_TEST": 1}})
    assert os.environ["OF_A_TEST"] == "1"
    assert caplog.records == []


def test_local_mode_is_this_process() -> None:
    core.init(local_mode=True)
    assert overrides.current().preferred_cluster == "debug"
    core.shutdown()
    assert overrides.current().preferred_cluster is None


def test_put_and_get() -> None:
    ref = core.put([1, 2])
    assert core.get(ref) == [1, 2]
    assert core.get([ref, ref]) == [[1, 2], [1, 2]]
    assert core.wait([ref, ref]) == ([ref], [ref])
    assert core.ObjectRef(3).future().result() == 3
    with pytest.raises(ValueError, match="ObjectRef"):
        core.get(3)
    with pytest.raises(TypeError, match="reference"):
        core.put(ref)
    with pytest.raises(ValueError, match="num_returns"):
        core.wait([ref], num_returns=2)


def test_a_reference_travels_as_a_file(tmp_path: Path) -> None:
    large = core.put("x" * 100_000)
    with objects.written_to(tmp_path):
        assert len(pickle.dumps(large)) < 1_000
    again = pickle.dumps(large)  # for a trial, later
    assert len(again) < 1_000
    objects.read_from(tmp_path)
    assert pickle.loads(again).get() == "x" * 100_000
    assert len([*tmp_path.iterdir()]) == 1


def test_a_reference_in_a_stored_value(tmp_path: Path) -> None:
    with objects.written_to(tmp_path):
        stored = pickle.dumps(objects.Parameter({"inner": core.put("inside")}))
    objects.read_from(tmp_path)
    assert pickle.loads(stored).get()["inner"].get() == "inside"


def test_a_task() -> None:
    @remote.remote
    def double(value: int, by: int = 2) -> int:
        return value * by

    assert core.get(double.remote(core.put(3), by=4)) == 12
    assert core.get([double.options(num_cpus=2).remote(i) for i in range(3)]) == [0, 2, 4]
    with pytest.raises(TypeError, match=r"double\.remote"):
        double(3)


def test_a_task_that_fails() -> None:
    @remote.remote(max_retries=2)
    def fail() -> None:
        raise KeyError("lost")

    ref = fail.remote()
    with pytest.raises(KeyError):
        core.get(ref)
    with pytest.raises(exceptions.RayTaskError, match="lost"):
        core.get(ref)


def test_several_values_and_generators() -> None:
    @remote.remote(num_returns=2)
    def two() -> tuple[int, int]:
        return 1, 2

    @remote.remote
    def many() -> Iterator[int]:
        yield from range(3)

    assert core.get(two.remote()) == [1, 2]
    assert [core.get(ref) for ref in many.remote()] == [0, 1, 2]


def counter() -> Any:
    @remote.remote
    class Counter:
        def __init__(self, start: int = 0) -> None:
            self.value = start

        def add(self, by: int = 1) -> int:
            self.value += by
            return self.value

    return Counter


def test_an_actor() -> None:
    actor = counter().options(name="mine").remote(5)
    assert core.get([actor.add.remote(), actor.add.remote(core.put(2))]) == [6, 8]
    assert remote.get_actor("mine") is actor
    with pytest.raises(AttributeError, match="subtract"):
        _ = actor.subtract
    with pytest.raises(ValueError, match="already"):
        counter().options(name="mine").remote()
    remote.kill(actor)
    with pytest.raises(exceptions.RayActorError):
        core.get(actor.add.remote())
    with pytest.raises(ValueError, match="no actor 'mine'"):
        remote.get_actor("mine")


def test_an_actor_is_not_sent_to_a_trial() -> None:
    actor = counter().remote()
    line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    with pytest.raises(UsageError, match=f"test_core.py, line {line}: the actor Counter"):
        pickle.dumps(actor)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"num_gpus": 1}, "no GPU"), ({"max_concurrency": 2}, "one after the other"), ({"num_cpu": 1}, "num_cpu")],
)
def test_what_would_not_be_the_same_is_refused(
    options: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ValueError, match=words):
        remote.remote(**options)


def test_coroutines_are_refused() -> None:
    class Waits:
        async def wait(self) -> None: ...

    with pytest.raises(UsageError, match=r"test_core.py, line \d+: the coroutine method Waits.wait"):
        remote.remote(Waits)


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert machine.get_gpu_ids() == [1, 3]
    assert machine.cluster_resources()["GPU"] == 2
    assert machine.nodes()[0]["Alive"]
    context = machine.get_runtime_context()
    assert context.get_node_id() == context.node_id == machine.get_node_ip_address()
    assert (context.job_id, context.worker_id, context.task_id) == (context.get_job_id(), context.get_worker_id(), None)


def test_a_pool_of_actors() -> None:
    pool = util.ActorPool([counter().remote(), counter().remote(10)])
    assert [*pool.map(lambda actor, value: actor.add.remote(value), [1, 1, 1])] == [1, 11, 2]
    assert not pool.has_next()


def test_a_queue() -> None:
    queue = Queue(maxsize=2)
    queue.put_nowait_batch([1, 2])
    with pytest.raises(Full):
        queue.put(3, block=False)
    assert queue.get_nowait_batch(2) == [1, 2]
    with pytest.raises(Empty):
        queue.get_nowait()
    with pytest.raises(UsageError, match="cannot be sent to a trial"):
        pickle.dumps(queue)


def test_labels_are_slurms_constraint() -> None:
    with pytest.raises(UsageError, match="constraint"):
        util.placement_group([{"CPU": 1}], bundle_label_selector=[{"gpu": "a100"}])


def test_a_scaling_config() -> None:
    scaling = ScalingConfig(num_workers=2, use_gpu=True, resources_per_worker={"CPU": 4})
    factory = scaling.as_placement_group_factory()
    assert factory.bundles == [{"CPU": 1}, {"CPU": 4, "GPU": 1}, {"CPU": 4, "GPU": 1}]
    assert scaling.total_resources == {"CPU": 9, "GPU": 2}
    assert ScalingConfig.from_placement_group_factory(factory).as_placement_group_factory() == factory
    with pytest.raises(UsageError, match="use_gpu"):
        ScalingConfig(resources_per_worker={"GPU": 1})
    with pytest.raises(UsageError, match="gpu_type"):
        ScalingConfig(accelerator_type="A100")


def test_a_scaling_config_is_a_request() -> None:
    from hpctune import with_resources
    from hpctune.worker import resources_of

    asked = resources_of(with_resources(lambda config: None, ScalingConfig(num_workers=1)))
    assert asked.bundles == [{"CPU": 1}, {"CPU": 1}]


def test_a_callback_of_trainers() -> None:
    with pytest.raises(UsageError, match="on_trial_error"):

        class Mine(UserCallback):
            def after_exception(self) -> None: ...
