"""Files of SEML: what they mean here, and what is said where they mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpctune.errors import ConfigFileError
from hpctune.interop.command_search import CommandSearch
from hpctune.interop.seml.experiment import SemlExperiment, experiment_of, is_one
from hpctune.interop.yaml import load
from hpctune.space import choice, loguniform, randint, uniform
from hpctune.tuner import Tuner
from tests.support.seml_files import FILES, HEAD

RECORDED = [0.36821989825890333, 0.47972202955857246, 0.58497193178179, 0.4576356814513402]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))


def read(tmp_path: Path, text: str, **options: Any) -> SemlExperiment:
    data = load(text if "seml:" in text else HEAD + text)
    assert is_one(data)
    return experiment_of(data, tmp_path / "experiment.yaml", **options)


def rows(tmp_path: Path, name: str) -> list[dict[str, Any]]:
    return [dict(row) for row in read(tmp_path, FILES[name]).search.rows or ()]


def test_grids_are_products_of_all_values(tmp_path: Path) -> None:
    found = rows(tmp_path, "grids")
    assert len(found) == 5 * 3 * 3 * 4 * 2
    assert found[0] == {
        "optim.lr": pytest.approx(1e-5), "width": 16, "data.noise": 0.0, "data.ratio": 0.1, "layers": [16], "epochs": 3,
        "optim.name": "Adam", "optim.nesterov": False,
    }  # fmt: skip
    assert [row["layers"] for row in found[:3]] == [[16], [32, 16], [16]]  # the last one varies fastest
    assert sorted({row["optim.lr"] for row in found}) == pytest.approx([10.0**power for power in range(-5, 0)])
    assert {type(row["width"]) for row in found} == {int}


def test_parameters_with_a_zip_id_vary_together(tmp_path: Path) -> None:
    found = rows(tmp_path, "zipped")
    assert [(row["model.kind"], row["data.name"], row["seed"]) for row in found] == [
        (kind, name, seed) for kind, name in (("a", "small"), ("b", "large")) for seed in (1, 2, 3)
    ]


def test_random_values_are_those_of_seml(tmp_path: Path) -> None:
    """Recorded with SEML 0.5.7; tests/integrations compares all files with the package."""
    found = rows(tmp_path, "random")
    assert [row["x"] for row in found] == pytest.approx(RECORDED)
    assert {type(row["depth"]) for row in found} == {int}
    assert len({row["unique"] for row in found}) == 4
    assert rows(tmp_path, "random") == found


def test_a_seed_of_the_command_line_where_the_file_has_none(tmp_path: Path) -> None:
    text = "random: {samples: 3, x: {type: uniform, min: 0, max: 1}, k: {type: choice, options: [1, 2, 3, 4, 5, 6]}}"
    one, same, other = (read(tmp_path, text, seed=seed).search.rows for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_sub_configurations_have_only_their_own_parameters(tmp_path: Path) -> None:
    found = rows(tmp_path, "sub-configurations")
    small, wide, deep = found[:12], found[12:14], found[14:]
    assert len(small) == 2 * 2 * 3
    assert [set(row) for row in (small[0], wide[0], deep[0])] == [
        {"lr", "data", "keep", "drop", "epochs"},
        {"lr", "keep", "epochs", "batch", "width", "drop"},
        {"lr", "keep", "epochs", "batch", "depth", "drop"},
    ]
    assert {row["lr"] for row in wide + deep} == {0.001}
    assert {row["epochs"] for row in wide + deep} == {1000}
    assert all(200 <= row["epochs"] < 1000 for row in small)


def test_texts_that_are_written_as_values(tmp_path: Path) -> None:
    found = rows(tmp_path, "values that are Python's, and duplicates")
    assert len(found) == 3 * 2  # 1 and "1" are the same, 1.0 and true are not
    assert found[0]["list"] == [1, 2]
    assert (found[0]["number"], found[0]["text"], found[0]["also"], found[0]["flag"]) == (1e-5, "hello", None, True)
    assert (found[0]["table"], found[0]["b"]) == ({}, {"x": 1, "y": 2})


def test_collections_and_named_configurations(tmp_path: Path) -> None:
    found = rows(tmp_path, "collections")
    assert set(found[0]) == {"model.width", "model.norm.eps", "reg.decay"}
    assert len(found) == 2 * 3 * 2
    named = rows(tmp_path, "named configurations")
    assert named[0] == {"+norm.name": "with_norm", "+data": "config/small.yaml", "+norm.priority": 2, "seed": 3}


def test_interpolation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "/d")
    text = """
fixed: {out: "${seml.name}/${config.lr}", copy: "${config.lr}", list: ["${oc.env:WHERE}", 1], all: "${config.m}",
        m: {a: 1, b: "x${config.out}"}, default: "${oc.env:NOT_THERE,7}"}
