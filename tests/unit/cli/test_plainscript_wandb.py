"""How often a script calls ``wandb.agent``: what stands behind the last call does not run where the search begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.cli.plainscript import MANY, look_at


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("wandb.agent(a)", 1),
        ("wandb.agent(a)\nwandb.agent(b)", 2),
        ("if x:\n    wandb.agent(a)\nelse:\n    wandb.agent(b)", 1),
        ("for each in x:\n    wandb.agent(each)", MANY),
        ("def main():\n    wandb.agent(a)\nif __name__ == '__main__':\n    main()", 1),
        ("def one(x):\n    wandb.agent(x)\none(1)\none(2)", 2),
        ("def one(x):\n    wandb.agent(x)\ndef both():\n    [one(x) for x in y]\nboth()", MANY),
        ("def main():\n    wandb.agent(a)\n    main()\nfire.Fire(main)", 1),
        ("try:\n    wandb.agent(a)\nfinally:\n    wandb.finish()", 1),
        ("def main():\n    wandb.init()\nwandb.sweep({})", 0),
    ],
)
def test_how_often_a_script_calls_the_agent(tmp_path: Path, text: str, calls: int) -> None:
    path = tmp_path / "script.py"
    path.write_text(f"import wandb\n{text}\n")
    assert look_at(path).calls_wandb_agent == calls
