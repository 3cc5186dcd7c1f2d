from __future__ import annotations

import csv
import importlib
import json
import math
import os
import pickle
import random
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hpctune import logger
from hpctune.common import env
from hpctune.model.records import ErrorInfo
from hpctune.output.callback import Callback, CallbackList
from hpctune.output.defaults import default_callbacks
from hpctune.output.display.pretty import pretty_print
from hpctune.output.loggers import append_files
from hpctune.output.loggers.error_file import write_error
from hpctune.output.loggers.hparams import summaries
from hpctune.output.loggers.tensorboard import events_path
from hpctune.output.loggers.tfrecord import event_message, record, scalar_head, scalar_value, scalars_of
from hpctune.storage.reader import counted_rows
from hpctune.trial import Trial
from tests.support.output_support import Recorder, usual

ODD: list[dict[str, Any]] = [
    {"a": 1, "b": {"c": 2.5, "d": {"e": 'x,"y"\nz'}}},
    {"a": math.nan, "new": math.inf, "flag": True, "none": None, "list": [1, 2.5, [3]], "empty": [], "dict": {}},
    {"b": {"c": -math.inf}, "ü": "ö", "late": "text", "\ud800": 1.0, "mixed": [1, "a", None]},
]


def begun(root: Path, rows: list[dict[str, Any]]) -> tuple[Recorder, Trial]:
    made = Recorder(root)
    trial_id = made.add(lr=0.1, layers=3, act="relu", deep={"on": True, "f": [1, 2]})
    made.start(trial_id)
    made.report(trial_id, rows)
    return made, made.view(trial_id)


def log(callback: logger.LoggerCallback, trial: Trial, end: bool = True) -> None:
    rows = counted_rows(trial._paths, [trial.trial_id])[trial.trial_id]
    callback.log_trial_start(trial)
    for n, row in enumerate(rows):
        callback.log_trial_result(n, trial, dict(row.row))
    if end:
        callback.log_trial_end(trial)


