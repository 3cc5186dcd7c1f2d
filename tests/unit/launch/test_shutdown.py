"""What a driver says when it leaves is true, and what cannot begin leaves nothing backlog."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import hpctune as tune
from hpctune.driver.clock import WallClock
from hpctune.errors import TuneError, UsageError
from hpctune.launch.drive import ShutdownHandler


@dataclass
class Session:
    """A driver with three jobs, as far as a farewell looks at it."""

    failure: str = ""
    driver: Any = field(init=False)
    prepared: Any = field(init=False)

    def __post_init__(self) -> None:
        self.driver = SimpleNamespace(failure=self.failure, finished=False, state=SimpleNamespace(live=3))
        self.prepared = SimpleNamespace(paths=SimpleNamespace(root=Path("/e")))


def test_everything_is_saved_is_said_where_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    farewell = ShutdownHandler(cancel=False, sessions=[Session()])  # type: ignore[list-item]
    farewell.announce(WallClock())
    farewell.report()
    said = capfd.readouterr().err
    assert "Stopping the driver: jobs go on, and everything is saved." in said
    assert "The driver has ended; 3 jobs go on. Resume: hpctune resume /e. Stop: hpctune stop /e" in said


def test_a_storage_that_refuses_is_not_kept_secret(capfd: pytest.CaptureFixture[str]) -> None:
    refusal = "Cannot write /e/journal/000001.jsonl: No space left on device."
    farewell = ShutdownHandler(cancel=False, sessions=[Session(), Session(refusal)])  # type: ignore[list-item]
    farewell.announce(WallClock())
    farewell.report()
    said = capfd.readouterr().err
    assert "everything is saved" not in said
    assert f"new results cannot be saved ({refusal})" in said
    assert f"New results could not be saved: {refusal}" in said


def names_with_null(trial: object) -> str:
    return "a\0b"


def names_with_path(trial: object) -> str:
    return "a/b"


def fails(trial: object) -> str:
    raise ValueError("no name today")


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"trial_name_creator": names_with_null}, UsageError, "without null characters"),
        ({"trial_dirname_creator": names_with_path}, UsageError, "a plain directory name"),
        ({"trial_name_creator": fails}, TuneError, "no name today"),
    ],
    ids=["name", "path", "fails"],
)
def test_a_creator_of_names_that_cannot_be_used_leaves_nothing(
    tmp_path: Path, options: dict[str, Any], kind: type[TuneError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        tune.run(lambda config: None, name="n", storage_path=str(tmp_path), cluster="local", verbose=0, **options)
    assert list(tmp_path.iterdir()) == []
