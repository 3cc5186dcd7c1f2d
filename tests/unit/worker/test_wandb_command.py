"""What a trial of a W&B sweep gets: words, variables and files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpctune.errors import UsageError
from hpctune.worker.hearing import HEARING
from hpctune.worker.wandb_command import MACROS, SITE, WandbCommand, check_macros, literal_parameters

CONFIG: dict[str, Any] = {"lr": 1e-05, "fast": True, "slow": False, "model": {"depth": 3}, "name": "a b"}
EXPECTED = {
    "args": ["--lr=1e-05", "--fast=True", "--slow=False", "--model={'depth': 3}", "--name=a b"],
    "args_no_equals": [
        "--lr",
        "1e-05",
        "--fast",
        "True",
        "--slow",
        "False",
        "--model",
        "{'depth': 3}",
        "--name",
        "a b",
    ],
    "args_no_hyphens": ["lr=1e-05", "fast=True", "slow=False", "model={'depth': 3}", "name=a b"],
    "args_no_boolean_flags": ["--lr=1e-05", "--fast", "--model={'depth': 3}", "--name=a b"],
    "args_json": [json.dumps(CONFIG)],
    "args_append_hydra": ["+lr=1e-05", "+fast=True", "+slow=False", "+model={'depth': 3}", "+name=a b"],
    "args_override_hydra": ["++lr=1e-05", "++fast=True", "++slow=False", "++model={'depth': 3}", "++name=a b"],
}


@pytest.fixture
def facts(tmp_path: Path) -> dict[str, str]:
    directory = tmp_path / "mysweep" / "train_ab_00001"
    directory.mkdir(parents=True)
    return {"trial_id": "ab_00001", "trial_name": "train_ab_00001", "trial_dir": str(directory), "checkpoint": ""}


@pytest.mark.parametrize("macro", EXPECTED)
def test_the_arguments_are_those_of_wandb(macro: str, facts: dict[str, str]) -> None:
    words, _ = WandbCommand(["python", "a.py", f"${{{macro}}}"]).program(CONFIG, facts)
    assert words == ["python", "a.py", *EXPECTED[macro]]


def test_they_are_those_of_the_package() -> None:
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    theirs = utils.create_sweep_command_args({"args": {name: {"value": value} for name, value in CONFIG.items()}})
    assert {macro: theirs[macro] for macro in EXPECTED} == EXPECTED


def test_the_other_macros(facts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", "/d")
    monkeypatch.delenv("NOTHING", raising=False)
    command = ["${env}", "X=${envvar:DATA}/${envvar:NOTHING}", "${interpreter}", "a.py", "${args_json_file}", "{x}"]
    words, _ = WandbCommand(command).program(CONFIG, facts)
    assert words[:2] == ["/usr/bin/env", "X=/d/NOTHING"]
    assert words[2] in ("python", sys.executable)
    assert json.loads(Path(words[4]).read_text()) == CONFIG
    assert words[5] == "{x}"
    check_macros([f"${{{macro}}}" for macro in MACROS])
    with pytest.raises(UsageError, match="no macro of W&B"):
        check_macros(["${arguments}"])


def test_a_parameter_within_an_option_is_told_and_other_text_in_braces_is_not() -> None:
    assert "--lr=${lr} as it stands" in literal_parameters(["python", "--lr=${lr}"], {"lr"})
    for words in (["name=run_${lr}"], ["--out=${HOME}"], ["bash", "-c", "run --lr ${lr}"], ["--x=${model.lr}"]):
        assert not literal_parameters(words, {"lr"})


def test_the_variables(facts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    command = WandbCommand(["a"], metric="loss", project="p")
    _, found = command.program(CONFIG, facts)
    assert found["WANDB_RUN_ID"] == f"{found['WANDB_SWEEP_ID']}-ab_00001"
    assert command.program(CONFIG, facts)[1] == found  # a trial that begins again is the same run
    assert (found["WANDB_MODE"], found["WANDB_RESUME"], found["WANDB_PROJECT"]) == ("offline", "allow", "p")
    assert found["WANDB_DIR"] == facts["trial_dir"]
    content = yaml.safe_load(Path(found["WANDB_SWEEP_PARAM_PATH"]).read_text())
    assert content == {"wandb_version": 1, **{name: {"value": value} for name, value in CONFIG.items()}}
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_DIR", "/mine")
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    _, found = command.program(CONFIG, facts)
    assert not {"WANDB_MODE", "WANDB_DIR"} & {*found}
    assert found["WANDB_RUN_ID"] == "abc-ab_00001"


def test_parameters_may_have_the_names_of_fields(facts: dict[str, str]) -> None:
    words, _ = WandbCommand(["a", "${args}"]).program({"checkpoint": "best.pt", "trial_id": 3}, facts)
    assert words == ["a", "--checkpoint=best.pt", "--trial_id=3"]


def test_the_search_path_begins_with_the_place_that_hears() -> None:
    command = WandbCommand(["a"])
    assert command.search_path(None)["PYTHONPATH"].split(os.pathsep) == [SITE, HEARING]
    assert command.search_path("/mine")["PYTHONPATH"].split(os.pathsep) == [SITE, HEARING, "/mine"]