def table(trial: Trial) -> list[dict[str, str]]:
    with (trial.paths.root / "progress.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def scalars(trial: Trial) -> Any:
    accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(trial.local_path, size_guidance={"scalars": 0, "histograms": 0})
    found.Reload()
    return found


def test_json_lines_are_the_rows(tmp_path: Path) -> None:
    made, trial = begun(tmp_path / "exp", ODD)
    log(logger.JsonLoggerCallback(), trial)
    lines = (trial.paths.root / "result.json").read_text().splitlines()
    rows = [r.row for r in counted_rows(made.paths, [trial.trial_id])[trial.trial_id]]
    assert [json.dumps(json.loads(line), sort_keys=True) for line in lines] == [
        json.dumps(row, sort_keys=True) for row in rows
    ]
    assert json.loads((trial.paths.root / "params.json").read_text()) == trial.config
    assert pickle.loads((trial.paths.root / "params.pkl").read_bytes()) == trial.config


def test_csv_widens_and_loses_nothing(tmp_path: Path) -> None:
    _, trial = begun(tmp_path / "exp", ODD)
    log(logger.CSVLoggerCallback(), trial)
    rows = table(trial)
    assert [r["training_iteration"] for r in rows] == ["1", "2", "3"]
    assert [r["a"] for r in rows] == ["1", "nan", ""]
    assert [r["b/c"] for r in rows] == ["2.5", "", "-inf"]
    assert rows[0]["b/d/e"] == 'x,"y"\nz'
    assert (rows[1]["new"], rows[1]["flag"], rows[1]["none"], rows[1]["list"]) == ("inf", "True", "", "[1,2.5,[3]]")
    assert (rows[2]["ü"], rows[2]["late"]) == ("ö", "text")
    assert not any(key.startswith("config") for key in rows[0])


def test_csv_agrees_with_pandas(tmp_path: Path) -> None:
    pandas = importlib.import_module("pandas")
    _, trial = begun(tmp_path / "exp", [{"loss": 1.5}, {"loss": math.nan, "acc": 0.5}])
    log(logger.CSVLoggerCallback(), trial)
    frame = pandas.read_csv(trial.paths.root / "progress.csv")
    assert frame["loss"].tolist()[0] == 1.5
    assert frame["acc"].isna().tolist() == [True, False]


def test_csv_goes_on_after_the_end(tmp_path: Path) -> None:
    _, trial = begun(tmp_path / "exp", [{"a": 1}])
    callback = logger.CSVLoggerCallback()
    log(callback, trial)
    callback.log_trial_result(2, trial, {"a": 2, "b": 3})
    callback.close()
    assert [(r["a"], r["b"]) for r in table(trial)] == [("1", ""), ("2", "3")]


@pytest.mark.parametrize("ray_names", [False, True])
def test_tensorboard_reads_every_value(tmp_path: Path, ray_names: bool) -> None:
    _, trial = begun(tmp_path / "exp", ODD)
    log(logger.TBXLoggerCallback(ray_names), trial)
    own = "ray/tune/" if ray_names else ""
    found = scalars(trial)
    events = found.Scalars(f"{own}b/c")
    assert [(x.step, x.value) for x in events] == [(1, 2.5), (3, -math.inf)]
    assert [x.wall_time for x in events] == [1_700_000_001.0, 1_700_000_003.0]
    assert [x.value for x in found.Scalars(f"{own}flag")] == [1.0]
    assert math.isnan(found.Scalars(f"{own}a")[1].value)
    assert found.Histograms(f"{own}list")[0].histogram_value.num == 3
    assert f"{own}late" not in found.Tags()["scalars"]


def test_tensorboard_hyperparameters(tmp_path: Path) -> None:
    importlib.import_module("tensorboard")
    from tensorboard.plugins.hparams import metadata

    _, trial = begun(tmp_path / "exp", [{"loss": 1.0}])
    log(logger.TBXLoggerCallback(), trial)
    found = scalars(trial).summary_metadata
    start = metadata.parse_session_start_info_plugin_data(found["_hparams_/session_start_info"].plugin_data.content)
    assert start.hparams["lr"].number_value == 0.1
    assert start.hparams["act"].string_value == "relu"
    assert start.hparams["deep/on"].bool_value is True
    assert "deep/f" not in start.hparams
    named = metadata.parse_experiment_plugin_data(found["_hparams_/experiment"].plugin_data.content)
    assert [info.name.tag for info in named.metric_infos] == ["loss"]


def test_tensorboard_shows_the_users_values_first(tmp_path: Path) -> None:
    row = {"zero": 1.0, "eval": {"accuracy": 0.5}, "_private": 2.0, "9": 3.0, "time_total_s": 4.0, "pid": 7}
    _, trial = begun(tmp_path / "exp", [row])
    log(logger.TBXLoggerCallback(), trial)
    tags = sorted(scalars(trial).Tags()["scalars"])
    assert set(tags[:3]) == {"9", "_private", "eval/accuracy"}
    assert [tag for tag in tags if tag.startswith("~info/")] == tags[4:]
    assert "~info/time_total_s" in tags
    assert "~info/training_iteration" in tags


def test_tensorboard_has_rays_names_if_the_script_imports_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    from hpctune import ray

    assert not logger.TBXLoggerCallback().ray_names
    monkeypatch.setattr(sys, "path", [ray.SITE, *sys.path])
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    assert logger.TBXLoggerCallback().ray_names


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 1023, 1024, 1025, 1027, 3000])
def test_checksum_is_tensorboards(size: int) -> None:
    writer = importlib.import_module("tensorboardX.record_writer")
    data = os.urandom(size)
    length = struct.pack("<Q", size)
    checks = [struct.pack("<I", writer.masked_crc32c(part)) for part in (length, data)]
    assert record(data) == length + checks[0] + data + checks[1]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_thread_and_few_files_stay_open(tmp_path: Path) -> None:
    threads = threading.active_count()
    made = Recorder(tmp_path / "exp")
    callbacks = CallbackList(default_callbacks())
    trials = [made.view(made.add(n=n)) for n in range(100)]
    open_before = open_files()
    for trial in trials:
        callbacks.on_trial_start(1, trials, trial)
    for trial in trials:
        callbacks.on_trial_result(1, trials, trial, {"a": 1.0, "training_iteration": 1})
    assert open_files() - open_before <= 3 * append_files.OPEN_AT_MOST
    callbacks.close()
    assert open_files() == open_before
    assert threading.active_count() == threads
    for trial in trials:
        names = sorted(p.name for p in trial.paths.root.iterdir())
        assert names == [Path(events_path(trial)).name, "params.json", "params.pkl", "progress.csv", "result.json"]
        assert len((trial.paths.root / "result.json").read_text().splitlines()) == 1


