"""Results from the worker's report to the journal: the text that was written first is the text that is kept."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

from hypothesis import given, strategies as st

from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.records import Claim, Control, ResultRow
from hpctune.model.rows import Row, shape_of
from hpctune.model.trial import CheckpointRef
from hpctune.storage import codec, run_file, values
from hpctune.storage.run_file import RunFile, RunTail
from hpctune.worker.rows import Rows

RUN = RunKey("t", 1, 0)
KEYS = st.sampled_from(["a", "b", "trial_id", "row", "seq", 'quote"', "ü", ',"trial_id":"', ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def claimed(path: Path) -> RunFile:
    file = RunFile.claim(path, Claim(RUN, "7", "node", 1, 0.0))
    assert file is not None
    return file


def rows_of(tail: RunTail, some: bool = False) -> list[Row]:
    found = [record.row for record in tail.read(some) if isinstance(record, ResultRow)]
    assert all(type(row) is Row for row in found)
    return found  # type: ignore[return-value]


@given(st.dictionaries(KEYS, JSON), st.lists(st.dictionaries(KEYS, JSON), min_size=1, max_size=5))
def test_rows_are_read_as_they_were_written(tmp_path_factory: Any, config: dict[str, Any], own: list[Any]) -> None:
    path = tmp_path_factory.mktemp("rows") / "run-1.0.jsonl"
    file, made = claimed(path), Rows(Control("e", "t", "t", "0_x", 1, config, {}), RUN, "7", "")
    texts = [made.text(made.own(each), {"training_iteration": n}, False) for n, each in enumerate(own)]
    for text in texts:
        file.result_text(text)
    file.close()
    found = rows_of(RunTail(path, RUN))
    assert [row.text for row in found] == texts
    assert [repr(dict(row)) for row in found] == [repr(json.loads(text)) for text in texts]
    found[0]["config"]["changed"] = True  # which changes no other row
    assert [repr(dict(row)) for row in found[1:]] == [repr(json.loads(text)) for text in texts[1:]]


@given(st.lists(st.dictionaries(KEYS, JSON), min_size=1, max_size=5))
def test_rows_of_any_kind_are_read(tmp_path_factory: Any, rows: list[Any]) -> None:
    path = tmp_path_factory.mktemp("rows") / "run-1.0.jsonl"
    file = claimed(path)
    for row in rows:
        file.result(row, "checkpoint_000001" if row else None)
    file.close()
    found = [record for record in RunTail(path, RUN).read() if isinstance(record, ResultRow)]
    assert [repr(dict(record.row)) for record in found] == [repr(json.loads(json.dumps(row))) for row in rows]
    assert [record.checkpoint for record in found] == ["checkpoint_000001" if row else None for row in rows]
    for record in found:
        for event in (
            e.ResultReported(RUN, record.seq, record.row, e.Verdict.OVERRUN, CheckpointRef('c"', 3, 0.5)),
            e.ResultReported(RUN, record.seq, record.row),
        ):
            [back] = codec.decode_group(json.loads(codec.encode(e.Recorded(2.5, event))))
            assert repr(back) == repr(e.Recorded(2.5, e.ResultReported(
                RUN, record.seq, dict(record.row), event.verdict, event.checkpoint)))  # fmt: skip


def test_a_garbled_row_is_left_out_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run-1.0.jsonl"
    claimed(path).close()
    end = ',"trial_id":"t","config":{"x":1}}'
    lines = [
        '{"seq":1,"row":{"a":1' + end + "}",
        '{"seq":2,"row":{"a":' + end + "}",
        '{"seq":3,"row":{"a":3' + end + "}",
    ]
    with path.open("a") as file:
        file.write(
            "\n".join([*lines, '{"seq":4,"row":{"a":{"b":4' + end + "}}", '{"seq":5,"row":{"a":5' + end + "}\n"])
        )
    records = [record for record in RunTail(path, RUN).read() if isinstance(record, ResultRow)]
    assert [(record.seq, record.row["a"]) for record in records] == [
        (1, 1), (3, 3), (4, {"b": 4, "trial_id": "t", "config": {"x": 1}}), (5, 5),
    ]  # fmt: skip


def test_a_long_file_is_read_a_part_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "run-1.0.jsonl"
    file, tail = claimed(path), RunTail(path, RUN)
    sizes = [10, run_file.SOME, 2 * run_file.SOME, 5, *[100] * 4000]
    for size in sizes:
        file.result({"pad": "x" * size})
    found, parts = list[int](), 0
    while True:
        rows = rows_of(tail, some=True)
        found += [len(row["pad"]) for row in rows]
        parts += 1
        if not tail.behind:
            break
        assert len(rows) < 2000
    assert found == sizes
    assert parts > 4
    assert rows_of(tail, some=True) == []
    assert not tail.behind
    assert [len(row["pad"]) for row in rows_of(RunTail(path, RUN))] == sizes


def test_a_row_is_a_dict_to_all_others() -> None:
    row = Row({"a": 1, "b": {"c": 2.0}}, '{"a":1,"b":{"c":2.0}}')
    for other in (pickle.loads(pickle.dumps(row)), copy.deepcopy(row), copy.copy(row), row.copy(), {**row}):
        assert type(other) is dict
        assert other == row == {"a": 1, "b": {"c": 2.0}}
    assert values.dumps(row) == row.text
    assert shape_of(row) == shape_of(dict(row)) == (("a", "b"), (int, dict))
