from __future__ import annotations

import importlib
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctune.common.text import duration
from hpctune.errors import TuneError, UsageError
from hpctune.model import events as e
from hpctune.model.progress import ALL_DONE
from hpctune.model.trial import Phase
from hpctune.output.display import plain
from hpctune.output.display.columns import Options, cell
from hpctune.output.display.curves import ShownCurves
from hpctune.output.display.display import PlainDisplay, ReporterDisplay, SilentDisplay, make_display
from hpctune.output.display.layout import AMBER, GREEN, RED, TEAL, as_renderable, as_text
from hpctune.output.display.lines import progress_line
from hpctune.output.display.reporters import as_html
from hpctune.output.display.selection import choose
from hpctune.output.display.status import StatusContext, options_for, status, status_of
from hpctune.ports import CallStats
from hpctune.progress_reporter import CLIReporter, JupyterNotebookReporter, ProgressReporter
from hpctune.trial import Trial
from tests.support.output_support import T0, Recorder, usual

BLOCK = """\
== Experiment exp ==
Trials:  5 so far (1 running, 1 queued)
Done:    [##############----------] 3 of 5 (2 completed, 1 failed)
Best:    loss=1 by 1f3a9_00000 (lr=0.1, net/width=8)
Results: /scratch/exp
Cluster: 42 calls, 3 of 20 allowed in the last minute
Note:    slurm: squeue does not answer
+--------------------+------------+-------------------------------+------+-----------+------+----------------+----------+------+
|  trial             | status     | where                         |   lr | net/width | iter | total time (s) | eval/acc | loss |
+--------------------+------------+-------------------------------+------+-----------+------+----------------+----------+------+
|  1f3a9_00003 | running    | node7                         |  0.2 |         8 |    1 |              2 |      0.2 |    5 |
|  1f3a9_00004 | queued     | job 104: next in line: waits for free nodes |  0.3 |         8 |      |                |          |      |
|  1f3a9_00002 | error      |                               |  0.5 |         8 |    1 |              2 |          |  nan |
| *1f3a9_00000 | completed  |                               |  0.1 |         8 |    2 |              4 |      0.6 |    1 |
|  1f3a9_00001 | completed  |                               | 0.01 |         8 |    2 |              4 |      0.5 |    2 |
+--------------------+------------+-------------------------------+------+-----------+------+----------------+----------+------+
+-------------------+----------+-----------------------+------------------------------------------------------------------------------+
| failed trial      | failures | last error            | file                                                                         |
+-------------------+----------+-----------------------+------------------------------------------------------------------------------+
| 1f3a9_00002 |        1 | ValueError: no memory | train_1f3a9_00002_2,lr=0.5,net={'width': 8}/error.txt |
+-------------------+----------+-----------------------+------------------------------------------------------------------------------+
"""  # noqa: E501


def squeezed(text: str) -> list[str]:
    """Lines without the widths of their columns."""
    return [" ".join(line.replace("-", "").split()) for line in text.splitlines() if not line.startswith("Time")]


def views(made: Recorder) -> list[Trial]:
    return [made.view(trial_id) for trial_id in made.state.trials]


def many(made: Recorder, count: int, stop: str | None = None) -> None:
    base = made.state.trials["1f3a9_00000"]
    for n in range(count):
        last = {"loss": float(10 + n % 7), "training_iteration": 1}
        trial = replace(
            base, trial_id=f"x{n:05d}", name=f"x{n:05d}", index=100 + n, last=last, ended_at=T0 + n, stop=stop
        )
        made.state._put(None, trial)


