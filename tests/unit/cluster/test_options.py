"""Options of the clusters: what is accepted, and what is said where it is not."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.cluster.slurm.units import mebibytes, memory_bytes, minutes, slurm_time
from hpctune.errors import NotYetSupportedError, UsageError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (90, 90),
        (0.5, 1),
        ("90", 90),
        ("1:30", 2),
        ("1:30:00", 90),
        ("2-12", 3600),
        ("2-12:30", 3630),
        ("1-00:00:01", 1441),
        (timedelta(hours=2, seconds=1), 121),
        ("UNLIMITED", None),
    ],
)
def test_times_as_slurm_reads_them(given: object, expected: int | None) -> None:
    assert minutes(given) == expected


@pytest.mark.parametrize("given", ["", "soon", "1x", "h", -5, True, None, float("nan"), "1:2:3:4", timedelta(-1)])
def test_what_is_no_time_is_refused_with_an_example(given: object) -> None:
    with pytest.raises(UsageError, match="2-12:00:00"):
        minutes(given)


def test_times_are_written_as_slurm_writes_them() -> None:
    assert [slurm_time(90), slurm_time(1441)] == ["01:30:00", "1-00:01:00"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [(5, 5), ("16G", 16 * 2**30), ("1.5 GiB", 3 * 2**29), ("100", 100 * 2**20), ("2kb", 2048), ("1T", 2**40)],
)
def test_memory(given: object, expected: int) -> None:
    assert memory_bytes(given) == expected


@pytest.mark.parametrize("given", ["16X", "", -1, None, True, "lots"])
def test_what_is_no_memory_is_refused(given: object) -> None:
    with pytest.raises(UsageError, match="16G"):
        memory_bytes(given)


def test_memory_is_rounded_up() -> None:
    assert [mebibytes(0), mebibytes(1), mebibytes(2**20), mebibytes(2**20 + 1)] == [0, 1, 1, 2]


def test_unknown_names_list_the_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"no option 'partitio'\. Did you mean 'partition'\? Valid are: account, "):
        SlurmOptions.from_mapping({"partitio": "x"})
    with pytest.raises(UsageError, match="LocalOptions has no option 'partition'"):
        LocalOptions.from_mapping({"partition": "x"})


def test_dashes_are_as_good_as_underscores() -> None:
    assert SlurmOptions.from_mapping({"gpus-per-node": 2}) == SlurmOptions(gpus_per_node=2)


def test_merge_changes_what_is_named_and_checks_it() -> None:
    options = SlurmOptions(partition="a", time=5).merge({"time": "1:00:00"})
    assert (options.partition, options.time_minutes) == ("a", 60)
    with pytest.raises(UsageError):
        options.merge({"time": "never"})
    assert LocalOptions(cpus=2).merge({"gpus": [3]}).gpus == ("3",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"time": "soon"}, "not a time limit"),
        ({"mem": "1G", "mem_per_cpu": "1G"}, "exclude each other"),
        ({"gres": "gpu:1", "gpus_per_node": 1}, "gres='gpu:2'"),
        ({"nodes": 0}, "at least 1"),
        ({"nodes": True}, "whole number"),
        ({"cpus_per_task": 1.5}, "whole number"),
        ({"signal_delay_s": 70000}, "65535"),
        ({"calls_per_minute": 1}, "at least 6"),
        ({"poll_s": 0}, "above 0"),
        ({"env": {"A B": "x"}}, "'A B'"),
        ({"env": ["A"]}, "dict"),
        ({"setup": 3}, "list of strings"),
        ({"partition": "a\n#SBATCH --wrap=x"}, "one line"),
        ({"account": 3}, "one line"),
        ({"nice": "high"}, "whole number"),
        ({"additional_parameters": {"switches": "1\n2"}}, "one line"),
        ({"additional_parameters": {"--output": "x"}}, "stdout file"),
        ({"additional_parameters": {"o": "x"}}, "may not set 'output'"),
        ({"additional_parameters": {"array": "1-3"}}, "job of its own"),
        ({"additional_parameters": {"signal": "USR1"}}, "signal_delay_s"),
        ({"additional_parameters": {"comment": "x"}}, r"SlurmOptions\(comment="),
        ({"additional_parameters": {"mail-user": "x"}}, r"SlurmOptions\(mail_user="),
        ({"additional_parameters": "x"}, "dict"),
    ],
)
def test_the_impossible_is_refused_at_construction(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SlurmOptions(**options)


def test_several_clusters_are_not_supported_yet() -> None:
    with pytest.raises(NotYetSupportedError, match="name only that"):
        SlurmOptions(clusters="a,b")


def test_one_line_of_setup_may_be_given_as_it_is() -> None:
    assert SlurmOptions(setup="module purge").setup == ("module purge",)


@pytest.mark.parametrize("gpus", ["0,1", True, -1])
def test_local_gpus_are_a_number_or_ids(gpus: Any) -> None:
    with pytest.raises(UsageError, match="gpus must be"):
        LocalOptions(gpus=gpus)


@pytest.mark.parametrize("kind", [SlurmOptions, LocalOptions])
def test_a_time_that_never_passes_is_allowed(kind: type[SlurmOptions] | type[LocalOptions]) -> None:
    options = kind(workers=1, idle_timeout_s=math.inf)
    stored = json.loads(json.dumps({"workers": 1, "idle_timeout_s": options.idle_timeout_s}))
    assert kind.from_mapping(stored) == options
    with pytest.raises(UsageError, match="idle_timeout_s must be a number of seconds above 0, not nan"):
        kind(idle_timeout_s=math.nan)


def test_submitit_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, hpctune.cluster.choice; sys.exit('submitit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
