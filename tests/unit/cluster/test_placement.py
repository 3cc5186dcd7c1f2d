"""Resources become Slurm requests, and requests are held against what partitions have."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm import nodelist, sinfo
from hpctune.cluster.slurm.placement import place, places
from hpctune.errors import NotYetSupportedError, RequestRejectedError, UsageError
from hpctune.model.resources import PlacementGroupFactory, Resources

ONE = {"cpus_per_task": 1, "nodes": 1, "ntasks_per_node": 1}


def parameters(request: object, **options: Any) -> dict[str, object]:
    return place(Resources.parse(request), SlurmOptions(**options)).parameters()


@pytest.mark.parametrize(
    ("request_", "options", "expected"),
    [
        (None, {}, ONE),
        ({"cpu": 1.5}, {}, {**ONE, "cpus_per_task": 2}),
        ({"cpu": 0, "gpu": 1}, {}, {**ONE, "gres": "gpu:1"}),
        ({"gpu": 2}, {"gpu_type": "a100"}, {**ONE, "gres": "gpu:a100:2"}),
        ({"gpu": 0.5}, {"gres": "shard:1"}, {**ONE, "gres": "shard:1"}),
        (None, {"gpus_per_node": 3}, {**ONE, "gres": "gpu:3"}),
        ({"memory": 2**20 + 1}, {}, {**ONE, "mem": "2M"}),
        ({"memory": 2**30}, {"mem": "9G"}, {**ONE, "mem": "1024M"}),
        (None, {"mem": "9G"}, {**ONE, "mem": "9216M"}),
        (None, {"mem_per_cpu": "1G"}, {**ONE, "mem_per_cpu": "1024M"}),
        ({"cpu": 2}, {"cpus_per_task": 8}, {**ONE, "cpus_per_task": 8}),
        (None, {"nodes": 2, "ntasks_per_node": 4}, {"cpus_per_task": 1, "nodes": 2, "ntasks_per_node": 4}),
        ({"gpu": 2}, {"cpus_per_gpu": 3}, {"cpus_per_gpu": 3, "nodes": 1, "ntasks_per_node": 1, "gres": "gpu:2"}),
        ({"gpu": 1}, {"mem_per_gpu": "2G"}, {**ONE, "gres": "gpu:1", "mem_per_gpu": "2048M"}),
        ({"gpu": 1}, {"gpus_per_task": 2}, {**ONE, "gpus_per_task": "2"}),
        (None, {"gpus_per_task": 2, "gpu_type": "a"}, {**ONE, "gpus_per_task": "a:2"}),
        (None, {"ntasks": 1}, ONE),
        (None, {"ntasks": 3}, {"cpus_per_task": 1, "ntasks": 3}),
        (None, {"ntasks": 4, "nodes": 2}, {"cpus_per_task": 1, "nodes": 2, "ntasks_per_node": 2}),
        (None, {"ntasks": 3, "nodes": 2}, {"cpus_per_task": 1, "nodes": 2, "ntasks": 3}),
        (None, {"ntasks": 5, "ntasks_per_node": 2}, {"cpus_per_task": 1, "ntasks_per_node": 2, "ntasks": 5}),
        (None, {"nodelist": "n[2-2]"}, ONE),
        (None, {"nodelist": "n[1-2]", "nodes": 2}, {**ONE, "nodes": 2}),
    ],
)
def test_one_bundle(request_: object, options: dict[str, Any], expected: dict[str, object]) -> None:
    assert parameters(request_, **options) == expected


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("PACK", {"ntasks": 3, "gpus_per_task": "1", "mem_per_cpu": "512M"}),
        ("STRICT_PACK", {"nodes": 1, "ntasks_per_node": 3, "gres": "gpu:3", "mem_per_cpu": "512M"}),
        ("SPREAD", {"nodes": 3, "ntasks_per_node": 1, "gres": "gpu:1", "mem_per_cpu": "512M"}),
        ("STRICT_SPREAD", {"nodes": 3, "ntasks_per_node": 1, "gres": "gpu:1", "mem_per_cpu": "512M"}),
    ],
)
def test_bundles_become_tasks_as_large_as_the_largest(strategy: str, expected: dict[str, object]) -> None:
    bundles = [{"CPU": 1.0}, {"CPU": 2.0, "GPU": 1.0, "memory": 2.0**30}, {"CPU": 2.0}]
    assert parameters(PlacementGroupFactory(bundles, strategy)) == {"cpus_per_task": 2, **expected}


HEAD, WORKER = {"CPU": 4.0}, {"CPU": 1.0, "GPU": 1.0}
PACKED = {"cpus_per_task": 1, "ntasks": 2, "gpus_per_task": "1"}
EQUAL = {"cpus_per_task": 4}


@pytest.mark.parametrize(
    ("bundles", "strategy", "options", "expected"),
    [
        ([HEAD, WORKER, WORKER], "PACK", {}, [{**ONE, "cpus_per_task": 4}, PACKED]),
        ([HEAD, WORKER, WORKER], "SPREAD", {"mem_per_cpu": "1G"}, [
            {**ONE, "cpus_per_task": 4, "mem_per_cpu": "1024M"},
            {"cpus_per_task": 1, "nodes": 2, "ntasks_per_node": 1, "gres": "gpu:1", "mem_per_cpu": "1024M"},
        ]),
        ([WORKER, HEAD, WORKER], "PACK", {"gpu_type": "a"}, [
            {**ONE, "gres": "gpu:a:1"}, {**ONE, "cpus_per_task": 4}, {**ONE, "gres": "gpu:a:1"},
        ]),
        ([WORKER, WORKER], "PACK", {}, [PACKED]),
        ([HEAD, WORKER], "STRICT_PACK", {}, [{**EQUAL, "nodes": 1, "ntasks_per_node": 2, "gres": "gpu:2"}]),
        ([HEAD, WORKER], "STRICT_SPREAD", {}, [{**EQUAL, "nodes": 2, "ntasks_per_node": 1, "gres": "gpu:1"}]),
        ([HEAD, WORKER], "PACK", {"hetjob": False}, [{**EQUAL, "ntasks": 2, "gpus_per_task": "1"}]),
        ([HEAD, WORKER], "PACK", {"nodes": 2}, [{**EQUAL, "nodes": 2, "ntasks_per_node": 1, "gres": "gpu:1"}]),
    ],
)  # fmt: skip
def test_bundles_that_differ_are_parts(
    bundles: list[dict[str, float]], strategy: str, options: dict[str, Any], expected: list[dict[str, object]]
) -> None:
    made = places(Resources.parse(PlacementGroupFactory(bundles, strategy)), SlurmOptions(**options))
    assert [part.parameters() for part in made] == expected


def test_parts_of_gpus_need_an_option_that_says_how() -> None:
    with pytest.raises(NotYetSupportedError, match="shard:1"):
        parameters({"gpu": 0.5})
    with pytest.raises(NotYetSupportedError, match="shard:1"):
        parameters({"gpu": 1.5})


def test_custom_resources_mean_nothing_to_slurm() -> None:
    with pytest.raises(NotYetSupportedError, match="'tpu' is not known to Slurm"):
        parameters({"cpu": 1, "tpu": 1})


def test_what_a_task_gets_by_its_gpus() -> None:
    asked = place(Resources.parse({"gpu": 2}), SlurmOptions(cpus_per_gpu=3, mem_per_gpu="1G"))
    assert (asked.cpus_per_task, asked.cpus_per_node, asked.memory_per_node_mib) == (6, 6, 2048)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cpus_per_gpu": 2}, "cpus_per_gpu=2 needs GPUs, and the trial asks for none"),
        ({"mem_per_gpu": "1G"}, "mem_per_gpu=1G needs GPUs"),
        ({"ntasks": 2, "nodes": 3}, "ntasks=2 is less than nodes=3"),
        ({"nodelist": "n[1-2]"}, "names 2 nodes.*SlurmOptions\\(nodes=2\\)"),
        ({"nodelist": "a,b[1-3],c[1-2]x[1-4]"}, "names 12 nodes"),
        ({"nodelist": "n[1-4]", "ntasks": 6, "ntasks_per_node": 2}, "names 4 nodes.*on 3 nodes"),
    ],
)
def test_options_that_contradict_the_trial_or_each_other(options: dict[str, Any], words: str) -> None:
    with pytest.raises(NotYetSupportedError, match=words):
        parameters(None, **options)


def test_options_that_exclude_each_other() -> None:
    for options in ({"gres": "gpu:1", "gpus_per_task": 1}, {"cpus_per_task": 1, "cpus_per_gpu": 1},
                    {"mem": 1, "mem_per_gpu": 1}):  # fmt: skip
        with pytest.raises(UsageError, match="exclude each other"):
            SlurmOptions(**options)  # type: ignore[arg-type]


def test_a_list_of_nodes_in_a_file_is_left_to_slurm() -> None:
    assert nodelist.count("/home/me/nodes") is None
    assert nodelist.count("n[1-") is None or nodelist.count("n[1-") == 1
    assert nodelist.count("n1,n1,n[01-10]") == 11


SINFO = "\n".join(
    "\x1f".join(row)
    for row in [
        ("main*", "up", "1-00:00:00", "2", "16", "20000", "(null)", "idle", "1:00:00", "1-infinite"),
        (
            "main*",
            "up",
            "1-00:00:00",
            "2",
            "64",
            "500000",
            "gpu:a100:4(S:0-1),shard:8",
            "mixed",
            "1:00:00",
            "1-infinite",
        ),
        ("big", "up", "infinite", "1", "128", "2000000", "gpu:h100:8(IDX:0-3,5),gpu:a100:2", "drained*", "n/a", "1-2"),
        ("CLUSTER: odd line",),
    ]
)


def fits(request: object, partition: str | None = None, time: object = None, **options: Any) -> bool:
    chosen = SlurmOptions(partition=partition, time=time, **options)  # type: ignore[arg-type]
    placement = place(Resources.parse(request), chosen)
    return sinfo.check(sinfo.parse(SINFO), placement, partition, chosen.time_minutes)


def test_sinfo_is_read() -> None:
    groups = sinfo.parse(SINFO)
    assert sinfo.names(groups) == ["main*", "big"]
    assert [g.limit_minutes for g in groups] == [1440, 1440, None]
    assert groups[1].gpus == {"": 4, "a100": 4}
    assert groups[2].gpus == {"": 10, "h100": 8, "a100": 2}
    assert [g.usable for g in groups] == [True, True, False]
    assert [(g.default_minutes, g.max_nodes, g.up) for g in groups] == [
        (60, None, True),
        (60, None, True),
        (None, 2, True),
    ]


def test_what_fits_fits() -> None:
    assert fits(None)
    assert fits({"cpu": 64, "gpu": 4, "memory": 4e11}, time="1-00:00:00")
    assert fits({"gpu": 4}, gpu_type="a100")


def test_nodes_that_are_out_fit_but_are_not_in_use() -> None:
    assert not fits({"cpu": 128}, "big")
    assert fits({"cpu": 1}, "big,main")


def test_of_unknown_partitions_nothing_is_said() -> None:
    assert not fits({"cpu": 10_000}, "hidden")
    placement = place(Resources.parse({"cpu": 10_000}), SlurmOptions())
    assert not sinfo.check([], placement, None, None)


@pytest.mark.parametrize(
    ("request_", "partition", "time", "words"),
    [
        ({"cpu": 65}, None, None, "65 CPUs on one node, at most"),
        ({"gpu": 5}, None, None, "5 GPUs on one node, at most 4"),
        ({"memory": 1e12}, None, None, "MiB on one node, at most 500000"),
        ({"cpu": 129}, "main,big", None, "partition 'main' or 'big'"),
        (None, None, "2-00:00:00", "2-00:00:00 is more than partition 'main' allows, which is 1-00:00:00"),
    ],
)
def test_what_can_never_fit_is_rejected(request_: object, partition: str | None, time: object, words: str) -> None:
    with pytest.raises(RequestRejectedError, match=words):
        fits(request_, partition, time)


def test_a_kind_of_gpu_that_is_not_there() -> None:
    with pytest.raises(RequestRejectedError, match="1 v100 GPUs on one node, at most 0 there"):
        fits({"gpu": 1}, gpu_type="v100")


TWO = "\n".join(
    "\x1f".join(row)
    for row in [
        ("main*", "up", "infinite", "2", "16", "20000", "(null)", "idle", "1:00:00", "1-infinite"),
        ("short", "up", "5:00", "2", "4", "20000", "(null)", "idle", "1:00", "1"),
        ("late", "down", "infinite", "2", "4", "20000", "(null)", "idle", "n/a", "1"),
    ]
)


@pytest.mark.parametrize(
    ("partition", "options", "words"),
    [
        ("main,short", {}, "short allows 00:05:00, not a time limit of 01:00:00, the default of main"),
        ("short,main", {}, ""),
        ("main,short", {"time": 5}, ""),
        ("main,short", {"time": 6}, "short allows 00:05:00, not a time limit of 00:06:00"),
        ("main,short", {"time": 5, "nodes": 2}, "short allows 1 node for a job, not 2"),
        ("main,short", {"time": 5, "cpus_per_task": 8}, "short has no node with 8 CPUs on one node, at most 4 there"),
        ("late,short", {"time": 0}, "short allows 00:05:00, not an infinite time"),
        ("short,late", {}, ""),
        ("late,short", {}, "short allows 00:05:00, not an infinite time, the default of late"),
        ("main", {}, ""),
        ("main,other", {}, ""),
    ],
)
def test_what_one_of_several_partitions_does_not_allow(partition: str, options: dict[str, Any], words: str) -> None:
    chosen = SlurmOptions(partition=partition, **options)
    placement = place(Resources(), chosen)
    found = sinfo.differences(
        sinfo.parse(TWO), placement, partition, math.inf if chosen.unlimited else chosen.time_minutes
    )
    assert found == words


def test_partitions_are_up_only_if_all_of_them_are() -> None:
    groups = sinfo.parse(TWO)
    assert sinfo.all_up(groups, "main,short")
    assert sinfo.all_up(groups, None)
    assert not sinfo.all_up(groups, "main,late")
    assert not sinfo.all_up(groups, "unknown")
