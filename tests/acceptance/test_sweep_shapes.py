"""Programs as people have them, each tuned unmodified by ``hpctune sweep``, in this process."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hpctune.cli.main import cli

PROGRAMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "typer, with names that have underscores, and a switch": (
        "typer",
        """
from typing import Annotated
import typer

app = typer.Typer()

@app.command()
def train(learning_rate: float = 0.1, use_amp: bool = False,
          width: Annotated[int, typer.Option("--hidden-size", "-h")] = 1):
    for epoch in (1, 2):
        print(f"epoch {epoch}: val_loss={learning_rate * width + use_amp}")

if __name__ == "__main__":
    app()
""",
        ("learning_rate=0.5", "width=2", "use_amp=true,false"),
    ),
    "typer.run, with options in the defaults": (
        "typer",
        """
import json
import typer

def main(lr: float = typer.Option(0.1, help="rate"), hidden_size: int = typer.Option(1, "--width"),
         amp: bool = typer.Option(False, "--amp")):
    typer.echo(json.dumps({"epoch": 1, "val_loss": lr * hidden_size + amp}))

if __name__ == "__main__":
    typer.run(main)
""",
        ("lr=0.5", "width=2", "amp=true,false"),
    ),
    "fire, with progress bars that show the metric": (
        "fire",
        """
import fire
from tqdm import tqdm

def train(lr=0.1, width=1, use_amp=False):
    bar = tqdm(range(3), desc="Epoch")
    for epoch in bar:
        bar.set_postfix(val_loss=lr * width + use_amp + (2 - epoch))

if __name__ == "__main__":
    fire.Fire(train)
""",
        ("lr=0.5", "width=2", "use_amp=true,false"),
    ),
    "absl, with its logging": (
        "absl",
        """
from absl import app, flags, logging

FLAGS = flags.FLAGS
flags.DEFINE_float("lr", 0.1, "rate")
flags.DEFINE_integer("width", 1, "width")
flags.DEFINE_bool("use_amp", False, "amp")

def main(argv):
    logging.set_verbosity(logging.INFO)
    logging.info("step %d, val_loss: %.3f", 3, FLAGS.lr * FLAGS.width + FLAGS.use_amp)

if __name__ == "__main__":
    app.run(main)
""",
        ("lr=0.5", "width=2", "use_amp=true,false"),
    ),
    "click, with numbers of numpy in a dict": (
        "click",
        """
import click
import numpy as np

@click.command()
@click.option("--learning-rate", "lr", type=float)
@click.option("--width", default=1)
@click.option("--amp/--no-amp", default=False)
def main(lr, width, amp):
    print({"train_loss": np.float64(7), "val_loss": np.float64(lr * width + amp)})

if __name__ == "__main__":
    main()
""",
        ("learning_rate=0.5", "width=2", "amp=true,false"),
    ),
    "argparse of dataclasses, with the table of Lightning": (
        "argparse",
        """
import argparse, dataclasses

@dataclasses.dataclass
class Arguments:
    lr: float = 0.1
    width: int = 1
    amp: int = 0

parser = argparse.ArgumentParser()
for field in dataclasses.fields(Arguments):
    parser.add_argument("--" + field.name, type=type(field.default), default=field.default)
given = Arguments(**vars(parser.parse_args()))
print("┃        Test metric        ┃       DataLoader 0        ┃")
print(f"│         val_loss          │     {given.lr * given.width + given.amp}     │")
""",
        ("lr=0.5", "width=2", "amp=1,0"),
    ),
    "argparse in another function, with lines of Keras": (
        "argparse",
        """
import argparse, sys

def arguments():
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    group = parser.add_argument_group("training")
    group.add_argument("--lr", "--learning_rate", type=float, dest="rate")
    group.add_argument("--width", type=int)
    group.add_argument("--no-amp", action="store_false", dest="amp")
    return parser.parse_args()

args = arguments()
for epoch in (1, 2):
    print(f"Epoch {epoch}/2")
    sys.stdout.write("\\x1b[1m5/10\\x1b[0m \\x1b[32m━━━\\x1b[0m \\x1b[1m0s\\x1b[0m 3ms/step - loss: 0.7000\\r")
    value = args.rate * args.width + args.amp
    print(f"\\x1b[1m10/10\\x1b[0m \\x1b[32m━━━━━━\\x1b[0m 0s 3ms/step - loss: 0.5000 - val_loss: {value:.4f}")