def test_rebuilt_files_are_the_same_bytes(tmp_path: Path) -> None:
    made, trial = begun(tmp_path / "exp", ODD)
    first = CallbackList(default_callbacks())
    rows = [r.row for r in counted_rows(made.paths, [trial.trial_id])[trial.trial_id]]
    first.on_trial_start(1, [trial], trial)
    for row in rows:
        first.on_trial_result(1, [trial], trial, row)
    first.close()  # the driver is gone, and half of what it wrote may be torn
    before = {p.name: p.read_bytes() for p in trial.paths.root.iterdir()}
    with (trial.paths.root / "result.json").open("a") as file:
        file.write('{"torn')
    second = CallbackList(default_callbacks())
    second.rebuild(trial, rows)
    second.close()
    after = {p.name: p.read_bytes() for p in trial.paths.root.iterdir()}
    assert {k: v for k, v in after.items() if k != "params.pkl"} == {
        k: v for k, v in before.items() if k != "params.pkl"
    }
    second.rebuild(trial, [])  # restarted from scratch
    assert (trial.paths.root / "result.json").read_bytes() == b""
    assert (trial.paths.root / "progress.csv").read_bytes() == b""


def test_files_of_the_trainable_itself_survive(tmp_path: Path) -> None:
    _, trial = begun(tmp_path / "exp", [{"a": 1}])
    own = trial.paths.root / "events.out.tfevents.1700000001.node1"
    own.write_bytes(b"mine")
    log(logger.TBXLoggerCallback(), trial)
    assert own.read_bytes() == b"mine"


@pytest.mark.parametrize("part", [0, 7])
def test_a_full_disk_delays_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    files = append_files.AppendFiles()
    path = tmp_path / "x" / "a"
    files.start(path, b"one\n")
    assert files.flush()
    real = os.write
    calls = iter([part])

    def full(fd: int, data: Any) -> int:
        wanted = next(calls, None)
        if not wanted:
            raise OSError(28, "No space left on device")
        return real(fd, bytes(data)[:wanted])

    monkeypatch.setattr(append_files.os, "write", full)
    files.append(path, b"a longer line\n")
    assert not files.flush()
    files.append(path, b"three\n")
    assert not files.release(path)
    monkeypatch.undo()
    files.append(tmp_path / "x" / "b", b"other\n")
    files.close()
    assert path.read_bytes() == b"one\na longer line\nthree\n"
    assert (tmp_path / "x" / "b").read_bytes() == b"other\n"


def test_csv_waits_when_it_cannot_be_made_wider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpctune.errors import StorageError
    from hpctune.output.loggers import csv as csv_logger

    _, trial = begun(tmp_path / "exp", [])
    callback = logger.CSVLoggerCallback()
    callback.log_trial_start(trial)
    callback.log_trial_result(1, trial, {"a": 1})

    def refuse(*args: Any, **more: Any) -> None:
        raise StorageError("Disk quota exceeded")

    monkeypatch.setattr(csv_logger.atomic, "write", refuse)
    callback.log_trial_result(2, trial, {"a": 2, "b": 1})
    callback.log_trial_result(3, trial, {"a": 3})
    callback.flush()
    assert [r["a"] for r in table(trial)] == ["1"]
    monkeypatch.undo()
    callback.log_trial_end(trial)
    assert [(r["a"], r["b"]) for r in table(trial)] == [("1", ""), ("2", "1"), ("3", "")]


