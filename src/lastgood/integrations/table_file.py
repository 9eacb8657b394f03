"""Reads a table, a .csv or .parquet, some thousand rows at a time and column by column."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from lastgood.errors import Code, LastgoodError

_CELLS: Final = 200_000
_ROWS: Final = 10_000
_BUFFER_BYTES: Final = 1024 * 1024


class FileTable(NamedTuple):
    """The :class:`~lastgood.quality_ports.Table` of a file."""

    columns: list[str]
    batches: Callable[[Sequence[int]], Iterator[list[Sequence[Any]]]]


@contextmanager
def open_table(file: Path) -> Iterator[FileTable]:
    """Open a table for reading once. Of a CSV file all values are texts.

    :raises LastgoodError: ``not_found``, or ``invalid`` when it is no such file, or pyarrow is not installed.
    """
    if not file.is_file():
        raise LastgoodError(Code.NOT_FOUND, f"There is no file {file}.", "Check the path.")
    opened = {".csv": _csv, ".parquet": _parquet}.get(file.suffix.lower())
    if opened is None:
        raise LastgoodError(
            Code.INVALID, f"{file} is neither a .csv nor a .parquet file.", "Export it as one of the two."
        )
    try:
        with opened(file) as table:
            named = [name for name in table.columns if name]
            if len(set(named)) < len(table.columns):
                wrong = next((name for name in named if named.count(name) > 1), "")
                why = f"two columns are called {wrong!r}" if wrong else "a column has no name"
                raise LastgoodError(Code.INVALID, f"{file}: {why}.", "Name each column, and each otherwise.")
            yield table
    except OSError as error:
        raise LastgoodError(
            Code.INVALID,
            f"{file} cannot be read: {error.strerror or _line(error)}.",
            "Check the path and its rights.",
        ) from None


@contextmanager
def _csv(file: Path) -> Iterator[FileTable]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines)
        rows = _csv_rows(file, reader)
        names = [name.strip() for name in next(rows, [])]
        if not names:
            raise LastgoodError(Code.INVALID, f"{file} is empty.", "Write a head line and rows.")

        def batches(places: Sequence[int]) -> Iterator[list[Sequence[Any]]]:
            size = _batch_rows(names)
            batch = []
            for row in rows:
                if not row:
                    continue  # an empty line
                if len(row) != len(names):
                    raise LastgoodError(
                        Code.INVALID,
                        f"{file}, line {reader.line_num}: {len(row)} cells under {len(names)} column names.",
                        "Write each row with a cell for each column.",
                    )
                batch.append(row)
                if len(batch) == size:
                    yield _chosen(batch, places)
                    batch = []
            if batch:
                yield _chosen(batch, places)

        yield FileTable(names, batches)


def _csv_rows(file: Path, reader: Any) -> Iterator[list[str]]:
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError) as error:
            why = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
            raise LastgoodError(
                Code.INVALID, f"{file}, after line {reader.line_num}: {why}.", "Write UTF-8 with a head line."
            ) from None
        yield row


def _chosen(rows: list[list[str]], places: Sequence[int]) -> list[Sequence[Any]]:
    columns = list(zip(*rows, strict=True))
    return [columns[place] for place in places]


def _batch_rows(columns: Sequence[str]) -> int:
    return max(1, min(_ROWS, _CELLS // len(columns)))


@contextmanager
def _parquet(file: Path) -> Iterator[FileTable]:
    try:
        from pyarrow import ArrowException, types  # noqa: PLC0415 - an extra, and no small one
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ImportError:
        raise LastgoodError(
            Code.INVALID, f"Reading {file} needs pyarrow.", "Install it, or give a .csv file."
        ) from None
    try:
        with ParquetFile(file, buffer_size=_BUFFER_BYTES) as opened:
            names = list(opened.schema_arrow.names)
            if not names:
                raise LastgoodError(Code.INVALID, f"{file} has no columns.", "Write at least one.")

            def batches(places: Sequence[int]) -> Iterator[list[Sequence[Any]]]:
                chosen = [names[place] for place in places]
                for batch in opened.iter_batches(batch_size=_batch_rows(names), columns=chosen):
                    if batch.num_rows:
                        yield [_values(file, name, batch.column(name), types) for name in chosen]

            yield FileTable(names, batches)
    except ArrowException as error:
        raise LastgoodError(
            Code.INVALID, f"{file} is not a Parquet file: {_line(error)}.", "Check the file."
        ) from None


def _values(file: Path, name: str, column: Any, types: Any) -> Sequence[Any]:
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_nested(kind):
        raise LastgoodError(
            Code.INVALID,
            f"{file}, column {name!r} holds {kind}, not one value a row.",
            "Write a column for each value.",
        )
    try:
        values: list[Any] = column.to_pylist()
    except ValueError as error:  # a text that is not UTF-8, a time that Python has no value for
        raise LastgoodError(
            Code.INVALID,
            f"{file}, column {name!r} cannot be read: {_line(error)}.",
            "Write it as text or numbers.",
        ) from None
    return [_plain(value) for value in values]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return float(value) if isinstance(value, Decimal) else str(value)