grid: {lr: {type: choice, options: [0.1, 0.2]}}
"""
    first = (read(tmp_path, text).search.rows or [])[0]
    assert (first["out"], first["copy"], first["list"], first["default"]) == ("mine/0.1", 0.1, ["/d", 1], "7")
    assert (first["m.b"], first["all"]) == ("xmine/0.1", {"a": 1, "b": "xmine/0.1"})
    for wrong in ("${config.other}", "${config.a}", "${git.commit}"):
        with pytest.raises(ConfigFileError, match="which has no value in the file"):
            read(tmp_path, f'fixed: {{a: "{wrong}"}}')


def test_the_search_and_its_python(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.py").write_text("")
    text = "seml: {executable: main.py, project_root_dir: .., name: my run, conda_environment: torch}\nfixed: {a: 1}"
    data = load(text)
    search = experiment_of(data, tmp_path / "sub" / "e.yaml").search
    assert (search.command, search.cwd, search.run) == (["main.py"], str(tmp_path), {"name": "my_run"})
    assert search.options == {"conda_environment": "torch", "search_paths": [str(tmp_path)]}
    made: dict[str, Any] = {}
    exec(search.source("x"), made)
    assert isinstance(made["tuner"], Tuner)
    beside = tmp_path / "sub" / "own.py"
    beside.write_text("")
    data = load("seml: {executable: own.py, project_root_dir: ..}\nfixed: {a: 1}")
    assert experiment_of(data, tmp_path / "sub" / "e.yaml").search.command == [str(beside)]


def test_a_search_in_place_of_the_grid(tmp_path: Path) -> None:
    text = """
fixed: {epochs: 3}
grid: {lr: {type: loguniform, min: 0.001, max: 0.1, num: 9}, k: {type: choice, options: [1, 2]},
       r: {type: range, min: 1, max: 4, step: 1}, one: {type: choice, options: [5]}}
