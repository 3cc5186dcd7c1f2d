"""``hpctune top`` as a user sees it: keys are pressed, and the screen is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

from hpctune.cli.main import cli
from hpctune.cli.top.app import ExperimentList, TopApp
from hpctune.cli.top.dialogs import Question, TextScreen
from hpctune.cli.top.experiment import ExperimentScreen, printable
from hpctune.storage import inbox
from hpctune.storage.layout import ExperimentPaths
from tests.support.output_support import Recorder
from tests.support.picture_support import search

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


class User:
    """Presses keys and reads the screen."""

    def __init__(self, pilot: Pilot[None]) -> None:
        self.pilot, self.app = pilot, pilot.app

    async def until(self, test: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + 60
        while not test():
            assert time.monotonic() < end, f"waited in vain for {what}"
            await self.pilot.pause(0.05)

    @property
    def table(self) -> DataTable[Any]:
        return self.app.screen.query_one(DataTable)

    def column(self, name: str) -> list[str]:
        names = [str(column.label) for column in self.table.ordered_columns]
        return [str(self.table.get_row_at(n)[names.index(name)]) for n in range(self.table.row_count)]

    def text(self, selector: str) -> str:
        return str(self.app.screen.query_one(selector, Static).render())

    async def see_trials(self) -> None:
        await self.until(lambda: isinstance(self.app.screen, ExperimentScreen), "the experiment")
        await self.until(lambda: self.table.row_count, "trials")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()


def use(root: Path, what: Callable[[User], Awaitable[None]], *, size: tuple[int, int] = (160, 45), **more: Any) -> None:
    """Open the experiment in ``root`` and do ``what``."""

    async def go() -> None:
        app = TopApp(root.parent, ExperimentPaths(root), every_s=0.5, **more)
        async with app.run_test(size=size) as pilot:
            user = User(pilot)
            await user.see_trials()
            await what(user)

    asyncio.run(go())


def test_looking_sorting_and_filtering(tmp_path: Path) -> None:
    root = search(tmp_path / "exp", trials=30)

    async def look(user: User) -> None:
        assert "Experiment exp (train, min loss)" in user.text("#head")
        assert len(user.column("trial_id")) == 30
        assert {"net/width", "lr"} <= {str(column.label) for column in user.table.ordered_columns}
        while user.app.screen.sort != "loss":  # type: ignore[attr-defined]
            await user.press("s")
        values = [float(text) for text in user.column("loss") if text not in ("", "nan")]
        assert values == sorted(values)
        await user.press("slash")
        user.app.screen.query_one("#filter", Input).value = 'status == "ERROR"'
        await user.press("enter")
        assert set(user.column("state")) == {"error"}
        await user.press("slash")
        user.app.screen.query_one("#filter", Input).value = "los < 3"
        await user.press("enter")
        await user.until(lambda: len(user.column("trial_id")) == 30, "all trials, as the filter was wrong")
        await user.press("j")
        assert isinstance(user.app.screen, TextScreen)
        assert "Failed (" in user.app.screen.text
        await user.press("escape")
        assert isinstance(user.app.screen, ExperimentScreen)

    use(root, look)


def test_the_details_follow_the_cursor(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "exp", num_samples=3)
    for n in range(3):
        trial = recorder.add(lr=float(n))
        recorder.start(trial)
        recorder.report(trial, [{"loss": 3.0 - n}, {"loss": 2.0 - n}])
        place = recorder.paths.trial(recorder.state.trials[trial].dirname).root
        (place / "stdout").write_text(f"\x1b[31mepoch\x1b[0m of {n}\x1b[2J\n")

    async def look(user: User) -> None:
        await user.press("down")
        await user.until(lambda: "lr = 1.0" in user.text("#config-text"), "the second trial's configuration")
        assert "epoch of 1" in user.text("#output-text")
        assert "│" in user.text("#curve-text")
        assert "(no error)" in user.text("#error-text")
        recorder.report("1f3a9_00001", [{"loss": 0.125}])
        await user.until(lambda: "0.125" in user.column("loss"), "the new value in the table")
        await user.until(lambda: "0.125" in user.text("#curve-text"), "the new value in the curve")
        assert user.table.cursor_row == 1

    use(recorder.paths.root, look)


def test_a_small_terminal_shows_one_panel(tmp_path: Path) -> None:
    root = search(tmp_path / "exp", trials=5)

    async def look(user: User) -> None:
        def shown() -> list[str]:
            return [str(p.id) for p in user.app.screen.query(".panel") if p.display and p.region.area]

        await user.until(lambda: shown() == ["curve"], "the curve")
        await user.press("tab")
        await user.until(lambda: shown() == ["config"], "the configuration")
        await user.pilot.resize_terminal(160, 45)
        await user.until(lambda: len(shown()) == 4, "all panels")

    use(root, look, size=(80, 24))


def test_stop_and_add_go_through_the_inbox_after_a_question(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "exp", num_samples=2)
    for n in range(2):
        recorder.start(recorder.add(lr=float(n)))
    paths = recorder.paths

    def posted() -> list[tuple[str, tuple[str, ...]]]:
        return [(command.action, command.targets) for command in inbox.Inbox(paths).read()]

    async def stop(user: User) -> None:
        await user.press("down", "x")
        assert isinstance(user.app.screen, Question)
        assert "1f3a9_00001" in user.app.screen.words
        await user.press("escape")
        assert posted() == []
        await user.press("x")
        await user.pilot.click("#way-0")
        await user.until(lambda: posted() == [("stop", ("1f3a9_00001",))], "the command")
        await user.press("X")
        await user.pilot.click("#no")
        assert len(posted()) == 1
        await user.press("a")
        user.app.screen.query_one(Input).value = "lr='0.1"
        await user.press("enter")
        await user.until(lambda: "cannot be read" in str([n.message for n in user.app._notifications]), "the mistake")
        user.app.clear_notifications()
        await user.press("a")
        await user.press("enter")
        await user.until(lambda: list(user.app._notifications), "what is missing")

    use(paths.root, stop)


def test_a_trial_that_is_over_cannot_be_stopped(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "exp")
    recorder.start(recorder.add(lr=1.0))
    recorder.finish("1f3a9_00000")

    async def stop(user: User) -> None:
        await user.press("x")
        assert not isinstance(user.app.screen, Question)
        assert "1f3a9_00000 is over" in str([n.message for n in user.app._notifications])

    use(recorder.paths.root, stop)


def test_read_only(tmp_path: Path) -> None:
    root = search(tmp_path / "exp", trials=3)

    async def look(user: User) -> None:
        for key in ("x", "X", "a", "r"):
            await user.press(key)
            assert isinstance(user.app.screen, ExperimentScreen)

    use(root, look, read_only=True)


def test_from_the_list_into_an_experiment_and_back(tmp_path: Path) -> None:
    search(tmp_path / "one", trials=3)
    search(tmp_path / "two", trials=4)

    async def go() -> None:
        async with TopApp(tmp_path, None).run_test(size=(120, 30)) as pilot:
            user = User(pilot)
            await user.until(lambda: user.table.row_count == 2, "the experiments")
            assert sorted(user.column("name")) == ["one", "two"]
            name = user.column("name")[0]
            await user.press("enter")
            await user.see_trials()
            assert f"Experiment {name}" in user.text("#head")
            await user.press("escape")
            assert isinstance(user.app.screen, ExperimentList)

    asyncio.run(go())


def test_an_experiment_that_is_gone_is_told(tmp_path: Path) -> None:
    root = search(tmp_path / "exp", trials=3)

    async def look(user: User) -> None:
        root.rename(tmp_path / "moved")
        await user.until(lambda: "There is no directory" in user.text("#head"), "the error")

    use(root, look)


def test_what_trials_print_cannot_move_the_cursor() -> None:
    assert printable("a\x1b[2Jb\x1b[31mc\x07\x00d\r\n1%\r50%\r99%\n") == "ab\x1b[31mcd\n99%\n"


def test_without_a_terminal(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["top"], standalone_mode=False)
    assert "hpctune top needs a terminal" in str(done.exception)


def test_a_look_that_ends_after_the_screen_was_closed_shows_nothing(tmp_path: Path) -> None:
    root = search(tmp_path / "exp", trials=2)
    late = []

    async def leave(user: User) -> None:
        screen = user.app.screen
        assert isinstance(screen, ExperimentScreen)
        await user.until(lambda: screen.details, "the details")
        late.append(screen)

    use(root, leave)
    (screen,) = late
    screen._shown(screen.read())
