"""``hpctune plot``: which picture, in which file, and what cannot be drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpctune.cli.main import cli
from tests.support.cli_support import checksum
from tests.support.picture_support import search


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return search(tmp_path_factory.mktemp("plot") / "exp", trials=12)


def plot(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["plot", *map(str, arguments)])


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ([], "exp-history.png"),
        (["--curves"], "exp-curves.png"),
        (["--importance", "--param", "lr"], "exp-importance.png"),
        (["--parallel", "-o", "p.svg"], "p.svg"),
        (["--slice", "--metric", "latency"], "exp-slice.png"),
        (["--contour", "lr", "net/act"], "exp-contour.png"),
        (["--pareto", "loss", "latency", "--modes", "min", "max"], "exp-pareto.png"),
    ],
)
def test_each_picture(
    experiment: Path, options: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = checksum(experiment)
    result = plot(experiment, *options)
    assert result.output == f"{name}\n", result.exception
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert checksum(experiment) == before


def test_an_interactive_page_needs_no_network(experiment: Path, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    file = tmp_path / "p.html"
    assert plot(experiment, "--parallel", "-o", file).exit_code == 0
    assert "<script src=" not in file.read_text().replace('<script type="text/javascript" ', "<script ")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--history", "--curves"], "--history and --curves are several pictures"),
        (["--slice", "--mode", "min"], "--mode says nothing about --slice"),
        (["--history", "--param", "lr"], "--param says nothing about --history"),
        (["--importance", "--by", "time"], "--by says nothing about --importance"),
        (["--metric", "lost"], "Did you mean 'loss'"),
        (["--curves", "--step", "epoch"], "'epoch' was never reported"),
        (["--metric", "latency"], "needs a mode for 'latency'"),
        (["--pareto", "loss", "latency"], "needs a mode for 'latency'"),
        (["--contour", "lr", "act"], "no parameter 'act'. Did you mean 'net/act'"),
        (["--contour", "lr", "lr"], "two different parameters"),
        (["-o", "x.bmp"], "not a picture's name"),
        (["-o", "no/x.png"], "there is no folder"),
    ],
)
def test_what_cannot_be_drawn(
    experiment: Path, options: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert why in str(plot(experiment, *options).exception)
    assert not list(tmp_path.iterdir())