random: {samples: 3, d: {type: uniform, min: 0, max: 1}, n: {type: randint, min: 1, max: 4}}
"""
    search = read(tmp_path, text, searched=True).search
    assert search.rows is None
    assert search.space == {
        "epochs": 3, "lr": loguniform(0.001, 0.1), "k": choice([1, 2]), "r": choice([1, 2, 3]), "one": 5,
        "d": uniform(0, 1), "n": randint(1, 4),
    }  # fmt: skip
    for name, words in (("sub-configurations", "sub-configurations small, large.wide"), ("zipped", "zip_id")):
        with pytest.raises(ConfigFileError, match=words):
            read(tmp_path, FILES[name], searched=True)


def slurm(tmp_path: Path, stated: str) -> CommandSearch:
    return read(tmp_path, f"slurm: {stated}\nfixed: {{a: 1}}\n{HEAD}").search


def test_options_of_the_jobs(tmp_path: Path) -> None:
    base = {"time": "0-08:00", "nodes": 1, "cpus_per_task": 1, "mem": "8G"}
    assert slurm(tmp_path, "[]").slurm == base
    stated = "{sbatch_options: {gres: 'gpu:1', c: 4, --mem-per-cpu: 2G, t: '0-01:00', output: x, exclusive: null}}"
    found = read(tmp_path, f"slurm: {stated}\nfixed: {{a: 1}}\n{HEAD}")
    assert found.search.slurm == {
        "time": "0-01:00", "nodes": 1, "cpus_per_task": 4, "mem_per_cpu": "2G", "gres": "gpu:1", "exclusive": True,
    }  # fmt: skip
    assert found.jobs.dropped == ("output",)
    assert slurm(tmp_path, "{sbatch_options_template: GPU}").slurm == base | {
        "cpus_per_task": 2, "mem": "16G", "gres": "gpu:1",
    }  # fmt: skip
    empty = slurm(tmp_path, "{output_dir: logs, sbatch_options: {exclude: '', exclusive: '', partition: [a, b]}}")
    assert empty.slurm == base | {"exclusive": True, "partition": "a,b"}
    assert slurm(tmp_path, "{max_jobs_per_batch: 3}").tune == {"max_concurrent_trials": 3}
    assert slurm(tmp_path, "{max_simultaneous_jobs: 3}").tune == {"max_concurrent_trials": 3}
    several = slurm(tmp_path, "{experiments_per_job: 4, max_simultaneous_jobs: 3}")
    assert (several.slurm, several.tune) == (base | {"workers": 3, "trials_per_worker": 4}, {})
    assert slurm(tmp_path, "{experiments_per_job: 2}").slurm == base | {"workers": "auto", "trials_per_worker": 2}


def test_several_blocks_are_alternatives(tmp_path: Path) -> None:
    same = "[{sbatch_options: {partition: a, mem: 1G}}, {sbatch_options: {p: 'b,c', mem: 1G}}]"
    assert slurm(tmp_path, same).slurm["partition"] == "a,b,c"
    other = "[{sbatch_options: {partition: a}}, {experiments_per_job: 4, sbatch_options: {partition: b}}]"
    found = read(tmp_path, f"slurm: {other}\nfixed: {{a: 1}}\n{HEAD}")
    assert (found.search.slurm["partition"], found.jobs.unused) == ("a", 1)


def test_settings_of_the_user(tmp_path: Path) -> None:
    settings = tmp_path / "settings" / "seml" / "settings.py"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        "import os\nSETTINGS = {'SLURM_DEFAULT': {'sbatch_options': {'mem': '4G'}}, 'TMP': os.sep,\n"
        "    'SBATCH_OPTIONS_TEMPLATES': {'BIG': {'mem': '64G'}}}\n"
    )
    assert slurm(tmp_path, "[]").slurm["mem"] == "4G"
    assert slurm(tmp_path, "{sbatch_options_template: BIG}").slurm["mem"] == "64G"
    settings.write_text("import os\nSETTINGS = {\n    'SLURM_DEFAULT': dict(os.environ)}\n")
    with pytest.raises(ConfigFileError, match="line 3: hpctune reads these settings without running"):
        slurm(tmp_path, "[]")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seml: {name: a}\nfixed: {a: 1}", "seml has no executable"),
        ("seml: {executable: nowhere.py}\nfixed: {a: 1}", "there is no executable 'nowhere.py'"),
        ("seml: {executable: train.py, project_root_dir: nowhere}\nfixed: {a: 1}", "is no directory"),
        ("seml: {executable: train.py, conda_env: a}\nfixed: {a: 1}", "Did you mean 'conda_environment'"),
        ("seml: {executable: train.py, name: 7}\nfixed: {a: 1}", "name must be text, not 7"),
        ("{}", "there are no parameters"),
        ("fixed: {a: 1}\nsmall: {}", "small: there are no parameters"),
        ("gird: 3", "Did you mean 'grid'"),
        ("grid: {lr: 0.1}", "the parameter 'lr' under grid must say its type"),
        ("grid: {lr: {min: 0, max: 1}}", "the parameter 'lr' under grid has no type"),
        ("grid: {lr: {type: logunifrom, min: 1, max: 2, num: 2}}", "Did you mean 'loguniform'"),
        ("grid: {lr: {type: uniform, min: 1, max: 2}}", "uniform needs num"),
        ("grid: {lr: {type: uniform, min: 1, max: 2, num: 2.5}}", "num must be a whole number"),
        ("grid: {lr: {type: uniform, min: 2, max: 1, num: 2}}", "min 2 must be less than max 1"),
        ("grid: {lr: {type: range, min: 1, max: 2, step: 0}}", "step must be greater than 0"),
        ("grid: {lr: {type: loguniform, min: 0, max: 2, num: 2}}", "must be greater than 0"),
        ("grid: {lr: {type: loguniform, min: a, max: 2, num: 2}}", "min must be a number, not 'a'"),
        ("grid: {lr: {type: choice, options: []}}", "options must be a list with at least one value"),
        ("grid: {lr: {type: choice, options: [1], seed: 3}}", "choice has no 'seed'"),
        ("grid: {lr: {type: parameter_collection}}", "is a parameter_collection without params"),
        ("random: {x: {type: uniform, min: 0, max: 1}}", "random has no samples"),
        ("random: {samples: a, x: {type: uniform, min: 0, max: 1}}", "random.samples must be a whole number"),
        ("random: {samples: 2, x: {type: randint, min: 1, max: 1}}", "min 1 must be less than max 1"),
        ("random: {samples: 5, x: {type: randint_unique, min: 1, max: 4}}", "has 3 different values"),
        ("fixed: {a: 1}\ngrid: {a: {type: choice, options: [1]}}", "'a' is under fixed and grid"),
        ("fixed: {a: 1}\ngrid: {a.b: {type: choice, options: [1]}}", "'a.b' is inside 'a'"),
        ("fixed: {a: 1}\nsub: {fixed: {a.b: 1}}", "sub: the parameter 'a.b' is inside 'a'"),
        (
            "grid: {a: {type: choice, options: [1], zip_id: z}, b: {type: choice, options: [1, 2], zip_id: z}}",
            "zip_id 'z' need equally many values: a has 1, b has 2",
        ),
        ("grid: {a: {type: range, min: 0, max: 1000000, step: 1}}", "has 1000000 configurations"),
        ("fixed: {+norm.priority: 2}", "+norm.name is not"),
        ("fixed: {+norm: 2}", "a named configuration has a name"),
        ("fixed: {+norm.nmae: a}", "a named configuration has a name"),
        ("slurm: {gpus: 1}\nfixed: {a: 1}", "slurm has no 'gpus'"),
        ("slurm: 3\nfixed: {a: 1}", "slurm must be a mapping, or a list"),
        ("slurm: {experiments_per_job: 0}\nfixed: {a: 1}", "must be a whole number of 1 or more"),
        ("slurm: {experiments_per_job: 2, sbatch_options: {N: 2}}\nfixed: {a: 1}", "a job with nodes has one"),
        ("slurm: {sbatch_options_template: HUGE}\nfixed: {a: 1}", "no sbatch_options_template 'HUGE'"),
        ("slurm: {sbatch_options: 3}\nfixed: {a: 1}", "sbatch_options must be a mapping"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, words: str) -> None:
    import re

    with pytest.raises(ConfigFileError, match=re.escape(words)):
        read(tmp_path, HEAD if text == "{}" else text)
