"""Tables as files: CSV, JSON, Parquet, and pickled pandas tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.common.packages import load
from hpctune.errors import UsageError
from hpctune.storage.values import as_json, plain

FORMS = ("csv", "json", "parquet", "pkl", "p", "pickle")
Row = Mapping[str, Any]


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write rows to a file, whose ending says how. Raises UsageError for an ending that is not known."""
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMS:
        raise UsageError(f"{path}: the ending says what to write. Possible are .csv, .json, .parquet and .pkl.")
    write_as(form, rows, path)


def write_as(form: str, rows: Sequence[Row], path: Path) -> None:
    """Write rows to a file in one of :data:`FORMS`."""
    if form == "csv":
        path.write_text(csv_text(rows), errors="surrogatepass")
    elif form == "json":
        path.write_text(as_json(rows) + "\n", errors="surrogatepass")
    elif form == "parquet":
        _write_parquet(rows, path)
    else:
        import pandas

        pandas.DataFrame(rows).to_pickle(path)


def csv_text(rows: Sequence[Row]) -> str:
    """All columns, in the order in which they appear; an empty cell for no value."""
    written = io.StringIO()
    table = csv.DictWriter(written, columns_of(rows), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return written.getvalue()


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Every column that a row has, in the order in which they appear."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    load("pyarrow", "", "parquet", "A Parquet file")
    import pandas

    columns = {name: _of_one_type([row.get(name) for row in rows]) for name in columns_of(rows)}
    pandas.DataFrame(columns).to_parquet(path, engine="pyarrow", index=False)


def _of_one_type(values: Sequence[Any]) -> list[Any]:
    """The values of a column, as JSON if they are of several types or no single values: Parquet has typed columns."""
    made = [plain(value) for value in values]
    kinds = {type(value) for value in made if value is not None}
    if kinds <= {bool} or kinds <= {str} or kinds <= {int, float}:
        return made
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in made]