def test_default_loggers_are_added_unless_given_or_disabled() -> None:
    class Mine(logger.CSVLoggerCallback):
        pass

    class Other(Callback):
        pass

    mine, other = Mine(), Other()
    found = default_callbacks([mine, other])
    assert [type(c).__name__ for c in found] == ["JsonLoggerCallback", "TBXLoggerCallback", "Mine", "Other"]
    for name in ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "HPCTUNE_DISABLE_AUTO_CALLBACK_LOGGERS"):
        assert default_callbacks([other], env.settings({name: "1"}).auto_loggers) == [other]
        assert len(default_callbacks([other], env.settings({name: "0"}).auto_loggers)) == 4
    assert default_callbacks()[0].rebuilds


def test_error_file_grows(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    paths = made.view("1f3a9_00002").paths
    write_error(paths, ErrorInfo("ValueError", "first", "Traceback\nValueError: first\n"), 1_700_000_000.0)
    write_error(paths, ErrorInfo("OSError", "second"), 1_700_000_060.0)
    text = paths.error.read_text()
    assert [line.split(" (")[0] for line in text.splitlines() if line.startswith("Failure")] == [
        "Failure # 1",
        "Failure # 2",
    ]
    assert "ValueError: first" in text
    assert "OSError: second" in text


def test_pretty_print() -> None:
    text = pretty_print({"b": 1, "a": {"y": [1, 2], "x": "w"}, "config": {}, "n": None, "skip": 3}, exclude={"skip"})
    assert text == "a:\n  x: w\n  y: [1,2]\nb: 1\n"


def test_hyperparameters_are_written_as_tensorboardx_would() -> None:
    """But in one order, where protobuf has another in each process."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import hparams

    def parsed(data: bytes) -> tuple[str, Any, Any]:
        summary = Summary.FromString(data)
        (value,) = summary.value
        content = HParamsPluginData.FromString(value.metadata.plugin_data.content)
        value.metadata.plugin_data.content = b""
        return value.tag, content, summary

    many = {f"ü{i % 7}/{i}": [0.1 * i, i, -i, bool(i % 2), "x" * i, "", 0.0, math.nan][i % 8] for i in range(200)}
    some = {"lr": 0.1, "on": False, "act": "relu", "": 1}
    for given, metrics in [(some, {"loss": 1.0}), (many, {f"ray/tune/ü{i}": 1.0 for i in range(60)}), ({}, {})]:
        ours, theirs = list(summaries(given, metrics)), hparams(given, metrics)
        assert [str(parsed(data)) for data in ours] == [str(parsed(m.SerializeToString())) for m in theirs]
        assert list(summaries(dict(reversed(given.items())), metrics))[1] == ours[1]
    assert "inf" in str(parsed(list(summaries({"n": 10**400}, {}))[1]))


def test_scalars_are_written_as_protobuf_would() -> None:
    from tensorboardX.proto.event_pb2 import Event

    rng = random.Random(3)
    for case in range(200):
        values = {
            "ray/tune/" + "ü/x" * rng.randint(0, 60) + str(i): rng.choice(
                [0.0, -0.0, 1.5, float("nan"), float("inf"), 1e300, -1e300, 1e-50, rng.gauss(0, 1), float(2**40)]
            )
            for i in range(rng.choice([0, 1, 2, 20]))
        }
        step, at = rng.choice([0, 1, 127, 128, 300, 2**40, -1]), rng.random() * 2e9
        event = Event(wall_time=at, step=step)
        for tag, value in values.items():
            event.summary.value.add(tag=tag, simple_value=value)
        ours = event_message(at, step, b"".join(scalar_head(t) + scalar_value(v) for t, v in values.items()))
        assert ours == event.SerializeToString(), case


@pytest.mark.parametrize("seed", range(20))
def test_rows_of_a_known_shape_are_written_as_they_would_be_alone(tmp_path: Path, seed: int) -> None:
    """What was found out about a row is used for the next of its shape; a logger that has seen none knows nothing."""
    rng = random.Random(seed)
    _, trial = begun(tmp_path / "exp", [])

    def some(key: str) -> Any:
        kinds = [
            rng.random(),
            rng.randint(-(2**70), 2**70),
            1e300,
            None,
            True,
            "text",
            "a,b\n",
            math.nan,
            [1, 2],
            {"x": 1},
        ]
        return rng.choice(kinds[: 1 + rng.choice([0, 0, 1, 8, 9])]) if key != "config" else {"x": 1}

    keys = ["a", "b", "c", "training_iteration", "timestamp", "config"]
    rows = [{key: some(key) for key in keys if rng.random() < 0.9} for _ in range(40)]

    def files(flushes: int) -> dict[str, bytes]:
        loggers = CallbackList(default_callbacks())
        loggers.on_trial_start(1, [trial], trial)
        for number, row in enumerate(rows):
            loggers.on_trial_result(number, [trial], trial, row)
            for callback in loggers.callbacks:
                if flushes:
                    getattr(callback, "_quick", {}).clear()
                    for one in getattr(callback, "_tables", {}).values():
                        one.quick.clear()
            if number < flushes:
                loggers.flush()
        loggers.close()
        return {path.name: path.read_bytes() for path in trial.paths.root.iterdir() if path.suffix != ".pkl"}

    assert files(0) == files(20)
    written = (trial.paths.root / "result.json").read_text().splitlines()
    assert [repr(json.loads(line)) for line in written] == [repr(row) for row in rows]


def test_values_that_are_too_large_for_tensorboard() -> None:
    write = scalars_of(["a", "b"])
    assert write([1.5, 2]) == scalar_head("a") + scalar_value(1.5) + scalar_head("b") + scalar_value(2.0)
    with pytest.raises(OverflowError):
        write([1e300, 1.0])
    with pytest.raises(struct.error):
        write([1.0, 10**400])


# -- VisKit ------------------------------------------------------------------------------------------------------------


def test_the_directory_is_as_viskit_reads_it(tmp_path: Path) -> None:
    """VisKit takes every directory below the one that it is given, and leaves out those that lack ``progress.csv`` or
    ``params.json``. The first is a table of which every cell becomes a float, or 0; the second JSON, whose nested dicts
    are joined with dots, and whose values it writes with repr, evaluates, and compares."""
    made = usual(tmp_path / "exp")
    for trial_id in made.state.trials:
        for callback in (logger.JsonLoggerCallback(), logger.CSVLoggerCallback()):
            log(callback, made.view(trial_id))
    found = {}
    for root, _, _ in os.walk(made.paths.root):
        progress, params = Path(root, "progress.csv"), Path(root, "params.json")
        if not (progress.is_file() and params.is_file()) or progress.stat().st_size == 0:
            continue
        with progress.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert all(None not in row and None not in row.values() for row in rows), "as many cells as columns"
        data = json.loads(params.read_text())
        assert "args_data" not in data
        assert all(isinstance(key, str) for key in data)
        flat = {"lr": data["lr"], "net.width": data["net"]["width"]}
        assert all(eval(repr(value)) == value for value in flat.values())
        found[Path(root).name.split("_")[2]] = (flat, [float(row["loss"]) for row in rows])
    assert found.keys() == {"00000", "00001", "00002", "00003"}, "the last has no result yet"
    assert found["00000"] == ({"lr": 0.1, "net.width": 8}, [3.0, 1.0])
    assert math.isnan(found["00002"][1][0])