def test_the_block(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    note, calls = "slurm: squeue does not answer", CallStats(42, 3, 20)
    text = as_text(status_of(made.state, made.now, where="/scratch/exp", note=note, calls=calls))
    assert squeezed(text) == squeezed(BLOCK)
    widths = [len(line) for line in text.splitlines() if line[0] in "|+"]
    assert len(set(widths)) == 2


def test_the_time_that_is_left(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    trials, counts = made.state.trials.values(), made.state.phases
    around = StatusContext(made.now, elapsed_s=600.0, expected=24)
    done = dict(status(trials, counts, around, options_for(made.state)).lines)["Done"]
    assert done == "[###---------------------] 3 of 24 (2 completed, 1 failed, about 70 min left)"
    assert "Done" not in dict(status(trials, counts, StatusContext(made.now), options_for(made.state)).lines)


def test_long_parameters_of_the_best_have_lines_of_their_own(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    best = next(iter(made.state.trials.values()))
    evaluated = {f"parameter_number_{n}": n for n in range(12)}
    trials = [replace(best, evaluated=evaluated, config=evaluated)]
    lines = status(trials, made.state.phases, StatusContext(made.now), options_for(made.state)).lines
    at = [heading for heading, _ in lines].index("Best")
    assert lines[at][1].endswith(best.trial_id)
    assert all(heading == "" and len(text) <= 100 for heading, text in lines[at + 1 : at + 3])
    assert "parameter_number_11=11" in " ".join(text for _, text in lines)


def test_a_block_of_nothing(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp", metric=None, mode=None)
    assert as_text(status_of(made.state, made.now)).splitlines()[:2] == ["== Experiment exp ==", "Trials: 0 so far"]


def test_ten_thousand_trials_in_twenty_rows(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    many(made, 9_995)
    status = status_of(made.state, made.now)
    assert status.trials is not None
    assert len(status.trials.rows) == 20
    assert status.more == "... 9,980 more: 9,980 completed"
    names = [row[0].strip() for row in status.trials.rows]
    assert names[0] == "1f3a9_00003"  # what runs comes first
    assert "*1f3a9_00000" in names  # the best is always there
    assert names[-1] == "x09994"  # and the newest


def test_what_ended_by_itself_and_what_was_stopped_early_are_told_apart(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    many(made, 3000, stop="ASHA: its rung")
    status = status_of(made.state, made.now)
    assert status.trials is not None
    assert {row[1] for row in status.trials.rows} == {"running", "queued", "error", "completed", "stopped early"}
    assert "2 completed, 3,000 stopped early, 1 failed" in dict(status.lines)["Done"]
    assert status.more == "... 2,985 more: 1 completed, 2,984 stopped early"
    endless = Recorder(tmp_path / "endless", num_samples=-1)
    endless.start(endless.add(lr=1))
    endless.finish("1f3a9_00000")
    assert dict(status_of(endless.state, endless.now).lines)["Trials"] == "1 so far (1 completed)"


def test_why_it_ended_before_all_trials_were_done(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    assert {"Ended", "Stopping"}.isdisjoint(dict(status_of(made.state, made.now).lines))
    made.record(e.ExperimentStopRequested("budget used up: 9 of 10 GPU hours"))
    assert dict(status_of(made.state, made.now).lines)["Stopping"] == "budget used up: 9 of 10 GPU hours"
    assert "stopping: budget used up: 9 of 10 GPU hours" in progress_line(made.state, made.now)
    made.record(e.ExperimentEnded("budget used up: 9 of 10 GPU hours"))
    assert dict(status_of(made.state, made.now).lines)["Ended"] == "budget used up: 9 of 10 GPU hours"
    whole = Recorder(tmp_path / "whole")
    whole.record(e.ExperimentEnded(ALL_DONE))
    assert "Ended" not in dict(status_of(whole.state, whole.now).lines)


def test_trials_on_the_front_are_always_in_the_table(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp", more_objectives=(("size", "min"),))
    for n in range(60):
        trial = made.add(lr=None)
        made.start(trial)
        made.report(trial, [{"loss": float(n), "size": 9.0 - n if n < 5 else 99.0}])
        made.finish(trial)
    table = status_of(made.state, made.now).trials
    assert table is not None
    starred = [row[0] for row in table.rows if row[0].startswith("*")]
    assert starred == [f"*1f3a9_{n:05d}" for n in range(5)]
    assert len(table.rows) == 20
    assert {row[2] for row in table.rows} == {"None"}, "a value of a parameter, not a hole"


def test_sorted_by_metric(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    shown, _ = choose(made.state.trials.values(), [], Options("loss", "min", sort_by_metric=True))
    assert [t.index for t in shown] == [0, 1, 3, 2, 4]  # NaN and nothing come last
    shown, more = choose(made.state.trials.values(), [], Options("loss", "min", max_rows=0))
    assert (shown, more) == ([], "... 5 more: 1 running, 1 queued, 1 error, 2 completed")


def test_durations_in_words() -> None:
    assert [duration(s, exact=True) for s in (-1, 59.9, 60, 3599, 7620, 90_000)] == [
        *("0 s", "59 s", "1 min 00 s", "59 min 59 s", "2 h 07 min", "1 d 01 h"),
    ]


def test_cells_are_one_short_line() -> None:
    assert cell("a\nb\x1b[31m", 20) == "a b [31m"
    assert cell("x" * 30, 10) == "xxxxxxxx.."
    assert [cell(v) for v in (0.123456789, 1, True, None, float("nan"))] == ["0.123457", "1", "True", "", "nan"]


def test_eighty_columns_have_room_for_the_curve_rather_than_for_the_seconds(tmp_path: Path) -> None:
    console = importlib.import_module("rich.console")
    made, out = Recorder(tmp_path / "exp"), io.StringIO()
    trial, curves = made.add(learning_rate=0.0123456, momentum=0.9), ShownCurves()
    made.start(trial, "node-with-a-long-name")
    for loss in (8.0, 4.0, 1.0):
        made.report(trial, [{"loss": loss}])
        block = as_renderable(status_of(made.state, made.now, curves=curves))
    console.Console(file=out, width=80, height=40).print(block)
    assert "█▄▁" in out.getvalue()
    assert re.search(r"no room for: .*total time \(s\)", out.getvalue())


@pytest.mark.parametrize("width", [30, 45, 80, 120, 200])
def test_rich_fits_any_width(tmp_path: Path, width: int) -> None:
    console = importlib.import_module("rich.console")
    made = usual(tmp_path / "exp")
    out = io.StringIO()
    console.Console(file=out, width=width, height=40).print(as_renderable(status_of(made.state, made.now, where="/x")))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    row = next(line for line in lines if line.startswith(" 1f3a9") and " runn" in line)
    assert row.split()[-1] == "5" or width < 40  # the metric is never left out
    assert ("node7" in row) == (width >= 120)


def test_a_narrow_terminal_says_what_it_leaves_out(tmp_path: Path) -> None:
    console = importlib.import_module("rich.console")
    made, out = usual(tmp_path / "exp"), io.StringIO()
    facts = [("Workers", "3 of 4 run"), ("Queue", "jobs waited 9 s")]
    block = as_renderable(status_of(made.state, made.now, facts=facts))
    console.Console(file=out, width=78, height=40).print(block)
    assert re.search(r"no room for: where, .*\)\n", out.getvalue())
    assert "ValueError: no memory" in out.getvalue()
    assert re.search(r"Queue +jobs waited 9 s", out.getvalue())


def luminance(colour: str) -> float:
    """The relative luminance of WCAG."""
    triplet = importlib.import_module("rich.color").Color.parse(colour).get_truecolor()
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in triplet)]
    return float(sum(part * share for part, share in zip(linear, (0.2126, 0.7152, 0.0722), strict=True)))


@pytest.mark.parametrize("colour", [GREEN, AMBER, TEAL, RED])
def test_colours_can_be_read_on_light_and_on_dark(colour: str) -> None:
    own = luminance(colour)
    assert 1.05 / (own + 0.05) >= 4.3, "on white"
    assert (own + 0.05) / (luminance("#181a1f") + 0.05) >= 3, "on a dark background"


def test_live_table_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = importlib.import_module("rich.console")
    from hpctune.output.display.live import RichProgress

    made = usual(tmp_path / "exp")
    out = io.StringIO()
    screen = console.Console(file=out, width=100, height=24, force_terminal=True, color_system=None)
    display = RichProgress(out, verbose=2, where="/scratch/exp", console=screen)
    display.update(made.state, views(made), "", made.now, False)
    first = len(out.getvalue())
    display.update(made.state, views(made), "", made.now + 0.3, False)
    assert len(out.getvalue()) == first  # not yet
    display.message("job 105 [submitted]")
    display.update(made.state, views(made), "", made.now + 100, True)
    display.close()
    assert "job 105 [submitted]" in out.getvalue()
    assert "1f3a9_00003" in out.getvalue()


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_display_suits_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Recorder(tmp_path / "exp").spec
    monkeypatch.setenv("TERM", "xterm")
    kinds = [type(make_display(spec, v, None, s)).__name__ for v, s in ((0, Tty()), (2, Tty()), (2, io.StringIO()))]
    assert kinds == ["SilentDisplay", "RichProgress", "PlainDisplay"]
    assert isinstance(make_display(spec, 1, CLIReporter(), Tty()), ReporterDisplay)
    assert isinstance(make_display(spec, 0, CLIReporter(), Tty()), SilentDisplay)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_display(spec, 2, None, Tty()), PlainDisplay)


class Log:
    """A plain display that writes to a log, and its new lines without the time."""

    def __init__(self, made: Recorder, **options: Any) -> None:
        self.made, self.out = made, io.StringIO()
        self.display = PlainDisplay(self.out, 2, "/scratch/exp", **options)

    def __call__(self, after: float, done: bool = False) -> list[str]:
        before = len(self.out.getvalue())
        self.display.update(self.made.state, views(self.made), "", T0 + after, done)
        return [line[21:] for line in self.out.getvalue()[before:].splitlines()]


def test_without_a_terminal_a_line_comes_each_minute(tmp_path: Path) -> None:
    log = Log(usual(tmp_path / "exp"), line_s=60)
    line = "3 of 5 done (2 completed, 1 failed), 1 running, 1 queued; best loss=1 by 1f3a9_00000; about 7 s left"
    told = log(12)
    assert told[0] == "experiment exp, results: /scratch/exp"
    assert told[-1] == line
    assert log(71) == []
    assert len(log(73)) == 1
    done = log(74, done=True)
    assert any("node7" in text for text in done)  # the table
    assert log(75, done=True) == []


def test_a_new_best_is_told_at_once(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp")
    log, trial, other = Log(made, best_s=5), made.add(lr=0.1), made.add(lr=0.2)
    log(0)
    for each in (trial, other):
        made.start(each)
    made.report(trial, [{"loss": 4.0}])
    assert log(10) == ["new best: loss=4 by 1f3a9_00000 (lr=0.1)"]
    made.report(other, [{"loss": 5.0}])
    assert log(20) == []
    made.report(other, [{"loss": 3.0}])
    assert log(21) == ["new best: loss=3 by 1f3a9_00001 (lr=0.2)"]
    made.report(trial, [{"loss": 2.0}])
    assert log(22) == [], "the next one waits"
    made.report(trial, [{"loss": 1.0}])
    assert log(27) == ["new best: loss=1 by 1f3a9_00000 (lr=0.1)"], "only the newest is told"
    made.report(trial, [{"loss": float("nan")}, {"loss": 7.0}])
    assert "best loss=3 by 1f3a9_00001" in log(70)[0]
    made.report(trial, [{"loss": 2.0}])
    assert log(80) == ["best now: loss=2 by 1f3a9_00000 (lr=0.1)"], "the best was worse since, and better before"
    made.report(other, [{"loss": 0.5}])
    assert log(90) == ["new best: loss=0.5 by 1f3a9_00001 (lr=0.2)"]


def test_several_metrics_tell_what_is_new_on_the_front(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp", more_objectives=(("size", "min"),))
    log = Log(made)
    log(0)
    for n in range(5):
        trial = made.add(lr=n)
        made.start(trial)
        made.report(trial, [{"loss": float(n), "size": 9.0 - n}])
    made.report(trial, [{"loss": 4.0, "size": 6.0}])
    told = log(10)
    assert told[0] == "new on the Pareto front: loss=0, size=9 by 1f3a9_00000 (lr=0)"
    assert told[-1] == "new on the Pareto front: 1 more"
    assert "4 trials on the Pareto front; loss=0 by 1f3a9_00000" in log(70)[0]


def test_the_same_failure_is_told_once_and_counted(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp")
    log = Log(made)
    log(0)
    for n in range(4):
        trial = made.add(lr=n)
        made.start(trial)
        made.fail(trial, f"no memory for {n} GB")
        told = log(1 + n)
        assert told == ([f"failed: {trial}: ValueError: no memory for 0 GB (train_{trial}_0,lr=0/error.txt)"][n:])
    assert log(61)[1:] == ["failed: 1f3a9_00000 and 3 more trials: ValueError: no memory for 0 GB"]
    assert len(log(122)) == 1


def test_the_failure_of_a_trial_that_went_well_after_it_is_shown(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp")
    trial = made.add(lr=1)
    made.start(trial)
    made.fail(trial, "no luck", again=True)
    made.start(trial)
    made.finish(trial)
    out = io.StringIO()
    make_display(made.spec, 2, None, out).update(made.state, views(made), "", made.now, True)
    assert re.search(rf"{trial} *\| *1 \| ValueError: no luck", out.getvalue())


def test_what_was_before_a_resume_is_no_news(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    made.record(e.DriverStopped("told to leave"), e.DriverStarted(2, "login1", 4712, "0.1"))
    log = Log(made)
    assert not any(text.startswith(("new", "failed")) for text in log(100))
    made.report("1f3a9_00003", [{"loss": 1.5}])
    assert log(110) == []
    made.report("1f3a9_00003", [{"loss": 0.5}])
    assert log(120) == ["new best: loss=0.5 by 1f3a9_00003 (lr=0.2, net/width=8)"]


@pytest.mark.parametrize("columns", [60, 80])
def test_a_dumb_terminal_has_a_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(plain, "columns_of", lambda stream: columns)
    log = Log(usual(tmp_path / "exp"))
    log(100)
    log(101, done=True)
    lines = log.out.getvalue().splitlines()
    assert max(len(line) for line in lines if not line.startswith(("Results", "Done", "Best", "Trials"))) <= columns
    assert any("| loss |" in line for line in lines)


def test_verbosity(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    texts = {}
    for verbose in (1, 2, 3):
        out = io.StringIO()
        display = make_display(made.spec, verbose, None, out)
        display.update(made.state, views(made), "", made.now, True)
        display.message("job 105 submitted")
        texts[verbose] = out.getvalue()
    assert "| " not in texts[1]
    assert "| " in texts[2]
    assert "1f3a9_00003: iteration 1, loss=5, eval/acc=0.2, after 2 s\n" in texts[3]
    assert texts[2].endswith("job 105 submitted\n")


def test_each_result_is_said_once(tmp_path: Path) -> None:
    made, out = usual(tmp_path / "exp"), io.StringIO()
    display = PlainDisplay(out, 3)

    def lines() -> list[str]:
        before = len(out.getvalue())
        display.update(made.state, views(made), "", made.now, False)
        return [x for x in out.getvalue()[before:].splitlines() if ": iteration" in x]

    assert len(lines()) == 4
    assert lines() == []
    made.report("1f3a9_00003", [{"loss": 4.5}])
    made.finish("1f3a9_00003")
    assert lines() == ["1f3a9_00003: iteration 2, loss=4.5, after 4 s"]


def test_a_stream_that_fails_is_no_error(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    closed = io.StringIO()
    display = PlainDisplay(closed, 2)
    closed.close()
    display.update(made.state, views(made), "", made.now, False)
    raw = io.BytesIO()
    ascii_only = io.TextIOWrapper(raw, encoding="ascii")
    PlainDisplay(ascii_only, 2).message("löss → 0")
    assert raw.getvalue() == b"l?ss ? 0\n"


class Steps:
    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> float:
        return self.now


def test_cli_reporter_takes_all_of_rays_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = usual(tmp_path / "exp")
    reporter = CLIReporter(
        metric_columns={"loss": "l", "training_iteration": "n"},
        parameter_columns=["lr"],
        total_samples=9,
        max_progress_rows=3,
        max_error_rows=0,
        max_column_length=12,
        max_report_frequency=10,
        metric="loss",
        mode="max",
        sort_by_metric=True,
    )
    reporter.add_metric_column("eval/acc", "accuracy")
    reporter.add_parameter_column("net/width")
    with pytest.raises(UsageError, match="there already"):
        reporter.add_metric_column("loss")
    with pytest.raises(UsageError, match="without headings"):
        reporter.add_parameter_column("x", "y")
    reporter.setup(start_time=T0, metric="other", mode="min")
    reporter.report(views(made), False, "Results: /scratch")
    text = capsys.readouterr().out
    assert "Trials: 5/9 (" in text
    assert "loss=5 by 1f3a9_00003" in text
    assert "Results: /scratch" in text
    assert "... 2 more" in text
    head = next(line for line in text.splitlines() if "status" in line)
    assert [h.strip() for h in head.strip("|").split("|")] == [
        *("trial", "status", "where", "lr", "net/width", "l", "n", "accuracy"),
    ]


def test_reporter_reports_at_its_frequency(tmp_path: Path) -> None:
    made, clock = usual(tmp_path / "exp"), Steps()
    reporter = CLIReporter(max_report_frequency=5)
    reporter.clock = clock
    asked = []
    for seconds, done in ((0, False), (4, False), (6, False), (7, True)):
        clock.now = T0 + seconds
        asked.append(reporter.should_report(views(made), done))
    assert asked == [True, False, True, True]


def test_intermediate_tables(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    for wanted, verbose, shown in ((None, 1, False), (None, 2, True), (False, 2, False), (True, 1, True)):
        reporter = CLIReporter(print_intermediate_tables=wanted)
        reporter.verbose = verbose
        assert ("| " in reporter._progress_str(views(made), False)) is shown
        assert "| " in reporter._progress_str(views(made), True)


def test_a_users_reporter_is_asked_every_time(tmp_path: Path) -> None:
    class OnTermination(ProgressReporter):
        def __init__(self) -> None:
            self.ended, self.reports = 0, []

        def should_report(self, trials: Sequence[Trial], done: bool = False) -> bool:
            before, self.ended = self.ended, sum(t.status == Trial.TERMINATED for t in trials)
            return self.ended > before

        def report(self, trials: Sequence[Trial], done: bool, *sys_info: str) -> None:
            self.reports.append((self.ended, done))

    made, reporter = usual(tmp_path / "exp"), OnTermination()
    display: Any = make_display(made.spec, 2, reporter, io.StringIO())
    for done in (False, False, True, True):
        display.update(made.state, views(made), "", made.now, done)
    assert reporter.reports == [(2, False), (2, True)]


def test_notebook_reporter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = usual(tmp_path / "exp")
    reporter = JupyterNotebookReporter(overwrite=True, max_progress_rows=5, metric="loss", mode="min")
    reporter.report(views(made), True)
    assert "1f3a9_00000" in capsys.readouterr().out
    page = as_html(reporter.status(views(made), True, "<b>"))
    assert "<td>*1f3a9_00000</td>" in page
    assert "&lt;b&gt;" in page


def test_options_take_the_experiments_metric(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    assert options_for(made.state, max_rows=3) == Options("loss", "min", max_rows=3)
    assert made.state.phases[Phase.RUNNING] == 1


def test_a_broken_reporter_is_named(tmp_path: Path) -> None:
    class Broken(ProgressReporter):
        def report(self, trials: Sequence[Trial], done: bool, *sys_info: str) -> None:
            raise KeyError("x")

    made = usual(tmp_path / "exp")
    display = make_display(made.spec, 2, Broken(), io.StringIO())
    with pytest.raises(TuneError, match=r"Reporter Broken failed: KeyError\('x'\)"):
        display.update(made.state, views(made), "", made.now, False)


def test_a_live_table_has_curves(tmp_path: Path) -> None:
    console = importlib.import_module("rich.console")
    from hpctune.output.display.live import RichProgress

    made = Recorder(tmp_path / "exp")
    trial = made.add(x=1)
    made.start(trial)
    out = io.StringIO()
    screen = console.Console(file=out, width=120, height=30, force_terminal=True, color_system=None)
    display = RichProgress(out, console=screen)
    for n, loss in enumerate((8.0, 4.0, 4.0, 1.0)):
        made.report(trial, [{"loss": loss}])
        display.update(made.state, views(made), "", made.now + 1000.0 * n, False)
    display.close()
    assert "█▄▄▁" in out.getvalue()


def test_curves_of_what_was_shown(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp")
    trial = made.add(x=1)
    made.start(trial)
    curves = ShownCurves()
    assert curves.text(made.state.trials[trial], "loss") == ""
    for n in range(500):
        made.report(trial, [{"loss": float(n)}])
        for _ in range(2):
            text = curves.text(made.state.trials[trial], "loss")
    assert (text[0], text[-1], len(text)) == ("▁", "█", 12)
    made.report(trial, [{"loss": float("nan")}])
    assert curves.text(made.state.trials[trial], "loss") == text
