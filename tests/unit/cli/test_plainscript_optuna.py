"""Which scripts are taken for Optuna's."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.cli.plainscript import look_at, refuse_plain
from hpctune.errors import ConfigFileError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import optuna\nstudy = optuna.create_study()\nstudy.optimize(f, n_trials=3)\n", True),
        ("from optuna import create_study\ncreate_study().optimize(f)\n", True),
        ("from optuna.integration import OptunaSearchCV\nOptunaSearchCV(m, space).fit(x, y)\n", True),
        ("from optuna_integration.sklearn import OptunaSearchCV\nOptunaSearchCV(m, space).fit(x, y)\n", True),
        ("import optuna.integration.lightgbm as lgb\nlgb.train(params, data)\n", False),
        ("import optuna, hpctune\nstudy.optimize(f)\n", False),
        ("import optuna\nfrom ray import tune\nstudy.optimize(f)\n", False),
        ("import model\nmodel.optimize()\n", False),
    ],
)
def test_what_a_script_imports_and_calls_decides(text: str, expected: bool, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(text)
    assert look_at(script).is_optunas is expected


def test_the_call_may_be_in_a_module_beside_it(tmp_path: Path) -> None:
    (tmp_path / "search.py").write_text("import optuna\ndef go(f):\n    optuna.create_study().optimize(f)\n")
    script = tmp_path / "script.py"
    script.write_text("from search import go\ngo(print)\n")
    assert look_at(script).is_optunas
    refuse_plain(script, look_at(script))


def test_a_loop_of_ask_and_tell_is_refused_with_what_helps(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import optuna\nstudy = optuna.create_study()\nstudy.ask()\n")
    with pytest.raises(ConfigFileError, match=r"call study\.optimize"):
        refuse_plain(script, look_at(script))


def test_a_script_of_keras_tuner_needs_a_call_of_search(tmp_path: Path) -> None:
    path = tmp_path / "search.py"
    text = "import keras_tuner as kt\ntuner = kt.RandomSearch(build, objective='val_loss', max_trials=5)\n"
    path.write_text(text)
    with pytest.raises(ConfigFileError, match=r"calls no tuner\.search(.|\n)*not run"):
        refuse_plain(path, look_at(path))
    path.write_text(text + "tuner.search(x, y)\n")
    assert look_at(path).is_keras_tuners
    refuse_plain(path, look_at(path))
    path.write_text("import hpctune\n" + text)
    assert look_at(path).searches
    assert not look_at(path).is_keras_tuners