""",
        ("learning_rate=0.5", "width=2", "no_amp=true,false"),
    ),
}


def hpctune(*words: str) -> None:
    """Run the command in this process."""
    code = cli.main([*words, "--cluster", "debug", "--storage-path", "results", "-v", "0"], standalone_mode=False)
    assert not code


def results(name: str) -> list[list[dict[str, Any]]]:
    files = sorted(Path("results", name).glob("*/result.json"))
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in files]


@pytest.mark.parametrize("shape", PROGRAMS)
def test_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    package, text, parameters = PROGRAMS[shape]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(text)
    hpctune("sweep", f"{sys.executable} train.py", *parameters, "--grid", "--metric", "val_loss", "--name", "e")
    trials = results("e")
    assert sorted(rows[-1]["val_loss"] for rows in trials) == [pytest.approx(1), pytest.approx(2)]
    assert {len(rows) for rows in trials} == {3 if "progress" in shape else text.count("epoch in (1, 2)") + 1}


@pytest.mark.parametrize(
    "text",
    [
        "import typer\ndef main(lr: float, width: int = 1): ...\ntyper.run(main)\n",
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('lr')\np.add_argument('--width')\n",
        "import click\n@click.command()\n@click.argument('lr')\ndef main(lr): ...\n",
    ],
)
def test_an_argument_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    from hpctune.errors import UsageError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(text)
    with pytest.raises(UsageError, match=r"takes 'lr' as an argument without a name. Write \{lr\}"):
        hpctune("sweep", "python train.py", "lr=0.1,0.2")
    hpctune("sweep", "python train.py {lr}", "lr=0.1,0.2", "--dry-run")


LISTS: dict[str, tuple[str, str]] = {
    "argparse, words": (
        "argparse",
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('data', nargs='?')\n"
            "p.add_argument('--layers', type=int, nargs='+')\ngot = p.parse_args().layers"
        ),
    ),
    "argparse, append": (
        "argparse",
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--layers', type=int, action='append')\n"
            "got = p.parse_args().layers"
        ),
    ),
    "argparse, one word that is read": (
        "argparse",
        (
            "import argparse, ast\np = argparse.ArgumentParser()\np.add_argument('--layers', type=ast.literal_eval)\n"
            "got = p.parse_args().layers"
        ),
    ),
    "click, multiple": (
        "click",
        (
            "import click\n@click.command()\n@click.option('--layers', '-l', type=int, multiple=True)\n"
            "def main(layers): return list(layers)\ngot = main(standalone_mode=False)"
        ),
    ),
    "click, nargs": (
        "click",
        (
            "import click\n@click.command()\n@click.option('--layers', type=int, nargs=2)\n"
            "def main(layers): return list(layers)\ngot = main(standalone_mode=False)"
        ),
    ),
    "typer, a list": (
        "typer",
        (
            "import typer\nfrom typing import List\ngot = []\ndef main(layers: List[int] = [1]): got.extend(layers)\n"
            "try: typer.run(main)\nexcept SystemExit: pass"
        ),
    ),
    "fire": (
        "fire",
        "import fire\ngot = []\ndef main(layers): got.extend(layers)\nfire.Fire(main)",
    ),
    "absl, a list": (
        "absl",
        (
            "from absl import flags\nimport sys\nflags.DEFINE_list('layers', [], 'l')\nflags.FLAGS(sys.argv)\n"
            "got = [int(x) for x in flags.FLAGS.layers]"
        ),
    ),
    "absl, several": (
        "absl",
        (
            "from absl import flags\nimport sys\nflags.DEFINE_multi_integer('layers', [], 'l')\nflags.FLAGS(sys.argv)\n"
            "got = flags.FLAGS.layers"
        ),
    ),
}


@pytest.mark.parametrize("shape", LISTS)
def test_a_list_reaches_the_program_as_its_parser_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    package, text = LISTS[shape]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(text + "\nprint(f'a={got[0]} b={got[1]} n={len(got)}')\n")
    hpctune("sweep", f"{sys.executable} train.py", "layers=[1,2],[3,4]", "--grid", "--metric", "a", "--name", "e")
    assert sorted((rows[-1]["a"], rows[-1]["b"], rows[-1]["n"]) for rows in results("e")) == [(1, 2, 2), (3, 4, 2)]


@pytest.mark.parametrize(
    "lines",
    ["--layers 1 2 --lr 0.1\n--lr 0.2 --layers 3 4", "--layers=1 --layers=2 --lr=1\n--layers 3 --layers 4 --lr 2"],
)
def test_a_list_in_a_line_of_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    monkeypatch.chdir(tmp_path)
    how = "nargs='+'" if "1 2" in lines else "action='append'"
    (tmp_path / "train.py").write_text(
        f"import argparse\np = argparse.ArgumentParser()\np.add_argument('--layers', type=int, {how})\n"
        "p.add_argument('--lr', type=float)\ngot = p.parse_args().layers\nprint(f'a={got[0]} b={got[1]}')\n"
    )
    (tmp_path / "lines.txt").write_text(lines)
    hpctune("sweep", f"{sys.executable} train.py", "--from", "lines.txt", "--metric", "a", "--name", "e")
    assert sorted((rows[-1]["a"], rows[-1]["b"]) for rows in results("e")) == [(1, 2), (3, 4)]
